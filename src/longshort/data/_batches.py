"""Batches of few shapes from sequences of any lengths.

For each new shape (B, T) of a batch JAX compiles the training step anew, which takes as long as
dozens of such steps; and padded steps are at best memory, at worst work for nothing. So T comes
from a short ladder of lengths, and sequences of similar length share a batch. Only lengths are
needed here: a step may be a row of measurements or the number of a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Batch(NamedTuple):
    """Which sequences a batch holds, and its shape.

    Attributes:
        rows: (b,) indices of its sequences, b from 1 to `size`; what is left over of the `size`
            rows is padding.
        size: B.
        length: T, at least the longest of its sequences.
    """

    rows: np.ndarray
    size: int
    length: int

    @property
    def weights(self) -> np.ndarray:
        """(B,) float32 sample weights: 1 for a sequence, 0 for padding."""
        return (np.arange(self.size) < len(self.rows)).astype(np.float32)

    def take(self, values: np.ndarray) -> np.ndarray:
        """Return the batch's part of an array (n, ...) as (B, ...), zeros for padding."""
        part = np.zeros((self.size, *values.shape[1:]), values.dtype)
        part[: len(self.rows)] = values[self.rows]
        return part


# Four steps between powers of two instead of two: on 25,000 lognormal lengths of mean 50, padding
# falls from 21 to 12 % of the steps and the number of shapes rises from 14 to 23. Where padding is
# skipped, the former hardly counts; the latter always does.
def padded_length(length: int, longest: int) -> int:
    """Round a length up to the ladder 8, 16, 24, 32, 48, 64, 96, 128, ..., `longest`.

    So a sequence gets at most 7 steps or half of its length in addition, on average a fifth.
    Above `longest` the ladder goes on, so that sequences longer than those of training have few
    shapes too.

    Args:
        length: Steps, at least 1.
        longest: Most steps of the training part; a rung of its own.

    Example:
        >>> [padded_length(n, longest=29) for n in (3, 17, 25, 29, 30, 33, 1000)]
        [8, 24, 29, 29, 32, 48, 1024]
    """
    power = 1 << (length - 1).bit_length()
    step = max(8, power // 4)
    rung = -(-length // step) * step
    return min(rung, longest) if length <= longest else rung


def shuffled_batches(
    lengths: Sequence[int], size: int, rng: np.random.Generator, longest: int | None = None
) -> tuple[Batch, ...]:
    """Deal sequences into batches for one epoch of training.

    Sequences of one rung of the ladder are shuffled among each other, and so are the batches. Each
    sequence comes once. All batches but one are full; two rungs meet in a batch at most where one
    rung ends. Sequences of equal length are plainly shuffled and have one shape.

    Args:
        lengths: Steps of each of the n sequences.
        size: Rows of each batch.
        rng: Shuffles.
        longest: Top of the ladder, where lengths change from epoch to epoch; None: the longest.

    Returns:
        n / size batches, rounded up; as many different shapes as the ladder has rungs, at most.

    Example:
        >>> batches = shuffled_batches([5, 20, 7, 21, 6], 2, np.random.default_rng(0))
        >>> sorted((batch.length, sorted(batch.rows.tolist())) for batch in batches)
        [(8, [2, 4]), (21, [0, 3]), (21, [1])]
    """
    longest = max(lengths) if longest is None else longest
    rungs = np.array([padded_length(n, longest) for n in lengths])
    order = rng.permutation(len(rungs))
    order = order[np.argsort(rungs[order], kind="stable")]
    starts = rng.permutation(np.arange(0, len(order), size))
    parts = [order[start : start + size] for start in starts]
    return tuple(Batch(rows, size, int(rungs[rows].max())) for rows in parts)


def sorted_batches(lengths: Sequence[int], longest: int) -> tuple[Batch, ...]:
    """Divide sequences into batches for prediction, neighbours in length together.

    Batches have 256, 16 or 1 rows, so that any number of sequences has few shapes.

    Args:
        lengths: Steps of each of the n sequences.
        longest: Most steps of the training part.

    Returns:
        Batches that hold each sequence once, from the shortest to the longest.

    Example:
        >>> [batch.rows.tolist() for batch in sorted_batches([30, 5, 20], longest=24)]
        [[1, 2, 0]]
    """
    order = np.argsort(lengths, kind="stable")
    batches = []
    while len(order):
        size = 256 if len(order) >= 256 else 16 if len(order) > 1 else 1
        rows, order = order[:size], order[size:]
        batches.append(Batch(rows, size, padded_length(int(lengths[rows[-1]]), longest)))
    return tuple(batches)


def fixed_batches(lengths: Sequence[int], longest: int) -> tuple[Batch, ...]:
    """Divide sequences into batches for prediction whose shapes depend on nothing but the lengths.

    A sequence always meets a batch of the same shape, whoever else is in it. XLA compiles another
    program for another shape, which may round otherwise; so its answer stays the same to the last
    bit. Rows that are missing are padding.

    Args:
        lengths: Steps of each of the n sequences; may be 0.
        longest: Most steps of the training part.

    Returns:
        Batches that hold each sequence once, of one rung of the ladder each, from the shortest.

    Example:
        >>> [(batch.rows.tolist(), batch.size, batch.length)
        ...     for batch in fixed_batches([30, 5, 7], longest=30)]
        [([1, 2], 64, 8), ([0], 64, 30)]
    """
    rungs = np.array([padded_length(max(n, 1), longest) for n in lengths])
    batches = []
    for length in np.unique(rungs).tolist():
        # Some 2 million numbers of 64 channels: longer sequences have fewer rows.
        size = min(64, max(1, 2**15 // (1 << (length - 1).bit_length())))
        rows = np.flatnonzero(rungs == length)
        batches += [
            Batch(rows[start : start + size], size, length) for start in range(0, len(rows), size)
        ]
    return tuple(batches)
