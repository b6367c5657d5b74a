"""How wide intervals usually are, where few windows were held out to say it.

A few windows say little of widths, and a network that few windows taught even less: where the
window it reads was wild, or it works on logarithms, its intervals may be a hundred times as wide as
anything that happened. So there they are drawn towards the errors of naive forecasts over the whole
series.

Axis letters: S series, T time, H steps ahead, I intervals, from the widest, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from longshort.tasks._quantiles import conformal_rank

Array = NDArray[np.float64]

USUAL_WINDOWS = 4  # as if so many windows had asked for the usual widths
ENOUGH_WINDOWS = 200  # of so many, nothing else is asked
MOST_APART = 10.0  # of usual widths and those of a forecast, as a factor
LEAST_ERRORS = 8  # fewer say nothing


def trust_in(num_windows: float) -> float:
    """Return the weight of widths that so many held-out windows asked for: 0 to 1.

    Args:
        num_windows: Windows, of all series, that do not overlap.

    >>> trust_in(4), trust_in(1000)
    (0.5, 1.0)
    """
    return 1.0 if num_windows >= ENOUGH_WINDOWS else num_windows / (num_windows + USUAL_WINDOWS)


def usual_widths(
    y: Array, h: int, season_length: int, quantiles: Sequence[float], *, log: bool = False
) -> Array:
    """Return half widths (H, I) that the errors of a naive forecast ask for.

    From every time of the series on, the naive and the seasonal naive forecast are made, plus their
    mean error, which is drift. The quantile of their absolute errors is taken, at the interval's
    level and with the rank of split conformal prediction; the smaller of the two counts. A step at
    which no eight errors are known has the widths of the one before it, and NaN if there is none.

    Args:
        y: A series (T,), NaN where it is not known.
        h: Steps ahead, H.
        season_length: Steps of a season.
        quantiles: Both ends of I central intervals and the median, rising.
        log: Whether the errors are those of log y; values that have none are not known.

    >>> y = np.arange(20.0) + np.tile([0.0, 3.0], 10)
    >>> usual_widths(y, 2, 2, [0.1, 0.5, 0.9]).tolist()
    [[0.0], [0.0]]
    """
    if log:
        y = np.log(y, out=np.full(len(y), np.nan), where=y > 0)
    levels = [upper - lower for lower, upper in zip(quantiles, reversed(quantiles), strict=True)]
    levels = levels[: len(quantiles) // 2]
    widths = np.full((h, len(levels)), np.nan)
    seasonal: dict[int, Array] = {}  # the same for all steps of a season
    for k in range(1, h + 1):
        season = -(-k // season_length) * season_length
        if season not in seasonal:
            seasonal[season] = _widths(y, season, levels)
        widths[k - 1] = np.fmin(_widths(y, k, levels), seasonal[season])
        if np.isnan(widths[k - 1]).any() and k > 1:
            widths[k - 1] = widths[k - 2]
    return widths


def _widths(y: Array, lag: int, levels: Sequence[float]) -> Array:
    errors = y[lag:] - y[:-lag]
    errors = errors[~np.isnan(errors)]
    n = len(errors)
    if n < LEAST_ERRORS:
        return np.full(len(levels), np.nan)
    away = np.sort(np.abs(errors - errors.mean()))
    found: Array = away[[conformal_rank(n, level) - 1 for level in levels]]
    # Overlapping errors are n / lag independent ones, so that their own mean takes from them, and
    # the mean of the future is not theirs.
    return found * np.sqrt(1 + 2 * lag / n)


def drawn_to_usual(forecasts: Array, usual: Array, trust: float) -> Array:
    """Return quantiles (..., Q) whose half widths are averaged with the usual ones.

        w' = w^trust usual^(1 - trust)

    Args:
        forecasts: Quantiles (..., Q), rising.
        usual: Half widths (..., I) in the same units, NaN where they are not known; more than
            `MOST_APART` times those of the forecast, or less than a `MOST_APART`-th, count as that.
        trust: Weight of the forecast's own widths, 0 to 1.

    >>> drawn_to_usual(np.array([-4.0, 0.0, 4.0]), np.array([1.0]), 0.5).tolist()
    [-2.0, 0.0, 2.0]
    """
    n = forecasts.shape[-1] // 2
    middle = forecasts[..., n : n + 1]
    widths = np.abs(forecasts - middle)
    mirrored = np.concatenate([usual, widths[..., n : n + 1], usual[..., ::-1]], axis=-1)
    mirrored = np.where(np.isnan(mirrored), widths, mirrored)
    mirrored = np.clip(mirrored, widths / MOST_APART, widths * MOST_APART)
    averaged = widths**trust * mirrored ** (1.0 - trust)
    drawn: Array = middle + np.sign(forecasts - middle) * averaged
    return drawn
