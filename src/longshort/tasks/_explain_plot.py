"""Draw what `Forecaster.explain` found: bars of covariates and a strip of past steps."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from longshort._errors import DataError
from longshort.tasks._base import check_whole

_UP, _DOWN = "#b2182b", "#2166ac"  # the ends of the strip's colours
_COLOURS = "RdBu_r"


def plot_explanation(
    table: pd.DataFrame, *, max_series: int = 4, max_features: int = 12, title: str | None = None
) -> Figure:
    """Draw which covariates and which past steps moved a forecast, a row of panels a series.

    On the left a bar for each covariate hidden as a whole, the largest effect on top; on the right
    a strip a feature, the newest step at the right, red where the real values raised the forecast
    and blue where they lowered it. Both are in units of y. What has no effect to show (NaN) is
    grey. The figure belongs to the caller: pyplot and its state are not touched.

    Args:
        table: As `Forecaster.explain` returns it.
        max_series: Series to show, the first ones of the table.
        max_features: Bars and strips to show, those of the largest effects; y always has a strip.
        title: Above the figure.

    Returns:
        A matplotlib figure; `figure.savefig("why.png")` writes it.

    Raises:
        DataError: The table is none of `Forecaster.explain`, or a number is no whole one from 1.

    >>> table = pd.DataFrame({"unique_id": "a", "feature": ["promo", "y", "y"]})
    >>> table["effect"] = [4.0, 2.0, 0.0]
    >>> figure = plot_explanation(table.assign(lag=[np.nan, 1, 2], lag_to=[np.nan, 1, 2]))
    >>> [ax.get_xlabel() for ax in figure.axes][:2]
    ['effect on the forecast', 'steps back']
    """
    missing = [c for c in ("unique_id", "feature", "lag", "lag_to", "effect") if c not in table]
    if missing:
        raise DataError(
            f"plot_explanation: the table has no column {missing[0]!r}; pass what "
            "Forecaster.explain returns."
        )
    faults = check_whole("max_series", max_series, 1, 100)
    faults += check_whole("max_features", max_features, 1, 1_000)
    if len(table) == 0:
        faults.append("the table is empty")
    if faults:
        raise DataError(f"plot_explanation: {'; '.join(faults)}.")
    ids = list(dict.fromkeys(table["unique_id"]))[:max_series]
    parts = [table[table["unique_id"] == name] for name in ids]
    whole = [part[part["lag"].isna()].head(max_features) for part in parts]
    steps = [part[part["lag"].notna()] for part in parts]
    bars, strips = any(map(len, whole)), any(map(len, steps))
    names = [_strips(part, max_features) for part in steps]

    heights = [
        max(1.4, 0.3 * len(w) + 0.9, 0.42 * len(n) + 0.9) for w, n in zip(whole, names, strict=True)
    ]
    figure = Figure(figsize=(11.0 if bars and strips else 8.0, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        len(ids),
        bars + strips,
        squeeze=False,
        gridspec_kw={"height_ratios": heights, "width_ratios": [1, 1.8][-(bars + strips) :]},
    )
    for row, name, w, s, order in zip(axes, ids, whole, steps, names, strict=True):
        if bars:
            _bars(row[0], w)
        if strips:
            _strip(figure, row[-1], s, order)
        row[0].set_title(str(name), fontsize=11, loc="left")
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _strips(steps: pd.DataFrame, most: int) -> list[str]:
    """Return the features with steps: y, then the others by their largest effect."""
    features = list(dict.fromkeys(steps["feature"]))
    return sorted(features, key=lambda name: name != "y")[:most]  # the table is sorted by effect


def _bars(ax: Axes, whole: pd.DataFrame) -> None:
    effects = whole["effect"].to_numpy(np.float64)
    at = np.arange(len(whole))
    ax.barh(at, effects, color=[_UP if v > 0 else _DOWN for v in effects], height=0.65)
    ax.axvline(0.0, color="#30343b", linewidth=0.8)
    ax.set_yticks(at, whole["feature"])
    ax.set_ylim(max(len(whole), 1) - 0.4, -0.6)
    ax.set_xlabel("effect on the forecast")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.grid(axis="x", color="#000000", alpha=0.08)
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _strip(figure: Figure, ax: Axes, steps: pd.DataFrame, names: list[str]) -> None:
    shown = steps[steps["feature"].isin(names)]
    effects = shown["effect"].to_numpy(np.float64)
    most = float(np.nanmax(np.abs(effects))) if np.isfinite(effects).any() else 0.0
    norm = Normalize(-(most or 1.0), most or 1.0)
    colours = figure.colorbar(
        ScalarMappable(norm, cmap=_COLOURS), ax=ax, pad=0.01, fraction=0.05, aspect=12
    )
    colours.set_label("effect", fontsize=9)
    colours.locator = MaxNLocator(4, symmetric=True)
    colours.update_ticks()
    for feature, lag, lag_to, effect in zip(
        shown["feature"], shown["lag"], shown["lag_to"], effects, strict=True
    ):
        colour = "#d0d0d0" if np.isnan(effect) else colours.cmap(norm(effect))
        corner = (lag - 0.5, names.index(feature) - 0.4)
        width = lag_to - lag + 1
        ax.add_patch(Rectangle(corner, width, 0.8, facecolor=colour, edgecolor="#c8c8c8", lw=0.4))
    newest, oldest = float(shown["lag"].min()), float(shown["lag_to"].max())
    ax.set_xlim(oldest + 0.5, newest - 0.5)  # time runs to the right
    ax.set_ylim(len(names) - 0.5, -0.5)
    if newest < 1:  # 0 is the first step forecast
        ax.axvline(0.5, color="#30343b", linewidth=1.0)
        ax.set_xlabel("steps back (forecast steps: 0 and below)")
    else:
        ax.set_xlabel("steps back")
    ax.set_yticks(np.arange(len(names)), names)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
