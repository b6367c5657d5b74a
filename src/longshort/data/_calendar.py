"""Calendar features: where a time lies in the day, the week, the month and the year.

Sales know Saturdays and Decembers, electricity knows nights. A network that sees values alone has
to find out the time from them; these columns say it. Each cycle is a point on a circle, as its
sine and cosine, so that 23:00 lies beside 0:00 and December beside January, and only cycles of
several steps are given:

    steps of                       cycles
    less than a day                hour of day, day of week, day of year
    days, business days            day of week, day of month, day of year
    weeks, half months             day of year
    months                         month of year
    quarters, half years           quarter of year
    years; integers                none

The hour has its fraction. Days of the week are whole days at all hours, for a weekend begins at
midnight. The day of the month is there for wages and bills, which come at its end or beginning
(both are one place on the circle) whatever its length; hours have enough columns without it. Years
and months are taken at their own lengths, so that December 31 lies beside January 1 in leap years
too. What does not repeat (the year itself) is no feature: a network would meet values that it was
never trained on.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset

from longshort.data._frequency import Freq

Array = NDArray[np.float64]

_HOURS = ("hour_of_day", "day_of_week", "day_of_year")
_DAYS = ("day_of_week", "day_of_month", "day_of_year")

# By the first part of a pandas offset name: steps a year where a multiple can be a whole year, 0
# elsewhere, and the cycles.
_CYCLES: dict[str, tuple[int, tuple[str, ...]]] = {
    **dict.fromkeys(("bh", "cbh"), (0, _HOURS)),
    **dict.fromkeys(("D", "B", "C"), (0, _DAYS)),
    **dict.fromkeys(("W", "SMS", "SME"), (0, ("day_of_year",))),
    **dict.fromkeys(
        ("MS", "ME", "BMS", "BME", "CBMS", "CBME", "WOM", "LWOM"), (12, ("month_of_year",))
    ),
    **dict.fromkeys(("QS", "QE", "BQS", "BQE", "REQ"), (4, ("quarter_of_year",))),
    **dict.fromkeys(("HYS", "HYE", "BHYS", "BHYE"), (2, ("quarter_of_year",))),
    **dict.fromkeys(("YS", "YE", "BYS", "BYE", "RE"), (1, ())),
}


def calendar_names(freq: Freq) -> tuple[str, ...]:
    """Return the names of the columns of `calendar_features`.

    >>> calendar_names("MS"), calendar_names("YS"), len(calendar_names("15min"))
    (('month_of_year_sin', 'month_of_year_cos'), (), 6)
    """
    return tuple(f"{cycle}_{part}" for cycle in _cycles_of(freq) for part in ("sin", "cos"))


def calendar_features(times: pd.Index, freq: Freq) -> Array:
    """Return where times lie in the cycles that matter for a frequency.

    Args:
        times: T times; in a time zone, it is the local time that counts.
        freq: Step between times: a pandas offset name, or an integer where ds counts.

    Returns:
        A float64 array (T, C), a sine and a cosine a cycle, from -1 to 1; C is
        `len(calendar_names(freq))` and 0 for years and integers.

    >>> times = pd.date_range("2024-01-01", periods=2, freq="QS")
    >>> calendar_features(times, "QS").round(3).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    columns = []
    for cycle in _cycles_of(freq):
        angle = 2 * np.pi * _phase(pd.DatetimeIndex(times), cycle)
        columns += [np.sin(angle), np.cos(angle)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(times), 0))


def _cycles_of(freq: Freq) -> tuple[str, ...]:
    if isinstance(freq, int):
        return ()
    offset = to_offset(freq)
    assert offset is not None
    if isinstance(offset, pd.offsets.Tick) and not isinstance(offset, pd.offsets.Day):
        days, rest = divmod(pd.Timedelta(offset), pd.Timedelta("1D"))
        if rest:
            return _HOURS
        offset = pd.offsets.Day(days)
    steps, cycles = _CYCLES[offset.rule_code.split("-")[0]]
    if steps and offset.n % steps == 0:  # whole years
        return ()
    if isinstance(offset, pd.offsets.Day) and offset.n % 7 == 0:  # always the same day of the week
        return ("day_of_year",)
    return cycles


def _phase(times: pd.DatetimeIndex, cycle: str) -> Array:
    """Return the part of the cycle that has passed, from 0 to below 1."""
    match cycle:
        case "hour_of_day":
            seconds = 3600.0 * times.hour + 60.0 * times.minute + times.second
            phase = (seconds + times.microsecond / 1e6) / 86_400
        case "day_of_week":
            phase = times.day_of_week / 7
        case "day_of_month":
            phase = (times.day - 1) / times.days_in_month
        case "day_of_year":
            phase = (times.day_of_year - 1) / np.where(times.is_leap_year, 366, 365)
        case "month_of_year":
            phase = (times.month - 1) / 12
        case _:
            phase = (times.quarter - 1) / 4
    return np.asarray(phase, np.float64)
