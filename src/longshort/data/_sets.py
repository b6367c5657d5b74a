"""Series that come with the package."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import pandas as pd

from longshort._errors import DataError

# Thousands of international airline passengers a month, January 1949 to December 1960.
# Box, G. E. P. and Jenkins, G. M. (1976): Time Series Analysis, Forecasting and Control,
# revised edition, Holden-Day, Series G. One row a year.
# fmt: off
_AIR_PASSENGERS = (
    112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118,
    115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114, 140,
    145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166,
    171, 180, 193, 181, 183, 218, 230, 242, 209, 191, 172, 194,
    196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201,
    204, 188, 235, 227, 234, 264, 302, 293, 259, 229, 203, 229,
    242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278,
    284, 277, 317, 313, 318, 374, 413, 405, 355, 306, 271, 306,
    315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336,
    340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337,
    360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405,
    417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432,
)
# fmt: on


def load_dataset(name: str) -> pd.DataFrame:
    """Return a built-in data set as a long table.

    `air-passengers`: international airline passengers in thousands, 144 months from January 1949
    to December 1960.

    Args:
        name: The name of the set; today only `"air-passengers"`.

    Returns:
        A new frame with the columns `unique_id`, `ds` (start of the month) and `y` (float).

    Raises:
        DataError: There is no set of that name; the message lists those there are.

    Source:
        Box and Jenkins (1976), *Time Series Analysis: Forecasting and Control*, Series G.

    >>> load_dataset("air-passengers").tail(1).to_dict("records")[0]["y"]
    432.0
    """
    if name not in _SETS:
        close = difflib.get_close_matches(str(name), _SETS, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise DataError(
            f"load_dataset: there is no built-in set {name!r}; there are: "
            f"{', '.join(map(repr, _SETS))}.{hint}"
        )
    return _SETS[name]()


def _air_passengers() -> pd.DataFrame:
    ds = pd.date_range("1949-01-01", periods=len(_AIR_PASSENGERS), freq="MS")
    y = [float(value) for value in _AIR_PASSENGERS]
    return pd.DataFrame({"unique_id": "AirPassengers", "ds": ds, "y": y})


_SETS: dict[str, Callable[[], pd.DataFrame]] = {"air-passengers": _air_passengers}
