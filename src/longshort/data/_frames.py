"""From what a user has (table, series, array) to checked series on a regular time grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._columns import check_exog_lists, read_ids, read_numbers, read_times
from longshort.data._faults import MOST_SHOWN, raise_faults, show_names
from longshort.data._forms import as_table
from longshort.data._frequency import Freq, check_freq, infer_freq, off_grid, show_time
from longshort.data._series import SeriesSet

Array = NDArray[np.float64]


def check_series(
    data: Any,
    *,
    freq: Freq | None = None,
    min_length: int = 1,
    allow_missing: bool = False,
    futr_exog_list: Sequence[str] = (),
    hist_exog_list: Sequence[str] = (),
) -> SeriesSet:
    """Check one or many series and return them in one form.

    Rows of different series may be mixed, but each series' own rows must rise in time. Nothing is
    sorted, filled or dropped: what a model would trip over is said instead.

    Args:
        data: A long table (pandas or polars) with the columns `unique_id` (may be missing: one
            series), `ds` (dates, text that reads as dates, or integers), `y` and the covariates;
            or a Series with dates or integers as its index; or a 1-D array or list of numbers,
            with ds 0, 1, 2 ... Further columns are ignored. `wide_to_long` turns a wide table
            into a long one.
        freq: Step between rows, a pandas offset name such as `"MS"`, `"D"`, `"h"`, or an integer
            for integer ds. Inferred if None (integers: 1).
        min_length: Steps that every series must have at least, those without a y included.
        allow_missing: Whether y may be empty or NaN; it then is NaN in the result. A series needs
            one y at least, and a row for every step all the same.
        futr_exog_list: Columns that are known ahead, such as prices or holidays: numbers or
            booleans, in every row.
        hist_exog_list: Columns that are known up to the last row only, as such.

    Returns:
        The series, in order of first appearance.

    Raises:
        DataError: The data cannot be used; all faults found are in one message.

    >>> table = pd.DataFrame({"ds": ["2024-01-01", "2024-01-02", "2024-01-03"], "y": [1, 2, 4]})
    >>> series = check_series(table)
    >>> series.freq, series.values[0].tolist()
    ('D', [1.0, 2.0, 4.0])
    >>> table = table.assign(y=[1, None, 4], open=[True, False, True])
    >>> series = check_series(table, allow_missing=True, futr_exog_list=["open"])
    >>> series.values[0].tolist(), series.futr[0].tolist()
    ([1.0, nan, 4.0], [[1.0], [0.0], [1.0]])
    """
    lists = check_exog_lists(futr_exog_list=futr_exog_list, hist_exog_list=hist_exog_list)
    if isinstance(data, SeriesSet):
        series = data.with_exog(**lists)
        if freq is None:
            freq = series.freq
        has_missing = any(np.isnan(y).any() for y in series.values)
        if freq != series.freq or has_missing and not allow_missing:
            series = _check_table(series.frame(), freq, allow_missing, **lists)
    else:
        series = _check_table(as_table(data, **lists), freq, allow_missing, **lists)
    _check_not_empty(series)
    _check_lengths(series, min_length)
    return series


def _check_table(
    table: pd.DataFrame,
    freq: Freq | None,
    allow_missing: bool,
    futr_exog_list: tuple[str, ...],
    hist_exog_list: tuple[str, ...],
) -> SeriesSet:
    faults: list[str] = []
    ids, codes = read_ids(table, faults)
    ds = read_times(table["ds"], faults)
    advice = "fill the gap (for instance with interpolate()) or cut the series there"
    y = read_numbers(
        table["y"], "y", ids, codes, faults, advice=advice, allow_missing=allow_missing
    )
    futr, hist = (
        _read_exog(table, argument, names, ids, codes, faults)
        for argument, names in (
            ("futr_exog_list", futr_exog_list),
            ("hist_exog_list", hist_exog_list),
        )
    )
    raise_faults(faults)

    order = np.argsort(codes, kind="stable")
    bounds = np.cumsum(np.bincount(codes, minlength=len(ids)))[:-1]
    rows = np.split(order, bounds)
    times = [ds[r] for r in rows]
    values = [y[r] for r in rows]
    for name, t in zip(ids, times, strict=True):
        _check_order(name, t, faults)
    raise_faults(faults)

    found = _resolve_freq(times, freq)
    for name, t in zip(ids, times, strict=True):
        fault = off_grid(t, found, allow_missing=allow_missing)
        if fault:
            faults.append(f"series {name!r}: {fault}")
    raise_faults(faults)
    return SeriesSet(
        ids,
        values,
        times,
        found,
        [futr[r] for r in rows],
        [hist[r] for r in rows],
        futr_exog_list,
        hist_exog_list,
    )


def _read_exog(
    table: pd.DataFrame,
    argument: str,
    names: Sequence[str],
    ids: list[str | int],
    codes: NDArray[np.intp],
    faults: list[str],
) -> Array:
    """Return the covariates `names` of all rows, (rows, len(names))."""
    advice = f"a covariate needs a number in every row: fill it, or leave it out of {argument}"
    columns = [
        read_numbers(table[name], f"covariate {name!r}", ids, codes, faults, advice=advice)
        for name in names
    ]
    return np.stack(columns, axis=1) if columns else np.zeros((len(table), 0))


def _check_order(name: str | int, t: pd.Index, faults: list[str]) -> None:
    if t.is_monotonic_increasing and t.is_unique:
        return
    twice = t[t.duplicated()]
    if len(twice):
        shown = ", ".join(show_time(v) for v in twice[:3])
        faults.append(
            f"series {name!r} has {len(twice)} duplicate timestamp{'s' * (len(twice) > 1)} "
            f"({shown}); keep one row for each, or give different series different unique_id"
        )
    if not t.is_monotonic_increasing:
        at = int(np.flatnonzero(t[1:] < t[:-1])[0])
        faults.append(
            f"series {name!r} is not in order of time: {show_time(t[at + 1])} comes after "
            f"{show_time(t[at])}; sort it first: data.sort_values('ds')"
        )


def _resolve_freq(times: list[pd.Index], freq: Freq | None) -> Freq:
    longest = max(times, key=len)
    if freq is not None:
        return check_freq(freq, longest)
    found = infer_freq(longest)
    if found is None:
        raise DataError(
            f"data: the frequency cannot be told from {len(longest)} timestamps "
            f"({', '.join(show_time(v) for v in longest[:3])} ...); pass it, for instance "
            "freq='D' for days or freq='MS' for month starts."
        )
    return found


def _check_not_empty(series: SeriesSet) -> None:
    pairs = zip(series.ids, series.values, strict=True)
    empty = [name for name, y in pairs if np.isnan(y).all()]
    if empty:
        raise DataError(
            f"data: y is NaN or empty in every row of series {show_names(empty)}; a series needs "
            "one y at least: leave those out that have none."
        )


def _check_lengths(series: SeriesSet, least: int) -> None:
    short = [(n, len(y)) for n, y in zip(series.ids, series.values, strict=True) if len(y) < least]
    if short:
        shown = ", ".join(f"{name!r} ({length})" for name, length in short[:MOST_SHOWN])
        more = f" and {len(short) - MOST_SHOWN} more" if len(short) > MOST_SHOWN else ""
        raise DataError(
            f"data: expected at least {least} steps in every series, got fewer in {shown}{more}; "
            "give longer series, leave these out, or make h or input_size smaller."
        )
