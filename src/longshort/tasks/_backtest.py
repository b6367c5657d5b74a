"""Rolling backtests: where they cut, what stands beside the model, how they are scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._frames import SeriesSet
from longshort.data._windows import Windows
from longshort.tasks import _metrics as metrics
from longshort.tasks._baselines import drift, naive, seasonal_naive
from longshort.tasks._features import carried_forward
from longshort.tasks._linear_path import fit_paths

Array = NDArray[np.float64]

MODEL = "LSTM"
BASELINES = ("Naive", "SeasonalNaive", "Drift", "Linear")


def cutoffs(series: SeriesSet, h: int, n_windows: int, step_size: int) -> NDArray[np.intp]:
    """Return (S, W): for each series the index of the first step of each test window.

    The last window ends with the series; each one before it is `step_size` earlier.

    >>> one = SeriesSet(["a"], [np.arange(10.0)], [pd.RangeIndex(10)], 1)
    >>> cutoffs(one, h=2, n_windows=3, step_size=2).tolist()
    [[4, 6, 8]]
    """
    for name, value in (("n_windows", n_windows), ("step_size", step_size)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise DataError(f"{name}: expected a positive integer, got {value!r}.")
    reach = int(h) + int(step_size) * (int(n_windows) - 1)
    lengths = [len(y) for y in series.values]
    short = [name for name, length in zip(series.ids, lengths, strict=True) if length <= reach]
    if short:
        raise DataError(
            f"backtest: {n_windows} windows of {h} steps, {step_size} apart, need more than "
            f"{reach} steps, but series {', '.join(map(repr, short[:5]))} "
            f"{'has' if len(short) == 1 else 'have'} fewer; make n_windows or step_size smaller."
        )
    back = h + step_size * np.arange(n_windows - 1, -1, -1)
    return np.array(lengths)[:, None] - back


def check_contexts(ids: Sequence[str | int], cuts: NDArray[np.intp], length: int) -> None:
    """Raise a DataError unless `length` steps lie before each cutoff, (S,) or (S, W)."""
    least = cuts.reshape(len(ids), -1).min(axis=1)
    short = [n for n, cut in zip(ids, least, strict=True) if cut < length]
    if short:
        raise DataError(
            f"data: the model looks back over input_size={length} steps, but before the cutoff "
            f"series {', '.join(map(repr, short[:5]))} {'has' if len(short) == 1 else 'have'} "
            "fewer; give longer series or make input_size smaller."
        )


class Baselines:
    """The forecasts beside the model, the linear one fitted on `train` alone.

    Naive, seasonal naive and drift see all of a series up to the cutoff; the linear map is NLinear
    with the window of the model and a fixed ridge penalty, and the last known value in place of
    missing ones.
    """

    def __init__(self, train: SeriesSet, h: int, input_size: int, season_length: int, seed: int):
        self.h, self.input_size, self.season_length = h, input_size, season_length
        windows = Windows([carried_forward(y) for y in train.values], input_size, h)
        if len(windows) == 0:
            longest = max(range(len(train)), key=lambda i: len(train.values[i]))
            raise DataError(
                f"backtest: the linear forecast beside the model is fitted on what comes before "
                f"the first window and needs input_size + h = {input_size} + {h} steps there, but "
                f"the longest series, {train.ids[longest]!r}, has {len(train.values[longest])}; "
                "give longer series, or make n_windows or step_size smaller."
            )
        (self.linear,) = fit_paths(windows, [(0.0, 1e-3)], False, np.random.default_rng(seed))

    def predict(self, series: SeriesSet, cuts: NDArray[np.intp]) -> dict[str, Array]:
        """Return (S, H) for each baseline after the cutoffs (S,)."""
        check_contexts(series.ids, cuts, self.input_size)
        x = [y[c - self.input_size : c] for y, c in zip(series.values, cuts, strict=True)]
        known = [y[None, :c] for y, c in zip(series.values, cuts, strict=True)]
        forecasts = (
            np.concatenate([naive(y, self.h) for y in known]),
            np.concatenate([seasonal_naive(y, self.h, self.season_length) for y in known]),
            np.concatenate([drift(y, self.h) for y in known]),
            self.linear.predict(np.stack([carried_forward(y) for y in x])),
        )
        return dict(zip(BASELINES, forecasts, strict=True))


def forecast_frame(
    series: SeriesSet, cuts: NDArray[np.intp], columns: dict[str, Array], *, backtest: bool
) -> pd.DataFrame:
    """Return the long table of forecasts (S, H) after the cutoffs (S,).

    A backtest also has `cutoff`, the last time that was known, and `y`, what happened.
    """
    h = next(iter(columns.values())).shape[1]
    times = [series.future(i, h, int(cut)) for i, cut in enumerate(cuts)]
    joined = times[0].append(times[1:]) if len(times) > 1 else times[0]
    table: dict[str, Any] = {
        "unique_id": [name for name in series.ids for _ in range(h)],
        "ds": joined,
    }
    if backtest:
        pairs = list(zip(series.times, series.values, cuts, strict=True))
        table["cutoff"] = [t[c - 1] for t, _, c in pairs for _ in range(h)]
        table["y"] = np.concatenate([y[c : c + h] for _, y, c in pairs])
    table.update({name: f.reshape(-1) for name, f in columns.items()})
    return pd.DataFrame(table)


def score(
    backtest: pd.DataFrame, series: SeriesSet, season_length: int, level: Sequence[int | float]
) -> dict[str, dict[str, float]]:
    """Score a backtest: for the model and each baseline a dict of metrics.

    `mase` is the mean over windows and series, each scaled by its own history before the cutoff
    (windows whose history does not move, and those without any known y, are left out, for every
    model); the others are over all forecasts of a known y at once.
    """
    result = {}
    y = backtest["y"].to_numpy()
    windows = scaled_windows(backtest, series, season_length)
    for name in (MODEL, *(name for name in BASELINES if name in backtest)):
        f = backtest[name].to_numpy()
        scaled = [metrics.mae(y[rows], f[rows]) / scale for rows, scale in windows]
        result[name] = {
            "mase": float(np.mean(scaled)) if scaled else float("nan"),
            "smape": metrics.smape(y, f),
            "mae": metrics.mae(y, f),
            "rmse": metrics.rmse(y, f),
        }
    own = result[MODEL]
    losses = [metrics.pinball(y, backtest[MODEL].to_numpy(), 0.5)]
    for value in level:
        low = backtest[f"{MODEL}-lo-{value}"].to_numpy()
        high = backtest[f"{MODEL}-hi-{value}"].to_numpy()
        own[f"coverage-{value}"] = metrics.coverage(y, low, high)
        tail = 0.5 - value / 200
        losses += [metrics.pinball(y, low, tail), metrics.pinball(y, high, 1 - tail)]
    own["pinball"] = float(np.mean(losses))
    return result


def mase_by_window(
    backtest: pd.DataFrame, series: SeriesSet, season_length: int, models: Sequence[str]
) -> pd.DataFrame:
    """Return one row for each window that `scaled_windows` has: its series, cutoff and errors.

    The columns are `unique_id`, `cutoff` and for each of `models` its MASE in that window.
    """
    y = backtest["y"].to_numpy(np.float64)
    rows = []
    for at, scale in scaled_windows(backtest, series, season_length):
        first = backtest.iloc[at[0]]
        row = {"unique_id": first["unique_id"], "cutoff": first["cutoff"]}
        for name in models:
            row[name] = metrics.mae(y[at], backtest[name].to_numpy(np.float64)[at]) / scale
        rows.append(row)
    return pd.DataFrame(rows, columns=["unique_id", "cutoff", *models])


def has_seen(tail: SeriesSet, series: SeriesSet, first: NDArray[np.intp]) -> bool:
    """Say whether a window that begins at `first` (S,) overlaps the training data.

    Of those only `tail` is kept, the last values of each series. A series was seen in training if
    its `unique_id` is there, or if its values at the times of a tail are that tail; it overlaps
    if a window begins before that one's end. Under another name and without its last values it
    is not recognised.
    """
    zones = [getattr(one.times[0], "tz", None) for one in (series, tail)]
    if (zones[0] is None) != (zones[1] is None):
        raise DataError(
            f"data: ds has the time zone {zones[0]}, but the training data had {zones[1]}; "
            "use tz_localize to give both one, or none."
        )
    ends = {name: t[-1] for name, t in zip(tail.ids, tail.times, strict=True)}
    tails: dict[Any, set[bytes]] = {}
    for name, y in zip(tail.ids, tail.values, strict=True):
        tails.setdefault(ends[name], set()).add(y.tobytes())
    length = len(tail.values[0])
    for name, t, y, cut in zip(series.ids, series.times, series.values, first, strict=True):
        if name in ends and t[cut] <= ends[name]:
            return True
        for end, known in tails.items():
            stop = int(t.searchsorted(end, side="right"))
            if length <= stop and t[cut] <= end == t[stop - 1]:
                if y[stop - length : stop].tobytes() in known:
                    return True
    return False


def scaled_windows(
    backtest: pd.DataFrame, series: SeriesSet, season_length: int
) -> list[tuple[NDArray[np.intp], float]]:
    """Return (rows, scale of the history) for each series and cutoff that moved before it.

    Windows of which no y is known are left out too.
    """
    where = {name: i for i, name in enumerate(series.ids)}
    groups = backtest.groupby(["unique_id", "cutoff"], sort=False).indices
    y = backtest["y"].to_numpy(np.float64)
    result = []
    for (name, cutoff), rows in groups.items():
        if np.isnan(y[rows]).all():
            continue
        i = where[name]
        end = int(series.times[i].searchsorted(cutoff, side="right"))
        scale = metrics.seasonal_scale(series.values[i][:end], season_length)
        if scale > 0:
            result.append((rows, scale))
    return result


def in_order(frames: list[pd.DataFrame], series: SeriesSet) -> pd.DataFrame:
    """Join the windows, series by series and cutoff by cutoff."""
    table = pd.concat(frames, ignore_index=True)
    place = table["unique_id"].map({name: i for i, name in enumerate(series.ids)})
    return table.iloc[np.argsort(place.to_numpy(), kind="stable")].reset_index(drop=True)
