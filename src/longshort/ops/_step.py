"""`LSTMStep`: one LSTM layer, one step at a time, NumPy in and NumPy out."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longshort._errors import DataError, KernelError
from longshort.ops import _library

_POINTERS = ("kernel", "recurrent", "bias", "x", "h", "c", "packed", "set")


class _Step(ctypes.Structure):
    """`struct longshort_step` of kernels/lstm.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "features", "units")),
        *((name, ctypes.c_void_p) for name in _POINTERS),
    ]


class LSTMStep:
    """An LSTM layer for streams: each call is one step, the state is carried along.

        i, f, o = sigmoid(x W + h U + b)    g = tanh(x W + h U + b)    (columns i, f, g, o)
        c <- f c + i g                      h <- o tanh(c)

    The weights are packed once; a call costs microseconds, on one thread, and needs neither Keras
    nor JAX. `layer.stream()` is the step of a trained `longshort.layers.LSTM`;
    `LSTMStep(*layer.get_weights())` that of any layer of Keras' default activations.

    Args:
        kernel: W, shape (D, 4H).
        recurrent_kernel: U, shape (H, 4H).
        bias: b, shape (4H,). Default: zeros.
        batch: B, the number of streams that go on together. Default: 1.

    Attributes:
        h: The last output, shape (B, H); write to it to set the state.
        c: The cell state, shape (B, H).

    Raises:
        DataError: Weights or an input of the wrong shape.
        KernelError: longshort was installed without a C++ compiler.

    >>> step = longshort.ops.LSTMStep(np.ones((3, 16)), np.zeros((4, 16)))
    >>> step(np.zeros(3)).shape
    (1, 4)
    """

    def __init__(
        self,
        kernel: ArrayLike,
        recurrent_kernel: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        batch: int = 1,
    ) -> None:
        library = _library.required()
        weights = [None if w is None else _float32(w) for w in (kernel, recurrent_kernel, bias)]
        W, U, b = weights
        H = U.shape[0] if U is not None and U.ndim == 2 else 0
        D = W.shape[0] if W is not None and W.ndim == 2 else 0
        shapes = [None if w is None else w.shape for w in weights]
        if shapes[:2] != [(D, 4 * H), (H, 4 * H)] or shapes[2] not in (None, (4 * H,)) or not D * H:
            raise DataError(
                "LSTMStep: expected kernel (D, 4H), recurrent_kernel (H, 4H) and bias (4H,), got "
                f"{', '.join(map(str, shapes))}."
            )
        if batch < 1:
            raise DataError(f"LSTMStep: expected a batch of at least 1, got {batch}.")
        self.h, self.c = np.zeros((batch, H), np.float32), np.zeros((batch, H), np.float32)
        self._x = np.zeros((batch, D), np.float32)
        self._call = _Step(batch, D, H)
        # One cache line more, to begin on a cache line.
        self._packed = np.zeros(library.longshort_step_size(ctypes.byref(self._call)) + 16, "f4")
        start = -self._packed.ctypes.data % 64 // 4
        arrays: dict[str, Any] = dict(kernel=W, recurrent=U, bias=b, x=self._x, h=self.h, c=self.c)
        for name, array in (arrays | {"packed": self._packed[start:]}).items():
            setattr(self._call, name, None if array is None else array.ctypes.data)
        if error := library.longshort_step_pack(ctypes.byref(self._call)):
            raise KernelError(error.decode())
        for name in ("kernel", "recurrent", "bias"):  # they have been copied
            setattr(self._call, name, None)
        self._run, self._pointer = library.longshort_step_run, ctypes.byref(self._call)

    def __call__(self, x: ArrayLike) -> NDArray[np.float32]:
        """Take one step.

        Args:
            x: The inputs, shape (B, D), or (D,) where B is 1.

        Returns:
            h, shape (B, H); a copy.
        """
        x = np.asarray(x)
        if x.shape != self._x.shape and (1, *x.shape) != self._x.shape:
            raise DataError(f"LSTMStep: expected inputs of shape {self._x.shape}, got {x.shape}.")
        self._x[...] = x
        self._run(self._pointer)
        return self.h.copy()

    def reset(self) -> None:
        """Begin a new stream: h and c are zeros."""
        self.h[...] = 0.0
        self.c[...] = 0.0


def _float32(array: ArrayLike) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, np.float32)
