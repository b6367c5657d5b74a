"""The kernel of a softmax's loss called from NumPy, for tests and without a framework."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from longshort._errors import KernelError
from longshort.ops._library import required

_INPUTS, _OUTPUTS = ("y", "weights", "bias", "targets"), ("loss", "dy", "dweights", "dbias")


class _Call(ctypes.Structure):
    """`struct longshort_token_loss` of kernels/lstm.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("rows", "size", "tokens")),
        *((name, ctypes.c_int32) for name in ("by_values", "bfloat16")),
        ("share", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in (*_INPUTS, *_OUTPUTS)),
    ]


def token_loss(
    y: Any,
    weights: Any,
    bias: Any,
    targets: Any,
    share: float = 0.0,
    *,
    by_values: bool = False,
    bfloat16: bool = False,
) -> tuple[np.ndarray, ...]:
    """Return the loss, (1,), and the gradients of y, weights and bias.

    Args:
        y: (n, E).
        weights: (V, E), or (E, V) if `by_values`.
        bias: (V,).
        targets: (n,) from 1 to V - 1, 0 for padding.
        share: Of all tokens alike, 0 to 1.
        by_values: Whether the first axis of the weights is that of the values.
        bfloat16: Whether the factors of the products are rounded.

    Raises:
        KernelError: The library is missing or refuses the call.
    """
    given = [np.ascontiguousarray(array, np.float32) for array in (y, weights, bias)]
    wanted = np.ascontiguousarray(targets, np.int32)
    made = [np.empty(1, np.float32), *map(np.empty_like, given)]
    pointers = [array.ctypes.data for array in (*given, wanted, *made)]
    (n, E), V = given[0].shape, len(given[2])
    run = required().longshort_token_loss_run
    run.restype, run.argtypes = ctypes.c_char_p, [ctypes.POINTER(_Call)]
    if error := run(_Call(n, E, V, by_values, bfloat16, share, *pointers)):
        raise KernelError(error.decode())
    return tuple(made)
