"""The loss of a softmax over many tokens, as a layer."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from longshort.ops._token_loss import token_loss

Tensor = Any


class TokenLoss(keras.layers.Layer):
    """Mean cross-entropy of tokens, with label smoothing (Szegedy et al. 2016).

        loss = mean over t of -(1 - share) log p_t(target_t) - share / V sum over v of log p_t(v)
        p_t = softmax(W y_t + b)

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
        """Return the loss of all rows."""
        dense = isinstance(self.softmax, keras.layers.Dense)
        weights = self.softmax.kernel if dense else self.softmax.embeddings
        return token_loss(
            ops.reshape(outputs, (-1, outputs.shape[-1])),
            ops.convert_to_tensor(weights),
            ops.convert_to_tensor(self.softmax.bias),
            ops.reshape(targets, (-1,)),
            self.share,
            by_values=dense,
        )

    def compute_output_shape(self, *_: Any) -> Any:
        """Return (1,)."""
        return (1,)


def as_it_is(_: Any, losses: Any) -> Any:
    """Return what a network computes as its loss, for Keras' `compile`."""
    return losses
