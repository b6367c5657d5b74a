"""The network of the forecaster: an LSTM over segments of the window, one decoding step a segment.

A window of 336 hours is 14 days, not 336 steps: the LSTM reads a segment at a time, and the
forecast is decoded a segment at a time, all from the state at the end of the window, so no error
feeds on another (after SegRNN: Lin et al. 2023, "SegRNN: Segment recurrent neural network for
long-term time series forecasting").

Axis letters: B windows, L steps of input, H steps ahead, W steps of a segment, C channels of a
step, F channels known ahead, S values a series, M members, R outputs a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from longshort.tasks._seeded import seeded_lstm, seeds_of

Array = NDArray[Any]

LEAST_SEGMENTS = 7  # of a window; with fewer an LSTM has nothing to remember
MOST_STEPS = 64  # read one by one, where there is no season to go by


def segment_length(input_size: int, season_length: int) -> int:
    """Return W, the steps of a segment: a season if the window holds seven, else one step.

    Where the window does not divide into seasons, and of long windows without a season, it is the
    largest divisor that leaves seven segments, up to a season or a 64th of the window.

    >>> segment_length(336, 24), segment_length(24, 12), segment_length(96, 1)
    (24, 1, 2)
    """
    most = season_length if season_length > 1 else -(-input_size // MOST_STEPS)
    most = min(most, input_size // LEAST_SEGMENTS)
    if season_length > 1 and most < season_length and input_size <= MOST_STEPS:
        return 1
    return max((w for w in range(1, most + 1) if input_size % w == 0), default=1)


@dataclass(frozen=True)
class NetShape:
    """What the network is built from, and all of it.

    Attributes:
        input_size: L.
        h: H.
        segment: W, a divisor of L.
        outputs: R.
        units: Of each LSTM layer.
        num_layers: LSTM layers of the encoder.
        dropout: Share of features dropped before the last layer.
        num_members: M.
        channels: C, the scaled y among them.
        future_channels: F.
        static: S.
    """

    input_size: int
    h: int
    segment: int
    outputs: int
    units: int
    num_layers: int = 1
    dropout: float = 0.0
    num_members: int = 1
    channels: int = 1
    future_channels: int = 0
    static: int = 0

    @property
    def segments_ahead(self) -> int:
        """Segments to decode; the last one may reach beyond H."""
        return -(-self.h // self.segment)


@keras.saving.register_keras_serializable("longshort")
class SegmentDecoder(keras.layers.Layer):
    """One step of an LSTM from the encoder's state for each segment ahead: raw outputs (B, H, R).

    What tells segments apart is an embedding of their place, and what is known of them ahead. The
    last layer begins at zero, so that the untrained network says `start` for every window.

    Args:
        net: The shape of the network, or its fields by name.
        seed: Of weights and dropout.
        start: (H, R), the bias to begin with; None: zeros.
    """

    def __init__(self, net: NetShape | dict[str, Any], seed: int, start: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.net = net = net if isinstance(net, NetShape) else NetShape(**net)
        self.seed, self._start = seed, start
        seeds = seeds_of(seed)
        self._place_seed = next(seeds)
        glorot = _glorot(seeds)
        # A layer that is never built makes Keras trace the model anew in each `predict_on_batch`.
        if net.future_channels:
            self.known = keras.layers.Dense(net.units, kernel_initializer=glorot)
        self.lstm = seeded_lstm(net.units, seeds)
        self.dropout = keras.layers.Dropout(net.dropout, seed=next(seeds))
        outputs = net.segment * net.outputs
        self.head = keras.layers.Dense(outputs, use_bias=False, kernel_initializer="zeros")

    def build(self, *shapes: Any, **more: Any) -> None:
        """Create the weights."""
        net = self.net
        self.place = self.add_weight(
            shape=(net.segments_ahead, net.units),
            initializer=keras.initializers.RandomNormal(0.0, 0.5, seed=self._place_seed),
            name="place",
        )
        bias = np.zeros((net.h, net.outputs)) if self._start is None else np.asarray(self._start)
        self.bias = self.add_weight(
            shape=bias.shape,
            initializer=lambda *_a, **_k: ops.convert_to_tensor(bias.astype("float32")),
            name="bias",
        )
        if net.future_channels:
            self.known.build((None, net.segment * net.future_channels))
        self.lstm.build((None, 1, net.units))
        self.head.build((None, net.units))

    def call(self, h: Any, c: Any, future: Any = None, training: bool = False) -> Any:
        """Return raw outputs (B, H, R) for states (B, U) and what is known ahead (B, H, F)."""
        net, count = self.net, self.net.segments_ahead
        steps = ops.broadcast_to(self.place[None], (ops.shape(h)[0], count, net.units))
        if future is not None:
            beyond = count * net.segment - net.h
            future = ops.pad(future, [[0, 0], [0, beyond], [0, 0]])
            steps = steps + self.known(
                ops.reshape(future, (-1, count, net.segment * net.future_channels))
            )
        state = [ops.reshape(ops.repeat(s[:, None], count, 1), (-1, net.units)) for s in (h, c)]
        features = self.lstm(ops.reshape(steps, (-1, 1, net.units)), initial_state=state)
        raw = self.head(self.dropout(features, training=training))
        raw = ops.reshape(raw, (-1, count * net.segment, net.outputs))
        return raw[:, : net.h] + self.bias

    def get_config(self) -> dict[str, Any]:
        """Return the arguments; `start` is in the bias by now."""
        return super().get_config() | {"net": asdict(self.net), "seed": self.seed}


def build_net(shape: NetShape, starts: list[Any], seed: int) -> keras.Model:
    """Return a model from windows to raw outputs (B, M, H, R), M members side by side.

    Its inputs are a list: windows (B, L, C), then, where there are any, what is known of the steps
    ahead (B, H, F) and of the series (B, S).

    Every initializer and dropout has its own seed: Keras would draw one from Python's global
    random state otherwise.

    Args:
        shape: Of the network.
        starts: For each member the (H, R) bias to begin with, or None.
        seed: Of weights and dropout.
    """
    seeds = seeds_of(seed)
    window = keras.Input((shape.input_size, shape.channels), name="window")
    inputs, future, static = [window], None, None
    if shape.future_channels:
        future = keras.Input((shape.h, shape.future_channels), name="future")
        inputs.append(future)
    if shape.static:
        static = keras.Input((shape.static,), name="static")
        inputs.append(static)
    outputs = [
        ops.expand_dims(_member(shape, seeds, start, window, future, static), 1) for start in starts
    ]
    joined = ops.concatenate(outputs, axis=1) if len(outputs) > 1 else outputs[0]
    return keras.Model(inputs, joined, name="forecaster")


def _member(
    shape: NetShape, seeds: Iterator[int], start: Any, window: Any, future: Any, static: Any
) -> Any:
    count = shape.input_size // shape.segment
    x = ops.reshape(window, (-1, count, shape.segment * shape.channels))
    if static is not None:
        x = ops.concatenate([x, ops.repeat(static[:, None], count, 1)], -1)
    x = keras.layers.Dense(shape.units, activation="relu", kernel_initializer=_glorot(seeds))(x)
    for _ in range(shape.num_layers - 1):
        x = seeded_lstm(shape.units, seeds, return_sequences=True)(x)
    _, h, c = seeded_lstm(shape.units, seeds, return_state=True)(x)
    decode = SegmentDecoder(shape, next(seeds), start)
    return decode(h, c) if future is None else decode(h, c, future)


def _glorot(seeds: Iterator[int]) -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(next(seeds))
