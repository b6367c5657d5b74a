"""Wide tables, a column a series, as long ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from longshort._errors import DataError
from longshort.data._columns import read_numbers, refuse_twice
from longshort.data._faults import did_you_mean, raise_faults, show_names
from longshort.data._forms import columns_of, is_table, take_columns


def wide_to_long(table: Any, time_col: str = "ds") -> pd.DataFrame:
    """Return a wide table, with a column of times and one a series, as a long one.

    Empty cells at the beginning or the end of a column mean that the series starts later or ends
    earlier, and get no row; those inside stay as NaN.

    Args:
        table: A pandas or polars DataFrame; every column but `time_col` is a series of numbers,
            and its name the series' id.
        time_col: Name of the column of times.

    Returns:
        A table with the columns `unique_id`, `ds` (as it is in `table`) and `y` (float64), series
        by series in the order of the columns.

    Raises:
        DataError: The column of times is missing, a name is there twice, or a column holds
            anything but finite numbers and empty cells, or nothing; all faults are in one
            message.

    >>> wide = pd.DataFrame({"ds": [1, 2, 3], "a": [5, None, 7], "b": [None, 8, 9]})
    >>> wide_to_long(wide).to_dict("list")
    {'unique_id': ['a', 'a', 'a', 'b', 'b'], 'ds': [1, 2, 3, 2, 3], 'y': [5.0, nan, 7.0, 8.0, 9.0]}
    """
    if not is_table(table):
        raise DataError(
            "table: expected a pandas or polars DataFrame with a column of times and one a "
            f"series, got {type(table).__name__}."
        )
    labels = list(table.columns)
    present = columns_of(table)
    _check_names(present, time_col, getattr(table, "index", None))
    series = [label for label, name in zip(labels, present, strict=True) if name != time_col]
    times = take_columns(table, [labels[present.index(time_col)]]).iloc[:, 0]
    columns = take_columns(table, series)

    advice = "correct the cell or leave it empty"
    faults: list[str] = []
    parts, values, rows = [], [], []
    for label in series:
        column = columns[label]
        name = label if isinstance(label, str | int) else str(label)
        codes = np.zeros(len(column), np.intp)
        y = read_numbers(
            column, f"column {name!r}", [name], codes, faults, advice=advice, allow_missing=True
        )
        filled = np.flatnonzero(~np.isnan(y))
        if len(filled) == 0:
            if not column.notna().any():
                faults.append(f"column {name!r} is empty; leave it out")
            continue
        row = np.arange(filled[0], filled[-1] + 1)
        parts.append([name] * len(row))
        values.append(y[row])
        rows.append(row)
    raise_faults(faults, "table")
    return pd.DataFrame(
        {
            "unique_id": np.concatenate([np.array(p, dtype=object) for p in parts]),
            "ds": times.iloc[np.concatenate(rows)].reset_index(drop=True),
            "y": np.concatenate(values),
        }
    )


def _check_names(present: Sequence[str], time_col: str, index: Any) -> None:
    if time_col not in present:
        if isinstance(index, pd.DatetimeIndex | pd.PeriodIndex):
            raise DataError(
                f"table: the column {time_col!r} is missing, but the index holds dates; make it a "
                f"column first: table.reset_index(names={time_col!r})."
            )
        near = did_you_mean(time_col, present)
        hint = f"did you mean time_col={near!r}?" if near else "pass time_col."
        raise DataError(
            f"table: the column of times {time_col!r} is missing; got "
            f"{show_names(present, 12) or 'no columns'}; {hint}"
        )
    if "unique_id" in present:
        raise DataError(
            "table: it has a column 'unique_id', so it is a long table already; pass it as it is."
        )
    refuse_twice(present, present, "table")
    if len(present) == 1:
        raise DataError(f"table: there is no column beside {time_col!r}; expected one a series.")
