"""Pairs of sequences, and batches of them of few shapes and bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longshort.data._batches import Batch, padded_length
from longshort.data._vocabulary import BEGIN, END

# B L^2 of a batch: additive attention then holds some 2^17 vectors, 256 MiB of 512 numbers each.
MOST_PAIRS = 2**17


@dataclass(frozen=True)
class Pairs:
    """Sentences and their translations, as numbers of tokens.

    Attributes:
        sources: n arrays (S_i,), none empty.
        targets: n arrays (T_i,), without BEGIN and END.
    """

    sources: Sequence[np.ndarray]
    targets: Sequence[np.ndarray]

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def lengths(self) -> np.ndarray:
        """Steps that each pair needs: of the longer side, where BEGIN or END counts."""
        both = zip(self.sources, self.targets, strict=True)
        return np.array([max(len(s), len(t) + 1) for s, t in both], dtype=int)

    def part(self, kept: np.ndarray) -> Pairs:
        """Return the pairs whose boolean in `kept` is True."""
        rows = np.flatnonzero(kept).tolist()
        return Pairs([self.sources[i] for i in rows], [self.targets[i] for i in rows])


def pair_batches(lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[Batch]:
    """Deal pairs into batches of one rung of the ladder each, for one epoch.

    A rung, the L steps that source and target are padded to, has one shape: the number of rows
    falls with the square of L, which is what attention needs.

    >>> lengths = np.array([5, 6, 900, 7, 600])
    >>> batches = pair_batches(lengths, 2, np.random.default_rng(0))
    >>> sorted((b.length, b.size, len(b.rows)) for b in batches)
    [(8, 2, 1), (8, 2, 2), (768, 1, 1), (900, 1, 1)]
    """
    longest = int(lengths.max())
    rungs = np.array([padded_length(int(n), longest) for n in lengths])
    batches = []
    for rung in np.unique(rungs).tolist():
        rows = rng.permutation(np.flatnonzero(rungs == rung))
        most = min(size, max(1, MOST_PAIRS // rung**2))
        batches += [
            Batch(rows[start : start + most], most, rung) for start in range(0, len(rows), most)
        ]
    return [batches[i] for i in rng.permutation(len(batches))]


def arrays(pairs: Pairs, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return source, target behind BEGIN, and target with END, (B, L) int32 each."""
    source, target, following = np.zeros((3, batch.size, batch.length), np.int32)
    for row, i in enumerate(batch.rows):
        ids, wanted = pairs.sources[i], pairs.targets[i]
        source[row, : len(ids)] = ids
        target[row, : len(wanted) + 1] = [BEGIN, *wanted]
        following[row, : len(wanted) + 1] = [*wanted, END]
    return source, target, following
