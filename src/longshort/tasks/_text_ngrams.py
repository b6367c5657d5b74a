"""The linear part of a text classifier: which tokens, and which runs of them, a text has.

Axis letters: n texts, G n-grams, K classes, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from longshort._errors import DataError
from longshort.data._vocabulary import BEGIN, END
from longshort.tasks._classifier_training import cross_entropy
from longshort.tasks._scores import fit_temperature, log_softmax, sigmoid

PENALTIES = (10.0, 3.0, 1.0, 0.3)
USUAL_PENALTY = 1.0  # where nothing is held out to choose by
SHARES = tuple(i / 10 for i in range(11))
USUAL_SHARE = 0.5
MOST_WEIGHTS = 2**24  # G K at most: 64 MB in a file; the rarest are left out
_BLOCK = 2**14  # texts


class Ngrams:
    """Logits of a text that are linear in the n-grams it has, however often.

        logits_k = b_k + sum over the n-grams g of the text of r_gk w_gk
        r_gk = log(p_gk / q_gk)

    where p_gk and q_gk are the shares that g has among the n-grams of the texts with and without
    the label k, each counted once more (Wang and Manning 2012). Single tokens count all; longer
    runs, and two tokens with any one between, if two texts of the training part have them. BEGIN
    and END are tokens in them.

    Args:
        num_tokens: V.
        longest: Tokens of the longest runs; from 2 on there are pairs with one between, too.
        keys: (G,) the n-grams as numbers, ascending.
        weights: (G, K), r_gk w_gk.
        bias: (K,).
        penalty: What it was fitted with; None if read from a file.

    Example:
        >>> good, bad = [[5, 6], [5, 7, 8]], [[9, 6], [7, 9]]
        >>> texts = [np.array(ids) for ids in good + bad]
        >>> targets = np.array([0, 0, 1, 1])
        >>> linear = Ngrams.fit(texts, targets, [], targets[:0], num_tokens=10, longest=2)
        >>> linear.logits([np.array([5]), np.array([9])]).argmax(axis=1).tolist()
        [0, 1]
    """

    def __init__(
        self,
        num_tokens: int,
        longest: int,
        keys: np.ndarray,
        weights: np.ndarray,
        bias: np.ndarray,
        penalty: float | None = None,
    ) -> None:
        self.num_tokens, self.longest = num_tokens, longest
        self.keys, self.weights, self.bias = keys, weights, bias
        self.penalty = penalty

    @classmethod
    def fit(
        cls,
        texts: Sequence[np.ndarray],
        targets: np.ndarray,
        held: Sequence[np.ndarray],
        held_targets: np.ndarray,
        num_tokens: int,
        longest: int,
        counts: np.ndarray | None = None,
        penalty: float | None = None,
    ) -> Ngrams:
        """Fit by cross entropy and a penalty on the squares of w, chosen on the held-out part.

        Args:
            texts: n arrays of numbers of tokens (T_i,).
            targets: (n,) class indices, or (n, K) of 0 and 1.
            held: Held-out texts; where there are none, the penalty is `USUAL_PENALTY`.
            held_targets: Their targets.
            num_tokens: V.
            longest: Tokens of the longest runs.
            counts: (n,) how much each text counts, of mean 1; None: all the same.
            penalty: Known already; None: to be chosen.

        Raises:
            DataError: If there are too many tokens for n-grams as long.
        """
        if not _fits(num_tokens, longest):
            raise DataError(
                f"TextClassifier: ngrams={longest} is too long for {num_tokens} tokens; give a "
                "smaller one, or a smaller vocabulary_size."
            )
        true = targets if targets.ndim == 2 else np.eye(targets.max() + 1)[targets]
        K, n = true.shape[1], len(texts)
        unfitted = cls(num_tokens, longest, np.empty(0, np.int64), np.empty((0, K)), np.zeros(K))
        keys, occurs = np.empty(0, np.int64), np.empty(0, np.int64)
        for start in range(0, n, _BLOCK):
            found = np.concatenate([unfitted._found(ids) for ids in texts[start : start + _BLOCK]])
            keys, places = np.unique(np.concatenate([keys, found]), return_inverse=True)
            occurs = np.bincount(places, np.concatenate([occurs, np.ones(len(found))]))
        kept = np.flatnonzero((keys <= num_tokens) | (occurs > 1))
        kept = kept[np.argsort(-occurs[kept], kind="stable")[: max(1, MOST_WEIGHTS // K)]]
        unfitted.keys = keys[np.sort(kept)]
        X = unfitted._matrix(texts)
        ratio = _log_share(X.T @ true) - _log_share(X.T @ (1 - true))
        w, best = np.zeros((len(ratio) + 1, K)), None
        penalties = PENALTIES if len(held) else (USUAL_PENALTY,)
        for each in penalties if penalty is None else (penalty,):
            w = _minimum(X, ratio, true, targets.ndim == 2, each, counts, w)
            weights, bias = (w[:-1] * ratio).astype(np.float32), w[-1]
            fitted = cls(num_tokens, longest, unfitted.keys, weights, bias, each)
            loss = cross_entropy(fitted.logits(held), held_targets) if len(held) else 0.0
            if best is None or loss < best[0]:
                best = loss, fitted
        assert best is not None
        return best[1]

    def again(
        self, texts: Sequence[np.ndarray], targets: np.ndarray, counts: np.ndarray | None = None
    ) -> Ngrams:
        """Return what `fit` makes of other texts, with the penalty of this one."""
        return Ngrams.fit(
            texts,
            targets,
            [],
            targets[:0],
            self.num_tokens,
            self.longest,
            counts,
            self.penalty,
        )

    def logits(self, texts: Sequence[np.ndarray]) -> np.ndarray:
        """Return (n, K) float64; those of a text depend on no other."""
        return np.asarray(self._matrix(texts) @ self.weights.astype(np.float64) + self.bias)

    def _found(self, ids: np.ndarray) -> np.ndarray:
        """Return the numbers of the n-grams of a text, each once.

        Tokens are digits 1 to V of base V + 1; any one between is the digit 0.
        """
        base = self.num_tokens + 1
        framed = np.concatenate([[BEGIN], ids, [END]]).astype(np.int64) + 1
        runs = framed
        parts = [framed[1:-1]]
        if self.longest > 1:
            parts.append(framed[:-2] * base**2 + framed[2:])
        for size in range(2, self.longest + 1):
            runs = runs[:-1] * base + framed[size - 1 :]
            parts.append(runs)
        return np.unique(np.concatenate(parts))

    def _matrix(self, texts: Sequence[np.ndarray]) -> csr_matrix:
        """Return (n, G), 1 where a text has an n-gram."""
        columns, ends = [np.empty(0, np.int64)], [0]
        for ids in texts:
            found = self._found(ids)
            places = np.minimum(np.searchsorted(self.keys, found), len(self.keys) - 1)
            columns.append(places[self.keys[places] == found])
            ends.append(ends[-1] + len(columns[-1]))
        each = np.concatenate(columns)
        return csr_matrix((np.ones(len(each)), each, ends), (len(texts), len(self.keys)))

    def get_state(self) -> dict[str, Any]:
        """Return it as plain values, for a file."""
        return {
            "longest": self.longest,
            "keys": self.keys,
            "weights": self.weights,
            "bias": self.bias,
        }

    @classmethod
    def from_state(cls, state: Any, num_tokens: int, num_classes: int) -> Ngrams:
        """Make it from what `get_state` returned.

        Raises:
            ValueError: If `state` is something else.
        """
        longest, keys = state["longest"], state["keys"].astype(np.int64)
        if type(longest) is not int or longest < 1 or not _fits(num_tokens, longest):
            raise ValueError("broken n-grams")
        weights, bias = state["weights"].astype(np.float32), state["bias"].astype(np.float64)
        if keys.ndim != 1 or not len(keys) or (np.diff(keys) <= 0).any():
            raise ValueError("broken n-grams")
        if weights.shape != (len(keys), num_classes) or bias.shape != (num_classes,):
            raise ValueError("broken n-grams")
        if not np.isfinite(weights).all() or not np.isfinite(bias).all():
            raise ValueError("broken n-grams")
        return cls(num_tokens, longest, keys, weights, bias)


def choose_share(networks: np.ndarray, linear: np.ndarray, targets: np.ndarray) -> float:
    """Return which share of the linear part beside the networks does best on held-out texts.

    Args:
        networks: (n, K) logits of the networks.
        linear: (n, K) logits of the linear part.
        targets: (n,) class indices, or (n, K).

    Returns:
        s for the least cross entropy of (1 - s) networks + s linear, calibrated.

    Example:
        >>> right, wrong = np.eye(2) * 4.0, np.eye(2)[::-1] * 4.0
        >>> choose_share(right, wrong, np.array([0, 1]))
        0.0
    """

    def loss(share: float) -> float:
        values = (1 - share) * networks + share * linear
        return cross_entropy(values / fit_temperature(values, targets), targets)

    return min(SHARES, key=loss)


def _fits(num_tokens: int, longest: int) -> bool:
    """Return whether the numbers of n-grams fit into 63 bits; pairs with one between have three."""
    digits = max(longest, 3) if longest > 1 else 1
    return (num_tokens + 1) ** digits < 2**63


def _log_share(counts: np.ndarray) -> np.ndarray:
    return np.log((counts + 1) / (counts + 1).sum(axis=0))


def _minimum(
    X: csr_matrix,
    ratio: np.ndarray,
    true: np.ndarray,
    several: bool,
    penalty: float,
    counts: np.ndarray | None,
    start: np.ndarray,
) -> np.ndarray:
    """Return w and, in its last row, b of the least cross entropy with `penalty` / 2 sum w^2."""
    each = np.ones((len(true), 1)) if counts is None else counts[:, None].astype(np.float64)

    def chances(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = X @ (w[:-1] * ratio) + w[-1]
        if several:
            return values, sigmoid(values)
        values = log_softmax(values)
        return values, np.exp(values)

    def back(slope: np.ndarray, w: np.ndarray) -> np.ndarray:
        slope = slope * each
        rows = (X.T @ slope) * ratio + penalty * w[:-1]
        return np.concatenate([rows, slope.sum(axis=0, keepdims=True)]).ravel()

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(start.shape)
        values, p = chances(w)
        losses = np.logaddexp(0, values) - true * values if several else -true * values
        sums = (losses * each).sum() + penalty / 2 * (w[:-1] ** 2).sum()
        return float(sums), back(p - true, w)

    def curvature(flat: np.ndarray, along: np.ndarray) -> np.ndarray:
        _, p = chances(flat.reshape(start.shape))
        step = along.reshape(start.shape)
        change = X @ (step[:-1] * ratio) + step[-1]
        if several:
            return back(p * (1 - p) * change, step)
        return back(p * (change - (p * change).sum(axis=1, keepdims=True)), step)

    # Convex, and products with the Hessian cost what a gradient does.
    found = minimize(loss, start.ravel(), jac=True, hessp=curvature, method="Newton-CG")
    return np.asarray(found.x).reshape(start.shape)
