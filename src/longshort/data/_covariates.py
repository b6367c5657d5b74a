"""Tables beside the series: covariates of the steps to come, and what a series is for good.

Axis letters: S series, F future covariates, K columns of the encoded static ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._columns import (
    check_exog_lists,
    read_ids,
    read_numbers,
    read_times,
    refuse_twice,
    require_columns,
)
from longshort.data._faults import raise_faults, show_names, show_rows
from longshort.data._forms import columns_of, is_table, take_columns
from longshort.data._frequency import show_time
from longshort.data._series import SeriesSet

Array = NDArray[np.float64]

MOST_CATEGORIES = 1_000  # of a text column: each is a column of zeros and ones


def check_future(series: SeriesSet, futr_df: Any, h: int) -> list[Array]:
    """Return the future covariates of the h steps after the end of each series.

    Args:
        series: What is forecast; its `futr_exog_list` says which columns are needed.
        futr_df: Table (pandas or polars) with `unique_id` (may be missing where there is one
            series), `ds` and these columns, in any order of rows. Rows before and after the h
            steps, other series and other columns are ignored. None where there are no future
            covariates.
        h: Steps.

    Returns:
        For each series a float64 array (h, F).

    Raises:
        DataError: The table, a series, a step or a number is missing, or a step is there twice;
            all faults found are in one message. Or there is a table where none is needed.

    >>> y = np.arange(3.0)
    >>> series = SeriesSet(["a"], [y], [pd.Index([0, 1, 2])], 1, [y[:, None]], [], ("price",))
    >>> check_future(series, pd.DataFrame({"ds": [3, 4], "price": [5, 6]}), 2)[0].tolist()
    [[5.0], [6.0]]
    """
    names = series.futr_exog_list
    if not names:
        if futr_df is not None:
            raise DataError(
                "futr_df: there are no future covariates to take from it; name its columns in "
                "futr_exog_list when fitting, or leave futr_df out."
            )
        return [np.zeros((h, 0)) for _ in series.ids]
    if futr_df is None:
        raise DataError(
            f"futr_df: the future covariates {show_names(names)} of the {h} steps to come are "
            "needed; pass a table with the columns unique_id, ds and these."
        )
    faults: list[str] = []
    table = _take(futr_df, "futr_df", series.ids, ["ds"], futr_exog_list=names)
    owner = _owners(table, series.ids, "futr_df", faults)
    ds = read_times(table["ds"], faults)
    raise_faults(faults, "futr_df")
    ds = _like(ds, series.times[0])

    at = np.full((len(series), h), -1)  # the row that holds a step
    absent = []
    coming: dict[Any, pd.Index] = {}  # most series end at the same time
    for i, rows in enumerate(_rows_of(owner, len(series))):
        if len(rows) == 0:
            absent.append(series.ids[i])
            continue
        last = series.times[i][-1]
        if last not in coming:
            coming[last] = series.future(i, h)
        steps = coming[last]
        step = steps.get_indexer(ds[rows])
        rows, step = rows[step >= 0], step[step >= 0]
        at[i, step] = rows
        count = np.bincount(step, minlength=h)
        if (count == 1).all():
            continue
        for what, found in (
            ("lacks", steps[count == 0]),
            ("has more than one row for", steps[count > 1]),
        ):
            if len(found):
                shown = ", ".join(show_time(t) for t in found[:3])
                faults.append(
                    f"series {series.ids[i]!r} {what} {len(found)} of the {h} steps from "
                    f"{show_time(steps[0])} to {show_time(steps[-1])} (freq={series.freq!r}): "
                    f"{shown}{' ...' * (len(found) > 3)}"
                )
    if absent:
        faults.insert(0, _no_rows(absent, table))
    raise_faults(faults, "futr_df")

    used = table.iloc[at.ravel()]
    whose = np.repeat(np.arange(len(series)), h)
    advice = "a covariate needs a number at every step"
    columns = [
        read_numbers(used[n], f"covariate {n!r}", series.ids, whose, faults, advice=advice)
        for n in names
    ]
    raise_faults(faults, "futr_df")
    return list(np.stack(columns, axis=1).reshape(len(series), h, len(names)))


def check_static(
    ids: Sequence[str | int],
    static_df: Any,
    stat_exog_list: Sequence[str],
    known: dict[str, Any] | None = None,
) -> tuple[Array, dict[str, Any]]:
    """Return the static covariates of each series as numbers.

    Numbers and booleans have the mean 0 and the spread 1 over the series of training; a column
    that is constant there says nothing and is 0, for new series too. Text becomes one column of
    zeros and ones for each category of training, in sorted order.

    Args:
        ids: The series, S of them.
        static_df: Table (pandas or polars) with one row a series: `unique_id` (may be missing
            where there is one series) and the columns of `stat_exog_list`: numbers, booleans or
            text. Other series and columns are ignored. None where the list is empty.
        stat_exog_list: Names of the columns.
        known: The encoding that an earlier call returned, for series after training; None
            learns it.

    Returns:
        A float64 array (S, K), and the encoding as plain values for JSON.

    Raises:
        DataError: The table, a series or a value is missing, a series has two rows, or a category
            is not known; all faults found are in one message. Or there is a table where none is
            needed.

    >>> shops = pd.DataFrame({"unique_id": ["a", "b"], "size": [1, 3], "kind": ["old", "new"]})
    >>> values, encoding = check_static(["a", "b"], shops, ["size", "kind"])
    >>> values.tolist()
    [[-1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    >>> check_static(["b"], shops, ["size", "kind"], known=encoding)[0].tolist()
    [[1.0, 1.0, 0.0]]
    """
    names = check_exog_lists(stat_exog_list=stat_exog_list)["stat_exog_list"]
    if known is not None and names != tuple(c["name"] for c in known["columns"]):
        raise DataError(
            f"stat_exog_list: expected {[c['name'] for c in known['columns']]} as in training, "
            f"got {list(names)}."
        )
    if not names:
        if static_df is not None:
            raise DataError(
                "static_df: there are no static covariates to take from it; name its columns in "
                "stat_exog_list when fitting, or leave static_df out."
            )
        return np.zeros((len(ids), 0)), {"columns": []}
    if static_df is None:
        raise DataError(
            f"static_df: the static covariates {show_names(names)} are needed; pass a table with "
            "the columns unique_id and these, one row a series."
        )
    faults: list[str] = []
    table = _take(static_df, "static_df", ids, [], stat_exog_list=names)
    owner = _owners(table, ids, "static_df", faults)
    raise_faults(faults, "static_df")
    rows = _rows_of(owner, len(ids))
    absent = [name for name, own in zip(ids, rows, strict=True) if len(own) == 0]
    twice = [name for name, own in zip(ids, rows, strict=True) if len(own) > 1]
    if absent:
        faults.append(_no_rows(absent, table))
    if twice:
        faults.append(f"series {show_names(twice)} has more than one row; keep one")
    raise_faults(faults, "static_df")

    used = table.iloc[np.concatenate(rows)]
    parts, columns = [], []
    for i, name in enumerate(names):
        before = None if known is None else known["columns"][i]
        part, column = _encode(used[name], name, ids, before, faults)
        parts.append(part)
        columns.append(column)
    raise_faults(faults, "static_df")
    return np.hstack(parts), {"columns": columns}


def _encode(
    column: pd.Series,
    name: str,
    ids: Sequence[str | int],
    known: dict[str, Any] | None,
    faults: list[str],
) -> tuple[Array, dict[str, Any]]:
    """Return one static column as (S, 1 or number of categories), and its encoding."""
    nothing = np.zeros((len(column), 1)), {"name": name}
    label = f"covariate {name!r}"
    is_text = np.array([isinstance(v, str) for v in column.astype(object)])
    empty = column.isna().to_numpy()
    if not is_text.any():
        if known is not None and "categories" in known:
            faults.append(f"{label} was text in training, but holds no text now")
            return nothing
        advice = "a static covariate needs a value for every series"
        codes = np.arange(len(column))
        values = read_numbers(column, label, ids, codes, faults, advice=advice)[:, None]
        if known is None:
            spread = float(values.std())
            # Below this the spread is rounding noise.
            if spread <= 1e-9 * np.abs(values).max(initial=0.0):
                spread = 0.0
            known = {"name": name, "mean": float(values.mean()), "spread": spread}
        if known["spread"] == 0:
            return np.zeros_like(values), known
        return (values - known["mean"]) / known["spread"], known

    if known is not None and "categories" not in known:
        shown = ", ".join(repr(v) for v in column[is_text].iloc[:3])
        faults.append(f"{label} held numbers in training, but holds text now ({shown})")
        return nothing
    for what, bad in (("empty", empty), ("no text", ~is_text & ~empty)):
        if bad.any():
            shown = show_names(name for name, is_bad in zip(ids, bad, strict=True) if is_bad)
            where = show_rows(column.index.to_numpy()[bad])
            faults.append(
                f"{label} is {what} in {where} of series {shown}; expected text as in others"
            )
    if (empty | ~is_text).any():
        return nothing
    values = np.array([str(v) for v in column])
    if known is None:
        known = {"name": name, "categories": [str(v) for v in np.unique(values)]}
        if len(known["categories"]) > MOST_CATEGORIES:
            faults.append(
                f"{label} has {len(known['categories'])} different texts; expected at most "
                f"{MOST_CATEGORIES}, each becomes a column"
            )
            return nothing
    categories = known["categories"]
    for i, value in enumerate(values):
        if value not in categories:
            faults.append(
                f"{label} of series {ids[i]!r} is {str(value)!r}, which no series of training "
                f"was; known are {show_names(categories, 10)}"
            )
    return (values[:, None] == np.array(categories)).astype(np.float64), known


def _take(
    table: Any,
    what: str,
    ids: Sequence[str | int],
    needed: list[str],
    **lists: Sequence[str],
) -> pd.DataFrame:
    """Return the columns that are needed of the argument `what`."""
    if not is_table(table):
        raise DataError(
            f"{what}: expected a pandas or polars DataFrame, got {type(table).__name__}."
        )
    if len(table) == 0:
        raise DataError(f"{what}: the table is empty; expected at least one row.")
    present = columns_of(table)
    (names,) = lists.values()
    key = ["unique_id"] if "unique_id" in present else []
    if not key and len(ids) > 1:
        needed = ["unique_id", *needed]
    require_columns(present, what, needed=needed, **lists)
    wanted = list(dict.fromkeys([*key, *needed, *names]))
    refuse_twice(present, wanted, what)
    return take_columns(table, wanted)


def _owners(
    table: pd.DataFrame, ids: Sequence[str | int], what: str, faults: list[str]
) -> NDArray[np.intp]:
    """Return for each row which of `ids` it belongs to, -1 for none of them."""
    if "unique_id" not in table:
        return np.zeros(len(table), np.intp)
    found, codes = read_ids(table, faults)
    place = {name: i for i, name in enumerate(ids)}
    return np.array([place.get(name, -1) for name in found], np.intp)[codes]


def _rows_of(owner: NDArray[np.intp], num_series: int) -> list[NDArray[np.intp]]:
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(num_series + 1))
    return [order[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def _no_rows(absent: Sequence[str | int], table: pd.DataFrame) -> str:
    known = show_names(table["unique_id"])  # without it there is one series, and all rows are its
    return f"there is no row for series {show_names(absent)}; there are rows for {known}"


def _like(ds: pd.Index, times: pd.Index) -> pd.Index:
    """Return `ds` in the time zone of the series' `times`, or raise where they do not compare."""
    mine, others = _kind(ds), _kind(times)
    zone = getattr(times, "tz", None)
    if mine == others:
        return ds if zone is None else pd.DatetimeIndex(ds).tz_convert(zone)
    todo = {
        ("dates without a time zone", "dates in a time zone"): f".dt.tz_localize('{zone}')",
        ("dates in a time zone", "dates without a time zone"): ".dt.tz_localize(None)",
    }.get((mine, others))
    hint = f", for instance futr_df['ds']{todo}" if todo else ""
    raise DataError(
        f"futr_df: ds holds {mine}, but ds of the series holds {others}; make them alike{hint}."
    )


def _kind(times: pd.Index) -> str:
    if not isinstance(times, pd.DatetimeIndex):
        return "integers"
    return "dates without a time zone" if times.tz is None else "dates in a time zone"
