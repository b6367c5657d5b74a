"""The series of a report: which are drawn, their panels, and the table of all."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd

from longshort.data._frames import SeriesSet
from longshort.tasks import _metrics as metrics
from longshort.tasks._backtest import MODEL
from longshort.tasks._horizon import bands_of
from longshort.tasks._report_charts import Band, Chart, Line
from longshort.tasks._report_html import grid, score_cell, share_cell, styles, swatches

MAX_PANELS, MAX_ROWS, MAX_HISTORY = 12, 200, 400


def scores_by_series(
    table: pd.DataFrame, windows: pd.DataFrame, level: Sequence[int | float]
) -> pd.DataFrame:
    """Return the scores of the model for each series, the largest MASE first."""
    means = windows.drop(columns="cutoff").groupby("unique_id", sort=False).mean()
    bands = bands_of(table, MODEL)
    rows = []
    for name, part in table.groupby("unique_id", sort=False):
        y, f = part["y"].to_numpy(np.float64), part[MODEL].to_numpy(np.float64)
        row = {"unique_id": name, "windows": part["cutoff"].nunique()}
        own = means.loc[name] if name in means.index else pd.Series(dtype=float)
        others = own.drop(MODEL, errors="ignore").dropna()
        row["mase"] = float(own.get(MODEL, float("nan")))
        row["best"] = others.idxmin() if len(others) else ""
        row["best_mase"] = float(others.min()) if len(others) else float("nan")
        row |= {"smape": metrics.smape(y, f), "mae": metrics.mae(y, f)}
        for value in level:
            ends = (part[end].to_numpy(np.float64) for end in bands[value])
            row[f"coverage-{value}"] = metrics.coverage(y, *ends)
        rows.append(row)
    found = pd.DataFrame(rows)
    return found.sort_values("mase", ascending=False, kind="stable", ignore_index=True)


def series_table(per_series: pd.DataFrame, level: Sequence[int | float]) -> str:
    """Return the table of what `scores_by_series` gives, at most 200 rows."""
    head = ["Series", "windows", "MASE", "best baseline", "its MASE", "sMAPE", "MAE"]
    rows = []
    for row in per_series.head(MAX_ROWS).to_dict("records"):
        shares = [row[f"coverage-{value}"] for value in level]
        rows.append(
            [
                str(row["unique_id"]),
                f"{row['windows']:,}",
                score_cell(row, "mase"),
                row["best"] or "-",
                score_cell({"mase": row["best_mase"]}, "mase"),
                score_cell(row, "smape"),
                score_cell(row, "mae"),
                *map(share_cell, shares),
            ]
        )
    more = len(per_series) - len(rows)
    note = f'<p class="small">{more:,} more series are not shown.</p>' if more else ""
    return grid([*head, *(f"in {value:g} %" for value in level)], rows) + note


def panels(
    table: pd.DataFrame,
    series: SeriesSet,
    per_series: pd.DataFrame,
    level: Sequence[int | float],
    best: str,
) -> str:
    """Draw the last window of up to 12 series: the worst, those in the middle, the best.

    `best` is the baseline that is drawn beside the model, or the model itself for none.
    """
    scored = per_series["mase"].notna().sum()  # those without a MASE come last
    chosen: list[tuple[int, str]] = [(i, "") for i in range(min(len(per_series), MAX_PANELS))]
    if scored > MAX_PANELS:
        each = MAX_PANELS // 3
        middle = (scored - each) // 2
        chosen = [(i, ", among the worst") for i in range(each)]
        chosen += [(i, ", in the middle") for i in range(middle, middle + each)]
        chosen += [(i, ", among the best") for i in range(scored - each, scored)]
    bands = sorted(level, reverse=True)[:4]
    legend = [(f"band{i}", f"{value:g} % interval") for i, value in enumerate(bands)]
    legend += [("past", "history"), ("truth", "what happened"), ("model", f"{MODEL} (median)")]
    if best != MODEL:
        legend.append((styles([best])[best], best))
    figures, size = [], (440, 220) if len(chosen) > 1 else (500, 240)
    for i, place in chosen:
        row = per_series.iloc[i]
        part = table[table["unique_id"] == row["unique_id"]]
        part = part[part["cutoff"] == part["cutoff"].max()]
        caption = f"MASE {score_cell(row, 'mase')}{place}"
        chart = _panel(part, series, row["unique_id"], bands, best, size)
        figures.append(
            f"<figure><figcaption><b>{escape(str(row['unique_id']))}</b> "
            f"<span>{caption}</span></figcaption>{chart.svg()}</figure>"
        )
    box = "panels" if len(chosen) > 1 else "wide"
    text = "The last window of each series" if len(chosen) > 1 else "The last window"
    return (
        f'<p class="small">{text}; the MASE is over all of its windows.</p>'
        f'{swatches(legend)}<div class="{box}">{"".join(figures)}</div>'
    )


def _panel(
    part: pd.DataFrame,
    series: SeriesSet,
    name: str | int,
    levels: Sequence[int | float],
    best: str,
    size: tuple[int, int],
) -> Chart:
    i = series.ids.index(name)
    ahead = pd.Index(part["ds"])
    known = int(series.times[i].searchsorted(ahead[0]))
    start = max(0, known - min(max(60, 5 * len(part)), MAX_HISTORY))
    times, values = series.times[i][start:known], series.values[i][start:known]
    chart = Chart(f"{name}: history, forecast and what happened", size=size)
    columns = bands_of(part, MODEL)
    for place, value in enumerate(levels):
        low, high = (part[end].to_numpy() for end in columns[value])
        chart.bands.append(Band(ahead, low, high, f"band{place}"))
    if best != MODEL:
        chart.lines.append(Line(ahead, part[best].to_numpy(), styles([best])[best]))
    chart.lines.append(Line(times, values, "past"))
    truth = np.concatenate([values[-1:], part["y"].to_numpy(np.float64)])
    chart.lines.append(Line(times[-1:].append(ahead), truth, "truth"))
    chart.lines.append(Line(ahead, part[MODEL].to_numpy(), "model"))
    return chart
