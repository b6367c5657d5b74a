"""Which past steps and which covariates moved a forecast: the whole model, with one thing hidden.

Axis letters: S series, L steps of input, H steps ahead, C channels of a step, F channels known
ahead, K numbers a series, J things to hide.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._calendar import calendar_names
from longshort.data._series import SeriesSet
from longshort.tasks._base import check_whole, is_a
from longshort.tasks._features import carried_forward
from longshort.tasks._panel import Context

if TYPE_CHECKING:
    from longshort.tasks._forecaster import Forecaster

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CALENDAR = "calendar"
MOST_GROUPS = 48  # that still can be read; above it steps are hidden a segment at a time
ROWS = 2_048  # contexts in memory at once


class Explained:
    """A forecaster that says what moved its forecasts."""

    def explain(
        self,
        data: Any = None,
        *,
        futr_df: Any = None,
        static_df: Any = None,
        step: int | None = None,
        groups: int | None = None,
    ) -> pd.DataFrame:
        """Say which past steps and which covariates moved a forecast.

        By occlusion (Zeiler and Fergus 2014) of the whole model, linear part, networks and scaling:
        one thing at a time is put at a neutral value, and `effect = f(real) - f(neutral)` of the
        median f. The neutral value

        - of y is the straight line between the neighbours of the hidden steps (their only
          neighbour at an end of the window); a model trained on data with missing y is told
          instead that these steps are missing, which it has met in training;
        - of a covariate is its mean over the training part, of a text the shares that its
          categories have among the series of training; of the calendar, hidden as a whole, the
          middle of its circles.

        Effects need not sum up to the forecast: what two steps say alike, each can say alone.

        Args:
            data: As in `predict`; None: the training data.
            futr_df: As in `predict`.
            static_df: As in `predict`.
            step: Step ahead to explain, 1 to h; None: the mean of all h.
            groups: Parts of the window to hide one by one, 2 to `input_size_`; None: single
                steps, in a window of more than 48 a season at a time, and 48 parts at most.

        Returns:
            A table, the largest effects of a series first: `unique_id`; `feature` (`"y"`, the
            name of a covariate, `"calendar"`); `lag` and `lag_to`, the newest and the oldest step
            hidden, 1 the last one known, 0 the first one forecast and below 0 those after it, NaN
            where the whole column was hidden, steps ahead too; `effect` in units of y, NaN where
            no other y of the window is known. A window of one step has no rows of y.

        Raises:
            NotFittedError: `fit` was not called.
            DataError: The data or an argument cannot be used.

        >>> from longshort.tasks import Forecaster
        >>> data = pd.DataFrame({"ds": range(40), "y": [1.0, 2.0, 4.0, 3.0] * 10})
        >>> model = Forecaster(1, 4, season_length=4, units=2, epochs=1).fit(data)
        >>> table = model.explain()
        >>> table.columns.tolist(), sorted(table["lag"])
        (['unique_id', 'feature', 'lag', 'lag_to', 'effect'], [1.0, 2.0, 3.0, 4.0])
        """
        return _explain(
            cast("Forecaster", self),
            data,
            futr_df=futr_df,
            static_df=static_df,
            step=step,
            groups=groups,
        )


def _explain(
    model: Forecaster,
    data: Any,
    *,
    futr_df: Any,
    static_df: Any,
    step: int | None,
    groups: int | None,
) -> pd.DataFrame:
    """Return what `Forecaster.explain` does, which says what the arguments are."""
    model._check_fitted("explain a forecast")
    sizes = _check(model, step, groups)
    series, context = model._situation(data, futr_df, static_df)
    hidden = _all_of(model, series, context, sizes)
    neutral = model.static_.mean(axis=0)  # 0 for numbers; the share of each text in training

    middle = len(model.level)
    chosen = slice(None) if step is None else slice(step - 1, step)

    def medians(contexts: Context) -> Array:
        return model.forecast_model_.forecast(contexts)[:, chosen, middle].mean(axis=1)

    # Last comes a row with nothing hidden, in the same batches: other batches round otherwise.
    count, masks = len(series), _Masks.of([*hidden, _nothing(context)])
    pairs = np.indices((count, len(hidden) + 1)).reshape(2, -1).T
    forecasts = np.empty(len(pairs))
    size = ROWS // masks.y.shape[0] * masks.y.shape[0] or ROWS  # whole series, where they fit
    for start in range(0, len(pairs), size):
        i, j = pairs[start : start + size].T
        without, is_known = _hide(_rows(context, i), masks, j, neutral, model.features_.missing)
        forecasts[start : start + size] = np.where(is_known, medians(without), np.nan)
    table = forecasts.reshape(count, -1)
    return _table(series.ids, hidden, table[:, -1:] - table[:, :-1])


# -- what is hidden ---------------------------------------------------------------------------


@dataclass
class _Hidden:
    """One thing to hide: which cells of a context, and what it is called in the table.

    Attributes:
        feature: `"y"`, a covariate's name, or `"calendar"`.
        lag, lag_to: Newest and oldest step hidden; NaN for a whole column.
        y, past, ahead, static: (L,), (L, C - 1), (H, F), (K,), True where it is hidden.
    """

    feature: str
    lag: float
    lag_to: float
    y: Mask
    past: Mask
    ahead: Mask
    static: Mask


@dataclass
class _Masks:
    """The same for all J, stacked."""

    y: Mask
    past: Mask
    ahead: Mask
    static: Mask

    @classmethod
    def of(cls, hidden: list[_Hidden]) -> _Masks:
        return cls(
            *(np.stack([getattr(one, k) for one in hidden]) for k in cls.__dataclass_fields__)
        )


@dataclass
class _Columns:
    """Where the channels of one covariate lie."""

    feature: str
    past: list[int] = field(default_factory=list)
    ahead: list[int] = field(default_factory=list)
    static: list[int] = field(default_factory=list)
    by_lag: bool = True


def _columns(model: Forecaster, series: SeriesSet) -> list[_Columns]:
    """Return the covariates in the order of `Features`: calendar, futr, hist; then the static."""
    cycles = len(calendar_names(series.freq)) if model.features_.calendar else 0
    found = []
    if cycles:
        both = list(range(cycles))
        found.append(_Columns(CALENDAR, both, both, by_lag=False))
    at = cycles
    for name in series.futr_exog_list:
        found.append(_Columns(name, [at], [at]))
        at += 1
    for name in series.hist_exog_list:
        found.append(_Columns(name, [at]))
        at += 1
    at = 0
    for column in model.encoding_["columns"]:
        width = len(column.get("categories", [None]))
        static = list(range(at, at + width))
        found.append(_Columns(column["name"], static=static, by_lag=False))
        at += width
    return found


def _nothing(
    context: Context, feature: str = "", lag: float = np.nan, lag_to: float = np.nan
) -> _Hidden:
    parts = (context.x, context.past, context.ahead, context.static)
    return _Hidden(feature, lag, lag_to, *(np.zeros(v.shape[1:], bool) for v in parts))


def _all_of(
    model: Forecaster, series: SeriesSet, context: Context, sizes: list[int]
) -> list[_Hidden]:
    """Return everything that is hidden, one after the other; `sizes` of groups, oldest first."""
    length, h = context.x.shape[1], context.ahead.shape[1]

    ends = np.cumsum(sizes)
    stretches = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    result = []
    if length > 1:  # of a window of one step nothing would be left
        for part in stretches:
            one = _nothing(context, "y", length - part.stop + 1, length - part.start)
            one.y[part] = True
            result.append(one)
    for columns in _columns(model, series):
        whole = _nothing(context, columns.feature)
        whole.past[:, columns.past] = True
        whole.ahead[:, columns.ahead] = True
        whole.static[columns.static] = True
        result.append(whole)
        if not columns.by_lag:
            continue
        for part in stretches:
            one = _nothing(context, columns.feature, length - part.stop + 1, length - part.start)
            one.past[part, columns.past] = True
            result.append(one)
        if columns.ahead:
            one = _nothing(context, columns.feature, 1 - h, 0)
            one.ahead[:, columns.ahead] = True
            result.append(one)
    return result


def group_sizes(length: int, segment: int, groups: int | None) -> list[int]:
    """Return how many steps each group of the window holds, the oldest first.

    A window of more than 48 steps is hidden a segment at a time, or in 48 parts where there are
    more segments or none; parts of uneven size are the larger the older they are.

    >>> group_sizes(12, 1, None) == [1] * 12, group_sizes(96, 24, None), group_sizes(8, 1, 3)
    (True, [24, 24, 24, 24], [3, 3, 2])
    """
    if groups is None:
        groups = length
        if length > MOST_GROUPS:
            groups = min(length // segment, MOST_GROUPS)
    return [len(part) for part in np.array_split(np.arange(length), groups)]


# -- hiding it --------------------------------------------------------------------------------


def _rows(context: Context, i: NDArray[np.intp]) -> Context:
    return Context(context.x[i], context.past[i], context.ahead[i], context.static[i])


def _hide(
    context: Context, masks: _Masks, j: NDArray[np.intp], neutral: Array, missing: bool
) -> tuple[Context, Mask]:
    """Return N contexts with neutral values where the masks `j` (N,) say, and which have a y left.

    Args:
        context: N rows.
        masks: What can be hidden.
        j: Which of it, for each row.
        neutral: (K,), the neutral static values; of steps they are 0.
        missing: Whether the last channel is the flag of missing y.
    """
    x, past = context.x.copy(), np.where(masks.past[j], 0.0, context.past)
    is_known = np.ones(len(j), bool)
    for n in np.flatnonzero(masks.y[j].any(axis=1)):
        hidden = masks.y[j[n]]
        if missing:
            x[n], past[n, :, -1] = _as_missing(x[n], past[n, :, -1] > 0, hidden)
            is_known[n] = not past[n, :, -1].all()
        else:
            at = np.arange(len(hidden))
            x[n, hidden] = np.interp(at[hidden], at[~hidden], x[n, ~hidden])
    ahead = np.where(masks.ahead[j], 0.0, context.ahead)
    static = np.where(masks.static[j], neutral, context.static)
    return Context(x, past, ahead, static), is_known


def _as_missing(x: Array, was_missing: Mask, hidden: Mask) -> tuple[Array, Array]:
    """Return a window (L,) as the model reads it where the hidden steps are missing, and its flag.

    >>> x, gone = np.array([1.0, 5.0, 5.0, 2.0]), np.array([False, False, True, False])
    >>> _as_missing(x, gone, np.array([False, True, False, False]))[0].tolist()
    [1.0, 1.0, 1.0, 2.0]
    """
    flag = was_missing | hidden
    # Missing steps at the window's beginning hold the value carried there from before it.
    from_before = np.logical_and.accumulate(was_missing)
    filled = carried_forward(np.where(flag & ~from_before, np.nan, x))
    return np.where(np.isnan(filled), x, filled), flag.astype(np.float64)


# -- in and out -------------------------------------------------------------------------------


def _check(model: Forecaster, step: int | None, groups: int | None) -> list[int]:
    faults, length = [], model.input_size_
    if step is not None:
        faults += check_whole("step", step, 1, model.h)
    if groups is not None and not (is_a(Integral, groups) and 2 <= groups <= length):
        faults.append(f"groups must be a whole number from 2 to {length}, got {groups!r}")
    if faults:
        raise DataError(f"explain: {'; '.join(faults)}.")
    return group_sizes(length, model.forecast_model_.net.segment, groups)


def _table(ids: list[str | int], hidden: list[_Hidden], effects: Array) -> pd.DataFrame:
    """Return a row for each series and hidden thing, the largest effects of a series first."""
    order = np.argsort(-np.abs(effects), axis=1, kind="stable")  # NaN last
    columns = {
        "unique_id": [name for name in ids for _ in hidden],
        "feature": np.array([one.feature for one in hidden])[order].ravel(),
        "lag": np.array([one.lag for one in hidden], np.float64)[order].ravel(),
        "lag_to": np.array([one.lag_to for one in hidden], np.float64)[order].ravel(),
        "effect": np.take_along_axis(effects, order, axis=1).ravel(),
    }
    return pd.DataFrame(columns)
