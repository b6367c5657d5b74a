"""The tables of a forecast: DATA, the steps to come, what a series is for good.

What DATA may be, and which of its rows are the steps to come, is described in docs/forecasting.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from longshort._errors import DataError
from longshort.cli import _common as common
from longshort.cli._forecast_options import Exog, TableOptions

if TYPE_CHECKING:
    import pandas as pd

    from longshort.data import SeriesSet

OPTIONS = {"futr": "--futr-exog", "hist": "--hist-exog", "stat": "--stat-exog"}


@dataclass(frozen=True)
class Tables:
    """What was read.

    Attributes:
        past: `unique_id, ds, y` and the covariates, without the steps to come.
        futr: The steps to come with the covariates that are known ahead, or None.
        static: A row for each series, or None.
        cut: Whether rows of DATA are the steps to come.
        futr_name: What to call `futr` in messages.
        static_name: What to call `static` in messages.
        note: What to tell about rows at the end of DATA, or nothing.
    """

    past: pd.DataFrame
    futr: pd.DataFrame | None
    static: pd.DataFrame | None
    cut: bool
    futr_name: str
    static_name: str
    note: str

    @contextmanager
    def spoken(self) -> Iterator[None]:
        """Let errors about arguments of Python name the options of the command instead."""
        try:
            yield
        except DataError as error:
            text = str(error)
            for argument, option in (
                ("futr_df", self.futr_name),
                ("static_df", self.static_name),
                ("futr_exog_list", OPTIONS["futr"]),
                ("hist_exog_list", OPTIONS["hist"]),
                ("stat_exog_list", OPTIONS["stat"]),
            ):
                text = text.replace(argument, option)
            if self.cut and text.startswith("data:") and " row" in text:
                text += " Rows are counted without those of the steps to come."
            raise DataError(text) from None

    def tell(self) -> None:
        """Print the note, once there is no error that would make it idle."""
        if self.note:
            typer.echo(f"note: {self.note}", err=True)

    def check(self, task: Any, *, ahead: bool) -> SeriesSet:
        """Return the series of the past for an unfitted `task`, after a check of all tables.

        Args:
            task: A Forecaster.
            ahead: Whether the steps to come are needed.

        Raises:
            DataError: As `check_series`, `check_future` and `check_static`.
        """
        from longshort.data import check_series
        from longshort.data._covariates import check_future, check_static

        with self.spoken():
            series = check_series(
                self.past,
                freq=task.freq,
                allow_missing=True,
                futr_exog_list=task.futr_exog_list,
                hist_exog_list=task.hist_exog_list,
            )
            check_static(series.ids, self.static, task.stat_exog_list)
            if ahead:
                check_future(series, self.futr, task.h)
        self.tell()
        return series


def read_tables(
    data: str,
    options: TableOptions,
    exog: Exog,
    futr: Path | None = None,
    *,
    ahead: bool,
    trained: bool = False,
) -> Tables:
    """Read DATA and the files beside it.

    Args:
        data: A path or the name of a built-in set.
        options: Names of columns, form of DATA, static file.
        exog: Names of the covariates.
        futr: File of the steps to come.
        ahead: Whether something is to be forecast, so that the steps to come are needed; where it
            is not, such rows at the end of DATA are left out and a note says so.
        trained: Whether a saved model, not an option, says what the covariates are.

    Raises:
        DataError: A file or a column is missing, or options contradict each other.
    """
    _check_files(options, exog, futr, trained)
    _check_names(options, exog)
    past = _read_wide(data, options, exog) if options.wide else _read_long(data, options, exog)
    several = "unique_id" in past and past["unique_id"].nunique(dropna=False) > 1
    static = None
    if options.static is not None:
        static = _read_beside(options.static, "stat", exog.stat, options, several, times=False)
    table, cut, note = None, False, ""
    if futr is not None:
        table = _read_beside(futr, "futr", exog.futr, options, several, times=True)
    elif exog.futr:
        whole = past
        past, cut, note = _without_steps_to_come(past, data, ahead)
        # All rows, so that messages count them as the file does; those of the past are ignored.
        table = whole if cut else None
    if not cut and (unknown := int(_behind_last_known(past)[1].sum())):
        note = (
            f"{data} ends with rows without a y, {unknown} in all; they count as missing values "
            "of the past."
        )
    futr_name = f"--futr {futr}" if futr is not None else f"{data}, rows behind the last known y"
    return Tables(past, table, static, cut, futr_name, f"--static {options.static}", note)


def refuse_for_classifier(options: TableOptions, futr: Path | None, file: Path) -> None:
    """Raise a DataError where an option was given that only a forecaster has a use for."""
    given = {"--futr": futr is not None, "--static": options.static is not None}
    given["--wide"] = options.wide
    for option, is_given in given.items():
        if is_given:
            raise DataError(f"{option}: is for a forecaster, but {file} holds none.")


def _check_files(options: TableOptions, exog: Exog, futr: Path | None, trained: bool) -> None:
    """Refuse a file without names of columns, and names of static columns without a file."""
    for option, path, names, by in (
        ("--futr", futr, exog.futr, OPTIONS["futr"]),
        ("--static", options.static, exog.stat, OPTIONS["stat"]),
    ):
        if path is not None and not names:
            raise DataError(
                f"{option} {path}: the model was trained without {by}, so nothing is taken from "
                f"this file; leave {option} out."
                if trained
                else f"{option} {path}: no columns are taken from it; name them with {by}, or "
                f"leave {option} out."
            )
    if exog.stat and options.static is None:
        columns = ",".join(exog.stat)
        raise DataError(
            f"{'the model was trained with ' if trained else ''}{OPTIONS['stat']} {columns}: pass "
            "the table that has these columns and a row for each series with --static FILE."
        )


def _check_names(options: TableOptions, exog: Exog) -> None:
    """Refuse a covariate that is another column too."""
    taken = {
        options.id_col: "--id-col",
        options.time_col: "--time-col",
        options.target_col: "--target-col",
    }
    for kind, option in OPTIONS.items():
        for name in getattr(exog, kind):
            if name in taken:
                raise DataError(
                    f"{option}: {name!r} is the column of {taken[name]}; a covariate is another."
                )


def _read_long(data: str, options: TableOptions, exog: Exog) -> pd.DataFrame:
    table = common.read_series(data, options.id_col, options.time_col, options.target_col)
    for kind in ("futr", "hist"):
        _require(table, data, getattr(exog, kind), OPTIONS[kind])
    return table


def _read_wide(data: str, options: TableOptions, exog: Exog) -> pd.DataFrame:
    from longshort.data import read_table, wide_to_long

    if exog.futr or exog.hist:
        raise DataError(
            "--wide: a table with a column for each series cannot hold the covariates "
            f"{', '.join((*exog.futr, *exog.hist))}; give one with a row for each step of a series."
        )
    if options.target_col != "y":
        raise DataError("--target-col: has no meaning beside --wide; leave it out.")
    if options.id_col != "unique_id" and options.static is None:
        raise DataError("--id-col: has no meaning beside --wide without --static; leave it out.")
    if common.is_builtin(data):
        raise DataError(f"{data}: is a built-in set with a row for each step; leave out --wide.")
    table = read_table(data)
    if options.id_col in table:
        raise DataError(
            f"{data}: has a column {options.id_col!r}, so it has a row for each step of a series "
            "already; leave out --wide."
        )
    _require(table, data, [options.time_col], "--time-col")
    try:
        return wide_to_long(table, options.time_col)
    except DataError as error:
        raise DataError(str(error).replace("table:", f"{data}:", 1)) from None


def _read_beside(
    path: Path,
    kind: str,
    names: Sequence[str],
    options: TableOptions,
    several: bool,
    *,
    times: bool,
) -> pd.DataFrame:
    """Return a table beside DATA with our names of its columns."""
    from longshort.data import read_table

    table = read_table(path, text=[options.id_col])
    _require(table, str(path), names, OPTIONS[kind])
    named = {options.id_col: "unique_id"}
    if several:
        _require(table, str(path), [options.id_col], "--id-col")
    if times:
        _require(table, str(path), [options.time_col], "--time-col")
        named[options.time_col] = "ds"
    present = [column for column in named if column in table]
    return table[[*present, *names]].rename(columns=named)


def _require(table: pd.DataFrame, path: str, names: Sequence[str], option: str) -> None:
    from longshort.data._faults import did_you_mean

    columns = list(map(str, table.columns))
    for name in names:
        if name in columns:
            continue
        near = did_you_mean(name, columns)
        hint = f"did you mean {near!r}? It" if near else "it"
        raise DataError(
            f"{path}: there is no column {name!r} ({option}); {hint} has {', '.join(columns)}."
        )


def _without_steps_to_come(
    table: pd.DataFrame, data: str, ahead: bool
) -> tuple[pd.DataFrame, bool, str]:
    """Return `table` without the rows behind the last known y of each series.

    Beside it stand whether there are such rows, and a note about them.

    Where only some series have such rows they are missing values at the end of the past, unless
    something is to be forecast, when nothing is known of the steps to come of the others.
    """
    behind, counts, names = _behind_last_known(table)
    lacking = [str(name) for name, n in zip(names, counts, strict=True) if n == 0]
    if lacking and ahead:
        if len(lacking) == len(names):
            who = "it has none" if len(names) == 1 else "no series has any"
        else:
            shown = ", ".join(map(repr, lacking[:5])) + " ..." * (len(lacking) > 5)
            who = f"series {shown} {'has' if len(lacking) == 1 else 'have'} none"
        raise DataError(
            f"{data}: the columns of --futr-exog must be known for the steps to come, from "
            f"--futr FILE or from rows of {data} behind the last known y; {who}."
        )
    if lacking:
        return table, False, ""
    fewest, most, note = counts.min(), counts.max(), ""
    if not ahead:
        note = f"left out {counts.sum()} rows of {data} behind the last known y: steps to come."
    elif fewest < most:
        note = (
            f"the series of {data} have from {fewest} to {most} rows behind their last known y; "
            "the forecast of each begins behind its own."
        )
    return table[~behind].reset_index(drop=True), True, note


def _behind_last_known(table: pd.DataFrame) -> tuple[Any, Any, list[Any]]:
    """Return which rows lie behind their series' last known y, how many each has, and the names."""
    import numpy as np
    import pandas as pd

    if "unique_id" in table:
        codes, names = pd.factorize(table["unique_id"], use_na_sentinel=False)
    else:
        codes, names = np.zeros(len(table), np.intp), ["series"]
    row = np.arange(len(table))
    last = np.full(len(names), -1)
    known = table["y"].notna().to_numpy()
    np.maximum.at(last, codes[known], row[known])
    # A series without any y keeps its rows, so that check_series names it.
    behind = (row > last[codes]) & (last[codes] >= 0)
    counts = np.bincount(codes[behind], minlength=len(names))
    return behind, counts, list(names)
