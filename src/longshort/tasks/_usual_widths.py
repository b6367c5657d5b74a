"""How wide intervals usually are: as wide as the errors of the better naive forecast with drift.

Axis letters: T time, H steps ahead, I intervals, from the widest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MARGIN = 1.1  # the drift is known where its errors are measured


def usual_widths(
    y: Array, h: int, season_length: int, quantiles: Sequence[float], *, log: bool = False
) -> Array:
    """Return half widths (H, I) that the errors of a naive forecast ask for.

    For each step the naive and the seasonal naive forecast, plus their mean error, are made from
    every time of the series on, and the quantile of their absolute errors is taken, at the
    interval's level and with the rank of split conformal prediction, times `MARGIN`; the smaller
    of the two counts. A step that the series is too
    short for has the widths of the one before it, and NaN if there is none.

    Args:
        y: A series (T,), NaN where it is not known.
        h: Steps ahead, H.
        season_length: Steps of a season.
        quantiles: Both ends of I central intervals and the median, rising.
        log: Whether the errors are those of log y; values that have none are not known.

    >>> usual_widths(np.array([0.0, 5.0, 2.0, 5.0]), 2, 2, [0.1, 0.5, 0.9]).tolist()
    [[1.1], [1.1]]
    """
    if log:
        y = np.log(y, out=np.full(len(y), np.nan), where=y > 0)
    levels = np.array(quantiles[::-1][: len(quantiles) // 2]) * 2 - 1
    widths = np.full((h, len(levels)), np.nan)
    for k in range(1, h + 1):
        lags = {k, -(-k // season_length) * season_length}
        found = [_width(y[lag:] - y[:-lag], levels) for lag in lags if lag < len(y)]
        if found:
            widths[k - 1] = np.fmin.reduce(found)
        if np.isnan(widths[k - 1]).any() and k > 1:
            widths[k - 1] = widths[k - 2]
    return widths


def _width(errors: Array, levels: Array) -> Array:
    errors = errors[~np.isnan(errors)]
    n = len(errors)
    if n < 2:  # a single one is all drift
        return np.full(len(levels), np.nan)
    ranks = np.minimum(np.ceil((n + 1) * levels - 1e-9), n).astype(np.intp)
    found: Array = MARGIN * np.sort(np.abs(errors - errors.mean()))[ranks - 1]
    return found
