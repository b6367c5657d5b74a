"""Checked series on a regular time grid: what every model of series is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longshort.data._columns import require_columns
from longshort.data._frequency import Freq, future_index, past_index

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SeriesSet:
    """Checked series at regular, rising times.

    Attributes:
        ids: The `unique_id` of each series, in order of appearance (str or int).
        values: For each series its y, a float64 array (T,). NaN is a missing value; there are
            none unless `check_series` was told to allow them.
        times: For each series its ds, a DatetimeIndex or an integer Index of length T.
        freq: Step of all series: a pandas offset name (`"MS"`), or an int where ds counts.
        futr: For each series its future covariates (known ahead), finite float64 (T, F).
        hist: For each series its historic covariates (known to the last step), (T, G).
        futr_exog_list: Names of the F columns.
        hist_exog_list: Names of the G columns.
    """

    ids: list[str | int]
    values: list[Array]
    times: list[pd.Index]
    freq: Freq
    futr: list[Array] = field(default_factory=list)
    hist: list[Array] = field(default_factory=list)
    futr_exog_list: tuple[str, ...] = ()
    hist_exog_list: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("futr", "hist"):
            if not getattr(self, name):
                object.__setattr__(self, name, [np.zeros((len(y), 0)) for y in self.values])

    def __len__(self) -> int:
        return len(self.ids)

    def future(self, i: int, h: int, cutoff: int | None = None) -> pd.Index:
        """Return the h times after the first `cutoff` (default: all) steps of series i."""
        last = self.times[i][(len(self.times[i]) if cutoff is None else cutoff) - 1]
        return future_index(last, h, self.freq)

    def head(self, lengths: Sequence[int]) -> SeriesSet:
        """Return the first `lengths[i]` steps of each series i."""
        return self._cut([slice(n) for n in lengths])

    def tail(self, length: int) -> SeriesSet:
        """Return the last `length` steps of each series."""
        return self._cut([slice(-length, None)] * len(self))

    def _cut(self, parts: Sequence[slice]) -> SeriesSet:
        values, times, futr, hist = (
            [steps[part] for steps, part in zip(each, parts, strict=True)]
            for each in (self.values, self.times, self.futr, self.hist)
        )
        names = self.futr_exog_list, self.hist_exog_list
        return SeriesSet(self.ids, values, times, self.freq, futr, hist, *names)

    def with_exog(
        self, futr_exog_list: Sequence[str] = (), hist_exog_list: Sequence[str] = ()
    ) -> SeriesSet:
        """Return the set with these covariates and no others.

        Raises:
            DataError: The set does not have one of them.
        """
        futr_names, hist_names = tuple(futr_exog_list), tuple(hist_exog_list)
        if (futr_names, hist_names) == (self.futr_exog_list, self.hist_exog_list):
            return self
        present = self.futr_exog_list + self.hist_exog_list
        require_columns(present, "data", futr_exog_list=futr_names, hist_exog_list=hist_names)
        both = [np.hstack(pair) for pair in zip(self.futr, self.hist, strict=True)]
        futr, hist = (
            [steps[:, [present.index(n) for n in names]] for steps in both]
            for names in (futr_names, hist_names)
        )
        return SeriesSet(
            self.ids, self.values, self.times, self.freq, futr, hist, futr_names, hist_names
        )

    def to_state(self) -> dict[str, Any]:
        """Return ids, values, covariates and last times as plain values, for a file."""
        zone = getattr(self.times[0], "tz", None)
        last = [t[-1] for t in self.times]
        state: dict[str, Any] = {
            "ids": list(self.ids),
            "values": list(self.values),
            "last": [v.isoformat() if isinstance(v, pd.Timestamp) else int(v) for v in last],
            "time_zone": None if zone is None else str(zone),
        }
        for kind in ("futr", "hist"):
            if names := getattr(self, f"{kind}_exog_list"):
                state[kind] = list(getattr(self, kind))
                state[f"{kind}_exog_list"] = list(names)
        return state

    @classmethod
    def from_state(cls, state: dict[str, Any], freq: Freq) -> SeriesSet:
        """Return what `to_state` kept; raise KeyError, TypeError or ValueError if it is broken."""
        values = [np.asarray(y, np.float64) for y in state["values"]]
        times: list[pd.Index] = []
        for y, last in zip(values, state["last"], strict=True):
            if not isinstance(freq, int):
                last = pd.Timestamp(last)
                if state["time_zone"] is not None:
                    last = last.tz_convert(state["time_zone"])
            times.append(past_index(last, len(y), freq))
        ids = state["ids"]
        if not values or len(ids) != len(values) or not all(isinstance(i, str | int) for i in ids):
            raise ValueError(f"{len(ids)} ids for {len(values)} series")
        futr, futr_names = _covariates_of(state, "futr", values)
        hist, hist_names = _covariates_of(state, "hist", values)
        return cls(list(ids), values, times, freq, futr, hist, futr_names, hist_names)

    def frame(self) -> pd.DataFrame:
        """Return the long table `unique_id, ds, y` and the covariates, first the future ones."""
        names = self.futr_exog_list + self.hist_exog_list
        parts = []
        for i, t, y, futr, hist in zip(
            self.ids, self.times, self.values, self.futr, self.hist, strict=True
        ):
            columns = dict(zip(names, np.hstack([futr, hist]).T, strict=True))
            parts.append(pd.DataFrame({"unique_id": i, "ds": t, "y": y, **columns}))
        return pd.concat(parts, ignore_index=True)


def _covariates_of(
    state: dict[str, Any], kind: str, values: list[Array]
) -> tuple[list[Array], tuple[str, ...]]:
    if kind not in state:  # none, or a file from before there were any
        return [], ()
    names = tuple(state[f"{kind}_exog_list"])
    arrays = [np.asarray(steps, np.float64) for steps in state[kind]]
    if [a.shape for a in arrays] != [(len(y), len(names)) for y in values]:
        raise ValueError(f"{kind} does not fit the series")
    return arrays, names
