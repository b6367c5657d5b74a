"""A convolution over time: the kernel."""

from __future__ import annotations

import functools
from typing import Any

from longshort.ops._handlers import call, register

Tensor = Any


def convolve(x: Tensor, kernel: Tensor, bias: Tensor, stride: int, padding: str) -> Tensor:
    """Return y_t = bias + sum over j of x_{t stride - left + j} kernel_j, (B, T', C).

    Zero lies around x, and `padding` says how much of it counts, as in `keras.layers.Conv1D`. The
    kernels must be there.

    Args:
        x: (B, T, D) float32.
        kernel: (width, D, C).
        bias: (C,).
        stride: Frames from one window to the next.
        padding: `valid`, `same` or `causal`.

    Raises:
        ValueError: No window fits.
        KernelError: A second derivative is asked for.
    """
    left, steps = _windows(x.shape[1], kernel.shape[0], stride, padding)
    if steps == 0 and padding != "same":
        width, T = kernel.shape[0], x.shape[1]
        raise ValueError(f"Conv1D: expected inputs of at least {width} steps, got {T}.")
    return _by_kernel(stride, left, steps)(x, kernel, bias)


def _windows(T: int, width: int, stride: int, padding: str) -> tuple[int, int]:
    """Return how many frames the first window begins before the first one, and the windows.

    >>> _windows(10, 5, 2, "causal"), _windows(10, 5, 2, "same"), _windows(10, 5, 2, "valid")
    ((4, 5), (1, 5), (0, 3))
    """
    if padding == "valid":
        return 0, max(0, (T - width) // stride + 1)
    steps = -(-T // stride)
    both = max(0, (steps - 1) * stride + width - T)
    return width - 1 if padding == "causal" else both // 2, steps


@functools.cache
def _by_kernel(stride: int, left: int, steps: int) -> Any:
    import jax
    import numpy as np

    from longshort.ops._jax import no_derivative

    register("convolution", "convolution_weights", "convolution_input")

    run = functools.partial(call, stride=np.int64(stride), left=np.int64(left))
    gradient = no_derivative(
        run, "Conv1D has no second derivatives. Use keras.layers.Conv1D where you need them."
    )

    @jax.custom_vjp
    def convolution(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        shape = (x.shape[0], steps, kernel.shape[2])
        return run(("convolution", (shape,)), x, kernel, bias)[0]

    def forward(x: Tensor, kernel: Tensor, bias: Tensor) -> Any:
        return convolution(x, kernel, bias), (x, kernel)

    def backward(saved: Any, arriving: Tensor) -> Any:
        x, kernel = saved
        shapes = (kernel.shape, kernel.shape[2:])
        of_weights = gradient(("convolution_weights", shapes), x, arriving)
        # A call of its own: XLA drops it where nobody asks, as below a first layer.
        (of_x,) = gradient(("convolution_input", (x.shape,)), kernel, arriving)
        return of_x, *of_weights

    convolution.defvjp(forward, backward)
    return convolution
