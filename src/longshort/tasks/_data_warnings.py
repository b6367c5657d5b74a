"""What in a series can mislead a model or a score, said in one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longshort.data._frames import SeriesSet, check_series
from longshort.data._frequency import show_time

Array = NDArray[np.float64]

# Robust z beyond which a value is named: normal noise gets there never, heavy tails seldom.
OUTLIER_Z = 10.0
# A level shift: the medians of the windows on both sides differ by so many times what they
# usually differ by in this series, and by so many standard deviations of the noise in them.
SHIFT_RATIO, SHIFT_Z = 6.0, 4.0
MISSING_SHARE = 0.05
# Shorter differences than these prove nothing.
LEAST_STEPS = 24


@dataclass(frozen=True)
class DataWarning:
    """One thing to know about one series.

    Attributes:
        kind: "constant", "missing", "short", "outliers", "level shift", "zeros" or "duplicate".
        unique_id: The series.
        text: One sentence.
    """

    kind: str
    unique_id: str | int
    text: str


def data_warnings(data: Any, *, season_length: int = 1, h: int = 1) -> list[DataWarning]:
    """Look for what can mislead a model or a score; nothing is changed.

    Per series, with m `season_length`:

    - "missing": more than 5 % of y are unknown (NaN), or none is known.
    - "constant": y never moves; no error can be scaled by it.
    - "short": fewer known values than two seasons and h steps.
    - "outliers": y differs from every line through its neighbours m and 2 m steps away by more
      than 10 times 1.4826 median |d - median d|, d the differences over m steps (a robust
      standard deviation); the worst is named with its time.
    - "level shift": where the median of the next w values (whole seasons, at least 12) less that of
      the last w is furthest from its usual value, it is so by more than 6 of its robust standard
      deviations, and by more than 4 of those of y inside of the windows.
    - "zeros": y is 0 or below, where a percentage error such as sMAPE means little.
    - "duplicate": the same values as an earlier series, so that it counts twice.

    Args:
        data: Series as `Forecaster.fit` takes them.
        season_length: Steps in a season.
        h: Steps that are forecast.

    Returns:
        The warnings, by kind in the order above and then in the order of the series.

    >>> data_warnings([3.0] * 30)[0].text
    "Series 'series' is constant: every y is 3."
    """
    # Series that were checked may have no y at all, which is worth a warning, not an error.
    series = data if isinstance(data, SeriesSet) else check_series(data, allow_missing=True)
    found = [
        *_per_series(series, season_length, h),
        *_duplicates(series),
    ]
    order = ("missing", "constant", "short", "outliers", "level shift", "zeros", "duplicate")
    return sorted(found, key=lambda warning: order.index(warning.kind))


def _per_series(series: SeriesSet, m: int, h: int) -> Iterator[DataWarning]:
    for name, y, times in zip(series.ids, series.values, series.times, strict=True):
        known = y[~np.isnan(y)]

        def say(kind: str, rest: str, name: str | int = name) -> DataWarning:
            return DataWarning(kind, name, f"Series {name!r} {rest}")

        if len(known) == 0:
            yield say("missing", "has no known y.")
            continue
        if len(known) < (1 - MISSING_SHARE) * len(y):
            missing = len(y) - len(known)
            share = f"{missing / len(y):.0%}"
            yield say("missing", f"lacks {missing:,} of {len(y):,} values of y ({share}).")
        if len(known) < 2 * m + h:
            seasons = f"two seasons of {m} steps" if m > 1 else "two steps"
            yield say(
                "short", f"has {len(known)} known values, fewer than {seasons} and {h} to forecast."
            )
        if known.min() == known.max():
            yield say("constant", f"is constant: every y is {known[0]:g}.")
            continue
        yield from (say(*rest) for rest in _unusual(y, times, m))
        low = int((known <= 0).sum())
        if low:
            what = "below 0" if (known < 0).all() else "0 or below" if known.min() < 0 else "0"
            yield say(
                "zeros", f"is {what} in {low:,} of {len(known):,} values: sMAPE misleads there."
            )


def _unusual(y: Array, times: pd.Index, m: int) -> Iterator[tuple[str, str]]:
    z = outlier_scores(y, m)
    far = np.flatnonzero(np.abs(z) > OUTLIER_Z)
    if len(far):
        worst = far[np.argmax(np.abs(z[far]))]
        others = f" and {len(far) - 1:,} more" if len(far) > 1 else ""
        size = "more than 1,000" if abs(z[worst]) > 1000 else f"{abs(z[worst]):.0f}"
        yield (
            "outliers",
            f"has an outlier at {show_time(times[worst])}{others}: y = {y[worst]:g} is {size} "
            "robust standard deviations from its neighbours.",
        )
    at, before, after = level_shift(y, m)
    if at is not None:
        yield (
            "level shift",
            f"shifts its level at {show_time(times[at])}: the median y goes from {before:.4g} to "
            f"{after:.4g}.",
        )


def outlier_scores(y: Array, m: int) -> Array:
    """Return robust z (T,) of each value against its neighbours m and 2 m steps away.

    Of the differences to the mean of both sides, to the lines through two values on one side, and
    to each single value, the smallest counts: an outlier then leaves no echo at its neighbours,
    and a step from one level to another is none. 0 where y or all neighbours are unknown.

    >>> outlier_scores(np.array([1.0, 2, 1, 2, 99, 2, 1, 2, 1]), 1).round().tolist()
    [0.0, 0.0, 0.0, 0.0, 65.0, 0.0, 0.0, 0.0, 0.0]
    """
    if len(y) < 2 * m + 1:
        m = 1
    moves = y[m:] - y[:-m]
    moves = moves[~np.isnan(moves)]
    if len(moves) < 4:
        return np.zeros(len(y))
    sigma = 1.4826 * float(np.median(np.abs(moves - np.median(moves))))
    if sigma == 0:  # more than half of all moves are the same, as in sparse counts
        sigma = float(np.mean(np.abs(moves - np.median(moves))))
    if sigma == 0:
        return np.zeros(len(y))
    padded = np.pad(y, 2 * m, constant_values=np.nan)
    b2, b1, here, f1, f2 = (padded[k * m : k * m + len(y)] for k in range(5))
    expected = np.stack([(b1 + f1) / 2, 2 * b1 - b2, 2 * f1 - f2, b1, f1, b2, f2])
    gaps = here - expected
    sizes = np.where(np.isnan(gaps), np.inf, np.abs(gaps))
    best = np.argmin(sizes, axis=0)
    at = np.arange(len(y))
    return np.where(np.isfinite(sizes[best, at]), gaps[best, at], 0.0) / sigma


def level_shift(y: Array, m: int) -> tuple[int | None, float, float]:
    """Return where the level of y (T,) jumps, and the medians before and after.

    Returns:
        (index of the first value at the new level, median before, median after); the index is
        None where there is no jump, or too little to tell.

    >>> noise = np.random.default_rng(0).normal(size=80)
    >>> level_shift(noise + 50 * (np.arange(80) >= 30), 1)[0]
    30
    """
    nothing = None, float("nan"), float("nan")
    width = -(-12 // m) * m  # whole seasons, so that these cancel
    if len(y) < max(3 * width, LEAST_STEPS) or np.isnan(y).mean() > 0.5:
        return nothing
    windows = np.lib.stride_tricks.sliding_window_view(y, width)
    # A window with fewer than half of its values known says nothing.
    enough = (~np.isnan(windows)).sum(axis=1) * 2 >= width
    medians = np.full(len(windows), np.nan)
    medians[enough] = np.nanmedian(windows[enough], axis=1)
    jumps = medians[width:] - medians[:-width]  # at index width, width + 1, ...
    if np.isnan(jumps).all():
        return nothing
    usual = float(np.nanmedian(jumps))  # what a trend moves in that time
    best = int(np.nanargmax(np.abs(jumps - usual)))
    size = abs(jumps[best] - usual)
    # A jump is in the view of 2 width - 1 of these differences: they say nothing of the usual.
    others = np.delete(jumps, np.arange(max(0, best - width), min(len(jumps), best + width + 1)))
    others = np.abs(others[~np.isnan(others)] - usual)
    if len(others) < width:
        return nothing
    sides = windows[best], windows[best + width]
    noise = 1.4826 * np.nanmedian(np.concatenate([np.abs(s - np.nanmedian(s)) for s in sides]))
    if size <= SHIFT_RATIO * 1.4826 * float(np.median(others)) or size <= SHIFT_Z * noise:
        return nothing
    at = _edge(y, best + width, width, float(medians[best]), float(medians[best + width]))
    return at, float(medians[best]), float(medians[best + width])


def _edge(y: Array, at: int, width: int, before: float, after: float) -> int:
    """Return the index near `at` that best parts values near `before` from those near `after`.

    Medians tell a jump to within half a window; the sums of absolute errors tell it exactly.
    """
    start, stop = max(0, at - width), min(len(y), at + width)
    part = y[start:stop]
    gain = np.abs(part - before) - np.abs(part - after)  # above 0: nearer to the new level
    gain = np.where(np.isnan(gain), 0.0, gain)
    # The best split has the largest sum of gains behind it and the smallest before it.
    behind = np.cumsum(gain[::-1])[::-1]
    return start + int(np.argmax(behind))


def _duplicates(series: SeriesSet) -> Iterator[DataWarning]:
    first: dict[bytes, str | int] = {}
    for name, y in zip(series.ids, series.values, strict=True):
        if len(y) < 3 or np.isnan(y).all() or np.nanmin(y) == np.nanmax(y):
            continue  # constant series have their own warning
        key = y.tobytes()
        if key in first:
            text = f"Series {name!r} has the same values as series {first[key]!r}."
            yield DataWarning("duplicate", name, text)
        else:
            first[key] = name
