"""One recording as another speaker, another microphone and another room might have made it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._mel import check_features
from longshort.data._spec_augment import warp

Array = NDArray[np.float32]

CURVE = 0.5  # deviation of what a microphone or voice adds to a band, logarithm of power
QUIETEST, LOUDEST = -9.0, -3.5  # of noise, to the loudest value of all: 39 and 15 dB below it
FLICKER = 0.3  # deviation of a value of noise from the noise's level


def varied(
    features: Array,
    rng: np.random.Generator,
    *,
    cut: float = 0.25,
    noise: float = 0.5,
    tempo: float = 0.2,
    tract: float = 0.1,
) -> Array:
    """Return log-mel features as another speaker, microphone or room might have made them.

    What a few speakers have in common, their microphones and how closely their recordings were cut,
    is no part of a word; a network that sees each recording with its own share of them learns the
    word. Each call draws anew: parts that are cut off at either end, each with probability 1/2; a
    smooth curve over the bands, which is added; with probability `noise`, noise that is 15 to 39 dB
    below the loudest value in the middle bands, more or less in those above and below; and another
    tempo and vocal tract.

    Args:
        features: (T, D) of `LogMel`, bands in the order of their frequencies.
        rng: Draws all of it.
        cut: Greatest share of the steps that one end loses, below 0.5.
        noise: Probability of noise.
        tempo: Greatest change of the tempo, as a share, below 1.
        tract: Greatest change of the frequencies, as a share, below 1.

    Raises:
        DataError: If features have another shape, or a share is out of range.

    >>> rng = np.random.default_rng(0)
    >>> varied(np.zeros((50, 24), np.float32), rng).shape
    (39, 24)
    """
    features = check_features("varied", features)
    for name, share, end in (("cut", cut, 0.5), ("tempo", tempo, 1.0), ("tract", tract, 1.0)):
        if not 0 <= share < end:
            raise DataError(f"varied: {name} must be from 0 on and below {end:g}, got {share}.")
    if not 0 <= noise <= 1:
        raise DataError(f"varied: noise must be from 0 to 1, got {noise}.")
    features = _curved(_cut(features, cut, rng), rng)
    if rng.random() < noise:
        features = _noisy(features, rng)
    return warp(features, rng, tempo=tempo, tract=tract)


def _curved(x: Array, rng: np.random.Generator) -> Array:
    band = np.arange(x.shape[1]) / x.shape[1]
    curves = 2 * band - 1, 0.7 * np.cos(2 * np.pi * band), 0.5 * np.cos(3 * np.pi * band)
    return x + (CURVE * rng.normal(size=3) @ np.stack(curves)).astype(np.float32)


def _cut(x: Array, most: float, rng: np.random.Generator) -> Array:
    first, last = (rng.uniform(0, most, 2) * (rng.random(2) < 0.5) * len(x)).astype(int)
    return x[first : max(first + 1, len(x) - last)]


def _noisy(x: Array, rng: np.random.Generator) -> Array:
    level = x.max() + rng.uniform(QUIETEST, LOUDEST)
    level = level + rng.normal() * np.linspace(-1, 1, x.shape[1])
    return np.logaddexp(x, level + FLICKER * rng.normal(size=x.shape)).astype(np.float32)
