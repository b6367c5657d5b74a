"""Columns of a table: which there must be, and reading them as ids, times and numbers.

The readers add what is wrong to a list of faults and return something of the right length, so that
all columns are read before a message is made. A column's index holds the row numbers to be shown.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._faults import did_you_mean, show_names, show_rows

Array = NDArray[np.float64]

COLUMNS = ("unique_id", "ds", "y")
MOST_VALUE = 1e100  # of a number: squares of it still are numbers
MOST_TIME = 2**62  # of integer ds: the times of forecasts still fit 64 bits


def check_exog_lists(**lists: Any) -> dict[str, tuple[str, ...]]:
    """Return lists of names of covariates as tuples.

    Args:
        lists: By the name of the argument, a list of column names each.

    Raises:
        DataError: One is no list of names; a name is there twice, in one list or in two; or it is
            `unique_id`, `ds` or `y`.

    >>> check_exog_lists(futr_exog_list=["price"], hist_exog_list=[])
    {'futr_exog_list': ('price',), 'hist_exog_list': ()}
    """
    place: dict[str, str] = {}
    for argument, names in lists.items():
        if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
            raise DataError(
                f"{argument}: expected a list of column names such as ['price'], got {names!r}."
            )
        for name in names:
            if name in COLUMNS:
                raise DataError(f"{argument}: {name!r} is no covariate; leave it out.")
            if place.get(name) == argument:
                raise DataError(f"{argument}: {name!r} is there twice; name it once.")
            if name in place:
                raise DataError(
                    f"{argument}: {name!r} is in {place[name]} as well; what is known of the "
                    "future belongs into futr_exog_list alone."
                    if argument == "hist_exog_list"
                    else f"{argument}: {name!r} is in {place[name]} as well; keep it in one."
                )
            place[name] = argument
    return {argument: tuple(names) for argument, names in lists.items()}


def require_columns(present: Sequence[str], what: str, **lists: Sequence[str]) -> None:
    """Raise a DataError that names all columns of `lists` (by argument) that are not `present`."""
    missing = [(n, argument) for argument, names in lists.items() for n in names]
    missing = [(n, argument) for n, argument in missing if n not in present]
    if not missing:
        return
    taken = {*COLUMNS, *(n for names in lists.values() for n in names)}
    free = [p for p in present if p not in taken]
    near = [(n, did_you_mean(n, free)) for n, _ in missing]
    hints = " and ".join(f"{hint!r} for {n!r}" for n, hint in near if hint)
    several = len(missing) > 1
    raise DataError(
        f"{what}: the column{'s' * several} "
        f"{', '.join(repr(n) if n in COLUMNS else f'{n!r} ({arg})' for n, arg in missing)} "
        f"{'are' if several else 'is'} missing; got "
        f"{show_names(present, 12) or 'no columns'}; "
        + (f"did you mean {hints}?" if hints else "add what is missing.")
    )


def refuse_twice(present: Sequence[str], wanted: Sequence[str], what: str) -> None:
    """Raise a DataError where one of the `wanted` columns is there several times."""
    twice = sorted({c for c in wanted if list(present).count(c) > 1})
    if twice:
        raise DataError(f"{what}: there are several columns {twice[0]!r}; keep one of them.")


def read_ids(table: pd.DataFrame, faults: list[str]) -> tuple[list[str | int], NDArray[np.intp]]:
    """Return the different `unique_id` in order of appearance, and for each row which it is."""
    if "unique_id" not in table:
        return ["series"], np.zeros(len(table), np.intp)
    column = table["unique_id"]
    empty = np.flatnonzero(column.isna())
    if len(empty):
        faults.append(f"unique_id is empty in {show_rows(empty)}")
    try:
        codes, unique = pd.factorize(column.astype(object), use_na_sentinel=False)
    except TypeError:  # lists, dicts
        faults.append("unique_id must hold text or numbers, one a row")
        return ["series"], np.zeros(len(table), np.intp)
    # A csv reader makes whole numbers floats where one is missing: 1.0 is the series 1.
    ids = [int(u) if _is_whole(u) else str(u) for u in unique]
    if len(set(ids)) < len(ids):
        faults.append("unique_id mixes types that read the same as text; make them all text")
    return ids, codes.astype(np.intp)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) or isinstance(value, float) and value.is_integer()


def read_times(column: pd.Series, faults: list[str]) -> pd.Index:
    """Return `ds` as a DatetimeIndex, or as an integer Index where it counts."""
    empty = np.flatnonzero(column.isna())
    if len(empty):
        faults.append(f"ds is empty in {show_rows(empty)}")
    kind = column.dtype
    if isinstance(kind, pd.PeriodDtype):
        return pd.Index(column.dt.to_timestamp())
    if pd.api.types.is_datetime64_any_dtype(kind):
        _check_zone(column.dt.tz, faults)
        return pd.DatetimeIndex(column)
    if pd.api.types.is_integer_dtype(kind):
        if max(abs(int(column.min())), abs(int(column.max()))) > MOST_TIME:
            faults.append(f"ds holds integers beyond {MOST_TIME}; count from a later start")
            return pd.RangeIndex(len(column))
        return pd.Index(column.fillna(0).to_numpy(np.int64))
    if pd.api.types.is_numeric_dtype(kind):
        faults.append(f"ds holds {kind} numbers; expected dates or integers")
        return pd.RangeIndex(len(column))
    with warnings.catch_warnings():
        # pandas warns where it cannot tell one format for all rows; the check below says which.
        warnings.simplefilter("ignore")
        try:
            parsed = pd.to_datetime(column, errors="coerce")
            # 2024-01-02 is clear, but pandas turns that round too where told that days come first.
            swapped = pd.to_datetime(column, errors="coerce", dayfirst=True)
        except (ValueError, TypeError) as error:
            faults.append(
                "ds mixes offsets from UTC, as local times do over a change of the clocks; bring "
                "it into one time zone first, for instance "
                "pd.to_datetime(ds, utc=True).dt.tz_convert('Europe/Berlin')"
                if _mixes_offsets(column)
                else f"ds cannot be read as dates ({error}); write them as YYYY-MM-DD"
            )
            return pd.RangeIndex(len(column))
    bad = np.flatnonzero(parsed.isna() & ~column.isna())
    if len(bad):
        shown = ", ".join(repr(v) for v in column.iloc[bad[:3]])
        faults.append(f"ds is no date in {show_rows(bad)} ({shown}); write dates as YYYY-MM-DD")
    elif column.astype(str).str.match(r"\d{1,2}\D").all() and not (
        swapped.isna().any() or swapped.equals(parsed)
    ):
        first = column.iloc[int(np.flatnonzero(np.asarray(swapped != parsed))[0])]
        faults.append(
            f"ds can be read as month/day and as day/month ({first!r}); write dates as YYYY-MM-DD"
        )
    return pd.DatetimeIndex(parsed)


def _mixes_offsets(column: pd.Series) -> bool:
    try:
        return bool(pd.to_datetime(column, utc=True, errors="coerce").notna().all())
    except (ValueError, TypeError):
        return False


def _check_zone(zone: Any, faults: list[str]) -> None:
    """Refuse a time zone that a file could not name, such as dateutil's."""
    try:
        pd.Timestamp(0, tz=None if zone is None else str(zone))
    except (KeyError, ValueError):
        faults.append(
            f"ds has the time zone {zone}, which has no name; use one that has, for instance "
            "ds.dt.tz_convert('Europe/Berlin')"
        )


def read_numbers(
    column: pd.Series,
    name: str,
    owners: Sequence[str | int],
    codes: NDArray[np.intp],
    faults: list[str],
    *,
    advice: str,
    allow_missing: bool = False,
) -> Array:
    """Return a column of numbers or booleans as float64.

    Args:
        column: The column; its index holds the row numbers that messages show.
        name: What to call it in messages.
        owners: The series' ids.
        codes: For each row, which of `owners` it belongs to.
        faults: Where to add what is wrong.
        advice: What to do about an empty or infinite number.
        allow_missing: Whether a row may be empty; it is NaN then.
    """
    if column.dtype.kind in "cmM":  # complex numbers, time spans, times
        faults.append(f"{name} holds {column.dtype} values; expected numbers")
        return np.zeros(len(column))
    try:
        numbers = pd.to_numeric(column, errors="coerce")
    except OverflowError:  # an integer of hundreds of digits
        faults.append(f"{name} holds numbers beyond {MOST_VALUE:g}; use a larger unit")
        return np.zeros(len(column))
    values = numbers.to_numpy(np.float64, na_value=np.nan)
    row = column.index.to_numpy()
    large = np.flatnonzero(np.isfinite(values) & (np.abs(values) > MOST_VALUE))
    if len(large):
        faults.append(
            f"{name} is beyond {MOST_VALUE:g} in {show_rows(row[large])}; use a larger unit"
        )
    text = np.flatnonzero(np.isnan(values) & ~column.isna())
    if len(text):
        shown = ", ".join(repr(v) for v in column.iloc[text[:3]])
        faults.append(f"{name} is not a number in {show_rows(row[text])} ({shown})")
    refused = {"NaN or empty": np.isnan(values), "infinite": np.isinf(values)}
    if allow_missing:
        del refused["NaN or empty"]
    for what, bad in refused.items():
        rows = np.setdiff1d(np.flatnonzero(bad), text)
        if len(rows):
            shown = show_names(owners[c] for c in codes[rows])
            faults.append(f"{name} is {what} in {show_rows(row[rows])} of series {shown}; {advice}")
    return values
