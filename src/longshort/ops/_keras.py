"""The LSTM in `keras.ops`: any backend, any activation, any float type; slower than the kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from longshort.ops._inputs import LSTMInputs

Tensor = Any


def lstm(
    inputs: LSTMInputs,
    activation: Callable[[Tensor], Tensor],
    recurrent_activation: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """`hs` (B, T, H) in the order of processing, the last h and c (B, H), in x's type.

    The products with the inputs of all steps are one; the loop is `keras.ops.scan`.
    """
    x, mask = inputs.x, inputs.mask

    def like_x(value: Tensor) -> Tensor:
        return None if value is None else ops.cast(value, x.dtype)

    kernel, recurrent_kernel = like_x(inputs.kernel), like_x(inputs.recurrent_kernel)
    bias, h0, c0 = like_x(inputs.bias), like_x(inputs.h0), like_x(inputs.c0)
    x_dropout, h_dropout = like_x(inputs.x_dropout), like_x(inputs.h_dropout)
    units = recurrent_kernel.shape[0]
    zeros = ops.zeros((ops.shape(x)[0], units), x.dtype)
    if inputs.reverse:
        x = ops.flip(x, axis=1)
        mask = None if mask is None else ops.flip(mask, axis=1)
    if x_dropout is None:
        zx = ops.split(ops.matmul(x, kernel), 4, axis=-1)
    else:
        columns = ops.split(kernel, 4, axis=-1)
        zx = [ops.matmul(x * x_dropout[g][:, None], columns[g]) for g in range(4)]
    zx = ops.stack(zx, axis=0)  # (4, B, T, H)
    if bias is not None:
        zx = zx + ops.reshape(bias, (4, 1, 1, units))
    initial = (zeros if h0 is None else h0, zeros if c0 is None else c0)
    recurrent = ops.transpose(ops.reshape(recurrent_kernel, (units, 4, units)), (1, 0, 2))
    steps = [ops.transpose(zx, (2, 0, 1, 3))]  # (T, 4, B, H)
    if mask is not None:
        steps.append(ops.transpose(mask)[..., None])  # (T, B, 1)

    def step(state: tuple[Tensor, Tensor], now: list[Tensor]) -> tuple[Any, Any]:
        h, c = state
        left = h if h_dropout is None else h * h_dropout
        z = now[0] + ops.matmul(left, recurrent)
        i, f, o = (recurrent_activation(z[g]) for g in (0, 1, 3))
        c_new = f * c + i * activation(z[2])
        h_new = o * activation(c_new)
        if mask is not None:
            h_new, c_new = ops.where(now[1], h_new, h), ops.where(now[1], c_new, c)
        # Keras on TensorFlow wants what is stacked to be of the carried state's structure.
        return (h_new, c_new), (h_new, c_new)

    (h, c), (hs, _) = ops.scan(step, initial, steps)
    return ops.transpose(hs, (1, 0, 2)), h, c
