"""The table of a backtest by step ahead: its models, its levels, its errors from 1 to h."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.tasks import _metrics as metrics

Array = NDArray[np.float64]

KEYS = ("unique_id", "ds", "cutoff", "y")
_BAND = re.compile(r"(.+)-(lo|hi)-(\d+(?:\.\d+)?)$")


def check_backtest(table: pd.DataFrame, caller: str) -> None:
    """Raise DataError unless `table` looks like what `Forecaster.cross_validation` returns."""
    missing = [name for name in KEYS if name not in table]
    if missing:
        raise DataError(
            f"{caller}: the table has no column {missing[0]!r}; pass what "
            "Forecaster.cross_validation returns."
        )
    if len(table) == 0:
        raise DataError(f"{caller}: the table has no rows; expected at least one window.")
    if not models_of(table):
        raise DataError(
            f"{caller}: the table has no forecasts beside {', '.join(KEYS)}; pass what "
            "Forecaster.cross_validation returns."
        )
    if table.duplicated(["unique_id", "cutoff", "ds"]).any():
        raise DataError(
            f"{caller}: the table holds a time of a window twice; keep one row of each."
        )


def models_of(table: pd.DataFrame) -> list[str]:
    """Return the columns of point forecasts, in their order.

    >>> models_of(pd.DataFrame(columns=["unique_id", "ds", "LSTM", "LSTM-lo-80", "Naive"]))
    ['LSTM', 'Naive']
    """
    names = [name for name in table.columns if name not in KEYS]
    return [name for name in names if (m := _BAND.match(name)) is None or m[1] not in names]


def bands_of(table: pd.DataFrame, model: str) -> dict[int | float, tuple[str, str]]:
    """Return for each level in percent, rising, the columns of the interval's ends.

    >>> bands_of(pd.DataFrame(columns=["LSTM", "LSTM-lo-80", "LSTM-hi-80"]), "LSTM")
    {80: ('LSTM-lo-80', 'LSTM-hi-80')}
    """
    found = {}
    for name in table.columns:
        match = _BAND.match(name)
        if match is not None and match[1] == model and match[2] == "lo":
            value, high = float(match[3]), f"{model}-hi-{match[3]}"
            if high in table:
                found[int(value) if value.is_integer() else value] = (name, high)
    return dict(sorted(found.items()))


def step_ahead(table: pd.DataFrame) -> NDArray[np.int64]:
    """Return for each row (N,) how many steps it lies behind its cutoff, from 1."""
    groups = table.groupby(["unique_id", "cutoff"], sort=False)["ds"]
    return np.asarray(groups.rank("dense"), np.int64)


def score_by_horizon(
    table: pd.DataFrame, *, level: Sequence[int | float] | None = None
) -> pd.DataFrame:
    """Score a backtest for each model and each step ahead.

    Steps whose y is unknown (NaN) are left out. mae and rmse are in the units of y, over all
    series at once: where series differ in size the large ones decide.

    Args:
        table: As `Forecaster.cross_validation` returns it.
        level: Intervals to score, in percent; None: all that the table has.

    Returns:
        A table with `model`, `step` (1 to h), `mae`, `rmse`, `smape` (0 to 200), `pinball` (mean
        over the median and both ends of each interval) and for each level `coverage-LEVEL`, the
        share inside it; the last two are NaN for models without intervals. Models in the order of
        their columns.

    Raises:
        DataError: The table is no backtest, or has no interval of a level.

    >>> table = pd.DataFrame({"unique_id": "a", "ds": [1, 2], "cutoff": 0, "y": [5.0, 6.0]})
    >>> score_by_horizon(table.assign(Naive=[4.0, 4.0]))[["model", "step", "mae"]].values.tolist()
    [['Naive', 1, 1.0], ['Naive', 2, 2.0]]
    """
    check_backtest(table, "score_by_horizon")
    step = step_ahead(table)
    wanted = {name: _choose(table, name, level) for name in models_of(table)}
    if level is not None and not any(wanted.values()):
        raise DataError(f"score_by_horizon: the table has no intervals of the levels {[*level]}.")
    rows = []
    for name, bands in wanted.items():
        for k in range(1, int(step.max()) + 1):
            part = table[step == k]
            y, f = part["y"].to_numpy(np.float64), part[name].to_numpy(np.float64)
            row: dict[str, object] = {"model": name, "step": k}
            row |= {"mae": metrics.mae(y, f), "rmse": metrics.rmse(y, f)}
            row["smape"] = metrics.smape(y, f)
            row["pinball"] = _pinball(part, name, bands) if bands else float("nan")
            for value, (low, high) in bands.items():
                ends = part[low].to_numpy(np.float64), part[high].to_numpy(np.float64)
                row[f"coverage-{value}"] = metrics.coverage(y, *ends)
            rows.append(row)
    return pd.DataFrame(rows)


Bands = dict[int | float, tuple[str, str]]


def _choose(table: pd.DataFrame, model: str, level: Sequence[int | float] | None) -> Bands:
    own = bands_of(table, model)
    if level is None or not own:
        return own
    missing = [v for v in level if v not in own]
    if missing:
        raise DataError(
            f"score_by_horizon: {model} has the levels {[*own]}, got {missing}; choose from these."
        )
    return {value: columns for value, columns in own.items() if value in level}


def _pinball(part: pd.DataFrame, model: str, bands: Bands) -> float:
    columns = [(model, 0.5)]
    for value, (low, high) in bands.items():
        columns += [(low, 0.5 - value / 200), (high, 0.5 + value / 200)]
    y = part["y"].to_numpy(np.float64)
    losses = [metrics.pinball(y, part[name].to_numpy(np.float64), q) for name, q in columns]
    return float(np.mean(losses))
