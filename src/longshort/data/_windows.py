"""Sliding windows over many series, gathered a batch at a time, and their scaling.

Axis letters: N windows in a batch, L steps of input (`input_size`), H steps ahead (`h`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]

STILL_SPREAD = 0.1  # of a window that does not move, as a share of its level


class Windows:
    """All windows of `input_size` inputs and `h` targets that lie inside given stretches of series.

    The series are laid end to end once; a window is a position in a strided view of that, worked
    out when it is asked for, so that memory grows with the length of the data and the size of one
    batch, never with the number of windows. No window crosses from one series into the next. NaN
    in the values stays where it is.

    Args:
        values: One 1-D array a series, of any lengths.
        input_size: Steps of input, L.
        h: Steps of target, H; 0 gives inputs only.
        first: For each series, the smallest index at which targets may begin (default: as early
            as the input allows).
        last: For each series, the index that targets must end before (default: its length).

    >>> windows = Windows([np.arange(5.0)], input_size=2, h=1)
    >>> len(windows)
    3
    >>> x, y = windows.gather([0, 2])
    >>> x.tolist(), y.tolist()
    ([[0.0, 1.0], [2.0, 3.0]], [[2.0], [4.0]])
    """

    def __init__(
        self,
        values: Sequence[Array],
        input_size: int,
        h: int,
        *,
        first: Sequence[int] | None = None,
        last: Sequence[int] | None = None,
    ):
        self.input_size, self.h = input_size, h
        lengths = np.array([len(y) for y in values], np.intp)
        low = np.maximum(input_size, 0 if first is None else np.asarray(first, np.intp))
        high = np.minimum(lengths, lengths if last is None else np.asarray(last, np.intp)) - h
        count = np.maximum(0, high - low + 1)
        # A cutoff is the index of the first target, so inputs are [cutoff - L, cutoff).
        self._low = np.broadcast_to(low, lengths.shape)
        self._behind = np.cumsum(count)  # windows of the series up to and with each
        self._before = self._behind - count
        self._start = np.cumsum(lengths) - lengths - input_size
        if len(self):
            flat = np.concatenate([np.asarray(y, np.float64) for y in values])
            self._view = sliding_window_view(flat, input_size + h)
        else:
            self._view = np.zeros((0, input_size + h))

    def __len__(self) -> int:
        return int(self._behind[-1]) if len(self._behind) else 0

    def series(self, index: Sequence[int] | NDArray[np.intp]) -> NDArray[np.intp]:
        """Return which series each of the windows `index` is of."""
        return np.searchsorted(self._behind, np.asarray(index, np.intp), side="right")

    def cutoff(self, index: Sequence[int] | NDArray[np.intp]) -> NDArray[np.intp]:
        """Return for each of the windows `index` where in its series its first target is."""
        at, of = np.asarray(index, np.intp), self.series(index)
        return at - self._before[of] + self._low[of]

    def gather(self, index: Sequence[int] | NDArray[np.intp]) -> tuple[Array, Array]:
        """Return inputs (N, L) and targets (N, H) of the windows `index`, as copies."""
        window = self._view[self._positions(index)]
        return window[:, : self.input_size], window[:, self.input_size :]

    def steps(self, index: Sequence[int] | NDArray[np.intp]) -> NDArray[np.intp]:
        """Return where the steps of the windows `index` lie in the series laid end to end.

        Anything else that has a row a step, laid end to end in the same order of series, is so
        gathered a batch at a time: covariates, masks, times.

        Returns:
            (N, L + H) positions, first those of the inputs, then those of the targets.

        >>> price = [np.array([[5.0], [6.0], [7.0]]), np.array([[1.0], [2.0], [3.0]])]  # (T, 1)
        >>> windows = Windows([np.zeros(3), np.zeros(3)], input_size=1, h=1)
        >>> windows.steps([1, 3]).tolist()
        [[1, 2], [4, 5]]
        >>> np.concatenate(price)[windows.steps([1, 3])].tolist()
        [[[6.0], [7.0]], [[2.0], [3.0]]]
        """
        return self._positions(index)[:, None] + np.arange(self.input_size + self.h)

    def _positions(self, index: Sequence[int] | NDArray[np.intp]) -> NDArray[np.intp]:
        return self._start[self.series(index)] + self.cutoff(index)


@dataclass(frozen=True)
class WindowScale:
    """A level and a spread for each window, taken from its inputs alone.

    `scaled = (f(y) - level) / spread`, with f the natural logarithm if `log`, else the identity.
    Nothing is fitted on a whole series, so that nothing of a target or of a later time can leak.

    Attributes:
        level: (N, 1), the last input.
        spread: (N, 1), see `fit`.
        still: (N, 1), whether the window does not move, so that its spread says nothing.
        log: Whether y is taken to its logarithm first.
    """

    level: Array
    spread: Array
    still: NDArray[np.bool_]
    log: bool = False

    @classmethod
    def fit(cls, x: Array, *, log: bool = False) -> WindowScale:
        """Measure the windows `x` (N, L): level the last value, spread the standard deviation.

        A window that does not move has a tenth of its level as its spread (of log y: 0.1); where
        that is 0 too there is no unit to be had, and it has 1.

        >>> scale = WindowScale.fit(np.array([[1.0, 3.0]]))
        >>> scale.apply(np.array([[1.0, 3.0, 5.0]])).tolist()
        [[-2.0, 0.0, 2.0]]
        """
        z = np.log(x) if log else x
        level = z[:, -1:]
        spread = z.std(axis=1, keepdims=True)
        size = np.ones_like(level) if log else np.abs(x).max(axis=1, keepdims=True)
        # Below this the spread is rounding noise, and dividing by it blows up.
        still = spread <= 1e-9 * size
        instead = np.where(size == 0, 1.0, STILL_SPREAD * size)
        return cls(level, np.where(still, instead, spread), still, log)

    def apply(self, y: Array) -> Array:
        """Scale `y` (N, any)."""
        return ((np.log(y) if self.log else y) - self.level) / self.spread

    def undo(self, z: Array) -> Array:
        """Return `z` (N, any, or N, any, Q) in the units of the data."""
        extra = (1,) * (z.ndim - 2)
        level = self.level.reshape(-1, 1, *extra)
        spread = self.spread.reshape(-1, 1, *extra)
        y: Array = level + spread * z
        if not self.log:
            return y
        # No forecast is e^12 times the last value; the bound keeps exp from overflowing.
        return np.exp(np.clip(y, level - 12.0, level + 12.0))
