"""What kernel.py's contenders compute: the numbers, and how many operations they need."""

from __future__ import annotations

from typing import Any

import numpy as np

from turns import SHAPES, Array, lstm_weights

TASKS = ("train", "inference")
NAMES = ("kernel", "recurrent_kernel", "bias")


class Problem:
    """The same numbers in each process."""

    def __init__(self, shape_name: str, ragged: bool) -> None:
        rng = np.random.default_rng(0)
        B, T, D, H = self.shape = SHAPES[shape_name]
        self.layers = layers_of(shape_name)
        self.weights = [  # a layer after the other, each with its directions
            lstm_weights(rng, features, H)
            for features, directions in self.layers
            for _ in range(directions)
        ]
        width = H * self.layers[-1][1]
        self.x = rng.normal(size=(B, T, D)).astype(np.float32)
        self.cotangent = rng.normal(size=(B, T, width)).astype(np.float32)  # of outputs
        self.lengths: Array | None = None
        self.mask: Array | None = None
        if ragged:  # one length from each B-th of 1..T: uniform, and the mean is one half
            self.lengths = 1 + np.floor((rng.permutation(B) + 0.5) * T / B).astype(int)
            self.mask = np.arange(T) < self.lengths[:, None]
            self.x *= self.mask[:, :, None]
            self.cotangent *= self.mask[:, :, None]

    def arrays(self) -> list[Array]:
        """All weights in a row, as Keras' `get_weights` has them."""
        return [w[name] for w in self.weights for name in NAMES]

    def keras_model(self, LSTM: type, dtype: str = "float32") -> Any:
        """The layers as a Keras model with the weights set; `LSTM` is Keras' class or ours."""
        import keras

        _, T, D, H = self.shape
        model = keras.Sequential([keras.Input((T, D))])
        for _, directions in self.layers:
            layer = LSTM(H, return_sequences=True, dtype=dtype)
            model.add(keras.layers.Bidirectional(layer) if directions == 2 else layer)
        model.set_weights(self.arrays())
        return model

    def results(self, outputs: Array, gradients: list[Array]) -> dict[str, Array]:
        """What is compared; outputs under the padding are nobody's business."""
        outputs = np.asarray(outputs, np.float32)
        if self.mask is not None:
            outputs = outputs * self.mask[:, :, None]
        keys = [f"{name} {i}" for i in range(len(self.weights)) for name in NAMES]
        pairs = zip(keys, gradients, strict=True) if gradients else ()
        return {"outputs": outputs} | {k: np.asarray(g, np.float32) for k, g in pairs}


def layers_of(shape_name: str) -> list[tuple[int, int]]:
    """Features and directions of each layer."""
    _, _, D, H = SHAPES[shape_name]
    return [(D, 2), (2 * H, 2)] if shape_name == "bi2" else [(D, 1)]


def operations(shape_name: str, task: str) -> int:
    """Additions and multiplications of the products that the task needs.

    Forward: 8 B T H (D + H) a layer and direction. Training: three times that, less the gradient
    of the first layer's input, 8 B T H D a direction.
    """
    B, T, _, H = SHAPES[shape_name]
    layers = layers_of(shape_name)
    forward = sum(8 * B * T * H * (D + H) * directions for D, directions in layers)
    D, directions = layers[0]
    return forward if task == "inference" else 3 * forward - 8 * B * T * H * D * directions
