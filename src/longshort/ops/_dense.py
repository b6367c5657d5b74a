"""A dense layer over many rows: the kernel."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from longshort.ops._handlers import call, register
from longshort.ops._library import ACTIVATIONS

Tensor = Any


def dense(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    activation: str = "linear",
    more: Tensor | None = None,
) -> Tensor:
    """Return y = f([x more] W + b), (n, C).

    The kernels must be there; second derivatives are XLA's.

    Args:
        x: (n, D1) float32.
        kernel: W, (D1 + D2, C).
        bias: b, (C,), or None.
        activation: f, one of the kernels' `ACTIVATIONS`.
        more: (n, D2), what is behind x in a row, or None.

    Raises:
        KernelError: The library is missing.
    """
    import jax.numpy as jnp

    none = jnp.zeros((0,), x.dtype)
    more = jnp.zeros((x.shape[0], 0), x.dtype) if more is None else more
    return _by_kernel(activation)(x, more, kernel, none if bias is None else bias)


def _slope(activation: str, y: Tensor) -> Tensor:
    """Return f' where f is y."""
    import jax.numpy as jnp

    if activation == "tanh":
        return 1 - y * y
    if activation == "softsign":
        return (1 - jnp.abs(y)) ** 2
    return (y > 0).astype(y.dtype) if activation == "relu" else 1.0


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
def _by_kernel(activation: str) -> Any:
    import jax
    import jax.numpy as jnp

    register("dense", "dense_input", "dense_weights")
    code = {"activation": np.int32(ACTIVATIONS.index(activation))}

    def of_kernel(x: Tensor, more: Tensor, dy: Tensor, y: Tensor) -> Any:
        shapes = ((x.shape[1] + more.shape[1], dy.shape[1]), dy.shape[1:])
        return tuple(call(("dense_weights", shapes), x, more, dy, y, **code))

    def of_kernel_by_xla(x: Tensor, more: Tensor, dy: Tensor, y: Tensor) -> Any:
        dz = dy * _slope(activation, y)
        return jnp.concatenate([x, more], axis=1).T @ dz, dz.sum(axis=0)

    def of_x(size: int) -> Any:
        """Return what gives the gradients of x, of so many features, and of what is behind it."""

        def by_kernel(kernel: Tensor, dy: Tensor, y: Tensor) -> Any:
            shapes = tuple((dy.shape[0], D) for D in (size, kernel.shape[0] - size))
            return tuple(call(("dense_input", shapes), kernel, dy, y, **code))

        def by_xla(kernel: Tensor, dy: Tensor, y: Tensor) -> Any:
            dx = (dy * _slope(activation, y)) @ kernel.T
            return dx[:, :size], dx[:, size:]

        return _differentiable(by_kernel, by_xla)

    # Calls of their own: XLA drops the second where nobody asks, as for a first layer.
    of_kernel = _differentiable(of_kernel, of_kernel_by_xla)

    @jax.custom_vjp
    def layer(x: Tensor, more: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        shapes = ((x.shape[0], kernel.shape[1]),)
        return call(("dense", shapes), x, more, kernel, bias, **code)[0]

    def forward(x: Tensor, more: Tensor, kernel: Tensor, bias: Tensor) -> Any:
        y = layer(x, more, kernel, bias)
        return y, (x, more, kernel, bias, x[:0] if activation == "linear" else y)

    def backward(saved: Any, dy: Tensor) -> Any:
        x, more, kernel, bias, y = saved
        dkernel, dbias = of_kernel(x, more, dy, y)
        return *of_x(x.shape[1])(kernel, dy, y), dkernel, dbias if bias.size else bias

    layer.defvjp(forward, backward)
    return layer
