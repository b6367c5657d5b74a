"""Forms of data: pandas and polars tables, series and arrays, as one table of known columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from longshort._errors import DataError
from longshort.data._columns import COLUMNS, refuse_twice, require_columns
from longshort.data._faults import did_you_mean

# What people call these columns.
_USUAL = {
    "ds": ("date", "datetime", "time", "timestamp", "month", "week", "day", "hour", "year"),
    "y": ("value", "target", "values", "sales", "close", "count"),
}


def is_table(data: Any) -> bool:
    """Return whether `data` is a pandas or polars DataFrame."""
    return isinstance(data, pd.DataFrame) or _is_polars(data)


def columns_of(table: Any) -> list[str]:
    """Return the names of the columns of a pandas or polars DataFrame as text."""
    return [str(c) for c in table.columns]


def take_columns(table: Any, names: Sequence[str]) -> pd.DataFrame:
    """Return those columns of a pandas or polars DataFrame; rows count from 0."""
    if isinstance(table, pd.DataFrame):
        return table[list(names)].reset_index(drop=True)
    # polars' own to_pandas needs pyarrow for some kinds of columns.
    return pd.DataFrame({name: _from_polars(table[name]) for name in names})


def as_table(
    data: Any, futr_exog_list: Sequence[str] = (), hist_exog_list: Sequence[str] = ()
) -> pd.DataFrame:
    """Return a frame with ds, y, perhaps unique_id, and the covariates; rows count from 0."""
    exog = [*futr_exog_list, *hist_exog_list]
    if is_table(data):
        _check_columns(data)
        present = columns_of(data)
        require_columns(
            present, "data", futr_exog_list=futr_exog_list, hist_exog_list=hist_exog_list
        )
        refuse_twice(present, exog, "data")
        table = take_columns(data, [*(c for c in COLUMNS if c in present), *exog])
    elif isinstance(data, pd.Series):
        _refuse_exog("a Series", exog)
        index = data.index
        if isinstance(index, pd.PeriodIndex):
            index = index.to_timestamp()
        name = data.name if isinstance(data.name, str) else "series"
        table = pd.DataFrame({"unique_id": name, "ds": index, "y": data.to_numpy()})
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
        _refuse_exog("an array", exog)
        table = pd.DataFrame({"ds": np.arange(len(array)), "y": array})
    else:
        raise DataError(
            "data: expected a pandas or polars DataFrame with the columns unique_id, ds and y, a "
            f"pandas Series or a 1-D array, got {type(data).__name__}."
        )
    if len(table) == 0:
        raise DataError("data: the table is empty; expected at least one row.")
    return table


def _check_columns(data: Any) -> None:
    present = columns_of(data)
    refuse_twice(present, COLUMNS, "data")
    missing = [c for c in ("ds", "y") if c not in present]
    index = getattr(data, "index", None)
    if missing == ["ds"] and isinstance(index, pd.DatetimeIndex | pd.PeriodIndex):
        raise DataError(
            "data: the column 'ds' is missing, but the index holds dates; make it a column "
            "first: data.reset_index(names='ds')."
        )
    if missing:
        hints = [_closest(c, [p for p in present if p not in COLUMNS]) for c in missing]
        renames = {p: c for c, p in zip(missing, hints, strict=True) if p}
        rename = f"rename({renames!r})" if _is_polars(data) else f"rename(columns={renames!r})"
        todo = f"did you mean data.{rename}?" if renames else "rename your columns to these names."
        raise DataError(
            f"data: the column{'s' * (len(missing) > 1)} {' and '.join(map(repr, missing))} "
            f"{'are' if len(missing) > 1 else 'is'} missing; expected unique_id (optional), "
            f"ds and y, got {', '.join(map(repr, present)) or 'no columns'}; {todo}"
        )


def _closest(wanted: str, present: list[str]) -> str | None:
    for name in present:
        if name.lower() in (wanted, *_USUAL[wanted]):
            return name
    return did_you_mean(wanted, present)


def _refuse_exog(form: str, exog: Sequence[str]) -> None:
    if exog:
        raise DataError(
            f"data: {form} holds y alone and has no column {exog[0]!r}; pass a table with the "
            f"columns ds, y and {', '.join(exog)}."
        )


def _is_polars(data: Any) -> bool:
    """Tell a polars DataFrame by its name, so that polars need not be there."""
    kind = type(data)
    return kind.__module__.split(".")[0] == "polars" and kind.__name__ == "DataFrame"


def _from_polars(column: Any) -> Any:
    """Return a polars Series as something that pandas makes a column of, without pyarrow."""
    kind = column.dtype
    if kind.is_integer() or kind.is_float():
        return column.to_numpy()  # an empty cell is NaN
    if kind.is_temporal():
        times = pd.Series(column.to_numpy())
        zone = getattr(kind, "time_zone", None)
        return times if zone is None else times.dt.tz_localize("UTC").dt.tz_convert(zone)
    return pd.Series(column.to_list(), dtype=object)
