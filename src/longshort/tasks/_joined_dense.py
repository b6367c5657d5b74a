"""A dense layer of two inputs side by side."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from longshort import layers

Tensor = Any


@keras.saving.register_keras_serializable("longshort", name="JoinedDense")
class Dense(layers.Dense):
    """Linear map of the rows of two inputs side by side, which the kernel reads as they lie.

        y = activation([a b] W + bias)

    Named as the layer that it is behind a concatenation: Keras finds weights in a file by that.

    Shapes:
        Inputs [(..., D1), (..., D2)], outputs (..., C); `kernel` is (D1 + D2, C).

    Example:
        >>> layer = JoinedDense(1, kernel_initializer="ones")
        >>> np.array(layer([np.ones((1, 2), "float32"), np.ones((1, 3), "float32")])).item()
        5.0
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.input_spec = None  # Keras' is of one input

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        super().build(self._joined(input_shape))
        self.input_spec = None

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        """Map the rows, in the kernel where it is faster."""
        first, second = inputs
        features = first.shape[-1] + second.shape[-1]
        if first.shape[:-1] == second.shape[:-1] and self._for_kernel(first, features):
            return self._by_kernel(first, second)
        return super().call(ops.concatenate(inputs, axis=-1), training=training)

    def compute_mask(self, *_: Any, **__: Any) -> None:
        """Return that the outputs have none, as those of a concatenation."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        return super().compute_output_shape(self._joined(input_shape))

    def _joined(self, shapes: Any) -> Any:
        first, second = shapes
        return (*first[:-1], first[-1] + second[-1])


JoinedDense = Dense
