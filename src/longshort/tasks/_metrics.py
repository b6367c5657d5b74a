"""Measures of a forecast against what happened.

Shapes: `y` and `forecast` are (H,) or any equal shapes; every measure is one float, and 0 is best
except for `coverage`, which should be near its level. A step whose y is NaN is unknown and left
out, by all measures alike; where no y is known a measure is NaN. A forecast of NaN for a known y is
no such gap: the measure is NaN.
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
    return _mean(np.abs(f - y), y)


def mse(y: ArrayLike, forecast: ArrayLike) -> float:
    """Return the mean squared error, `mean (f - y)^2`, in the square of the units of y.

    >>> mse([0.0, 0.0], [1.0, 3.0])
    5.0
    """
    y, f = _pair(y, forecast)
    return _mean((f - y) ** 2, y)


def rmse(y: ArrayLike, forecast: ArrayLike) -> float:
    """Return the root of the mean squared error, `sqrt(mean (f - y)^2)`, in the units of y.

    >>> rmse([0.0, 0.0], [3.0, 3.0])
    3.0
    """
    return float(np.sqrt(mse(y, forecast)))


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
    return _mean(200.0 * np.abs(f - y) / np.where(total == 0, 1.0, total), y)


def seasonal_scale(history: ArrayLike, season_length: int = 1) -> float:
    """Return the mean absolute error of the seasonal naive forecast inside a history x.

    `mean |x[t] - x[t - m]|` with m `season_length`, or 1 where x has m values or fewer; 0 where
    nothing moves. Pairs with an unknown (NaN) end are left out; 0 where none is left. A mean
    absolute error divided by it is a MASE, which below 1 beats that forecast (Hyndman and Koehler,
    2006, "Another look at measures of forecast accuracy", section 3).

    >>> seasonal_scale([1.0, 2.0, 4.0])
    1.5
    """
    x = np.asarray(history, np.float64)
    m = season_length if len(x) > season_length else 1
    moves = np.abs(x[m:] - x[:-m]) if len(x) > m else x[:0]
    moves = moves[~np.isnan(moves)]
    return float(np.mean(moves)) if len(moves) else 0.0


def owa(smape: float, mase: float, smape_naive2: float, mase_naive2: float) -> float:
    """Return the overall weighted average of the M4 competition; below 1 beats Naive2.

    `(smape / smape_naive2 + mase / mase_naive2) / 2`, each a mean over all series (Makridakis et
    al., 2020, "The M4 Competition: 100,000 time series and 61 forecasting methods", section
    2.2). NaN where Naive2 has no error, for then there is nothing to compare with.

    >>> owa(smape=10.0, mase=1.5, smape_naive2=20.0, mase_naive2=1.5)
    0.75
    """
    if smape_naive2 == 0 or mase_naive2 == 0:
        return float("nan")
    return (smape / smape_naive2 + mase / mase_naive2) / 2


def coverage(y: ArrayLike, low: ArrayLike, high: ArrayLike) -> float:
    """Return the share of values inside their interval, ends included, from 0 to 1.

    >>> coverage([1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 3.0])
    0.75
    """
    y_, low_ = _pair(y, low)
    _, high_ = _pair(y, high)
    # A comparison with NaN is false, which would count an interval that is not there as a miss.
    inside = np.where(np.isnan(low_) | np.isnan(high_), np.nan, (y_ >= low_) & (y_ <= high_))
    return _mean(inside, y_)


def pinball(y: ArrayLike, forecast: ArrayLike, quantile: ArrayLike) -> float:
    """Return the pinball (quantile) loss, in the units of y; several quantiles lie along the end.

    `mean max(q (y - f), (q - 1) (y - f))` (Koenker and Bassett, 1978, "Regression quantiles").

    >>> pinball([10.0], [8.0], 0.9), round(pinball([8.0], [10.0], 0.9), 6)
    (1.8, 0.2)
    """
    y, f = _pair(y, forecast)
    q = np.asarray(quantile, np.float64)
    return _mean(np.maximum(q * (y - f), (q - 1.0) * (y - f)), y)


def _mean(terms: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the mean of the terms whose y is known, NaN without one."""
    known = np.broadcast_to(~np.isnan(y), terms.shape)
    return float(np.mean(terms[known])) if known.any() else float("nan")


def _pair(y: ArrayLike, f: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(y, np.float64), np.asarray(f, np.float64)
    if a.shape != b.shape:
        raise ValueError(
            f"metrics: expected values and forecasts of one shape, got {a.shape} and {b.shape}."
        )
    return a, b
