"""A dense layer over many rows: the kernel."""

from __future__ import annotations

import functools
from typing import Any

from longshort.ops._handlers import call, register

Tensor = Any


def dense(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return y = x W + b, (n, C). The kernels must be there; second derivatives are XLA's.

    Args:
        x: (n, D) float32.
        kernel: W, (D, C).
        bias: b, (C,), or None.
    """
    import jax.numpy as jnp

    return _by_kernel()(x, kernel, jnp.zeros((0,), x.dtype) if bias is None else bias)


def _differentiable(by_kernel: Any, by_xla: Any) -> Any:
    """Return `by_kernel` with the derivatives of `by_xla`."""
    import jax

    function = jax.custom_vjp(by_kernel)
    function.defvjp(
        lambda *given: (by_kernel(*given), given),
        lambda given, arriving: jax.vjp(by_xla, *given)[1](arriving),
    )
    return function


@functools.cache
def _by_kernel() -> Any:
    import jax

    register("dense", "dense_input", "dense_weights")

    def of_kernel(x: Tensor, dy: Tensor) -> Any:
        return tuple(call(("dense_weights", ((x.shape[1], dy.shape[1]), dy.shape[1:])), x, dy))

    def of_x(kernel: Tensor, dy: Tensor) -> Any:
        return call(("dense_input", ((dy.shape[0], kernel.shape[0]),)), kernel, dy)[0]

    # Calls of their own: XLA drops the second where nobody asks, as for a first layer.
    of_kernel = _differentiable(of_kernel, lambda x, dy: (x.T @ dy, dy.sum(axis=0)))
    of_x = _differentiable(of_x, lambda kernel, dy: dy @ kernel.T)

    @jax.custom_vjp
    def layer(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        return call(("dense", ((x.shape[0], kernel.shape[1]),)), x, kernel, bias)[0]

    def forward(x: Tensor, kernel: Tensor, bias: Tensor) -> Any:
        return layer(x, kernel, bias), (x, kernel, bias)

    def backward(saved: Any, dy: Tensor) -> Any:
        x, kernel, bias = saved
        dkernel, dbias = of_kernel(x, dy)
        return of_x(kernel, dy), dkernel, dbias if bias.size else bias

    layer.defvjp(forward, backward)
    return layer
