"""Series as a forecasting model reads them: windows for training, contexts to forecast from.

Axis letters: S series, T steps of one, N windows, L steps of input, H steps ahead, C channels of a
step, F channels known ahead, K numbers a series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._series import SeriesSet
from longshort.data._windows import Windows, WindowScale
from longshort.tasks._backtest import check_contexts
from longshort.tasks._features import Features, carried_forward

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Context:
    """What a forecast of N windows goes by.

    Attributes:
        x: (N, L), y with the last known value in place of missing ones.
        past: (N, L, C - 1), the other channels of these steps.
        ahead: (N, H, F), what is known of the steps to come.
        static: (N, K), what is known of the series.
    """

    x: Array
    past: Array
    ahead: Array
    static: Array

    def inputs(self, scale: WindowScale, missing: bool) -> list[Array]:
        """Return the inputs of the network; a missing y is 0 beside its flag, the last channel."""
        z = scale.apply(self.x)
        if missing:
            z = np.where(self.past[..., -1] > 0, 0.0, z)
        window = np.concatenate([z[..., None], self.past], axis=-1)
        rest = [v for v in (self.ahead, self.static) if v.shape[-1]]
        return [v.astype("float32") for v in (window, *rest)]


@dataclass(frozen=True)
class Panel:
    """Series as a model reads them, each laid end to end with the next.

    Attributes:
        values: For each series y, NaN where it is missing.
        filled: The same with the last known value carried forward.
        past: For each series (T, C - 1).
        ahead: For each series (T, F).
        static: (S, K).
        missing: Whether any y is missing: the last channel of `past` is its flag.
    """

    values: list[Array]
    filled: list[Array]
    past: list[Array]
    ahead: list[Array]
    static: Array
    missing: bool

    @classmethod
    def of(cls, series: SeriesSet, features: Features, static: Array) -> Panel:
        """Return the panel of `series` with its columns by `features`."""
        return cls(
            series.values,
            [carried_forward(y) for y in series.values],
            features.past(series),
            features.ahead(series),
            static,
            features.missing,
        )

    def windows(self, input_size: int, h: int, **bounds: Any) -> PanelWindows:
        """Return windows with all that belongs to them; `bounds` as for `Windows`."""
        return PanelWindows(self, input_size, h, **bounds)


class PanelWindows:
    """Windows of a panel whose inputs and targets have a known value."""

    def __init__(self, panel: Panel, input_size: int, h: int, **bounds: Any):
        self.panel, self.h = panel, h
        self.filled = Windows(panel.filled, input_size, h, **bounds)
        self.index = np.arange(len(self.filled))
        self._past, self._ahead = np.concatenate(panel.past), np.concatenate(panel.ahead)
        if panel.missing:
            self._values = np.concatenate(panel.values)
            known = np.concatenate([[0], np.cumsum(~np.isnan(self._values))])
            start = self._starts()
            cut = start + input_size
            usable = (known[cut] > known[start]) & (known[cut + h] > known[cut])
            self.index = self.index[usable]

    def _starts(self) -> NDArray[np.intp]:
        parts = np.array_split(self.index, max(1, len(self.index) // 4096))
        return np.concatenate([self.filled.steps(part)[:, 0] for part in parts])

    def __len__(self) -> int:
        return len(self.index)

    def num_apart(self) -> float:
        """Return how many windows these would be if none overlapped another of its series."""
        counts = np.bincount(self.filled.series(self.index))
        counts = counts[counts > 0]
        return float((counts + self.h - 1).sum() / self.h)

    def gather(self, index: NDArray[np.intp]) -> tuple[Context, Array]:
        """Return what goes before the windows `index`, and their targets (N, H), NaN if missing."""
        number = self.index[index]
        x, y = self.filled.gather(number)
        steps = self.filled.steps(number)
        if self.panel.missing:
            y = self._values[steps[:, x.shape[1] :]]
        past, ahead = self._past[steps[:, : x.shape[1]]], self._ahead[steps[:, x.shape[1] :]]
        return Context(x, past, ahead, self.panel.static[self.filled.series(number)]), y


def check_complete(series: SeriesSet) -> None:
    """Raise a DataError that names the first missing y, if there is one."""
    for name, y in zip(series.ids, series.values, strict=True):
        if np.isnan(y).any():
            raise DataError(
                f"data: series {name!r} has missing y (row {int(np.argmax(np.isnan(y)))} of its "
                "own), but the training data had none, so the model was not told how to read "
                "them; fill them or train on data that have some."
            )


def check_counts(series: SeriesSet) -> None:
    """Raise a DataError that names the first y that is no count, if there is one."""
    for name, y in zip(series.ids, series.values, strict=True):
        known = y[~np.isnan(y)]
        wrong = known[(known < 0) | (known != np.floor(known))]
        if len(wrong):
            raise DataError(
                f"data: distribution='NegativeBinomial' is for counts, 0, 1, 2 ..., but series "
                f"{name!r} has a y of {wrong[0]:g}; choose another distribution, or None."
            )


def contexts_at(
    panel: Panel,
    ids: list[str | int],
    cuts: NDArray[np.intp],
    input_size: int,
    h: int,
    coming: list[Array] | None,
    log: bool,
) -> Context:
    """Return what W forecasts of each series go by, series by series.

    Args:
        panel: Of the series.
        ids: Their names, for messages.
        cuts: (S, W), the indices of the first steps to forecast.
        input_size: L.
        h: H.
        coming: For each series what is known of the h steps behind its end, (h, F); None where all
            cutoffs lie so far inside the series that nothing of it is needed.
        log: Whether the model works on logarithms.

    Raises:
        DataError: Too few steps before a cutoff, none with a known y, or one that has no logarithm.
    """
    check_contexts(ids, cuts, input_size)
    pairs = [(i, cut) for i, row in enumerate(cuts) for cut in row]
    ahead = panel.ahead
    if coming is not None:
        ahead = [np.concatenate(pair) for pair in zip(ahead, coming, strict=True)]
    context = Context(
        np.stack([panel.filled[i][cut - input_size : cut] for i, cut in pairs]),
        np.stack([panel.past[i][cut - input_size : cut] for i, cut in pairs]),
        np.stack([ahead[i][cut : cut + h] for i, cut in pairs]),
        np.repeat(panel.static, cuts.shape[1], axis=0),
    )
    back = f"in the {input_size} steps that the model looks back over"
    unknown = np.isnan(context.x).any(axis=1)
    if panel.missing:
        unknown = context.past[..., -1].astype(bool).all(axis=1)
    if unknown.any():
        name = ids[pairs[int(np.argmax(unknown))][0]]
        raise DataError(f"data: series {name!r} has nothing but missing values {back}.")
    if log and (context.x <= 0).any():
        name = ids[pairs[int(np.argmin(context.x.min(axis=1)))][0]]
        raise DataError(
            f"data: series {name!r} has a y of {context.x.min():g} {back}; it works on logarithms, "
            "as its training data were positive; fit with log=False to allow this."
        )
    return context
