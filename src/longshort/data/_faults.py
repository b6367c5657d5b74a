"""Faults of a table: collected first, then said in one message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from numpy.typing import NDArray

from longshort._errors import DataError

MOST_SHOWN = 5  # faults in one message


def raise_faults(faults: Sequence[str], what: str = "data") -> None:
    """Raise one DataError for all `faults` of the argument `what`; do nothing if there are none.

    >>> raise_faults(["y is infinite in row 3", "ds is empty in row 4"])
    Traceback (most recent call last):
    longshort._errors.DataError: data: 2 faults: (1) y is infinite in row 3; (2) ds is empty in ...
    """
    if not faults:
        return
    if len(faults) == 1:
        raise DataError(f"{what}: {faults[0]}.")
    shown = "; ".join(f"({i}) {fault}" for i, fault in enumerate(faults[:MOST_SHOWN], 1))
    more = f"; and {len(faults) - MOST_SHOWN} more" if len(faults) > MOST_SHOWN else ""
    raise DataError(f"{what}: {len(faults)} faults: {shown}{more}.")


def show_rows(rows: Sequence[int] | NDArray[Any]) -> str:
    """Return row numbers as words.

    >>> show_rows([3]), show_rows([1, 2, 5, 8])
    ('row 3', 'rows 1, 2, 5 and 1 more')
    """
    shown = ", ".join(str(r) for r in rows[:3])
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return f"row{'s' * (len(rows) > 1)} {shown}{more}"


def show_names(names: Iterable[Any], most: int = 3) -> str:
    """Return the first `most` different names in quotes.

    >>> show_names(["a", "b", "a", 7, "d"])
    "'a', 'b', 7 ..."
    """
    different = list(dict.fromkeys(names))
    return ", ".join(map(repr, different[:most])) + (" ..." if len(different) > most else "")


def did_you_mean(wanted: str, present: Iterable[str]) -> str | None:
    """Return the one of `present` that `wanted` may be a slip of, or None."""
    present = list(present)
    for name in present:
        if name.lower() == wanted.lower():
            return name
    near = difflib.get_close_matches(wanted, present, n=1, cutoff=0.6)
    return near[0] if near else None
