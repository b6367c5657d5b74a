"""What a forecasting network is told beside y: covariates, the calendar, which values are missing.

Axis letters: T steps of a series, F future covariates, G historic ones, C calendar columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longshort.data._calendar import calendar_features, calendar_names
from longshort.data._series import SeriesSet

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """Columns of each step, numbers with the mean 0 and the spread 1 of the training part.

    Attributes:
        calendar: Whether hour, weekday and so on are among them, as the frequency has them.
        missing: Whether there is a flag for y that are missing.
        futr_mean: (F,), of the training part; `futr_spread`, `hist_mean`, `hist_spread` alike.
    """

    calendar: bool
    missing: bool
    futr_mean: Array
    futr_spread: Array
    hist_mean: Array
    hist_spread: Array

    @classmethod
    def fit(cls, series: SeriesSet, *, calendar: bool, missing: bool) -> Features:
        """Measure the covariates of the training part `series`."""
        measured = []
        for arrays in (series.futr, series.hist):
            steps = np.concatenate(arrays)
            mean, spread = steps.mean(axis=0), steps.std(axis=0)
            # What stands still in training says nothing, whatever it does later.
            still = spread <= 1e-9 * np.maximum(np.abs(mean), 1e-300)
            measured += [mean, np.where(still, np.inf, spread)]
        return cls(calendar, missing, *measured)

    def past(self, series: SeriesSet) -> list[Array]:
        """Return for each series what is known of the steps up to now, (T, C + F + G [+ 1])."""
        parts = []
        for known, hist, y in zip(self.ahead(series), series.hist, series.values, strict=True):
            columns = [known, (hist - self.hist_mean) / self.hist_spread]
            if self.missing:
                columns.append(np.isnan(y)[:, None].astype(np.float64))
            parts.append(np.hstack(columns))
        return parts

    def ahead(self, series: SeriesSet) -> list[Array]:
        """Return for each series what is known of its steps beforehand, (T, C + F)."""
        futr = [(steps - self.futr_mean) / self.futr_spread for steps in series.futr]
        if not self.calendar:
            return futr
        times = [calendar_features(t, series.freq) for t in series.times]
        return [np.hstack(pair) for pair in zip(times, futr, strict=True)]

    def coming(self, series: SeriesSet, futr: list[Array], h: int) -> list[Array]:
        """Return for each series what is known of the h steps behind its end, (h, C + F).

        Args:
            series: What is forecast.
            futr: For each series its future covariates of these steps, (h, F).
            h: Steps.
        """
        if not self.calendar:
            return [(steps - self.futr_mean) / self.futr_spread for steps in futr]
        times = [series.future(i, h) for i in range(len(series))]
        values, names = [np.zeros(h)] * len(series), series.futr_exog_list
        return self.ahead(SeriesSet(series.ids, values, times, series.freq, futr, [], names))

    def counts(self, series: SeriesSet) -> tuple[int, int]:
        """Return how many columns `past` and `ahead` have."""
        known = len(self.futr_mean)
        if self.calendar:
            known += len(calendar_names(series.freq))
        return known + len(self.hist_mean) + self.missing, known

    def to_state(self) -> dict[str, Any]:
        """Return the fields as plain values, for a file."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Features:
        """Return what `to_state` kept; raise KeyError, TypeError or ValueError if it is broken."""
        arrays = {
            name: np.asarray(state[name], np.float64)
            for name in ("futr_mean", "futr_spread", "hist_mean", "hist_spread")
        }
        if any(a.ndim != 1 for a in arrays.values()):
            raise ValueError("means and spreads of covariates are no lists")
        return cls(bool(state["calendar"]), bool(state["missing"]), **arrays)


def carried_forward(y: Array) -> Array:
    """Return y (T,) with the last known value in place of each NaN; the first known one before it.

    >>> carried_forward(np.array([np.nan, 1.0, np.nan, 3.0])).tolist()
    [1.0, 1.0, 1.0, 3.0]
    """
    known = np.flatnonzero(~np.isnan(y))
    if len(known) in (0, len(y)):
        return y
    last = np.maximum.accumulate(np.where(np.isnan(y), known[0], np.arange(len(y))))
    filled: Array = y[last]
    return filled
