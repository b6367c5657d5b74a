"""Which tokens speak for a label: scores, and the text with its tokens marked."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from longshort.data._batches import fixed_batches
from longshort.tasks._files import write_file


@dataclass(frozen=True)
class TextExplanation:
    """What `TextClassifier.explain` found.

    Attributes:
        text: The text.
        label: The label that was asked about.
        probability: Of that label for the text.
        spans: n pairs: where each token begins and ends in the text, in characters.
        scores: (n,) how much each speaks for the label (above 0) or against it, in nats of its
            log-odds. They sum to the log-odds for the text less `base`.
        base: The log-odds of the label for an empty text.
    """

    text: str
    label: Any
    probability: float
    spans: list[tuple[int, int]]
    scores: np.ndarray
    base: float

    @property
    def tokens(self) -> list[str]:
        """The tokens as they stand in the text."""
        return [self.text[start:end] for start, end in self.spans]

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return a page with the text, each token on the colour of its score; write it to `path`.

        Orange speaks for the label, blue against it; the score is shown under the pointer. The page
        needs nothing else: no script, no address.

        Raises:
            SaveError: If the file cannot be written.
        """
        top = max(float(np.abs(self.scores).max()), 1e-12)
        marked, place = [], 0
        for (start, end), score in zip(self.spans, self.scores.tolist(), strict=True):
            marked.append(html.escape(self.text[place:start]))
            colour = "230,126,34" if score > 0 else "52,120,200"
            style = f"background:rgba({colour},{abs(score) / top:.2f})"
            token = html.escape(self.text[start:end])
            marked.append(f'<mark style="{style}" title="{score:+.3f}">{token}</mark>')
            place = end
        marked.append(html.escape(self.text[place:]))
        label = html.escape(str(self.label))
        page = (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{label}</title>"
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'\"><style>body{max-width:50em;margin:2em auto;font:16px/1.7 "
            "sans-serif;color:#222;background:#fff}mark{color:inherit;border-radius:2px}"
            ".text{white-space:pre-wrap;overflow-wrap:anywhere}</style></head>"
            f"<body><p>{label}: probability {self.probability:.3f}. Orange speaks for it, blue "
            f'against it.</p>\n<p class="text">{"".join(marked)}</p></body></html>\n'
        )
        if path is not None:
            write_file(path, lambda file: file.write(page.encode("utf-8", "replace")))
        return page

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self.to_html()


def share_out(
    value: Callable[[np.ndarray], np.ndarray], n: int, num_orders: int, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Share out the value of n tokens together among them (Shapley values, sampled).

    Args:
        value: Maps masks (m, n), True for tokens that are there, to (m,) values.
        n: Number of tokens.
        num_orders: Random orders; each serves backwards too, which makes the mean steadier.
        rng: Draws them.

    Returns:
        (n,) scores that sum to the value of all less that of none, and the latter.

    Example:
        >>> worth = np.array([3.0, -1.0])
        >>> scores, base = share_out(
        ...     lambda masks: 5 + masks @ worth, 2, 1, np.random.default_rng(0))
        >>> scores.tolist(), base
        ([3.0, -1.0], 5.0)
    """
    scores = np.zeros(n)
    base = 0.0
    for _ in range(num_orders):
        order = rng.permutation(n)
        for one in (order, order[::-1]):
            rank = np.empty(n, dtype=np.int64)
            rank[one] = np.arange(n)
            values = value(rank[None, :] < np.arange(n + 1)[:, None])
            scores[one] += np.diff(values)
            base = float(values[0])
    return scores / (2 * num_orders), base


def run_masked(model: Any, tokens: np.ndarray, masks: np.ndarray, longest: int) -> np.ndarray:
    """Return the logits (m, K) for the tokens (T,) that each of m masks (m, T) keeps.

    A masked step leaves the state of an LSTM as it is, wherever it lies: the network reads a text
    that does not have the token.
    """
    batch = fixed_batches([len(tokens)], longest)[0]
    ids = np.zeros((batch.size, batch.length), dtype=np.int32)
    ids[:, : len(tokens)] = tokens
    parts = []
    for start in range(0, len(masks), batch.size):
        some = masks[start : start + batch.size]
        real = np.zeros(ids.shape, dtype=bool)
        real[: len(some), : len(tokens)] = some
        parts.append(model.predict_on_batch((ids, real))[: len(some)])
    return np.concatenate(parts).astype(np.float64)


def log_odds_of(values: np.ndarray, k: int) -> np.ndarray:
    """Return log(p_k / (1 - p_k)), (m,), of the softmax of logits (m, K).

    >>> log_odds_of(np.array([[2.0, 0.5]]), 0).tolist()
    [1.5]
    """
    others = np.delete(values, k, axis=1)
    top = others.max(axis=1, keepdims=True)
    return values[:, k] - (top[:, 0] + np.log(np.exp(others - top).sum(axis=1)))
