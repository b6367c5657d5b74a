"""SpecAugment: hide stripes of time and of frequency from a recogniser in training."""

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


def _stripe(size: int, most: int, rng: np.random.Generator) -> tuple[int, int]:
    width = int(rng.integers(0, most + 1))
    first = int(rng.integers(0, size - width + 1))
    return first, first + width
