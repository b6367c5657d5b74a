"""The loss of a softmax over many tokens together with its gradient: the kernel, or `keras.ops`.

    loss = mean over t of -(1 - share) log p_t(target_t) - share / V sum over v of log p_t(v)
    p_t = softmax(W y_t + b)

The logits of all tokens would go from and to memory half a dozen times. So a few rows are taken at
a time, and their gradient is found while their logits are at hand: it depends on nothing that comes
later. Padding costs nothing.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from longshort.ops._handlers import call, register
from longshort.ops._paths import machine_path
from longshort.ops._rounding import rounds

Tensor = Any

ROWS = 256  # at once: products of fewer are slower, the logits of more leave the cache
MOST_LOGITS = 2**23  # in memory at once, 32 MB: fewer rows where there are many tokens


def token_loss(
    y: Tensor, weights: Tensor, bias: Tensor, targets: Tensor, share: float, by_values: bool
) -> Tensor:
    """Return the mean loss, (1,), nats; 0 where all is padding.

    Args:
        y: (n, E).
        weights: W, (V, E), or (E, V) if `by_values`.
        bias: (V,).
        targets: (n,) from 1 to V - 1, 0 for padding.
        share: Of all tokens alike, 0 to 1.
        by_values: Whether the first axis of the weights is that of the values.
    """
    fused = machine_path().name == "kernel" and str(y.dtype) == "float32"
    with_gradient = _by_kernel if fused else _by_portions

    @ops.custom_gradient
    def mean(y: Tensor, weights: Tensor, bias: Tensor) -> Any:
        loss, *gradients = with_gradient(y, weights, bias, targets, share, by_values)

        def backward(*args: Tensor, upstream: Tensor = None) -> Any:
            factor = args[0] if upstream is None else upstream
            return tuple(factor * each for each in gradients)

        return loss, backward

    return mean(y, weights, bias)


def _by_kernel(
    y: Tensor, weights: Tensor, bias: Tensor, targets: Tensor, share: float, by_values: bool
) -> Any:
    import numpy as np

    register("token_loss")
    shapes = ((1,), y.shape, weights.shape, bias.shape)
    words = {"by_values": by_values, "bfloat16": rounds("float32"), "share": np.float64(share)}
    given = (y, weights, bias, ops.cast(targets, "int32"))
    return call(("token_loss", shapes), *given, **words)


def _by_portions(
    y: Tensor, weights: Tensor, bias: Tensor, targets: Tensor, share: float, by_values: bool
) -> Any:
    """Sum up, portion by portion."""
    if by_values:
        weights = ops.transpose(weights)
    most = min(ROWS, max(1, MOST_LOGITS // weights.shape[0]))
    portions = -(-y.shape[0] // most)
    size = min(most, -(-y.shape[0] // portions // 16) * 16)
    # What is padding comes last, and the portions end before it.
    order = ops.argsort(ops.cast(ops.equal(targets, 0), "int32"))
    more = -y.shape[0] % size
    rows = ops.pad(ops.take(y, order, axis=0), ((0, more), (0, 0)))
    wanted = ops.pad(ops.take(targets, order), ((0, more),))
    count = ops.sum(ops.cast(ops.not_equal(targets, 0), "int32"))
    start = (ops.zeros((), y.dtype), *map(ops.zeros_like, (rows, weights, bias)))
    loss, y_gradient, weights_gradient, bias_gradient = ops.fori_loop(
        0,
        (count + size - 1) // size,
        lambda i, sums: _portion(i * size, size, sums, rows, weights, bias, wanted, share),
        start,
    )
    count = ops.maximum(ops.cast(count, y.dtype), 1.0)
    back = ops.take(y_gradient, ops.argsort(order), axis=0)
    if by_values:
        weights_gradient = ops.transpose(weights_gradient)
    gradients = (each / count for each in (back, weights_gradient, bias_gradient))
    return ops.reshape(loss / count, (1,)), *gradients


def _portion(
    first: Tensor,
    size: int,
    sums: Any,
    y: Tensor,
    weights: Tensor,
    bias: Tensor,
    targets: Tensor,
    share: float,
) -> Any:
    """Add the loss of `size` rows, and its gradient."""
    loss, y_gradient, weights_gradient, bias_gradient = sums
    num_tokens = weights.shape[0]
    rows = ops.slice(y, (first, 0), (size, y.shape[1]))
    wanted = ops.expand_dims(ops.slice(targets, (first,), (size,)), -1)
    real = ops.cast(ops.not_equal(wanted, 0), y.dtype)
    logits = ops.matmul(rows, ops.transpose(weights)) + bias
    highest = ops.max(logits, axis=-1, keepdims=True)
    powers = ops.exp(logits - highest)
    total = ops.sum(powers, axis=-1, keepdims=True)
    fit = (1.0 - share) * ops.take_along_axis(logits, wanted, axis=-1)
    if share:
        fit = fit + share * ops.mean(logits, axis=-1, keepdims=True)
    loss = loss + ops.sum(real * (highest + ops.log(total) - fit))
    # The target is compared, not scattered into zeros, which XLA does one by one.
    numbers = ops.arange(num_tokens, dtype=targets.dtype)
    label = (1.0 - share) * ops.cast(ops.equal(wanted, numbers), y.dtype) + share / num_tokens
    gradient = real * (powers / total - label)
    return (
        loss,
        ops.slice_update(y_gradient, (first, 0), ops.matmul(gradient, weights)),
        weights_gradient + ops.matmul(ops.transpose(gradient), rows),
        bias_gradient + ops.sum(gradient, axis=0),
    )
