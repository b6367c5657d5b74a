"""A softmax over few of many tokens, for training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

Tensor = Any


class SampledLogProbability(keras.layers.Layer):
    """Estimates log softmax at the targets from a sample of the tokens (Bengio and Senécal 2008).

        log p(t) ~ l_t - log(exp(l_t) + sum over samples s other than t of exp(l_s) / (S q(s)))

    The sum is that over all other tokens on average, so with many samples it is the softmax. Tokens
    are numbered from frequent to rare, and q(s) = log(1 + 1 / (s + 1)) / log(V + 1) falls with them
    as their frequencies do (log-uniform, as in Jean et al. 2015). All targets of a step share one
    sample: one product of matrices with S columns instead of V.

    Args:
        softmax: The layer of the whole softmax, whose weights are used: a `Dense`, or one with
            `embeddings` (V, E) and `bias`.
        num_tokens: V.
        num_sampled: S, draws for each step, with replacement.
        seed: Of the draws.

    Shapes:
        Outputs (B, T, E) and targets (B, T) to (B, T).
    """

    def __init__(
        self,
        softmax: keras.layers.Layer,
        num_tokens: int,
        num_sampled: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.softmax, self.num_tokens, self.num_sampled = softmax, num_tokens, num_sampled
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Draw, and estimate."""
        shape = ops.shape(targets)
        y = ops.reshape(outputs, (-1, outputs.shape[-1]))
        wanted = ops.reshape(targets, (-1,))
        whole = float(np.log(self.num_tokens + 1))
        u = keras.random.uniform((self.num_sampled,), seed=self.seed_generator)
        drawn = ops.cast(ops.floor(ops.exp(u * whole)), "int32") - 1
        drawn = ops.clip(drawn, 0, self.num_tokens - 1)
        rank = ops.cast(drawn, "float32") + 1.0
        log_expected = ops.log(ops.log1p(1.0 / rank) * (self.num_sampled / whole))
        kernel, bias = self._rows(drawn)
        logits = ops.matmul(y, ops.transpose(kernel)) + bias - log_expected
        hit = ops.equal(ops.expand_dims(wanted, -1), drawn)
        logits = ops.where(hit, -1e30, logits)
        kernel, bias = self._rows(wanted)
        own = ops.sum(y * kernel, axis=-1) + bias
        total = ops.logaddexp(own, ops.logsumexp(logits, axis=-1))
        return ops.reshape(own - total, shape)

    def _rows(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        bias = ops.take(self.softmax.bias, numbers)
        if isinstance(self.softmax, keras.layers.Dense):
            return ops.transpose(ops.take(self.softmax.kernel, numbers, axis=1)), bias
        return ops.take(self.softmax.embeddings, numbers, axis=0), bias

    def compute_output_shape(self, outputs_shape: Any, targets_shape: Any) -> Any:
        """Return (B, T)."""
        return targets_shape
