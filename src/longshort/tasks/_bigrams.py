"""What counting gives a language model for nothing: the baselines beside its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Pairs that a file keeps, the most frequent ones: 4 MB. Others count as not seen.
MOST_PAIRS = 500_000
_BLOCK = 2**22


class Bigrams:
    """Smoothed probabilities of a token, alone and given the one before it.

        p(w) = (n(w) + 1) / (N + V)
        p(w | u) = max(n(u w) - d, 0) / n(u) + rest(u) p(w)    rest(u): what is left over of 1

    The second is absolute discounting (Ney, Essen and Kneser 1994), with their d = n_1 / (n_1 + 2
    n_2) from the numbers of pairs that occur once and twice.

    Args:
        targets: (V,) how often each token occurs behind another.
        sources: (V,) how often before another.
        keys: Pairs as u V + w, ascending.
        counts: How often each occurs.
        discount: d.

    Example:
        >>> counted = Bigrams.count(np.array([3, 4, 5, 4, 5, 4, 5]), 6)
        >>> unigram, bigram = counted.losses([np.array([3, 4, 5, 4, 5])])
        >>> bool(bigram < unigram)
        True
    """

    def __init__(
        self,
        targets: np.ndarray,
        sources: np.ndarray,
        keys: np.ndarray,
        counts: np.ndarray,
        discount: float,
    ) -> None:
        self.targets, self.sources = targets, sources
        self.keys, self.counts, self.discount = keys, counts, discount
        size = len(targets)
        self._alone = (targets + 1) / (targets.sum() + size)
        given = np.bincount(keys // size, counts - discount, minlength=size)
        self._rest = 1.0 - given / np.maximum(sources, 1)

    @classmethod
    def count(cls, ids: np.ndarray, num_tokens: int) -> Bigrams:
        """Count the tokens (n,), a block at a time."""
        keys, counts = np.empty(0, np.int64), np.empty(0, np.int64)
        for start in range(0, len(ids) - 1, _BLOCK):
            part = ids[start : start + _BLOCK + 1].astype(np.int64)
            new, more = np.unique(part[:-1] * num_tokens + part[1:], return_counts=True)
            keys, places = np.unique(np.concatenate([keys, new]), return_inverse=True)
            counts = np.bincount(places, np.concatenate([counts, more])).astype(np.int64)
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        discount = float(once / (once + 2 * twice)) if twice else 0.5
        targets = np.bincount(ids[1:], minlength=num_tokens)
        sources = np.bincount(ids[:-1], minlength=num_tokens)
        kept = np.sort(np.argsort(-counts, kind="stable")[:MOST_PAIRS])
        return cls(targets, sources, keys[kept], counts[kept], discount)

    def losses(self, texts: Sequence[np.ndarray]) -> tuple[float, float]:
        """Return the mean losses in nats a token of both, over all tokens but each text's first."""
        sums, count = np.zeros(2), 0
        for ids in texts:
            for start in range(0, len(ids) - 1, _BLOCK):
                part = ids[start : start + _BLOCK + 1].astype(np.int64)
                alone, pair = self.probabilities(part[:-1], part[1:])
                sums -= np.log(alone).sum(), np.log(pair).sum()
                count += len(alone)
        unigram, bigram = sums / count
        return float(unigram), float(bigram)

    def probabilities(self, sources: np.ndarray, targets: np.ndarray) -> Any:
        """Return p(w) and p(w | u) of pairs of tokens."""
        alone = self._alone[targets]
        keys = sources * len(self.targets) + targets
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        seen = np.where(self.keys[places] == keys, self.counts[places] - self.discount, 0.0)
        return alone, seen / np.maximum(self.sources[sources], 1) + self._rest[sources] * alone

    def get_state(self) -> dict[str, Any]:
        """Return it as plain values, for a file."""
        gaps = np.diff(self.keys, prepend=0)
        return {
            "targets": self.targets.astype(np.uint32),
            "sources": self.sources.astype(np.uint32),
            "gaps": gaps.astype(np.uint32 if gaps.max() < 2**32 else np.int64),
            "counts": self.counts.astype(np.uint32),
            "discount": self.discount,
        }

    @classmethod
    def from_state(cls, state: Any, num_tokens: int) -> Bigrams:
        """Make it from what `get_state` returned.

        Raises:
            ValueError: If `state` is something else.
        """
        names = ("targets", "sources", "gaps", "counts")
        arrays = [state[name].astype(np.int64) for name in names]
        targets, sources, gaps, counts = arrays
        if any(a.ndim != 1 or (a < 0).any() for a in arrays) or len(gaps) != len(counts):
            raise ValueError("broken bigrams")
        keys, discount = gaps.cumsum(), state["discount"]
        sizes = {len(targets), len(sources)}
        if sizes != {num_tokens} or not len(keys) or keys[-1] >= num_tokens**2:
            raise ValueError("broken bigrams")
        if type(discount) is not float or not 0 <= discount <= 1 or (counts < 1).any():
            raise ValueError("broken bigrams")
        return cls(targets, sources, keys, counts, discount)
