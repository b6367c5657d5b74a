"""Naive2, the benchmark of the M competitions: naive on seasonally adjusted values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longshort.tasks._baselines import naive

Array = NDArray[np.float64]

# The two-sided 90 % point of the normal distribution, rounded as the competition's code does.
_CRITICAL = 1.645


def naive2(x: ArrayLike, h: int, season_length: int) -> Array:
    """Forecast h steps by naive on a seasonally adjusted series, as the M4 competition does.

    With m `season_length` and the seasonal indices s of a multiplicative classical decomposition,

        f[k] = (x[-1] / s[L - 1]) s[L + k],  k from 0

    if x has a season by `is_seasonal`, else f[k] = x[-1] (Makridakis et al., 2020, "The M4
    Competition: 100,000 time series and 61 forecasting methods", section 2.2 and its published
    code). A series with a value of 0 or below has no such indices and is not adjusted. Unknown
    values (NaN) are left out of all means; the last value is the last known one.

    Args:
        x: (L,) history.
        h: Steps to forecast, H.
        season_length: Steps in a season, m; 1 for none.

    Returns:
        (H,) forecasts; NaN where no value is known.

    >>> naive2([2.0, 4.0] * 20, 3, season_length=2).round(6).tolist()
    [2.0, 4.0, 2.0]
    """
    y = np.asarray(x, np.float64)
    if y.ndim != 1 or len(y) == 0:
        raise ValueError(f"naive2: expected a history of shape (L,), got {y.shape}.")
    index = np.ones(season_length)
    if not (y <= 0).any() and is_seasonal(y, season_length):
        index = seasonal_indices(y, season_length)
    place = np.arange(len(y) + h) % season_length
    adjusted = y / index[place[: len(y)]]
    last: Array = naive(adjusted[None], h)[0]
    return last * index[place[len(y) :]]


def is_seasonal(x: ArrayLike, season_length: int) -> bool:
    """Say whether the autocorrelation at a season is significant at 90 %, as M4 tests it.

    With r the autocorrelations of x (L,) and m `season_length`,

        |r[m]| > 1.645 sqrt((1 + 2 (r[1]^2 + ... + r[m - 1]^2)) / L)

    False for fewer than 3 m values, for m = 1, and where nothing moves. Pairs with an unknown
    (NaN) end are left out; L is the number of known values.

    >>> is_seasonal([1.0, 5.0, 2.0, 8.0] * 5, 4), is_seasonal(range(30), 4)
    (True, False)
    """
    y = np.asarray(x, np.float64)
    m, known = season_length, ~np.isnan(y)
    if m <= 1 or known.sum() < 3 * m:
        return False
    moves = np.where(known, y - np.mean(y[known]), 0.0)
    power = float(moves @ moves)
    # Rounding of the mean alone must not count as movement.
    if power <= len(y) * (1e-12 * float(np.abs(y[known]).max())) ** 2:
        return False
    r = np.array([moves[k:] @ moves[:-k] for k in range(1, m + 1)]) / power
    limit = _CRITICAL * np.sqrt((1 + 2 * np.sum(r[:-1] ** 2)) / known.sum())
    return bool(abs(r[-1]) > limit)


def seasonal_indices(x: ArrayLike, season_length: int) -> Array:
    """Return the seasonal indices (m,) of a multiplicative classical decomposition, of mean 1.

    The trend is the centred moving average over m steps (2 x m for an even m); an index is the
    mean of x over trend at its place of the season, place 0 that of x[0]. A place whose ratio is
    never known has the index 1.

    Args:
        x: (L,) positive values, at least 2 m of them; NaN is unknown, and so is the trend
            wherever its window has one.
        season_length: Steps in a season, m.

    >>> seasonal_indices([1.0, 3.0] * 3, 2).tolist()
    [0.5, 1.5]
    """
    y, m = np.asarray(x, np.float64), season_length
    weights = np.ones(m) / m if m % 2 else np.array([0.5, *[1.0] * (m - 1), 0.5]) / m
    if len(y) < 2 * m:
        raise ValueError(f"seasonal_indices: expected at least {2 * m} values, got {len(y)}.")
    ratio = np.full(len(y), np.nan)
    half = len(weights) // 2
    ratio[half : len(y) - half] = y[half : len(y) - half] / np.convolve(y, weights, "valid")
    index = np.ones(m)
    for place in range(m):
        here = ratio[place::m]
        here = here[~np.isnan(here)]
        if len(here):
            index[place] = np.mean(here)
    return index / np.mean(index)
