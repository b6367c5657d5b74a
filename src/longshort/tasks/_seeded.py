"""Seeds for all that draws in a network: where there is none, Keras takes one from global state."""

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
