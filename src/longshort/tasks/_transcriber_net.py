"""The network of the transcriber: convolutions that shorten time, LSTMs, a layer of labels.

Axis letters: B recordings, T frames, D features, K labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longshort.tasks._scores import log_softmax
from longshort.tasks._seeded import seeded_layer, seeds_of

Array = NDArray[np.float32]

WIDTH = 5  # frames that a convolution sees
REDUCTIONS = (1, 2, 4, 8)


@dataclass(frozen=True)
class TranscriberShape:
    """What the network is built from.

    Attributes:
        features: D.
        labels: K; the network has K + 1 outputs, the blank first.
        channels: Of each convolution.
        reduction: Frames to one step of the LSTMs, a power of two.
        units: Of each LSTM and direction.
        num_layers: LSTMs.
        bidirectional: Whether each reads both ways.
        dropout: Share dropped before each LSTM and before the labels.
    """

    features: int
    labels: int
    channels: int
    reduction: int
    units: int
    num_layers: int
    bidirectional: bool
    dropout: float

    @property
    def strides(self) -> list[int]:
        """The stride of each convolution: two of them at least."""
        halvings = self.reduction.bit_length() - 1
        return [2] * halvings + [1] * (2 - halvings)

    def steps(self, frames: int) -> int:
        """Return the steps that so many frames become."""
        return -(-frames // self.reduction)


def build_transcriber(shape: TranscriberShape, seed: int, name: str | None = None) -> Any:
    """Return a model from features (B, T, D) and their mask (B, T) to logits (B, T', K + 1).

    Convolutions are causal: a step sees no frame behind its first one, so a recording in parts has
    the steps of the whole, and padding behind the end changes nothing.
    """
    import keras

    from longshort.layers import Conv1D

    seeds = seeds_of(seed)

    features = keras.Input((None, shape.features), name="features")
    mask = keras.Input((None,), dtype="bool", name="mask")
    x: Any = features
    for number, stride in enumerate(shape.strides, 1):
        x = Conv1D(
            shape.channels,
            WIDTH,
            strides=stride,
            padding="causal",
            activation="relu",
            kernel_initializer=keras.initializers.HeUniform(next(seeds)),
            name=f"convolution_{number}",
        )(x)
    steps = mask[:, :: shape.reduction]
    for number in range(shape.num_layers):
        below = x
        x = keras.layers.Dropout(shape.dropout, seed=next(seeds))(x)
        layer = seeded_layer(shape.units, seeds, shape.bidirectional, return_sequences=True)
        x = layer(x, mask=steps)
        if number:
            # A way around: what passes two LSTMs is faint at first, and all labels stay blanks.
            x = keras.layers.Add()([x, below])
    x = keras.layers.Dropout(shape.dropout, seed=next(seeds))(x)
    kernel = keras.initializers.GlorotUniform(next(seeds))
    logits = keras.layers.Dense(shape.labels + 1, kernel_initializer=kernel, name="logits")(x)
    return keras.Model((features, mask), logits, name=name)


class StreamingNet:
    """The same network without Keras, for one recording that comes in parts.

    Args:
        model: As from `build_transcriber`, not bidirectional.
    """

    def __init__(self, model: Any):
        from longshort.layers import LSTM

        self._convolutions, self._steps = [], []
        for layer in model.layers:
            if layer.name.startswith("convolution_"):
                self._convolutions.append(_StreamingConvolution(layer))
            elif isinstance(layer, LSTM):
                self._steps.append(layer.stream())
        self._kernel, self._bias = model.get_layer("logits").get_weights()

    def push(self, features: Array) -> Array:
        """Return the log probabilities (T', K + 1) that these frames (T, D) complete."""
        for convolution in self._convolutions:
            features = convolution.push(features)
        outputs = np.empty((len(features), len(self._kernel)), np.float32)
        for t, frame in enumerate(features):
            x = self._steps[0](frame)[0]
            for step in self._steps[1:]:
                x = x + step(x)[0]
            outputs[t] = x
        return log_softmax(outputs @ self._kernel + self._bias)


class _StreamingConvolution:
    def __init__(self, layer: Any):
        kernel, self._bias = layer.get_weights()
        self._kernel = kernel.reshape(-1, kernel.shape[-1])
        self._stride = layer.strides[0]
        # What lies before the first frame is zero, as it is with causal padding.
        self._left = np.zeros((WIDTH - 1, kernel.shape[1]), np.float32)

    def push(self, x: Array) -> Array:
        x = np.concatenate([self._left, x])
        count = max(0, -(-(len(x) - WIDTH + 1) // self._stride))
        if count == 0:
            self._left = x
            return np.zeros((0, len(self._bias)), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(x, WIDTH, axis=0)[:: self._stride]
        self._left = x[count * self._stride :]
        flat = windows.transpose(0, 2, 1).reshape(count, -1)
        return np.maximum(flat @ self._kernel + self._bias, 0.0)
