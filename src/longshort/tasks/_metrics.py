"""Measures of a forecast against what happened.

Shapes: `y` and `forecast` are (H,) or any equal shapes; every measure is one float, and 0 is best
except for `coverage`, which should be near its level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def mae(y: ArrayLike, forecast: ArrayLike) -> float:
    """Return the mean absolute error, `mean |f - y|`, in the units of y.

    >>> mae([1.0, 2.0], [2.0, 4.0])
    1.5
    """
    y, f = _pair(y, forecast)
    return float(np.mean(np.abs(f - y)))


def rmse(y: ArrayLike, forecast: ArrayLike) -> float:
    """Return the root of the mean squared error, `sqrt(mean (f - y)^2)`, in the units of y.

    >>> rmse([0.0, 0.0], [3.0, 3.0])
    3.0
    """
    y, f = _pair(y, forecast)
    return float(np.sqrt(np.mean((f - y) ** 2)))


def smape(y: ArrayLike, forecast: ArrayLike) -> float:
    """Return the symmetric mean absolute percentage error, 0 to 200.

    `mean 200 |f - y| / (|f| + |y|)`, as in the M4 competition (Makridakis et al., 2020, "The M4
    Competition: 100,000 time series and 61 forecasting methods", section 2.2). Where both are 0
    the term is 0.

    >>> smape([100.0], [300.0])
    100.0
    """
    y, f = _pair(y, forecast)
    total = np.abs(f) + np.abs(y)
    return float(np.mean(200.0 * np.abs(f - y) / np.where(total == 0, 1.0, total)))


def mase(y: ArrayLike, forecast: ArrayLike, history: ArrayLike, season_length: int = 1) -> float:
    """Return the mean absolute scaled error: below 1 beats the in-sample seasonal naive.

    `mean |f - y| / mean |x[t] - x[t - m]|`, the second mean over `history` x, the values before
    the forecast, with m `season_length` (Hyndman and Koehler, 2006, "Another look at measures of
    forecast accuracy", section 3). A history of m values or fewer is scaled with m = 1.

    Args:
        y: What happened, (H,).
        forecast: What was forecast, (H,).
        history: The values before the cutoff, (T,), at least 2.
        season_length: m, steps in a season.

    Returns:
        The error; `nan` if the history does not move at all and the error is not 0.

    >>> mase([6.0, 8.0], [5.0, 6.0], history=[1.0, 2.0, 3.0])
    1.5
    """
    x = np.asarray(history, np.float64)
    m = season_length if len(x) > season_length else 1
    scale = float(np.mean(np.abs(x[m:] - x[:-m]))) if len(x) > m else 0.0
    error = mae(y, forecast)
    if scale == 0.0:
        return 0.0 if error == 0.0 else float("nan")
    return error / scale


def coverage(y: ArrayLike, low: ArrayLike, high: ArrayLike) -> float:
    """Return the share of values inside their interval, ends included, from 0 to 1.

    >>> coverage([1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 3.0])
    0.75
    """
    y, low_ = _pair(y, low)
    y, high_ = _pair(y, high)
    return float(np.mean((y >= low_) & (y <= high_)))


def pinball(y: ArrayLike, forecast: ArrayLike, quantile: float) -> float:
    """Return the pinball (quantile) loss, in the units of y.

    `mean max(q (y - f), (q - 1) (y - f))` (Koenker and Bassett, 1978, "Regression quantiles").

    >>> pinball([10.0], [8.0], 0.9), round(pinball([8.0], [10.0], 0.9), 6)
    (1.8, 0.2)
    """
    y, f = _pair(y, forecast)
    return float(np.mean(np.maximum(quantile * (y - f), (quantile - 1.0) * (y - f))))


def _pair(y: ArrayLike, f: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(y, np.float64), np.asarray(f, np.float64)
    if a.shape != b.shape:
        raise ValueError(
            f"metrics: expected values and forecasts of one shape, got {a.shape} and {b.shape}."
        )
    return a, b
