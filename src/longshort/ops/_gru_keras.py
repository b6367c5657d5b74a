"""The GRU in `keras.ops`: any backend, any activation, any float type; slower than the kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from keras import ops

from longshort.ops._gru_inputs import ARRAYS, GRUInputs
from longshort.ops._scan import scan_first

Tensor = Any
Function = Callable[[Tensor], Tensor]


def gru(
    inputs: GRUInputs, activation: Function, recurrent_activation: Function
) -> tuple[Tensor, Tensor]:
    """`hs` (B, T, H) in the order of processing and the last h (B, H), in x's type."""
    dtype = inputs.x.dtype
    given = {name: getattr(inputs, name) for name in ARRAYS if name not in ("x", "mask")}
    a = replace(inputs, **{n: ops.cast(v, dtype) for n, v in given.items() if v is not None})
    H = a.recurrent_kernel.shape[0]
    U = ops.transpose(ops.reshape(a.recurrent_kernel, (H, 3, H)), (1, 0, 2))
    b = ops.zeros((2, 3, 1, H), dtype)  # of x, of h
    if a.bias is not None:
        b = ops.reshape(a.bias if a.reset_after else ops.stack([a.bias, a.bias * 0]), (2, 3, 1, H))
    x, mask = a.x, a.mask
    if a.reverse:
        x, mask = ops.flip(x, axis=1), None if mask is None else ops.flip(mask, axis=1)
    if a.x_dropout is None:
        z = ops.split(ops.matmul(x, a.kernel), 3, axis=-1)
    else:
        columns = ops.split(a.kernel, 3, axis=-1)
        z = [ops.matmul(x * a.x_dropout[g][:, None], columns[g]) for g in range(3)]
    steps = [ops.transpose(ops.stack(z, axis=0), (2, 0, 1, 3)) + b[0]]  # (T, 3, B, H)
    if mask is not None:
        steps.append(ops.transpose(mask)[..., None])

    def step(state: tuple[Tensor], now: list[Tensor]) -> tuple[Tensor]:
        (h,) = state
        left = ops.stack([h] * 3) if a.h_dropout is None else h * a.h_dropout
        gates = now[0][:2] + ops.matmul(left[:2], U[:2]) + b[1, :2]
        z, r = recurrent_activation(gates[0]), recurrent_activation(gates[1])
        if a.reset_after:
            of_h = r * (ops.matmul(left[2], U[2]) + b[1, 2])
        else:
            of_h = ops.matmul(r * left[2], U[2])
        new = z * h + (1 - z) * activation(now[0][2] + of_h)
        return (new if mask is None else ops.where(now[1], new, h),)

    h0 = ops.zeros((ops.shape(x)[0], H), dtype) if a.h0 is None else a.h0
    hs, (h,) = scan_first(step, (h0,), steps)
    return ops.transpose(hs, (1, 0, 2)), h
