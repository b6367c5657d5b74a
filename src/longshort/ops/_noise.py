"""The noise of zoneout and update dropout: new numbers at each step, from a counter and a key.

    mix(v): v ^= v >> 16;  v *= 0x7feb352d;  v ^= v >> 15;  v *= 0x846ca68b;  v ^= v >> 16
    row_key = mix(mix(mix(key[0] + stream) + step) + row) ^ key[1]
    n(unit) = mix(row_key + unit * 0x9E3779B9) >> 8

in unsigned arithmetic of 32 bits; `mix` is "lowbias32" of C. Wellons (2018). A number follows from
where it belongs: nothing is stored between the passes, the backward pass makes it again, and it
depends neither on the number of threads nor on how a sequence is cut. The kernels compute the same
numbers (kernels/noise.h).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ZONEOUT_H, ZONEOUT_C, UPDATE, WEIGHTS = range(4)  # streams; the last for DropConnect's masks


def dropped(key: Any, stream: int, step: int, shape: tuple[int, int], rate: float) -> NDArray[Any]:
    """Which values of a step are dropped (for zoneout: keep what they were), shape (rows, units).

    Args:
        key: Two uint32.
        stream: `ZONEOUT_H`, `ZONEOUT_C`, `UPDATE` or `WEIGHTS`.
        step: The step of processing, counted from the beginning of the sequence.
        shape: Rows and units.
        rate: The probability of each, in steps of 2^-24.

    >>> from longshort.ops._noise import UPDATE, dropped
    >>> dropped((1, 2), UPDATE, 0, (1000, 10), 0.25).mean()
    np.float64(0.2...)
    """
    return _numbers(key, stream, step, shape) < int(rate * 2**24)


def _numbers(key: Any, stream: int, step: int, shape: tuple[int, int]) -> NDArray[np.uint32]:
    """24 random bits each, shape (rows, units)."""
    rows, units = (np.arange(n, dtype=np.uint32) for n in shape)
    first, second = np.asarray(key, np.uint32)
    step_key = _mix(_mix(_words(int(first) + stream)) + _words(step))
    row_key = _mix(step_key + rows) ^ second
    return _mix(row_key[:, None] + units * np.uint32(0x9E3779B9)) >> np.uint32(8)


def _words(value: int) -> NDArray[np.uint32]:
    """As an array, in which NumPy wraps around without a word."""
    return np.array([value % 2**32], np.uint32)


def _mix(v: NDArray[np.uint32]) -> NDArray[np.uint32]:
    v = (v ^ (v >> np.uint32(16))) * np.uint32(0x7FEB352D)
    v = (v ^ (v >> np.uint32(15))) * np.uint32(0x846CA68B)
    return v ^ (v >> np.uint32(16))
