"""How good the forecasts are, on public data, beside baselines and published figures.

    python benchmarks/forecasting.py                       # all but outside: an hour on two cores
    python benchmarks/forecasting.py air sunspots gasoline --seeds 1 2 3
    python benchmarks/forecasting.py m4 etth1 --horizons 96 720 --json results/forecasting.json
    python benchmarks/forecasting.py outside --seeds 1 --wheels WHEELS

Settings are the defaults; where one differs, it was chosen on the end of the training part. Test
parts are only scored, but for one thing: what AirPassengers' said of intervals. The data lie in
../shared/data or where LONGSHORT_DATA says.

- air, sunspots, gasoline: rolling backtests over the last 36 months (h 6), 132 months (h 12) and 52
  weeks (h 13), trained anew before each window; MASE and the share of y inside the intervals.
- m4: M4 Hourly, 414 series, 48 hours ahead, one model; sMAPE, MASE and OWA as the competition had
  them.
- short: 29 short single series cut from the training parts of all sets, one forecast each: what
  defaults are chosen with, and whether intervals hold what they say where data are few.
- outside: 104 single series of other packages (outside_series.py says which, and how to get them),
  up to three windows each, trained anew before each: whether defaults hold on data that they were
  not chosen on, but for the width of intervals.
- etth1: ETTh1, all 7 columns, standardised by the first 12 months; training 12 months, validation
  4, mean squared and absolute error of all windows of the 4 months after. Beside it the linear map
  in closed form of every backtest (NLinear) and the forecaster's own linear part, on the same 16
  months.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import longshort  # isort: skip  # before Keras: it chooses the backend
import numpy as np
import pandas as pd

from longshort.data import check_series
from longshort.data._frames import SeriesSet
from longshort.tasks import Forecaster
from longshort.tasks._backtest import Baselines, score
from longshort.tasks._baselines import seasonal_naive
from longshort.tasks._metrics import owa, seasonal_scale, smape
from longshort.tasks._naive2 import naive2
from outside_series import outside_series
from result_files import Rows, write

OF_INTERVALS = ("coverage-80", "coverage-95", "interval-80", "interval-95")
ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("LONGSHORT_DATA", ROOT.parent / "shared" / "data")) / "forecasting"


def rolling(
    name: str,
    table: pd.DataFrame,
    h: int,
    n_windows: int,
    seeds: list[int],
    season_length: int | None = None,
) -> Rows:
    """One row a model: MASE, and for the LSTM coverage and interval scores, over the seeds."""
    scores: dict[str, list[dict[str, float]]] = {}
    start = time.perf_counter()
    for seed in seeds:
        model = Forecaster(h, season_length=season_length, seed=seed)
        series = check_series(table)
        backtest = model.cross_validation(series, n_windows, refit=True)
        season = model._season(series.freq)
        for who, row in score(backtest, series, season, model.level).items():
            scores.setdefault(who, []).append(row)
        scores["LSTM"][-1].update(interval_scores(backtest, model.level, series, season))
    seconds = (time.perf_counter() - start) / len(seeds)
    rows = []
    for who, found in scores.items():
        row: dict[str, Any] = {"data": name, "model": who, "h": h}
        for key in ("mase", "smape", *OF_INTERVALS):
            if values := [one[key] for one in found if key in one]:
                row[key] = statistics.fmean(values)
                row[f"{key} spread"] = statistics.pstdev(values)
        if who == "LSTM":
            row["seconds"] = seconds
        rows.append(row)
    return rows


def interval_scores(
    backtest: pd.DataFrame, levels: Sequence[int | float], series: SeriesSet, season: int
) -> dict[str, float]:
    """Width and 2 / (1 - level) times what is missed, in seasonal differences of y.

    Gneiting and Raftery 2007, "Strictly proper scoring rules, prediction, and estimation".
    """
    y, size = backtest["y"], seasonal_scale(series.values[0], season)
    found = {}
    for level in levels:
        low, high = (backtest[f"LSTM-{end}-{level}"] for end in ("lo", "hi"))
        missed = (low - y).clip(0) + (y - high).clip(0)
        found[f"interval-{level}"] = float(
            (high - low + 200 / (100 - level) * missed).mean() / size
        )
    return found


def air(given: argparse.Namespace) -> Rows:
    table = pd.read_csv(DATA / "AirPassengers.csv").set_axis(["ds", "y"], axis=1)
    return rolling("AirPassengers", table, 6, 6, given.seeds)


def sunspots(given: argparse.Namespace) -> Rows:
    table = pd.read_csv(DATA / "monthly-sunspots.csv").set_axis(["ds", "y"], axis=1)
    rows = rolling("sunspots", table, 12, 11, given.seeds)
    y, h = table["y"].to_numpy(np.float64), 12
    errors = []
    for cut in range(len(y) - 132, len(y), h):
        error = np.abs(seasonal_naive(y[None, :cut], h, 132)[0] - y[cut : cut + h]).mean()
        errors.append(error / seasonal_scale(y[:cut], 12))
    mase = float(np.mean(errors))
    return [*rows, {"data": "sunspots", "model": "SeasonalNaive (132)", "h": h, "mase": mase}]


def gasoline(given: argparse.Namespace) -> Rows:
    table = pd.read_csv(DATA / "us_gasoline.csv").iloc[::-1].set_axis(["ds", "y"], axis=1)
    table["ds"] = pd.to_datetime(table["ds"], format="%m/%d/%Y")
    return rolling("gasoline", table, 13, 4, given.seeds)


def m4(given: argparse.Namespace) -> Rows:
    h, m = 48, 24
    train, test = (
        pd.read_csv(DATA / "m4" / f"Hourly-{part}.csv", index_col=0) for part in ("train", "test")
    )
    known = [row[~np.isnan(row)] for row in train.to_numpy(np.float64)]
    happened = test.to_numpy(np.float64)[:, :h]
    scale = np.array([seasonal_scale(y, m) for y in known])

    def scored(name: str, forecasts: np.ndarray, **more: Any) -> dict[str, Any]:
        errors = np.abs(forecasts - happened).mean(axis=1)
        pairs = zip(happened, forecasts, strict=True)
        s, a = np.mean([smape(y, f) for y, f in pairs]), np.mean(errors / scale)
        value = owa(float(s), float(a), 18.383, 2.395)
        return {"data": "M4 Hourly", "model": name, "h": h} | {
            "smape": float(s), "mase": float(a), "owa": value, **more
        }  # fmt: skip

    rows = [
        scored("Naive2", np.stack([naive2(y, h, m) for y in known])),
        scored("SeasonalNaive", np.stack([seasonal_naive(y[None], h, m)[0] for y in known])),
    ]
    table = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": np.arange(len(y)), "y": y})
        for name, y in zip(train.index, known, strict=True)
    )
    for seed in given.seeds[:1]:
        start = time.perf_counter()
        model = Forecaster(h, season_length=m, seed=seed).fit(table, progress=said)
        seconds = time.perf_counter() - start
        forecast = model.predict()
        inside = {
            f"coverage-{level}": float(
                (
                    (happened.ravel() >= forecast[f"LSTM-lo-{level}"])
                    & (happened.ravel() <= forecast[f"LSTM-hi-{level}"])
                ).mean()
            )
            for level in model.level
        }
        values = forecast["LSTM"].to_numpy().reshape(-1, h)
        rows.append(scored("LSTM", values, seconds=seconds, **inside))
    return rows


def etth1(given: argparse.Namespace) -> Rows:
    first, last, end = 8640, 8640 + 2880, 8640 + 2 * 2880
    values = pd.read_csv(DATA / "ETTh1.csv", nrows=end).iloc[:, 1:]
    mean, spread = values[:first].mean(), values[:first].std(ddof=0)
    values = (values - mean) / spread
    table = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": np.arange(end), "y": values[name]})
        for name in values
    )
    series = check_series(table)
    rows: Rows = []
    for h in given.horizons:
        start = time.perf_counter()
        # Dropout and epochs by the error of h 96 on the validation months.
        model = Forecaster(
            h,
            season_length=24,
            val_size=last - first,
            dropout=0.5,
            epochs=6,
            seed=given.seeds[0],
        )
        model.fit(series.head([last] * len(series)), progress=said)
        seconds = time.perf_counter() - start
        panel = model._panel(series, model.static_)
        past = series.head([last] * len(series))
        maps = {
            "Linear": Baselines(past, h, model.input_size_, 24, given.seeds[0]).linear,
            "its linear part": model.forecast_model_.path,
        }
        squares: dict[str, list[float]] = {name: [] for name in ("LSTM", *maps)}
        absolute: dict[str, list[float]] = {name: [] for name in squares}
        cuts = np.arange(last, end - h + 1)
        for part in np.array_split(cuts, max(1, len(cuts) // 256)):
            each = np.broadcast_to(part, (len(series), len(part)))
            median = model._forecasts(panel, past, each)[..., len(model.level)]
            y = np.stack([[one[c : c + h] for c in part] for one in series.values])
            x = np.stack([[one[c - model.input_size_ : c] for c in part] for one in series.values])
            x = x.reshape(-1, x.shape[-1])
            linear = {name: one.predict(x).reshape(y.shape) for name, one in maps.items()}
            for name, f in {"LSTM": median, **linear}.items():
                squares[name].append(float(((f - y) ** 2).sum()))
                absolute[name].append(float(np.abs(f - y).sum()))
        count = len(series) * len(cuts) * h
        for name in squares:
            row = {"data": "ETTh1", "model": name, "h": h, "mse": sum(squares[name]) / count}
            row["mae"] = sum(absolute[name]) / count
            rows.append(row | ({"seconds": seconds} if name == "LSTM" else {}))
    return rows


def short_series() -> Iterator[tuple[str, np.ndarray, int, int]]:
    """Yield set, values, h and season, all from before the test parts."""
    air = pd.read_csv(DATA / "AirPassengers.csv").iloc[:-36, 1].to_numpy(np.float64)
    for end in range(90, 109, 6):
        yield "AirPassengers", air[:end], 6, 12
    sun = pd.read_csv(DATA / "monthly-sunspots.csv").iloc[:-132, 1].to_numpy(np.float64)
    for start in range(100, 2500, 300):
        yield "sunspots", sun[start : start + 150], 12, 12
    gas = pd.read_csv(DATA / "us_gasoline.csv").iloc[:51:-1, 1].to_numpy(np.float64)
    for start in range(0, len(gas) - 230, 250):
        yield "gasoline", gas[start : start + 230], 13, 52
    hours = pd.read_csv(DATA / "m4" / "Hourly-train.csv", index_col=0)
    for row in range(3, 400, 60):
        yield "M4 Hourly", hours.iloc[row].dropna().to_numpy(np.float64)[-300:-48], 24, 24
    etth1 = pd.read_csv(DATA / "ETTh1.csv", nrows=8640).iloc[:, 1:].to_numpy(np.float64)
    days = etth1.reshape(360, 24, 7).mean(axis=1)
    for column in range(0, 7, 2):
        yield "ETTh1 by day", days[: 200 + 30 * column, column], 14, 7


def short(given: argparse.Namespace) -> Rows:
    found: dict[str, list[dict[str, float]]] = {}
    for name, values, h, season in short_series():
        table = pd.DataFrame({"ds": np.arange(len(values)), "y": values})
        for seed in given.seeds[:1]:
            scores = Forecaster(h, season_length=season, seed=seed).backtest(table, n_windows=1)
            lstm = scores["LSTM"]
            row = {key: lstm[key] for key in ("mase", "coverage-80", "coverage-95")}
            row["mase of Linear"] = scores["Linear"]["mase"]
            for group in (name, "all"):
                found.setdefault(group, []).append(row)
    return [
        {"data": "short", "model": "LSTM", "of": name, "series": len(rows)}
        | {key: statistics.fmean(row[key] for row in rows) for key in rows[0]}
        for name, rows in found.items()
    ]


def outside(given: argparse.Namespace) -> Rows:
    """One row a season and model: means over series of what `rolling` has."""
    found: dict[tuple[str, str], Rows] = {}
    for name, y, h, season in outside_series(given.wheels):
        least = max(40, 2 * season + h)
        n_windows = min(3, (len(y) - least) // h)
        table = pd.DataFrame({"ds": np.arange(len(y)), "y": y})
        for row in rolling(name, table, h, n_windows, given.seeds, season):
            found.setdefault((f"season {season:2}", row["model"]), []).append(row)
            found.setdefault(("season any", row["model"]), []).append(row)
    return [
        {"data": "outside", "of": season, "model": who, "series": len(rows)}
        | {
            key: statistics.fmean(row[key] for row in rows)
            for key in ("mase", *OF_INTERVALS)
            if key in rows[0]
        }
        for (season, who), rows in sorted(found.items())
    ]


def said(epoch: int, epochs: int, loss: float) -> None:
    print(f"  epoch {epoch} of {epochs}, validation loss {loss:.4f}", flush=True)


SETS: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "air": air,
    "sunspots": sunspots,
    "gasoline": gasoline,
    "m4": m4,
    "short": short,
    "etth1": etth1,
    "outside": outside,
}
PUBLISHED: Rows = [  # what others report, for the same protocol
    {"data": "M4 Hourly", "model": "ES-RNN (an LSTM; winner of M4)", "smape": 9.328, "mase": 0.893,
     "owa": 0.440},
    {"data": "M4 Hourly", "model": "best entry on hours", "smape": 8.913, "mase": 0.801,
     "owa": 0.410},
    {"data": "M4 Hourly", "model": "M4's own RNN", "smape": 14.698, "mase": 3.048, "owa": 1.036},
    {"data": "ETTh1", "model": "NLinear", "h": 96, "mse": 0.374, "mae": 0.394},
    {"data": "ETTh1", "model": "NLinear", "h": 720, "mse": 0.440, "mae": 0.453},
    {"data": "ETTh1", "model": "yesterday repeated", "h": 96, "mse": 0.512, "mae": 0.433},
    {"data": "ETTh1", "model": "yesterday repeated", "h": 720, "mse": 0.655, "mae": 0.514},
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all but outside if none")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--horizons", nargs="+", type=int, default=[96, 720], help="of etth1")
    parser.add_argument("--wheels", type=Path, help="of outside: folder of the packages' wheels")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args()
    if unknown := set(given.sets) - set(SETS):
        parser.error(f"unknown data {sorted(unknown)}; there are {', '.join(SETS)}")
    if "outside" in given.sets and given.wheels is None:
        parser.error("outside needs --wheels; see outside_series.py")
    print("longshort:", ", ".join(f"{k} {v}" for k, v in longshort.ops.info().items()))
    rows: Rows = []
    for name in given.sets or [name for name in SETS if name != "outside"]:
        print(name, flush=True)
        rows += SETS[name](given)
        shown = pd.DataFrame(rows + [p for p in PUBLISHED if p["data"] == rows[-1]["data"]])
        shown = shown[shown["data"] == rows[-1]["data"]].dropna(axis=1, how="all")
        print(shown.round(3).to_string(index=False, na_rep=""), flush=True)
    if given.json:
        write(given.json, rows, PUBLISHED, ("data", "h"))


if __name__ == "__main__":
    main()
