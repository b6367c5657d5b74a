"""LSTM layers of a network, with seeds: where there is none, Keras takes one from global state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def seeds_of(seed: int) -> Iterator[int]:
    """Yield seeds without end, the same ones for the same `seed`.

    >>> one, other = seeds_of(3), seeds_of(3)
    >>> [next(one), next(one)] == [next(other), next(other)]
    True
    """
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(1, 2**31 - 1))


def seeded_lstm(units: int, seeds: Iterator[int], **options: Any) -> Any:
    """Return a `longshort.layers.LSTM` whose weights and dropout take the next three seeds."""
    import keras

    from longshort.layers import LSTM

    return LSTM(
        units,
        kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
        recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
        seed=next(seeds),
        **options,
    )


def seeded_layer(units: int, seeds: Iterator[int], bidirectional: bool, **options: Any) -> Any:
    """Return a `seeded_lstm`, or two in a `longshort.layers.Bidirectional`."""
    from longshort.layers import Bidirectional

    layer = seeded_lstm(units, seeds, **options)
    if not bidirectional:
        return layer
    back = seeded_lstm(units, seeds, go_backwards=True, **options)
    return Bidirectional(layer, backward_layer=back)


def num_lstm_weights(features: int, units: int, num_layers: int, bidirectional: bool) -> int:
    """Return how many weights such layers have one above the other, less the biases.

    >>> num_lstm_weights(3, 5, 1, False)
    160
    """
    ways = 2 if bidirectional else 1
    rows = features + units + (num_layers - 1) * (ways + 1) * units
    return ways * 4 * units * rows
