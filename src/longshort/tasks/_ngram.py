"""An n-gram model of labels, to help a beam search."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Labels = tuple[int, ...]
Array = NDArray[np.float64]


class NGram:
    """Probabilities of the next label by the n - 1 before it, smoothed by shorter ones.

        p(k | h) = (count(h k) + t(h) p(k | h')) / (count(h) + t(h))

    with t(h) the number of different labels seen after h, and h' without its first label; below
    all is the uniform distribution (Witten and Bell 1991, "The zero-frequency problem"). Label 0
    is the end of a sequence.

    Args:
        order: n, at least 1.
        num_labels: K.

    >>> model = NGram(2, 2).fit([(1, 2), (1, 2), (1,)])
    >>> np.exp(model((1,))).round(2).tolist()
    [0.35, 0.15, 0.51]
    """

    def __init__(self, order: int, num_labels: int):
        self.order, self.num_labels = order, num_labels
        self.counts: dict[Labels, Counter[int]] = defaultdict(Counter)

    def fit(self, sequences: Iterable[Sequence[int]]) -> NGram:
        """Count all n-grams of sequences of labels 1 to K, their ends among them."""
        for labels in sequences:
            whole = (*labels, 0)
            for at, k in enumerate(whole):
                for n in range(min(self.order - 1, at) + 1):
                    self.counts[tuple(whole[at - n : at])][k] += 1
        return self

    def __call__(self, prefix: Labels) -> Array:
        """Return log probabilities (K + 1,) of what follows `prefix`."""
        p = np.full(self.num_labels + 1, 1.0 / (self.num_labels + 1))
        for n in range(min(self.order - 1, len(prefix)) + 1):
            found = self.counts.get(prefix[len(prefix) - n :])
            if found is None:
                break
            p *= len(found)
            for k, count in found.items():
                p[k] += count
            p /= sum(found.values()) + len(found)
        return np.log(p)

    def to_state(self) -> list[list[int]]:
        """Return rows of history, label and count as plain values, for a file."""
        return [[*h, k, n] for h, found in self.counts.items() for k, n in sorted(found.items())]

    @classmethod
    def from_state(cls, order: int, num_labels: int, rows: list[list[int]]) -> NGram:
        """Restore what `to_state` kept; ValueError if a row cannot be."""
        self = cls(order, num_labels)
        for *history, k, count in rows:
            labels = [*history, k]
            if len(labels) > order or not all(0 <= v <= num_labels for v in labels) or count < 1:
                raise ValueError(f"broken n-gram {labels}")
            self.counts[tuple(history)][k] = count
        return self
