"""Conformal intervals: widths from the errors of a backtest, for any column of forecasts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.tasks._horizon import bands_of, check_backtest, step_ahead
from longshort.tasks._quantiles import conformal_rank

Array = NDArray[np.float64]


def conformal_intervals(
    forecast: pd.DataFrame,
    backtest: pd.DataFrame,
    level: Sequence[int | float] = (80, 95),
    *,
    model: str = "LSTM",
) -> pd.DataFrame:
    """Give forecasts the intervals that would have held their level in the backtest.

    With the errors of all windows and series at the same step ahead, each over the mean absolute
    error s of its series, the half width is

        w = s times the k-th smallest of N errors |y - f| / s,   k = ceil((N + 1) level)

    (split conformal prediction: Vovk, Gammerman and Shafer 2005; Lei et al. 2018,
    "Distribution-free predictive inference for regression"). The interval f +- w then holds y with
    a probability of at least the level if the next error is like those N. Windows that follow
    each other are so only where the series does not change: there the level is a target.

    A network's own intervals follow what it sees, such as a calm season; these are the same at
    all times, and right on average.

    Args:
        forecast: As `Forecaster.predict` returns it: `unique_id`, `ds` and a column `model`.
        backtest: As `Forecaster.cross_validation` returns it, by the same model and of as many
            steps; without `refit` many windows cost little.
        level: Percents above 0 and below 100.
        model: The column to give intervals; a baseline that both tables have will do too.

    Returns:
        `forecast` with the columns `MODEL-lo-LEVEL` and `MODEL-hi-LEVEL` by the errors of the
        backtest in place of those it had. Where N is too small for a level (19 errors at a
        step, windows times series, for 95 %) the largest error is taken, and a UserWarning says
        what it stands for.

    Raises:
        DataError: A table or a level cannot be used, a series of the forecast is not in the
            backtest, or the forecast has more steps.

    >>> days = pd.DataFrame({"unique_id": "a", "cutoff": range(4), "ds": range(1, 5)})
    >>> backtest = days.assign(y=[1.0, 2.0, 3.0, 4.0], LSTM=0.0)
    >>> forecast = pd.DataFrame({"unique_id": ["a"], "ds": [5], "LSTM": [10.0]})
    >>> print(conformal_intervals(forecast, backtest, [60]).to_string(index=False))
    unique_id  ds  LSTM  LSTM-lo-60  LSTM-hi-60
            a   5  10.0         7.0        13.0
    """
    levels = _check_levels(level)
    check_backtest(backtest, "conformal_intervals")
    for name, table in (("forecast", forecast), ("backtest", backtest)):
        lacking = [c for c in ("unique_id", "ds", model) if c not in table]
        if lacking:
            raise DataError(
                f"conformal_intervals: the {name} has no column {lacking[0]!r}; expected "
                f"unique_id, ds and {model}."
            )
    error = (backtest["y"] - backtest[model]).abs()
    scales = error.groupby(backtest["unique_id"]).mean()
    unknown = [i for i in forecast["unique_id"].unique() if np.isnan(scales.get(i, np.nan))]
    if unknown:
        raise DataError(
            f"conformal_intervals: the backtest has no errors of series {unknown[0]!r}"
            f"{' and others' if len(unknown) > 1 else ''}; backtest all series of the forecast."
        )
    scale = backtest["unique_id"].map(scales).to_numpy(np.float64)
    scores = np.divide(error, scale, out=np.zeros(len(error)), where=scale > 0)
    step, ahead = step_ahead(backtest), step_ahead(forecast.assign(cutoff=0))
    if ahead.max() > step.max():
        raise DataError(
            f"conformal_intervals: the forecast has {ahead.max()} steps, the backtest only "
            f"{step.max()}; backtest with the same h."
        )
    widths = _widths(scores, step, int(ahead.max()), levels)
    old = [end for ends in bands_of(forecast, model).values() for end in ends]
    result = forecast.drop(columns=old)
    size = forecast["unique_id"].map(scales).to_numpy(np.float64)
    at = list(result).index(model) + 1
    for v, value in enumerate(levels):
        width = size * widths[v, ahead - 1]
        result.insert(at + 2 * v, f"{model}-lo-{value}", result[model] - width)
        result.insert(at + 2 * v + 1, f"{model}-hi-{value}", result[model] + width)
    return result


def _widths(scores: Array, step: NDArray[np.int64], h: int, levels: Sequence[int | float]) -> Array:
    """Return (V, h) scores of the ranks that the V levels ask for."""
    widths, fewest = np.empty((len(levels), h)), len(scores)
    for k in range(h):
        known = np.sort(scores[(step == k + 1) & ~np.isnan(scores)])
        if len(known) == 0:
            raise DataError(
                f"conformal_intervals: no y of the backtest is known {k + 1} steps ahead; use "
                "more windows."
            )
        fewest = min(fewest, len(known))
        widths[:, k] = [known[conformal_rank(len(known), v / 100) - 1] for v in levels]
    if short := [v for v in levels if (fewest + 1) * v / 100 - 1e-9 > fewest]:
        needed = math.ceil(short[-1] / (100 - short[-1]) - 1e-9)
        warnings.warn(
            f"conformal_intervals: {fewest} errors a step are too few for {short[0]:g} %; the "
            f"largest one is taken, which stands for {100 * fewest / (fewest + 1):.0f} %. "
            f"Windows times series should be {needed} or more.",
            UserWarning,
            stacklevel=3,
        )
    return widths


def _check_levels(level: Sequence[int | float]) -> list[int | float]:
    levels = [] if isinstance(level, str) else sorted(level)
    if not levels or not all(0 < v < 100 for v in levels) or len(set(levels)) < len(levels):
        raise DataError(
            f"conformal_intervals: expected different levels above 0 and below 100 such as "
            f"[80, 95], got {level!r}."
        )
    return levels
