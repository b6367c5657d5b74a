"""Draw a forecast with its history and its intervals, and errors by step ahead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from longshort._errors import DataError
from longshort.data._frames import check_series
from longshort.data._frequency import Freq
from longshort.tasks._horizon import check_backtest, models_of, score_by_horizon

_HISTORY, _FORECAST = "#30343b", "#0b4a8f"
# Widest first; opaque, so that the legend shows each as it lies in the picture.
_BANDS = ("#d3e4f5", "#8dbbe6", "#5b97d0", "#3a78b8")
# Baselines differ in colour and in dashes, so that they can be told apart in grey.
_BASELINES = (
    ("#b3541e", (0, (4, 1.5))),
    ("#4b7a2f", (0, (1, 1))),
    ("#8a4f9e", (0, (6, 1.5, 1, 1.5))),
    ("#7a7264", (0, (2, 3))),
    ("#a8325e", "solid"),
)
_METRICS = {
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "smape": "sMAPE, 0 to 200",
}


def plot_forecast(
    history: Any,
    forecast: pd.DataFrame,
    *,
    freq: Freq | None = None,
    max_history: int | None = None,
    max_series: int = 6,
    title: str | None = None,
    baselines: Sequence[str] = (),
) -> Figure:
    """Draw the history, the median and the intervals of a forecast.

    The figure belongs to the caller: pyplot and its state are not touched.

    Args:
        history: Series as `Forecaster.fit` takes them.
        forecast: Table as `Forecaster.predict` returns it; also one window of a backtest, whose
            `y` is then drawn as what happened.
        freq: As in `Forecaster`.
        max_history: Steps of history to show; None: 5 times the forecast, at least 60.
        max_series: Series to show, one panel each, the first ones of the forecast.
        title: Above the figure; None: the `unique_id` above each panel.
        baselines: Columns of a backtest to draw as thin lines, such as `("SeasonalNaive",)`.

    Returns:
        A matplotlib figure; `figure.savefig("forecast.png")` writes it.

    Raises:
        DataError: The tables do not fit together.

    >>> history = pd.Series([1.0, 2.0, 3.0, 4.0])
    >>> forecast = pd.DataFrame({"unique_id": "series", "ds": [4, 5], "LSTM": [5.0, 6.0]})
    >>> len(plot_forecast(history, forecast).axes)
    1
    """
    missing = [c for c in ("unique_id", "ds", "LSTM") if c not in forecast]
    if missing:
        raise DataError(
            f"plot_forecast: the forecast has no column {missing[0]!r}; pass what "
            "Forecaster.predict returns."
        )
    if isinstance(baselines, str):
        raise DataError(f"plot_forecast: expected baselines as a list, got {baselines!r}.")
    absent = [name for name in baselines if name not in forecast]
    if absent:
        others = [name for name in models_of(forecast) if name != "LSTM"]
        raise DataError(
            f"plot_forecast: the forecast has no baseline {absent[0]!r}; "
            + (f"it has {', '.join(others)}." if others else "only a backtest has any.")
        )
    if "cutoff" in forecast and forecast.duplicated(["unique_id", "ds"]).any():
        raise DataError(
            "plot_forecast: the backtest holds several forecasts for one time; pass one window: "
            "table[table['cutoff'] == table['cutoff'].max()]."
        )
    series = check_series(history, freq=freq, allow_missing=True)
    where = {name: i for i, name in enumerate(series.ids)}
    ids = list(dict.fromkeys(forecast["unique_id"]))
    unknown = [name for name in ids if name not in where]
    if unknown:
        raise DataError(f"plot_forecast: the history has no series {unknown[0]!r}.")
    ids = ids[:max_series]

    columns = 1 if len(ids) < 3 else 2
    rows = math.ceil(len(ids) / columns)
    figure = Figure(figsize=(9.0 if columns == 1 else 13.0, 4.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(ids) :]:
        ax.remove()
    for ax, name in zip(axes, ids, strict=False):
        part = forecast[forecast["unique_id"] == name]
        first = part["ds"].iloc[0]
        # A backtest's history ends at its cutoff, not where the data end.
        known = int(series.times[where[name]].searchsorted(first))
        start = max(0, known - (max_history or max(60, 5 * len(part))))
        past = slice(start, known)
        i = where[name]
        _panel(ax, series.times[i][past], series.values[i][past], part, baselines)
        ax.set_title(str(name), fontsize=11)
    _legend(figure, axes[0])
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def plot_by_horizon(
    table: pd.DataFrame, *, metric: str = "mae", title: str | None = None
) -> Figure:
    """Draw the error of each model of a backtest against the step ahead.

    The figure belongs to the caller: pyplot and its state are not touched.

    Args:
        table: As `Forecaster.cross_validation` returns it.
        metric: `"mae"` or `"rmse"`, in the units of y over all series at once, or `"smape"`.
        title: Above the figure.

    Returns:
        A matplotlib figure of one panel, one line a model.

    Raises:
        DataError: The table is no backtest, or the metric is not one of these.

    >>> table = pd.DataFrame({"unique_id": "a", "ds": [1, 2], "cutoff": 0, "y": [5.0, 6.0]})
    >>> figure = plot_by_horizon(table.assign(Naive=[4.0, 4.0]))
    >>> figure.axes[0].lines[0].get_ydata().tolist()
    [1.0, 2.0]
    """
    if metric not in _METRICS:
        raise DataError(
            f"plot_by_horizon: expected metric as one of {', '.join(map(repr, _METRICS))}, "
            f"got {metric!r}."
        )
    check_backtest(table, "plot_by_horizon")
    scores = score_by_horizon(table)
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    rank = 0
    for name, part in scores.groupby("model", sort=False):
        marker = "o" if len(part) <= 3 else None
        if name == "LSTM":
            style: dict[str, Any] = {"color": _FORECAST, "linewidth": 2.2, "zorder": 3}
        else:
            color, dashes = _BASELINES[rank % len(_BASELINES)]
            style = {"color": color, "linewidth": 1.3, "linestyle": dashes}
            rank += 1
        ax.plot(part["step"], part[metric], marker=marker, label=str(name), **style)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("step ahead")
    ax.set_ylabel(_METRICS[metric])
    ax.set_ylim(bottom=0)
    ax.grid(axis="y", color="#000000", alpha=0.08)
    ax.spines[["top", "right"]].set_visible(False)
    _legend(figure, ax)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _legend(figure: Figure, ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    columns = math.ceil(len(labels) / math.ceil(len(labels) / 6))  # more than six run over the edge
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )


def _panel(
    ax: Axes, times: pd.Index, values: Any, part: pd.DataFrame, baselines: Sequence[str]
) -> None:
    x, past = part["ds"].to_numpy(), times.to_numpy()
    low = "LSTM-lo-"
    levels = [name.removeprefix(low) for name in part.columns if name.startswith(low)]
    for rank, level in enumerate(sorted(levels, key=float, reverse=True)):
        edges = part[f"LSTM-lo-{level}"], part[f"LSTM-hi-{level}"]
        color = _BANDS[min(rank, len(_BANDS) - 1)]
        ax.fill_between(x, *edges, color=color, linewidth=0, label=f"{level} % interval")
    ax.plot(past, values, color=_HISTORY, linewidth=1.3, label="history")
    if "y" in part:
        ax.plot(
            np.concatenate([past[-1:], x]),
            np.concatenate([values[-1:], part["y"]]),
            color=_HISTORY,
            linewidth=1.3,
            linestyle=(0, (2, 1.5)),
            label="what happened",
        )
    marker = "o" if len(part) <= 3 else None
    for rank, name in enumerate(baselines):
        color, dashes = _BASELINES[rank % len(_BASELINES)]
        line = ax.plot(x, part[name], color=color, linewidth=1.1, linestyle=dashes, label=name)
        line[0].set(marker=marker, markersize=3)
    ax.plot(x, part["LSTM"], color=_FORECAST, linewidth=1.8, marker=marker, label="LSTM (median)")
    if len(past):
        # A thin line joins the history to the forecast; it is no forecast itself.
        joint = [values[-1], part["LSTM"].iloc[0]]
        ax.plot([past[-1], x[0]], joint, color=_FORECAST, linewidth=0.8, alpha=0.6)
    if isinstance(times, pd.DatetimeIndex):
        locator = AutoDateLocator(minticks=4, maxticks=9)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.set_xlabel("ds")
    ax.set_ylabel("y")
    ax.grid(axis="y", color="#000000", alpha=0.08)
    ax.margins(x=0.01)
    ax.spines[["top", "right"]].set_visible(False)
