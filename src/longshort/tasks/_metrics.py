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


def seasonal_scale(history: ArrayLike, season_length: int = 1) -> float:
    """Return the mean absolute error of the seasonal naive forecast inside a history x.

    `mean |x[t] - x[t - m]|` with m `season_length`, or 1 where x has m values or fewer; 0 where
    nothing moves. A mean absolute error divided by it is a MASE, which below 1 beats that
    forecast (Hyndman and Koehler, 2006, "Another look at measures of forecast accuracy",
    section 3).

    >>> seasonal_scale([1.0, 2.0, 4.0])
    1.5
    """
    x = np.asarray(history, np.float64)
    m = season_length if len(x) > season_length else 1
    return float(np.mean(np.abs(x[m:] - x[:-m]))) if len(x) > m else 0.0


def coverage(y: ArrayLike, low: ArrayLike, high: ArrayLike) -> float:
    """Return the share of values inside their interval, ends included, from 0 to 1.

    >>> coverage([1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 3.0])
    0.75
    """
    y, low_ = _pair(y, low)
    y, high_ = _pair(y, high)
    return float(np.mean((y >= low_) & (y <= high_)))


def pinball(y: ArrayLike, forecast: ArrayLike, quantile: ArrayLike) -> float:
    """Return the pinball (quantile) loss, in the units of y; several quantiles lie along the end.

    `mean max(q (y - f), (q - 1) (y - f))` (Koenker and Bassett, 1978, "Regression quantiles").

    >>> pinball([10.0], [8.0], 0.9), round(pinball([8.0], [10.0], 0.9), 6)
    (1.8, 0.2)
    """
    y, f = _pair(y, forecast)
    q = np.asarray(quantile, np.float64)
    return float(np.mean(np.maximum(q * (y - f), (q - 1.0) * (y - f))))


def _pair(y: ArrayLike, f: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(y, np.float64), np.asarray(f, np.float64)
    if a.shape != b.shape:
        raise ValueError(
            f"metrics: expected values and forecasts of one shape, got {a.shape} and {b.shape}."
        )
    return a, b
