"""A dense layer over many rows: the kernel."""

from __future__ import annotations

import functools
from typing import Any

from longshort.ops._handlers import call, register

Tensor = Any


def dense(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return y = x W + b, (n, C). The kernels must be there.

    Args:
        x: (n, D) float32.
        kernel: W, (D, C).
        bias: b, (C,), or None.

    Raises:
        KernelError: A second derivative is asked for.
    """
    import jax.numpy as jnp

    return _by_kernel()(x, kernel, jnp.zeros((0,), x.dtype) if bias is None else bias)


@functools.cache
def _by_kernel() -> Any:
    import jax

    from longshort.ops._jax import no_derivative

    register("dense", "dense_input", "dense_weights")

    gradient = no_derivative(
        call, "Dense has no second derivatives. Use keras.layers.Dense where you need them."
    )

    @jax.custom_vjp
    def layer(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        return call(("dense", ((x.shape[0], kernel.shape[1]),)), x, kernel, bias)[0]

    def forward(x: Tensor, kernel: Tensor, bias: Tensor) -> Any:
        return layer(x, kernel, bias), (x, kernel, bias)

    def backward(saved: Any, dy: Tensor) -> Any:
        x, kernel, bias = saved
        of_kernel, of_bias = gradient(("dense_weights", (kernel.shape, kernel.shape[1:])), x, dy)
        # A call of its own: XLA drops it where nobody asks, as for a first layer.
        (of_x,) = gradient(("dense_input", (x.shape,)), kernel, dy)
        return of_x, of_kernel, of_bias if bias.size else bias

    layer.defvjp(forward, backward)
    return layer
