"""Forecasting: one LSTM over many series, h steps at once, with prediction intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._columns import check_exog_lists
from longshort.data._covariates import check_future, check_static
from longshort.data._frames import SeriesSet, check_series
from longshort.data._frequency import Freq, season_length_of
from longshort.tasks import _backtest as bt
from longshort.tasks._base import Task
from longshort.tasks._explain import Explained
from longshort.tasks._features import Features, carried_forward
from longshort.tasks._forecast_model import ForecastModel
from longshort.tasks._forecaster_params import check_params
from longshort.tasks._heads import Head, head_of
from longshort.tasks._linear_path import SLACK, choose_path, window_choices
from longshort.tasks._members import KINDS
from longshort.tasks._net_training import MANY_WINDOWS, TrainPlan, default_val_size
from longshort.tasks._panel import Context, Panel, check_complete, check_counts, contexts_at
from longshort.tasks._quantiles import quantiles_of
from longshort.tasks._rolling import Rolling
from longshort.tasks._segment_net import NetShape, segment_length
from longshort.tasks._training import Progress
from longshort.tasks._tuning import Tuned
from longshort.tasks._usual_widths import usual_widths

Array = NDArray[np.float64]


class Forecaster(Tuned, Explained, Rolling, Task):
    """Forecast the next h steps of one or many series with an LSTM.

    One model serves all series. It sees a window of `input_size` values x, scaled by the window's
    own last value and spread (no statistics of a whole series, so nothing can leak; intervals have
    some, of the past alone), and gives all h steps at once as quantiles:

        z = (x - x[-1]) / std(x)          (of log x where that forecasts better)
        f = (1 - s) (z W + b + LSTM(z)) + s LSTM'(z)

    The linear part is fitted in closed form, shrunk towards weights that all phases of a season
    share, and these towards exponential smoothing; one LSTM learns what it leaves over, another the
    whole forecast, and the share s that does best on the validation part is taken. An LSTM reads
    the window a season at a time and decodes the forecast likewise, by the pinball loss of the
    median and of both ends of each interval, which sums of softplus terms keep from crossing.
    Training stops on a validation part at the end of the training data; the untrained network (the
    linear part with the spread of its own rolling errors) takes part in that contest. Half widths
    of intervals are then multiplied so that they hold their share of the validation part; where
    that is less than 200 windows of all series, not counting overlap, they are averaged, as
    logarithms, with those that the errors of the better naive forecast with drift, over the whole
    series, ask for. Window, logarithm, penalty and spread of the linear part are chosen by rolling
    forecasts inside all of the training data, the validation part too: the first of `losses_` is a
    little too good, and no loss there is an estimate of the error to come.
    `docs/design.md` has what was tried.

    Args:
        h: Steps to forecast.
        input_size: Steps the model looks back; None chooses by rolling forecasts of the linear
            part inside the training data; of 10,000 windows and more the longest that is within
            5 % of the best, for the network finds more in it than the linear part does.
        freq: Step of `ds`, a pandas offset name (`"MS"`, `"D"`, `"h"`) or an integer; None infers.
        season_length: Steps in a season; None takes the usual one of `freq` (months 12, hours
            24, days 7, weeks 52, quarters 4, business days 5, else 1).
        futr_exog_list: Columns that are known ahead: numbers, of the past in `data`, of the steps
            to come in `futr_df`.
        hist_exog_list: Columns that are known up to now.
        stat_exog_list: Columns of `static_df`, one value a series: numbers or text.
        calendar: Whether the network is told hour, weekday, month and so on, as sines and cosines
            of the cycles that `freq` has.
        recursive: Whether the network forecasts one step, which is put behind the window for the
            next one, instead of all h steps at once; the intervals are then those of the errors
            in the validation part, by step.
        distribution: `"Normal"`, `"StudentT"` or `"NegativeBinomial"` (for counts): what the
            network forecasts, by its likelihood; None: quantiles, whatever their shape.
        level: Central prediction intervals in percent.
        units: Units of each LSTM layer; None: 128 for 10,000 windows and more, else 32.
        num_layers: LSTM layers.
        dropout: Share of features dropped before the head, 0 to below 1.
        num_members: Networks of each of the two kinds, from different weights and averaged.
        learning_rate: Of Adam at its highest; it rises at first and then falls to 0.
        epochs: Most passes over the training windows (a pass is 200 batches at most); None: as
            many as make 2,400 batches, at most 100.
        batch_size: Windows a step; None: 256 for 10,000 windows and more, else 64.
        val_size: Steps at the end of each series kept for early stopping; None: a tenth of the
            shortest series, at least two h of a series of eight, else h.
        patience: Epochs without a better validation loss before stopping.
        log: Whether to work on logarithms, for series that grow by percent; None finds out.
        seed: Of everything random. The global random state is neither read nor changed.

    Attributes:
        freq_: Step of the training data.
        season_length_: Steps in a season.
        input_size_: Steps the model looks back.
        log_: Whether it works on logarithms.
        losses_: Validation loss before training and after each epoch.

    >>> data = pd.DataFrame({"ds": range(40), "y": [1.0, 2.0, 4.0, 3.0] * 10})
    >>> model = Forecaster(2, season_length=4, units=2, epochs=1, num_members=1).fit(data)
    >>> model.predict(level=[80]).columns.tolist()
    ['unique_id', 'ds', 'LSTM', 'LSTM-lo-80', 'LSTM-hi-80']
    >>> model.predict()["LSTM"].round(1).tolist()
    [1.0, 2.0]
    """

    def __init__(
        self,
        h: int,
        input_size: int | None = None,
        *,
        freq: Freq | None = None,
        season_length: int | None = None,
        futr_exog_list: Sequence[str] = (),
        hist_exog_list: Sequence[str] = (),
        stat_exog_list: Sequence[str] = (),
        calendar: bool = False,
        recursive: bool = False,
        distribution: str | None = None,
        level: Sequence[int | float] = (80, 95),
        units: int | None = None,
        num_layers: int = 1,
        dropout: float = 0.2,
        num_members: int = 1,
        learning_rate: float = 2e-3,
        epochs: int | None = None,
        batch_size: int | None = None,
        val_size: int | None = None,
        patience: int = 10,
        log: bool | None = None,
        seed: int = 1,
    ):
        self.h = h
        self.input_size = input_size
        self.freq = freq
        self.season_length = season_length
        self.futr_exog_list = futr_exog_list
        self.hist_exog_list = hist_exog_list
        self.stat_exog_list = stat_exog_list
        self.calendar = calendar
        self.recursive = recursive
        self.distribution = distribution
        self.level = level
        self.units = units
        self.num_layers = num_layers
        self.dropout = dropout
        self.num_members = num_members
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.val_size = val_size
        self.patience = patience
        self.log = log
        self.seed = seed

    def fit(
        self, data: Any, *, static_df: Any = None, progress: Progress | None = None
    ) -> Forecaster:
        """Train on all of `data`.

        Args:
            data: Long table `unique_id, ds, y` and the covariates of `futr_exog_list` and
                `hist_exog_list`, a Series, or a 1-D array; see `longshort.data.check_series`. An
                empty y is a missing value: the LSTM is told so and no loss counts it; the linear
                part and the scale of a window take the last known value in its place.
            static_df: One row a series: `unique_id` and the columns of `stat_exog_list`.
            progress: Called after each epoch with (epoch, epochs, validation loss).

        Returns:
            The fitted task itself. Ctrl-C during training keeps the best weights so far and warns;
            after any other exception the task is what it was before the call.

        Raises:
            DataError: The data or a hyper-parameter cannot be used.
        """
        self._check_params()
        self._fit(self._check_series(data, self.freq), static_df, progress, keep_best=True)
        return self

    def predict(
        self,
        data: Any = None,
        *,
        level: Sequence[int | float] | None = None,
        futr_df: Any = None,
        static_df: Any = None,
    ) -> pd.DataFrame:
        """Forecast the h steps after the end of each series.

        Args:
            data: Series to go on from, in any form that `fit` takes and with the same frequency;
                they need not be those of training. None: the training data. The median depends on
                the last `input_size_` values; intervals on all, where few windows were held out.
            level: Intervals to return, some of the constructor's; None returns all of them.
            futr_df: The future covariates of these steps: `unique_id`, `ds` and the columns of
                `futr_exog_list`.
            static_df: As in `fit`, for the series of `data`.

        Returns:
            A table with `unique_id`, `ds`, `LSTM` (the median) and for each level
            `LSTM-lo-LEVEL` and `LSTM-hi-LEVEL`; h rows a series.

        Raises:
            NotFittedError: `fit` was not called.
            DataError: The data or a level cannot be used.
        """
        self._check_fitted("predict")
        levels = self._check_level(level)
        series, context = self._situation(data, futr_df, static_df)
        ends = np.array([len(y) for y in series.values])
        usual = self.usual_ if data is None else self._usual(series)
        columns = self._columns(self.forecast_model_.forecast(context, usual), levels)
        return bt.forecast_frame(series, ends, columns, backtest=False)

    # -- training ---------------------------------------------------------------------------

    def _fit(
        self, series: SeriesSet, static_df: Any, progress: Progress | None, *, keep_best: bool
    ) -> None:
        """Train, and change nothing of this task before the end."""
        h, season = self.h, self._season(series.freq)
        ahead = 1 if self.recursive else h  # steps that the network gives at once
        lengths = np.array([len(y) for y in series.values])
        val = self.val_size or default_val_size(int(lengths.min()), h)
        if self.input_size is None:
            sizes = window_choices(series, h, season)
        else:
            sizes = [self.input_size]
            check_series(series, min_length=self.input_size + h, allow_missing=True)
        static, encoding = check_static(series.ids, static_df, self.stat_exog_list)
        before = np.maximum(lengths - val, 0)
        least = int(np.maximum(before - max(sizes) - ahead + 1, 0).sum())
        choice = choose_path(
            [carried_forward(y) for y in series.values],
            h,
            season,
            input_sizes=sizes,
            logs=self._logs(series),
            seed=self.seed,
            slack=SLACK if least >= MANY_WINDOWS else 0.0,
        )
        length = choice.input_size
        if before.max() < length + ahead:
            raise DataError(
                f"data: training needs a series of input_size + h + val_size = "
                f"{length} + {ahead} + {val} steps, but the longest has {lengths.max()}; give "
                "longer series or make one of them smaller."
            )
        features = Features.fit(
            series.head(before.tolist()),
            calendar=self.calendar,
            missing=any(np.isnan(y).any() for y in series.values),
        )
        panel = Panel.of(series, features, static)
        training = panel.windows(length, ahead, last=before)
        held = panel.windows(length, ahead, first=before)
        if len(training) == 0 or len(held) == 0:
            raise DataError(
                "data: no window has a known y in its input and in its target, in the training "
                "part and in the last val_size steps; give data with fewer gaps."
            )
        plan = TrainPlan.of(
            len(training),
            epochs=self.epochs,
            batch_size=self.batch_size,
            patience=self.patience,
            learning_rate=self.learning_rate,
            seed=self.seed,
        )
        units = self.units or (128 if len(training) >= MANY_WINDOWS else 32)
        net = self._shape(length, season, units, features.counts(series), static.shape[1])
        model = ForecastModel(net, h, self._head(), log=choice.log, missing=features.missing)
        model.fit(training, held, choice, plan, progress, keep_best=keep_best)
        if self.recursive:
            model.fit_bands(panel.windows(length, h, first=before), self.seed)
        # The newest season counts most for the linear part; see the figures above.
        model.fit_path(panel.windows(length, ahead), choice, self.seed)

        self.freq_, self.season_length_, self.units_ = series.freq, season, units
        self.input_size_, self.log_, self.losses_ = length, choice.log, model.losses
        self.features_, self.static_, self.encoding_ = features, static, encoding
        self.series_: SeriesSet | None = series
        self.tail_ = series.tail(length)
        self.forecast_model_, self.model_ = model, model.model
        self.usual_ = self._usual(series)

    def _usual(self, series: SeriesSet) -> Array | None:
        """Return the usual half widths (S, H, I) of the series, None where they do not count."""
        if self.forecast_model_.trust == 1.0:
            return None
        at, season = self.forecast_model_.quantiles, self.season_length_
        each = [usual_widths(y, self.h, season, at, log=self.log_) for y in series.values]
        return np.stack(each)

    def _shape(
        self, input_size: int, season: int, units: int, columns: tuple[int, int], static: int
    ) -> NetShape:
        return NetShape(
            input_size,
            1 if self.recursive else self.h,
            segment_length(input_size, season),
            outputs=self._head().outputs,
            units=units,
            num_layers=self.num_layers,
            dropout=self.dropout,
            num_members=len(KINDS) * self.num_members,
            channels=1 + columns[0],
            future_channels=columns[1],
            static=static,
        )

    def _head(self) -> Head:
        return head_of(self.distribution, quantiles_of(self.level))

    def _season(self, freq: Freq) -> int:
        return season_length_of(freq) if self.season_length is None else self.season_length

    def _logs(self, series: SeriesSet) -> tuple[bool, ...]:
        if self.distribution == "NegativeBinomial":
            check_counts(series)
            return (False,)
        positive = min(float(np.nanmin(y)) for y in series.values) > 0
        if self.log is None:
            return (False, True) if positive else (False,)
        if self.log and not positive:
            raise DataError("log: log=True needs positive y, but it is 0 or below; use log=None.")
        return (self.log,)

    # -- forecasting ------------------------------------------------------------------------

    def _panel(self, series: SeriesSet, static: Array) -> Panel:
        if not self.features_.missing:
            check_complete(series)
        return Panel.of(series, self.features_, static)

    def _situation(self, data: Any, futr_df: Any, static_df: Any) -> tuple[SeriesSet, Context]:
        """Return the series and what a forecast behind their ends goes by; as for `predict`."""
        if data is None:
            if static_df is not None:
                raise DataError("static_df: the training data have theirs; pass it with data.")
            series, static = self.tail_, self.static_
        else:
            series = self._check_series(data, self.freq_, self.input_size_)
            static = self._static(series, static_df)
        coming = self.features_.coming(series, check_future(series, futr_df, self.h), self.h)
        ends = np.array([[len(y)] for y in series.values])
        panel = self._panel(series, static)
        context = contexts_at(panel, series.ids, ends, self.input_size_, self.h, coming, self.log_)
        return series, context

    def _forecasts(self, panel: Panel, past: SeriesSet, cuts: NDArray[np.intp]) -> Array:
        """Return the quantiles (S, W, H, Q) after W cutoffs of each series, all in one pass.

        What intervals usually are is taken from `past`, the series before their first cutoffs.
        """
        context = contexts_at(panel, past.ids, cuts, self.input_size_, self.h, None, self.log_)
        usual = self._usual(past)
        if usual is not None:
            usual = np.repeat(usual, cuts.shape[1], axis=0)
        forecasts = self.forecast_model_.forecast(context, usual)
        return forecasts.reshape(*cuts.shape, *forecasts.shape[1:])

    def _columns(self, forecasts: Array, level: Sequence[int | float]) -> dict[str, Array]:
        """Return the model's columns, each (S, H), from its quantiles (S, H, Q)."""
        quantiles = quantiles_of(self.level)
        columns = {bt.MODEL: forecasts[..., len(quantiles) // 2]}
        for value in level:
            at = quantiles.index(quantiles_of([value])[0])
            columns[f"{bt.MODEL}-lo-{value}"] = forecasts[..., at]
            columns[f"{bt.MODEL}-hi-{value}"] = forecasts[..., -1 - at]
        return columns

    # -- arguments and state ----------------------------------------------------------------

    def _check_params(self) -> None:
        check_params(self.get_params())
        check_exog_lists(
            futr_exog_list=self.futr_exog_list,
            hist_exog_list=self.hist_exog_list,
            stat_exog_list=self.stat_exog_list,
        )

    def _check_series(self, data: Any, freq: Freq | None, least: int = 1) -> SeriesSet:
        return check_series(
            data,
            freq=freq,
            min_length=least,
            allow_missing=True,
            futr_exog_list=self.futr_exog_list,
            hist_exog_list=self.hist_exog_list,
        )

    def _static(self, series: SeriesSet, static_df: Any) -> Array:
        return check_static(series.ids, static_df, self.stat_exog_list, self.encoding_)[0]

    def _check_level(self, level: Sequence[int | float] | None) -> list[int | float]:
        own = list(self.level)
        if level is None:
            return own
        if isinstance(level, str) or not isinstance(level, Sequence):
            raise DataError(f"predict: expected level as a list such as [80], got {level!r}.")
        missing = [v for v in level if v not in own]
        if missing:
            raise DataError(
                f"predict: the model was trained for level={own}, got {missing}; choose from "
                "these or fit with other levels."
            )
        return [v for v in own if v in level]

    def _get_state(self) -> dict[str, Any]:
        return {
            "freq": self.freq_,
            "season_length": self.season_length_,
            "units": self.units_,
            "input_size": self.input_size_,
            "model": self.forecast_model_.to_state(),
            "features": self.features_.to_state(),
            "static": self.static_,
            "encoding": self.encoding_,
            "tail": self.tail_.to_state(),
            "usual": self.usual_,
        }

    def _least_bytes(self, state: dict[str, Any]) -> int:
        self._check_params()
        units = int(state["units"])
        rows = 2 * units * (2 + 2 * (self.num_layers - 1))  # the encoder's and the decoder's LSTM
        return 2 * 4 * units * rows * self.num_members  # 2 bytes, a weight of half precision

    def _set_state(self, state: dict[str, Any]) -> None:
        self._check_params()
        self.freq_, self.season_length_ = state["freq"], state["season_length"]
        self.input_size_, self.units_ = state["input_size"], int(state["units"])
        self.tail_ = SeriesSet.from_state(state["tail"], self.freq_)
        if any(len(y) != self.input_size_ for y in self.tail_.values):
            raise ValueError(f"the tail is not {self.input_size_} steps long")
        self.features_ = Features.from_state(state["features"])
        self.static_ = np.asarray(state["static"], np.float64)
        self.encoding_ = state["encoding"]
        if self.static_.ndim != 2 or len(self.static_) != len(self.tail_):
            raise ValueError(f"static has the shape {self.static_.shape}")
        net = self._shape(
            self.input_size_,
            self.season_length_,
            self.units_,
            self.features_.counts(self.tail_),
            self.static_.shape[1],
        )
        self.forecast_model_ = ForecastModel.from_state(state["model"], net, self.h, self._head())
        self.model_ = self.forecast_model_.model
        self.log_, self.losses_ = self.forecast_model_.log, self.forecast_model_.losses
        usual = state.get("usual")
        self.usual_ = None if usual is None else np.asarray(usual, np.float64)
        needed = self.forecast_model_.trust < 1
        shape = (len(self.tail_), self.h, len(self.level)) if needed else None
        if (None if self.usual_ is None else self.usual_.shape) != shape:
            raise ValueError(f"usual does not have the shape {shape}")
        self.series_ = None
