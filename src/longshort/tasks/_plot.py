"""Draw a forecast with its history and its intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from longshort._errors import DataError
from longshort.data._frames import check_series
from longshort.data._frequency import Freq

_HISTORY, _FORECAST = "#30343b", "#0b4a8f"
# Widest first; opaque, so that the legend shows each as it lies in the picture.
_BANDS = ("#d3e4f5", "#8dbbe6", "#5b97d0", "#3a78b8")


def plot_forecast(
    history: Any,
    forecast: pd.DataFrame,
    *,
    freq: Freq | None = None,
    max_history: int | None = None,
    max_series: int = 6,
    title: str | None = None,
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
    if "cutoff" in forecast and forecast.duplicated(["unique_id", "ds"]).any():
        raise DataError(
            "plot_forecast: the backtest holds several forecasts for one time; pass one window: "
            "table[table['cutoff'] == table['cutoff'].max()]."
        )
    series = check_series(history, freq=freq)
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
        _panel(ax, series.times[i][past], series.values[i][past], part)
        ax.set_title(str(name), fontsize=11)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9
    )
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _panel(ax: Axes, times: pd.Index, values: Any, part: pd.DataFrame) -> None:
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
