"""Other speakers and worse recordings out of those that there are: warps and SpecAugment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def spec_augment(
    features: Array,
    rng: np.random.Generator,
    *,
    time_masks: int = 2,
    max_time: int = 20,
    max_share: float = 0.2,
    frequency_masks: int = 2,
    max_frequency: int = 8,
) -> Array:
    """Return a copy of normalised features with some stripes set to 0, their mean.

    Masks of Park et al. (2019), "SpecAugment: A simple data augmentation method for automatic
    speech recognition"; no time warping, which they found to matter least.

    Args:
        features: (T, D), each column with mean 0.
        rng: Draws widths from 0 up to the greatest, and places, all evenly.
        time_masks: Stripes of steps.
        max_time: Steps of a stripe at most.
        max_share: The same as a share of T: a short word is not hidden whole.
        frequency_masks: Stripes of bands.
        max_frequency: Bands of a stripe at most.

    >>> hidden = spec_augment(np.ones((50, 10), np.float32), np.random.default_rng(0))
    >>> bool((hidden == 0).any()), hidden.shape
    (True, (50, 10))
    """
    features = features.copy()
    steps, bands = features.shape
    for _ in range(time_masks):
        first, last = _stripe(steps, min(max_time, int(max_share * steps)), rng)
        features[first:last] = 0.0
    for _ in range(frequency_masks):
        first, last = _stripe(bands, min(max_frequency, bands // 2), rng)
        features[:, first:last] = 0.0
    return features


def warp(
    features: Array,
    rng: np.random.Generator,
    *,
    tempo: float = 0.2,
    tract: float = 0.1,
    least: int = 1,
    most: int | None = None,
) -> Array:
    """Return features as of somebody who speaks faster or slower, with another vocal tract.

    Time runs at a rate drawn from 1 - `tempo` to 1 + `tempo`, and what is in band m comes from
    band a m, a drawn from 1 - `tract` to 1 + `tract`: nearly the scaling of all frequencies of
    Jaitly and Hinton (2013), "Vocal tract length perturbation (VTLP) improves speech recognition",
    done on the features, where it costs little enough to be drawn anew each time. Both are linear
    interpolations.

    Args:
        features: (T, D), bands in the order of their frequencies.
        rng: Draws both.
        tempo: Greatest change of the rate, as a share.
        tract: Greatest change of the frequencies, as a share.
        least: Steps of the result at least.
        most: Steps at most; None: any number.

    >>> fast = warp(np.eye(40, 9, dtype=np.float32), np.random.default_rng(0), tempo=0.5)
    >>> fast.shape
    (35, 9)
    """
    steps, bands = features.shape
    count = round(steps / rng.uniform(1 - tempo, 1 + tempo))
    count = max(least, 1, count if most is None else min(count, most))
    features = _interpolate(features, np.linspace(0, steps - 1, count))
    scaled = np.arange(bands) * rng.uniform(1 - tract, 1 + tract)
    return _interpolate(features.T, np.minimum(scaled, bands - 1)).T


def augmented(features: Array, least: int, most: int, rng: np.random.Generator) -> Array:
    """Return features after `warp` and `spec_augment`, of `least` to `most` steps."""
    return spec_augment(warp(features, rng, least=least, most=most), rng)


def _interpolate(x: Array, at: NDArray[np.float64]) -> Array:
    """Return the rows of x (n, ...) at places (m,) between 0 and n - 1."""
    below = at.astype(np.intp)
    above = np.minimum(below + 1, len(x) - 1)
    share = (at - below).astype(np.float32)[:, None]
    return np.asarray(x[below] * (1 - share) + x[above] * share)


def _stripe(size: int, most: int, rng: np.random.Generator) -> tuple[int, int]:
    width = int(rng.integers(0, most + 1))
    first = int(rng.integers(0, size - width + 1))
    return first, first + width
