"""The loss of a softmax over many tokens, together with its gradient."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any

ROWS = 256  # at once: products of fewer are slower, the logits of more leave the cache
MOST_LOGITS = 2**23  # in memory at once, 32 MB: fewer rows where there are many tokens


class TokenLoss(keras.layers.Layer):
    """Mean cross-entropy of tokens, with label smoothing (Szegedy et al. 2016).

        loss = mean over t of -(1 - share) log p_t(target_t) - share / V sum over v of log p_t(v)
        p_t = softmax(W y_t + b)

    The logits of all tokens would go from and to memory half a dozen times. So a few rows are
    taken at a time, and their gradient is found while their logits are at hand: it depends on
    nothing that comes later. Padding costs nothing.

    Args:
        softmax: The layer of the softmax, whose weights are used: a `Dense`, or one with
            `embeddings` (V, E) and `bias`.
        share: Of all tokens alike, 0 to 1.

    Shapes:
        Outputs y (B, T, E) and targets (B, T), 0 for padding, to (1,), nats.
    """

    def __init__(self, softmax: keras.layers.Layer, share: float = 0.0) -> None:
        super().__init__()
        self.softmax, self.share = softmax, share

    def call(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum up, portion by portion."""
        dense = isinstance(self.softmax, keras.layers.Dense)
        weights = self.softmax.kernel if dense else self.softmax.embeddings
        weights = ops.convert_to_tensor(weights)
        if dense:
            weights = ops.transpose(weights)
        y = ops.reshape(outputs, (-1, outputs.shape[-1]))
        targets = ops.reshape(targets, (-1,))
        most = min(ROWS, max(1, MOST_LOGITS // weights.shape[0]))
        portions = -(-y.shape[0] // most)
        size = min(most, -(-y.shape[0] // portions // 16) * 16)
        # What is padding comes last, and the portions end before it.
        order = ops.argsort(ops.cast(ops.equal(targets, 0), "int32"))
        more = -y.shape[0] % size
        y = ops.pad(ops.take(y, order, axis=0), ((0, more), (0, 0)))
        targets = ops.pad(ops.take(targets, order), ((0, more),))
        bias = ops.convert_to_tensor(self.softmax.bias)
        return _mean_loss(y, weights, bias, targets, size, self.share)

    def compute_output_shape(self, *_: Any) -> Any:
        """Return (1,)."""
        return (1,)


def as_it_is(_: Any, losses: Any) -> Any:
    """Return what a network computes as its loss, for Keras' `compile`."""
    return losses


def _mean_loss(
    y: Tensor, weights: Tensor, bias: Tensor, targets: Tensor, size: int, share: float
) -> Tensor:
    """Return the mean loss (1,) of rows (n, E), those with target 0 last, n a multiple of size."""
    num_tokens = weights.shape[0]
    numbers = ops.arange(num_tokens, dtype=targets.dtype)

    def portion(i: Tensor, sums: Any, y: Tensor, weights: Tensor, bias: Tensor) -> Any:
        """Add the loss of `size` rows, and its gradient."""
        loss, y_gradient, weights_gradient, bias_gradient = sums
        first = i * size
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
        label = (1.0 - share) * ops.cast(ops.equal(wanted, numbers), y.dtype) + share / num_tokens
        gradient = real * (powers / total - label)
        return (
            loss,
            ops.slice_update(y_gradient, (first, 0), ops.matmul(gradient, weights)),
            weights_gradient + ops.matmul(ops.transpose(gradient), rows),
            bias_gradient + ops.sum(gradient, axis=0),
        )

    @ops.custom_gradient
    def mean(y: Tensor, weights: Tensor, bias: Tensor) -> Any:
        count = ops.sum(ops.cast(ops.not_equal(targets, 0), "int32"))
        given = (y, weights, bias)
        start = (ops.zeros((), y.dtype), *map(ops.zeros_like, given))
        loss, *gradients = ops.fori_loop(
            0, (count + size - 1) // size, lambda i, sums: portion(i, sums, *given), start
        )
        count = ops.maximum(ops.cast(count, y.dtype), 1.0)

        def backward(*args: Tensor, upstream: Tensor = None) -> Any:
            factor = (args[0] if upstream is None else upstream) / count
            return tuple(factor * each for each in gradients)

        return ops.reshape(loss / count, (1,)), backward

    return mean(y, weights, bias)
