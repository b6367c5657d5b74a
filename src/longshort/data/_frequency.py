"""Time steps: which one a series has, where it breaks, what comes next, how long a season is."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from longshort._errors import DataError

Freq = str | int
MOST_STEP = 2**40  # of integer ds

# Steps in a season by the first part of a pandas offset name, as M4 and Nixtla count them.
_SEASONS = {
    **{"h": 24, "bh": 8, "D": 7, "B": 5, "C": 5, "W": 52},
    **dict.fromkeys(("MS", "ME", "BMS", "BME"), 12),
    **dict.fromkeys(("QS", "QE", "BQS", "BQE"), 4),
}


def season_length_of(freq: Freq) -> int:
    """Return the usual number of steps in a season, 1 where there is none.

    Hours 24, business hours 8, days 7, business days 5, weeks 52, months 12, quarters 4. Of
    several units (`"2h"`) the whole number of steps, if there is one.

    >>> season_length_of("MS"), season_length_of("2h"), season_length_of("YS"), season_length_of(1)
    (12, 12, 1, 1)
    """
    if isinstance(freq, int):
        return 1
    offset = to_offset(freq)
    assert offset is not None
    season = _SEASONS.get(offset.rule_code.split("-")[0], 1)
    return season // offset.n if season % offset.n == 0 else 1


def check_freq(freq: Any, times: pd.Index) -> Freq:
    """Return `freq` as a step that fits `times`, or raise a DataError."""
    counts = not isinstance(times, pd.DatetimeIndex)
    if isinstance(freq, bool) or not isinstance(freq, int | np.integer | str):
        raise DataError(
            f"freq: expected a pandas offset name such as 'MS' or an integer, got {freq!r}."
        )
    if counts:
        if isinstance(freq, int | np.integer) and 1 <= freq <= MOST_STEP:
            return int(freq)
        raise DataError(
            f"freq: ds holds integers, so expected an integer from 1 to {MOST_STEP}, got {freq!r}; "
            "pass freq=1 or turn ds into dates."
        )
    if isinstance(freq, int | np.integer):
        raise DataError(
            f"freq: ds holds dates, so expected an offset name such as 'MS' or 'D', got {freq!r}."
        )
    try:
        offset = to_offset(freq)
    except (ValueError, OverflowError):
        offset = None
    if offset is None or offset.n < 1:
        raise DataError(
            f"freq: {freq!r} is no pandas offset name; usual ones are 'min', 'h', 'D', 'B', 'W', "
            "'MS' (month start), 'ME' (month end), 'QS', 'QE', 'YS', 'YE'."
        )
    name: str = offset.freqstr
    if not offset.is_on_offset(times[0]):
        # 'W' means Sundays to pandas; where the data say Fridays, the user meant 'W-FRI'.
        found = infer_freq(times)
        if isinstance(found, str) and found.split("-")[0] == name.split("-")[0]:
            return found
        hint = f"; the data look like freq={found!r}" if found else ""
        raise DataError(f"freq: {name!r} does not fit the data, which begin at {times[0]}{hint}.")
    return name


def infer_freq(times: pd.Index) -> Freq | None:
    """Return the step of rising `times`, that of most of them if there are gaps, or None."""
    if not isinstance(times, pd.DatetimeIndex):
        return 1
    if len(times) < 3:
        return None
    found = _infer(times)
    if found is not None:
        return found
    # Gaps: ask stretches of 5 (enough to tell days from business days mostly), then of 3.
    for width in (5, 3):
        starts = range(0, len(times) - width + 1, max(1, len(times) // 100))
        votes = Counter(_infer(times[i : i + width]) for i in starts)
        votes.pop(None, None)
        if votes:
            return votes.most_common(1)[0][0]
    return None


def _infer(times: pd.DatetimeIndex) -> str | None:
    with warnings.catch_warnings():
        # pandas 3.1 announces that an offset will be returned instead of its name.
        warnings.simplefilter("ignore")
        found: Any = pd.infer_freq(times)
    return getattr(found, "freqstr", found)


def off_grid(times: pd.Index, freq: Freq, *, allow_missing: bool = False) -> str | None:
    """Return what breaks the grid first, as a clause, or None.

    Args:
        times: Rising times.
        freq: The step that they should have.
        allow_missing: Whether the advice for a gap may be rows without a value.
    """
    expected = _grid(times[0], len(times), freq)
    wrong = np.flatnonzero(np.asarray(expected != times))
    if len(wrong) == 0:
        return None
    at = int(wrong[0])
    if at == 0:
        return f"{times[0]} is not on the frequency {freq!r}"
    before = show_time(times[at - 1])
    if times[at] < expected[at]:
        return (
            f"irregular timestamps: after {before} comes {show_time(times[at])} where "
            f"{show_time(expected[at])} was expected (freq={freq!r}); pass the right freq or "
            "resample"
        )
    missing = _missing(expected[at], times[at], freq)
    advice = (
        "add the missing rows, whose y may stay empty, for instance with .asfreq(freq)"
        if allow_missing
        else "fill the gap, for instance with .asfreq(freq).interpolate()"
    )
    return (
        f"{missing} step{'s' * (missing != 1)} missing after {before} "
        f"(freq={freq!r}, next is {show_time(times[at])}); {advice}, or pass the right freq"
    )


def future_index(last: Any, h: int, freq: Freq) -> pd.Index:
    """Return the h times after `last`.

    >>> future_index(7, 2, 1).tolist()
    [8, 9]
    """
    return _grid(last, h + 1, freq)[1:]


def past_index(last: Any, n: int, freq: Freq) -> pd.Index:
    """Return the n times that end with `last`.

    >>> past_index(7, 3, 2).tolist()
    [3, 5, 7]
    """
    if isinstance(freq, int):
        return pd.Index(int(last) + freq * np.arange(1 - n, 1, dtype=np.int64))
    return _date_range(freq, end=last, periods=n)


def _grid(start: Any, periods: int, freq: Freq) -> pd.Index:
    if isinstance(freq, int):
        return pd.Index(int(start) + freq * np.arange(periods, dtype=np.int64))
    try:
        return _date_range(freq, start=start, periods=periods)
    except (ValueError, OverflowError):
        raise DataError(
            f"freq: {periods} steps of {freq!r} from {show_time(start)} leave the calendar that "
            "pandas knows; pass the right freq."
        ) from None


def _date_range(freq: str, **ends: Any) -> pd.DatetimeIndex:
    """Return pd.date_range without its `freq`, also where a day begins in a change of the clocks.

    Hours and less are steps of elapsed time; days and more are steps of the calendar, at the same
    local time. In zones whose clocks change at midnight (Santiago, Cairo) a day can lack its
    midnight, where pd.date_range raises: that day begins at 1:00. Where there are two, the first
    counts.
    """
    zone = next((v.tz for v in ends.values() if isinstance(v, pd.Timestamp)), None)
    offset = to_offset(freq)
    elapsed = isinstance(offset, pd.offsets.Tick) and not isinstance(offset, pd.offsets.Day)
    if zone is None or elapsed:
        return pd.DatetimeIndex(pd.date_range(freq=freq, **ends), freq=None)
    ends = {k: _wall_time(v) if isinstance(v, pd.Timestamp) else v for k, v in ends.items()}
    wall = pd.date_range(freq=freq, **ends)
    return pd.DatetimeIndex(_localize(wall, zone), freq=None)


def _localize(wall: pd.DatetimeIndex, zone: Any) -> pd.DatetimeIndex:
    first = np.ones(len(wall), bool)  # of two equal local times, that in summer time
    return wall.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")


def _wall_time(time: pd.Timestamp) -> pd.Timestamp:
    """Return the local time without its zone, midnight where `time` begins a day without one."""
    wall = time.tz_localize(None)
    midnight = pd.DatetimeIndex([wall.normalize()])
    return midnight[0] if _localize(midnight, time.tz)[0] == time else wall


def _missing(expected: Any, actual: Any, freq: Freq) -> int:
    if isinstance(freq, int):
        return max(1, int(actual - expected) // freq)
    return max(1, int((_date_range(freq, start=expected, end=actual) < actual).sum()))


def show_time(value: Any) -> str:
    """Return a timestamp without a midnight, or an integer, as text."""
    return str(value).removesuffix(" 00:00:00")
