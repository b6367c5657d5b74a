"""A decoder that reads at each step what the softmax of the last one read (Luong et al. 2015)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any


@keras.saving.register_keras_serializable("longshort")
class InputFeeding(keras.layers.Layer):
    """Runs one step of a decoder over a whole target, where each needs the outcome of the last.

    Args:
        step: Of a single candidate: vector (B, 1, E), what to multiply both LSTMs' outputs with
            (B, 1, H), values, keys, mask and states (B, 1, each), the last of them what is fed, to
            what the softmax reads (B, 1, E), attention (B, 1, S) and the states after it.
        dropout: Share of the LSTMs' outputs dropped in training.
        seeds: Two, of the noise.
        kwargs: `name`, `dtype`.

    Shapes:
        Vectors (B, T, E), values and keys (B, S, H), mask (B, S) and states (B, each) to what the
        softmax reads (B, T, E), attention (B, T, S) and the states behind the last step, padding
        counted as steps.
    """

    def __init__(self, step: keras.Model, dropout: float, seeds: list[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step, self.dropout, self.seeds = step, dropout, seeds
        self.noise = [keras.layers.Dropout(dropout, seed=seed) for seed in seeds]

    def call(
        self, vectors: Tensor, values: Tensor, keys: Tensor, mask: Tensor, *states: Tensor
    ) -> Any:
        """Decode; see the class."""
        shape = (*ops.shape(vectors)[:2], values.shape[-1])
        kept = [noise(ops.ones(shape, vectors.dtype)) for noise in self.noise]
        # Copies do not have the masks that Keras ties to tensors, and warns of at each step.
        values, keys = ops.copy(values), ops.copy(keys)
        steps = tuple(ops.transpose(each, (1, 0, 2)) for each in (vectors, *kept))

        def advance(before: Any, x: Any) -> Any:
            given = [ops.expand_dims(each, 1) for each in (*x, *before[1:])]
            found = self.step([*given[:3], values, keys, mask, *given[3:]])
            _, *after = (ops.squeeze(each, 1) for each in found)
            return (tuple(after),) * 2

        # Stacked as a whole, attention too: what Keras stacks on TensorFlow is of the structure of
        # the state, and on JAX what nobody reads is left out.
        first = ops.zeros_like(values[:, :, 0])
        (_, *after), (weights, *_, combined) = ops.scan(advance, (first, *states), steps)
        return [*(ops.transpose(each, (1, 0, 2)) for each in (combined, weights)), *after]

    def compute_output_spec(
        self, vectors: Any, values: Any, keys: Any, mask: Any, *states: Any
    ) -> Any:
        """Return shapes and types of all outputs."""
        weights = (*vectors.shape[:2], values.shape[1])
        shapes = [vectors.shape, weights, *(state.shape for state in states)]
        return [keras.KerasTensor(shape, self.compute_dtype) for shape in shapes]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        own = {"dropout": self.dropout, "seeds": list(self.seeds)}
        step = keras.saving.serialize_keras_object(self.step)
        return super().get_config() | own | {"step": step}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InputFeeding:
        """Build the layer, and the step, anew."""
        step = keras.saving.deserialize_keras_object(config["step"])
        return cls(**config | {"step": step})
