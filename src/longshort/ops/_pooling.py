"""The largest value and the mean of each channel over time: the kernel, or `keras.ops`."""

from __future__ import annotations

import functools
from typing import Any

from keras import ops

from longshort.ops._handlers import call, register
from longshort.ops._paths import machine_path

Tensor = Any

_LOW = -1e9


def pool(x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return largest value and mean of each channel over the real steps, (B, D) each.

    Zeros where no step is real. Steps that share the largest value share its gradient.

    Args:
        x: (B, T, D).
        real: (B, T) of booleans.
    """
    if machine_path().name == "kernel" and str(x.dtype) == "float32":
        return _by_kernel()(x, ops.cast(real, "bool"))
    return by_ops(x, real)


def by_ops(x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `pool` does, in `keras.ops`."""
    real = ops.expand_dims(real, -1)
    largest = ops.max(ops.where(real, x, _LOW), axis=1)
    count = ops.maximum(ops.sum(ops.cast(real, x.dtype), axis=1), 1.0)
    mean = ops.sum(ops.where(real, x, 0.0), axis=1) / count
    return ops.where(ops.any(real, axis=1), largest, 0.0), mean


@functools.cache
def _by_kernel() -> Any:
    import jax

    from longshort.ops._jax import no_derivative

    register("pool", "pool_gradient")

    gradient = no_derivative(call, "Pooling has no second derivatives.")

    @jax.custom_vjp
    def pooled(x: Tensor, real: Tensor) -> Any:
        return forward(x, real)[0]

    def forward(x: Tensor, real: Tensor) -> Any:
        shape = (x.shape[0], x.shape[2])
        largest, mean, ties = call(("pool", (shape,) * 3), x, real)
        return (largest, mean), (x, real, largest, ties)

    def backward(saved: Any, arriving: Any) -> Any:
        return gradient(("pool_gradient", (saved[0].shape,)), *saved, *arriving)[0], None

    pooled.defvjp(forward, backward)
    return pooled
