"""The report of a backtest: one HTML page that needs nothing beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from longshort._errors import DataError
from longshort.data._frames import SeriesSet, check_series
from longshort.data._frequency import show_time
from longshort.tasks._backtest import MODEL, mase_by_window, scaled_windows
from longshort.tasks._data_warnings import DataWarning, data_warnings
from longshort.tasks._files import write_file
from longshort.tasks._horizon import bands_of, check_backtest, models_of, score_by_horizon
from longshort.tasks._report_charts import Chart, Line, number
from longshort.tasks._report_html import (
    bullets,
    grid,
    score_cell,
    section,
    share_cell,
    styles,
    swatches,
)
from longshort.tasks._report_series import panels, scores_by_series, series_table
from longshort.tasks._report_style import STYLE
from longshort.tasks._verdict import Scores, band_verdict, rank, verdict

MAX_WARNINGS = 20  # of a kind


def write_report(
    path: str | os.PathLike[str],
    table: pd.DataFrame,
    history: Any,
    *,
    scores: Scores,
    level: Sequence[int | float],
    season_length: int,
    title: str = "Backtest",
    notes: Sequence[str] = (),
) -> None:
    """Write the report of a backtest: one HTML file, no scripts, nothing from a network.

    What was tested; whether the LSTM beats every baseline and whether its intervals are honest;
    scores, best first; errors by step ahead; the worst, the median and the best series drawn; all
    series in a table, worst first; what in the data can mislead. The same input gives the same
    bytes.

    Args:
        path: The file to write, whole or not at all.
        table: Backtest as `Forecaster.cross_validation` returns it.
        history: The series that were tested, as `Forecaster.fit` takes them.
        scores: For each model a dict of metrics, as `Forecaster.backtest` returns them.
        level: Intervals to report, in percent; the table has columns for each.
        season_length: Steps in a season, which the MASE is scaled by.
        title: Heading of the page.
        notes: Further paragraphs, such as where the data come from.

    Raises:
        DataError: The tables do not fit together.
        SaveError: The file cannot be written.

    >>> import tempfile
    >>> history = pd.Series([1.0, 3.0, 2.0, 4.0, 3.0])
    >>> table = pd.DataFrame({"unique_id": "series", "ds": [3, 4], "cutoff": 2, "y": [4.0, 3.0]})
    >>> table = table.assign(LSTM=[4.0, 4.0], Naive=2.0)
    >>> one = {"mase": 1.0, "smape": 0.0, "mae": 0.5, "rmse": 0.7}
    >>> scores = {"LSTM": one, "Naive": one}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = os.path.join(folder, "report.html")
    ...     write_report(page, table, history, scores=scores, level=[], season_length=1)
    ...     os.path.getsize(page) > 5000
    True
    """
    page = report_html(
        table,
        history,
        scores=scores,
        level=level,
        season_length=season_length,
        title=title,
        notes=notes,
    ).encode()
    write_file(path, lambda file: file.write(page))


def report_html(
    table: pd.DataFrame,
    history: Any,
    *,
    scores: Scores,
    level: Sequence[int | float],
    season_length: int,
    title: str = "Backtest",
    notes: Sequence[str] = (),
) -> str:
    """Return the page that `write_report` writes; the arguments are the same."""
    series = check_series(history, allow_missing=True)
    _check(table, series, scores, level)
    models = [name for name in models_of(table) if name in scores]
    scores = {name: scores[name] for name in models}
    table = table.sort_values(["unique_id", "cutoff", "ds"], kind="stable", key=_sortable)
    table = table.reset_index(drop=True)
    windows = mase_by_window(table, series, season_length, models)
    per_series = scores_by_series(table, windows, level)
    h = int(table.groupby(["unique_id", "cutoff"], sort=False).size().max())
    known = table[table["y"].notna()]
    num_windows = len(known[["unique_id", "cutoff"]].drop_duplicates())
    best = next(name for name in [*rank(scores), MODEL] if name != MODEL or len(scores) == 1)
    said = [*verdict(scores, windows), *band_verdict(scores, level, num_windows)]
    body = [
        f"<header><h1>{escape(title)}</h1>{_facts(table, series, h, season_length)}</header>",
        section("Does the LSTM beat the baselines?", bullets(said)),
        section("Scores", _score_table(scores, models, level) + _LEGEND),
        section("Error by step ahead", _horizon(table, series, season_length, models)),
        section("Notes", "".join(f"<p>{escape(str(note))}</p>" for note in notes)),
        section(
            "What in the data can mislead",
            _warnings(data_warnings(series, season_length=season_length, h=h)),
        ),
        section("Series", panels(table, series, per_series, level, best)),
        section("All series, worst first", series_table(per_series, level)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Even if a browser were to find an address in the page, it may not follow it.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


_LEGEND = (
    '<p class="small">MASE: mean absolute error, as a multiple of that of repeating the last '
    "season inside the history; below 1 is better than that. sMAPE: 0 to 200. MAE and RMSE are in "
    "the units of y, over all series at once. Pinball: loss of the median and the ends of the "
    "intervals. In N %: share of what happened inside the interval that should hold N %.</p>"
)


def _check(
    table: pd.DataFrame, series: SeriesSet, scores: Scores, level: Sequence[int | float]
) -> None:
    check_backtest(table, "write_report")
    if MODEL not in table or MODEL not in scores:
        where = "table" if MODEL not in table else "scores"
        raise DataError(f"write_report: the {where} have no model {MODEL!r}; it is what is judged.")
    known = set(series.ids)
    unknown = [name for name in dict.fromkeys(table["unique_id"]) if name not in known]
    if unknown:
        raise DataError(f"write_report: the history has no series {unknown[0]!r}.")
    missing = [value for value in level if value not in bands_of(table, MODEL)]
    if missing:
        raise DataError(f"write_report: the table has no interval of {missing[0]:g} %.")


def _sortable(column: pd.Series) -> pd.Series:
    """Keep series in their order of appearance, whatever their names."""
    if column.name != "unique_id":
        return column
    return pd.Series(pd.factorize(column)[0], index=column.index)


# -- text and tables ---------------------------------------------------------------------------


def _facts(table: pd.DataFrame, series: SeriesSet, h: int, season_length: int) -> str:
    per = table.drop_duplicates(["unique_id", "cutoff"]).groupby("unique_id", sort=False).size()
    each = f"{per.min():,}" if per.min() == per.max() else f"{per.min():,} to {per.max():,}"
    missing = int(table["y"].isna().sum())
    facts = {
        "Series": f"{len(per):,}",
        "Windows": f"{each} a series",
        "Steps ahead": f"{h:,}",
        "Step": str(series.freq),
        "Season": f"{season_length:,} steps" if season_length > 1 else "none",
        "Tested": f"{show_time(table['ds'].min())} to {show_time(table['ds'].max())}",
        "Values scored": f"{len(table) - missing:,}" + (f" ({missing:,} unknown)" * bool(missing)),
    }
    cells = "".join(
        f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items()
    )
    return f"<dl>{cells}</dl>"


def _score_table(scores: Scores, models: Sequence[str], level: Sequence[int | float]) -> str:
    inside = {f"coverage-{value}": f"in {value:g} %" for value in level}
    columns = {"mase": "MASE", "smape": "sMAPE", "mae": "MAE", "rmse": "RMSE"}
    columns |= {"pinball": "pinball"} if "pinball" in scores[MODEL] else {}
    rows = []
    for name in (name for name in rank(scores) if name in models):
        cells = [score_cell(scores[name], key) for key in columns]
        shares = [scores[name].get(key, float("nan")) for key in inside]
        rows.append([name, *cells, *map(share_cell, shares)])
    best = 0 if np.isfinite(scores[rows[0][0]]["mase"]) else None
    return grid(["Model", *columns.values(), *inside.values()], rows, best)


def _warnings(found: Sequence[DataWarning]) -> str:
    if not found:
        return (
            "<p>Nothing was found: no series is constant, short or a copy of another one, and "
            "there are no large gaps, outliers, jumps of level, zeros or negative values.</p>"
        )
    parts = []
    for kind, group in groupby(found, key=lambda warning: warning.kind):
        texts = [warning.text for warning in group]
        more = len(texts) - MAX_WARNINGS
        shown = texts[:MAX_WARNINGS] + ([f"... and {more:,} more series."] if more > 0 else [])
        parts.append(f"<h3>{escape(kind.capitalize())} ({len(texts):,})</h3>{bullets(shown)}")
    return "".join(parts)


def _horizon(
    table: pd.DataFrame, series: SeriesSet, season_length: int, models: Sequence[str]
) -> str:
    """Draw the MASE by step ahead: in the units of y the largest series would decide."""
    what, columns, size = "MASE", ["y", *models], np.full(len(table), np.nan)
    for rows, scale in scaled_windows(table, series, season_length):
        size[rows] = scale
    if np.isnan(size).all():
        what, size = "mean absolute error", np.ones(len(table))
    scaled = table.assign(**table[columns].div(size, axis=0).to_dict("series"))
    scores = score_by_horizon(scaled[~np.isnan(size)])
    looks = styles(models)
    chart = Chart(
        f"{what} of each model against the step ahead",
        from_zero=True,
        x_label="step ahead",
        y_label=what,
        size=(500, 240),
    )
    steps = sorted(scores["step"].unique())
    for name in sorted(models, key=lambda name: name == MODEL):  # the model in front
        part = scores[scores["model"] == name]
        chart.lines.append(Line(pd.Index(part["step"]), part["mae"].to_numpy(), looks[name]))
    cells = [
        [
            str(k),
            *(number(v) for v in scores[scores["step"] == k].set_index("model")["mae"][models]),
        ]
        for k in steps
    ]
    details = grid(["Step", *models], cells)
    legend = swatches([(looks[name], name) for name in models])
    return (
        f'<figure class="wide">{legend}{chart.svg()}</figure>'
        f"<details><summary>As numbers ({what})</summary>{details}</details>"
    )
