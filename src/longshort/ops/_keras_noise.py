"""The noise of one step in `keras.ops`: the numbers of `_noise.py` and the kernels, on any backend.

In int32, whose sums and products wrap around to the same 32 bits as uint32's on every backend;
PyTorch has no shifts of uint32, and JAX no int64 unless asked. Only the shift to the right differs:
it brings in copies of the sign, which are cut off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

Tensor = Any


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value


def _shift(v: Tensor, count: int) -> Tensor:
    return ops.bitwise_and(ops.bitwise_right_shift(v, count), (1 << (32 - count)) - 1)


def _mix(v: Tensor) -> Tensor:
    """A 32-bit integer hash: lowbias32 (C. Wellons, github.com/skeeto/hash-prospector)."""
    v = ops.bitwise_xor(v, _shift(v, 16)) * _signed(0x7FEB352D)
    v = ops.bitwise_xor(v, _shift(v, 15)) * _signed(0x846CA68B)
    return ops.bitwise_xor(v, _shift(v, 16))


def dropped(key: Tensor, stream: int, step: Tensor, batch: Tensor, units: int, rate: float) -> Any:
    """Booleans (B, units), each True with probability `rate`.

    Args:
        key: Two 32-bit integers, shape (2,).
        stream: What the noise is for: one of `_noise.py`'s streams.
        step: The number of the step in the order of processing, int32, shape (1,).
        batch: B.
        units: How many numbers a row.
        rate: Probability in [0, 1].
    """
    key = ops.cast(key, "int32")
    rows = _mix(_mix(key[:1] + stream) + step) + ops.arange(batch, dtype="int32")
    row_keys = ops.bitwise_xor(_mix(rows), key[1:])
    columns = (np.arange(units, dtype="uint32") * np.uint32(0x9E3779B9)).view("int32")
    columns = ops.convert_to_tensor(columns)  # PyTorch on a GPU takes no NumPy array into a sum
    return _shift(_mix(row_keys[:, None] + columns), 8) < int(rate * 2**24)
