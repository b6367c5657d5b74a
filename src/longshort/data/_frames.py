"""From what a user has (table, series, array) to checked series on a regular time grid."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._frequency import (
    Freq,
    check_freq,
    future_index,
    infer_freq,
    off_grid,
    show_time,
)

Array = NDArray[np.float64]

COLUMNS = ("unique_id", "ds", "y")
MOST_SHOWN = 5  # faults in one message
MOST_VALUE = 1e100  # of y: squares of it still are numbers
MOST_TIME = 2**62  # of integer ds: the times of forecasts still fit 64 bits


@dataclass(frozen=True)
class SeriesSet:
    """Checked series: finite numbers at regular, rising times.

    Attributes:
        ids: The `unique_id` of each series, in order of appearance (str or int).
        values: For each series its y, a float64 array (T,).
        times: For each series its ds, a DatetimeIndex or an integer Index of length T.
        freq: Step of all series: a pandas offset name (`"MS"`), or an int where ds counts.
    """

    ids: list[str | int]
    values: list[Array]
    times: list[pd.Index]
    freq: Freq

    def __len__(self) -> int:
        return len(self.ids)

    def future(self, i: int, h: int, cutoff: int | None = None) -> pd.Index:
        """Return the h times after the first `cutoff` (default: all) steps of series i."""
        last = self.times[i][(len(self.times[i]) if cutoff is None else cutoff) - 1]
        return future_index(last, h, self.freq)

    def head(self, lengths: Sequence[int]) -> SeriesSet:
        """Return the first `lengths[i]` steps of each series i."""
        values = [y[:n] for y, n in zip(self.values, lengths, strict=True)]
        times = [t[:n] for t, n in zip(self.times, lengths, strict=True)]
        return SeriesSet(self.ids, values, times, self.freq)

    def tail(self, length: int) -> SeriesSet:
        """Return the last `length` steps of each series."""
        values = [y[-length:] for y in self.values]
        return SeriesSet(self.ids, values, [t[-length:] for t in self.times], self.freq)

    def to_state(self) -> dict[str, Any]:
        """Return ids, values and last times as plain values, for a file."""
        zone = getattr(self.times[0], "tz", None)
        last = [t[-1] for t in self.times]
        return {
            "ids": list(self.ids),
            "values": list(self.values),
            "last": [v.isoformat() if isinstance(v, pd.Timestamp) else int(v) for v in last],
            "time_zone": None if zone is None else str(zone),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], freq: Freq) -> SeriesSet:
        """Return what `to_state` kept; raise KeyError, TypeError or ValueError if it is broken."""
        values = [np.asarray(y, np.float64) for y in state["values"]]
        times: list[pd.Index] = []
        for y, last in zip(values, state["last"], strict=True):
            if isinstance(freq, int):
                times.append(pd.Index(last + freq * np.arange(1 - len(y), 1)))
                continue
            stamp = pd.Timestamp(last)
            if state["time_zone"] is not None:
                stamp = stamp.tz_convert(state["time_zone"])
            times.append(pd.date_range(end=stamp, periods=len(y), freq=freq))
        ids = state["ids"]
        if not values or len(ids) != len(values) or not all(isinstance(i, str | int) for i in ids):
            raise ValueError(f"{len(ids)} ids for {len(values)} series")
        return cls(list(ids), values, times, freq)

    def frame(self) -> pd.DataFrame:
        """Return the long table `unique_id, ds, y`."""
        parts = [
            pd.DataFrame({"unique_id": i, "ds": t, "y": y})
            for i, t, y in zip(self.ids, self.times, self.values, strict=True)
        ]
        return pd.concat(parts, ignore_index=True)


def check_series(data: Any, *, freq: Freq | None = None, min_length: int = 1) -> SeriesSet:
    """Check one or many series and return them in one form.

    Rows of different series may be mixed, but each series' own rows must rise in time. Nothing is
    sorted, filled or dropped: what a model would trip over is said instead.

    Args:
        data: A long table with the columns `unique_id` (may be missing: one series), `ds` (dates,
            text that reads as dates, or integers) and `y`; or a Series with dates or integers as
            its index; or a 1-D array or list of numbers, with ds 0, 1, 2 ... Further columns are
            ignored.
        freq: Step between rows, a pandas offset name such as `"MS"`, `"D"`, `"h"`, or an integer
            for integer ds. Inferred if None (integers: 1).
        min_length: Steps that every series must have at least.

    Returns:
        The series, in order of first appearance.

    Raises:
        DataError: The data cannot be used; all faults found are in one message.

    >>> table = pd.DataFrame({"ds": ["2024-01-01", "2024-01-02", "2024-01-03"], "y": [1, 2, 4]})
    >>> series = check_series(table)
    >>> series.freq, series.values[0].tolist()
    ('D', [1.0, 2.0, 4.0])
    """
    if isinstance(data, SeriesSet):
        series = data
        if freq is not None and freq != series.freq:
            series = check_series(data.frame(), freq=freq)
        _check_lengths(series, min_length)
        return series
    table = _as_table(data)
    faults: list[str] = []
    ids, codes = _read_ids(table, faults)
    ds = _read_times(table["ds"], faults)
    y = _read_values(table["y"], ids, codes, faults)
    _raise(faults)

    values, times = [], []
    order = np.argsort(codes, kind="stable")
    bounds = np.cumsum(np.bincount(codes, minlength=len(ids)))[:-1]
    for name, rows in zip(ids, np.split(order, bounds), strict=True):
        values.append(y[rows])
        times.append(ds[rows])
        _check_order(name, times[-1], faults)
    _raise(faults)

    found = _resolve_freq(times, freq)
    for name, t in zip(ids, times, strict=True):
        fault = off_grid(t, found)
        if fault:
            faults.append(f"series {name!r}: {fault}")
    _raise(faults)
    series = SeriesSet(ids, values, times, found)
    _check_lengths(series, min_length)
    return series


def _as_table(data: Any) -> pd.DataFrame:
    """Return a frame with ds, y and perhaps unique_id; its rows count from 0."""
    if isinstance(data, pd.Series):
        index = data.index
        if isinstance(index, pd.PeriodIndex):
            index = index.to_timestamp()
        name = data.name if isinstance(data.name, str) else "series"
        table = pd.DataFrame({"unique_id": name, "ds": index, "y": data.to_numpy()})
    elif isinstance(data, pd.DataFrame):
        present = [str(c) for c in data.columns]
        twice = sorted({c for c in present if c in COLUMNS and present.count(c) > 1})
        if twice:
            raise DataError(f"data: there are several columns {twice[0]!r}; keep one of them.")
        missing = [c for c in ("ds", "y") if c not in present]
        if missing == ["ds"] and isinstance(data.index, pd.DatetimeIndex | pd.PeriodIndex):
            raise DataError(
                "data: the column 'ds' is missing, but the index holds dates; make it a column "
                "first: data.reset_index(names='ds')."
            )
        if missing:
            hints = [_closest(c, [p for p in present if p not in COLUMNS]) for c in missing]
            renames = {p: c for c, p in zip(missing, hints, strict=True) if p}
            todo = (
                f"did you mean data.rename(columns={renames!r})?"
                if renames
                else "rename your columns to these names."
            )
            raise DataError(
                f"data: the column{'s' * (len(missing) > 1)} {' and '.join(map(repr, missing))} "
                f"{'are' if len(missing) > 1 else 'is'} missing; expected unique_id (optional), "
                f"ds and y, got {', '.join(map(repr, present)) or 'no columns'}; {todo}"
            )
        table = data[[c for c in COLUMNS if c in present]].reset_index(drop=True)
    elif isinstance(data, list | tuple | np.ndarray):
        try:
            array = np.asarray(data)
        except ValueError:
            array = np.empty((0, 0))
        if array.ndim != 1:
            raise DataError(
                f"data: expected a 1-D array of numbers, got shape {array.shape}; for several "
                "series pass a long table with the columns unique_id, ds and y."
            )
        table = pd.DataFrame({"ds": np.arange(len(array)), "y": array})
    else:
        raise DataError(
            "data: expected a pandas DataFrame with the columns unique_id, ds and y, a pandas "
            f"Series or a 1-D array, got {type(data).__name__}."
        )
    if len(table) == 0:
        raise DataError("data: the table is empty; expected at least one row.")
    return table


def _closest(wanted: str, present: list[str]) -> str | None:
    usual = {
        "ds": ("date", "datetime", "time", "timestamp", "month", "week", "day", "hour", "year"),
        "y": ("value", "target", "values", "sales", "close", "count"),
    }[wanted]
    for name in present:
        if name.lower() in (wanted, *usual):
            return name
    near = difflib.get_close_matches(wanted, present, n=1, cutoff=0.6)
    return near[0] if near else None


def _read_ids(table: pd.DataFrame, faults: list[str]) -> tuple[list[str | int], NDArray[np.intp]]:
    if "unique_id" not in table:
        return ["series"], np.zeros(len(table), np.intp)
    column = table["unique_id"]
    empty = np.flatnonzero(column.isna())
    if len(empty):
        faults.append(f"unique_id is empty in {_rows(empty)}")
    try:
        codes, unique = pd.factorize(column.astype(object), use_na_sentinel=False)
    except TypeError:  # lists, dicts
        raise DataError("data: unique_id must hold text or numbers, one a row.") from None
    # A csv reader makes whole numbers floats where one is missing: 1.0 is the series 1.
    ids = [int(u) if _is_whole(u) else str(u) for u in unique]
    if len(set(ids)) < len(ids):
        faults.append("unique_id mixes types that read the same as text; make them all text")
    return ids, codes.astype(np.intp)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) or isinstance(value, float) and value.is_integer()


def _read_times(column: pd.Series, faults: list[str]) -> pd.Index:
    empty = np.flatnonzero(column.isna())
    if len(empty):
        faults.append(f"ds is empty in {_rows(empty)}")
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
            faults.append(f"ds cannot be read as dates ({error}); write them as YYYY-MM-DD")
            return pd.RangeIndex(len(column))
    bad = np.flatnonzero(parsed.isna() & ~column.isna())
    if len(bad):
        shown = ", ".join(repr(v) for v in column.iloc[bad[:3]])
        faults.append(f"ds is no date in {_rows(bad)} ({shown}); write dates as YYYY-MM-DD")
    elif column.astype(str).str.match(r"\d{1,2}\D").all() and not (
        swapped.isna().any() or swapped.equals(parsed)
    ):
        first = column.iloc[int(np.flatnonzero(np.asarray(swapped != parsed))[0])]
        faults.append(
            f"ds can be read as month/day and as day/month ({first!r}); write dates as YYYY-MM-DD"
        )
    return pd.DatetimeIndex(parsed)


def _check_zone(zone: Any, faults: list[str]) -> None:
    """Refuse a time zone that a file could not name, such as dateutil's."""
    try:
        pd.Timestamp(0, tz=None if zone is None else str(zone))
    except (KeyError, ValueError):
        faults.append(
            f"ds has the time zone {zone}, which has no name; use one that has, for instance "
            "ds.dt.tz_convert('Europe/Berlin')"
        )


def _read_values(
    column: pd.Series, ids: list[str | int], codes: NDArray[np.intp], faults: list[str]
) -> Array:
    if column.dtype.kind in "cmM":  # complex numbers, time spans, times
        faults.append(f"y holds {column.dtype} values; expected numbers")
        return np.zeros(len(column))
    try:
        numbers = pd.to_numeric(column, errors="coerce")
    except OverflowError:  # an integer of hundreds of digits
        faults.append(f"y holds numbers beyond {MOST_VALUE:g}; use a larger unit")
        return np.zeros(len(column))
    y = numbers.to_numpy(np.float64, na_value=np.nan)
    large = np.flatnonzero(np.isfinite(y) & (np.abs(y) > MOST_VALUE))
    if len(large):
        faults.append(f"y is beyond {MOST_VALUE:g} in {_rows(large)}; use a larger unit")
    text = np.flatnonzero(np.isnan(y) & ~column.isna())
    if len(text):
        shown = ", ".join(repr(v) for v in column.iloc[text[:3]])
        faults.append(f"y is not a number in {_rows(text)} ({shown})")
    for what, bad in (("NaN or empty", np.isnan(y)), ("infinite", np.isinf(y))):
        rows = np.setdiff1d(np.flatnonzero(bad), text)
        if len(rows):
            names = list(dict.fromkeys(ids[c] for c in codes[rows]))
            shown = ", ".join(map(repr, names[:3])) + (" ..." if len(names) > 3 else "")
            faults.append(
                f"y is {what} in {_rows(rows)} of series {shown}; fill the gap (for instance with "
                "interpolate()) or cut the series there"
            )
    return y


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


def _check_lengths(series: SeriesSet, least: int) -> None:
    short = [(n, len(y)) for n, y in zip(series.ids, series.values, strict=True) if len(y) < least]
    if short:
        shown = ", ".join(f"{name!r} ({length})" for name, length in short[:MOST_SHOWN])
        more = f" and {len(short) - MOST_SHOWN} more" if len(short) > MOST_SHOWN else ""
        raise DataError(
            f"data: expected at least {least} steps in every series, got fewer in {shown}{more}; "
            "give longer series, leave these out, or make h or input_size smaller."
        )


def _rows(rows: NDArray[np.intp]) -> str:
    shown = ", ".join(str(r) for r in rows[:3])
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return f"row{'s' * (len(rows) > 1)} {shown}{more}"


def _raise(faults: list[str]) -> None:
    if not faults:
        return
    if len(faults) == 1:
        raise DataError(f"data: {faults[0]}.")
    shown = "; ".join(f"({i}) {fault}" for i, fault in enumerate(faults[:MOST_SHOWN], 1))
    more = f"; and {len(faults) - MOST_SHOWN} more" if len(faults) > MOST_SHOWN else ""
    raise DataError(f"data: {len(faults)} faults: {shown}{more}.")
