"""Forecasting: one LSTM over many series, h steps at once, with prediction intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._frames import SeriesSet, check_series
from longshort.data._frequency import Freq, season_length_of
from longshort.data._windows import Windows, WindowScale
from longshort.tasks import _backtest as bt
from longshort.tasks._base import Task
from longshort.tasks._baselines import NLinear
from longshort.tasks._forecaster_params import check_params
from longshort.tasks._linear_path import (
    choose_path,
    fit_path,
    left_over,
    start_quantiles,
    thin,
    window_choices,
)
from longshort.tasks._quantile_net import (
    TrainPlan,
    build_net,
    predict,
    quantiles_of,
    train,
    without_optimizer,
)
from longshort.tasks._training import Progress

Array = NDArray[np.float64]

MAX_VAL_WINDOWS = 1_000


class Forecaster(Task):
    """Forecast the next h steps of one or many series with an LSTM.

    One model serves all series. It sees a window of `input_size` values x, scaled by the window's
    own last value and spread (no statistics of a whole series, so nothing can leak), and gives
    all h steps at once as quantiles:

        z = (x - x[-1]) / std(x)          (of log x where that forecasts better)
        f = z W + b + Head(LSTM(z))

    The linear part is fitted in closed form; the LSTM learns what it leaves over, by the pinball
    loss of the median and of both ends of each interval. The head sums softplus terms, so that
    quantiles never cross. Training stops on a validation part at the end of the training data;
    the untrained network (the linear part with the spread of its own rolling errors) takes part
    in that contest. Window, logarithm, penalty and spread of the linear part are chosen by
    rolling forecasts inside all of the training data, the validation part too: the first of
    `losses_` is a little too good, and no loss there is an estimate of the error to come.

    Args:
        h: Steps to forecast.
        input_size: Steps the model looks back; None chooses by rolling forecasts of the linear
            part inside the training data.
        freq: Step of `ds`, a pandas offset name (`"MS"`, `"D"`, `"h"`) or an integer; None infers.
        season_length: Steps in a season; None takes the usual one of `freq` (months 12, hours
            24, days 7, weeks 52, quarters 4, business days 5, else 1).
        level: Central prediction intervals in percent.
        units: Units of each LSTM layer.
        num_layers: LSTM layers.
        dropout: Share of features dropped before the head, 0 to below 1.
        num_members: Networks trained side by side from different weights and averaged.
        learning_rate: Of Adam.
        epochs: Most passes over the training windows (a pass is 200 batches at most).
        batch_size: Windows a step.
        val_size: Steps at the end of each series kept for early stopping; None: a tenth of the
            shortest series, at least h.
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

    # What was tried, on the last rolling windows of training parts (test parts unseen; sunspots 10
    # windows of 24, gasoline 4 of 26, M4 hourly every third series). MASE of the median:
    # - the linear part alone, then with the network: sunspots 1.03 to 0.94, gasoline 1.50 both,
    #   M4 (look-back 96) 1.26 to 1.21; the pinball loss of all quantiles falls by a fifth and by
    #   two fifths on the first and the last. AirPassengers gains 0.00 to 0.01 (13 to 60 windows).
    # - learning rate 1e-3 to 3e-3: sunspots 1.03 to 0.95; 64 units for 32: 0.98; batches of 128
    #   for 32: 1.00; three members for one (look-back 48): 1.31 to 1.25.
    # - the linear part fitted anew on all data after early stopping, before and after:
    #   AirPassengers 0.475 and 0.356, the other sets the same within 2 %.
    def __init__(
        self,
        h: int,
        input_size: int | None = None,
        *,
        freq: Freq | None = None,
        season_length: int | None = None,
        level: Sequence[int | float] = (80, 95),
        units: int = 32,
        num_layers: int = 1,
        dropout: float = 0.0,
        num_members: int = 2,
        learning_rate: float = 3e-3,
        epochs: int = 100,
        batch_size: int = 64,
        val_size: int | None = None,
        patience: int = 10,
        log: bool | None = None,
        seed: int = 1,
    ):
        self.h = h
        self.input_size = input_size
        self.freq = freq
        self.season_length = season_length
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

    def fit(self, data: Any, *, progress: Progress | None = None) -> Forecaster:
        """Train on all of `data`.

        Args:
            data: Long table `unique_id, ds, y`, a Series, or a 1-D array; see
                `longshort.data.check_series`.
            progress: Called after each epoch with (epoch, epochs, validation loss).

        Returns:
            The fitted task itself. Ctrl-C during training keeps the best weights so far and warns;
            after any other exception the task is what it was before the call.

        Raises:
            DataError: The data or a hyper-parameter cannot be used.
        """
        check_params(self.get_params())
        self._fit(check_series(data, freq=self.freq), progress, keep_best=True)
        return self

    def predict(
        self, data: Any = None, *, level: Sequence[int | float] | None = None
    ) -> pd.DataFrame:
        """Forecast the h steps after the end of each series.

        Args:
            data: Series to go on from, in any form that `fit` takes and with the same frequency;
                they need not be those of training. None: the training data.
            level: Intervals to return, some of the constructor's; None returns all of them.

        Returns:
            A table with `unique_id`, `ds`, `LSTM` (the median) and for each level
            `LSTM-lo-LEVEL` and `LSTM-hi-LEVEL`; h rows a series.

        Raises:
            NotFittedError: `fit` was not called.
            DataError: The data or a level cannot be used.
        """
        self._check_fitted("predict")
        levels = self._check_level(level)
        series = self.tail_
        if data is not None:
            series = check_series(data, freq=self.freq_, min_length=self.input_size_)
        cuts = np.array([len(y) for y in series.values])
        return bt.forecast_frame(series, cuts, self._columns(series, cuts, levels), backtest=False)

    def cross_validation(
        self,
        data: Any,
        n_windows: int = 3,
        step_size: int | None = None,
        *,
        refit: bool = False,
        progress: Progress | None = None,
    ) -> pd.DataFrame:
        """Backtest: train before a cutoff, forecast h steps after it, roll on.

        A fresh model with the same hyper-parameters is trained; this one is left as it is and
        need not be fitted.

        Args:
            data: As in `fit`.
            n_windows: Windows; the last ends with the data.
            step_size: Steps from one cutoff to the next; None: h.
            refit: Train anew before each cutoff; otherwise once, on what comes before the first.
            progress: As in `fit`.

        Returns:
            A table with `unique_id`, `ds`, `cutoff` (the last time known), `y`, the columns of
            `predict`, and beside them `Naive`, `SeasonalNaive` and `Linear`.

        Raises:
            DataError: The data cannot be used, or are too short for so many windows.
        """
        check_params(self.get_params())
        series = check_series(data, freq=self.freq)
        step = self.h if step_size is None else step_size
        cuts = bt.cutoffs(series, self.h, n_windows, step)
        model: Forecaster | None = None
        frames = []
        for window in cuts.T:
            if model is None or refit:
                past = series.head(window.tolist())
                model = type(self)(**self.get_params())
                model._fit(past, progress, keep_best=False)
                beside = model._baselines(past)
            frames.append(model._window_frame(series, window, beside))
        return _in_order(frames, series)

    def backtest(
        self,
        data: Any,
        n_windows: int = 3,
        step_size: int | None = None,
        *,
        progress: Progress | None = None,
    ) -> dict[str, dict[str, float]]:
        """Score a fresh model on the last `n_windows` windows, beside the baselines.

        It has the same hyper-parameters and is trained on what comes before the first window, as
        in `cross_validation`; this one is left as it is and need not be fitted.

        Args:
            data: As in `fit`.
            n_windows: Windows, the last ending with the data.
            step_size: Steps from one cutoff to the next; None: h.
            progress: As in `fit`.

        Returns:
            `{"LSTM": {...}, "Naive": {...}, "SeasonalNaive": {...}, "Linear": {...}}` with the
            metrics `mase`, `smape` (0 to 200), `mae`, `rmse`, and for the LSTM `pinball` and
            `coverage-LEVEL` (share inside the interval).

        Raises:
            DataError: The data cannot be used, or are too short for so many windows.
        """
        series = check_series(data, freq=self.freq)
        table = self.cross_validation(series, n_windows, step_size, progress=progress)
        return bt.score(table, series, self._season(series.freq), self.level)

    def evaluate(
        self,
        data: Any = None,
        n_windows: int = 3,
        step_size: int | None = None,
        *,
        progress: Progress | None = None,
    ) -> dict[str, dict[str, float]]:
        """Score this model on the last `n_windows` windows of new data, beside the baselines.

        A model is never scored on what it was trained on: where a window overlaps the training
        data, a fresh one is trained and scored instead, by `backtest`. A series counts as one of
        training if it has the same `unique_id`, or another one and the same last `input_size_`
        values at the same times; no more than these is kept of the training data in a file.

        Args:
            data: As in `fit`; None: the training data.
            n_windows: Windows, the last ending with the data.
            step_size: Steps from one cutoff to the next; None: h.
            progress: As in `fit`; called only where a fresh model is trained.

        Returns:
            As `backtest` does.

        Raises:
            NotFittedError: `fit` was not called.
            DataError: The data cannot be used; or None was given after loading from a file, which
                does not hold the training data.
        """
        self._check_fitted("evaluate")
        step = self.h if step_size is None else step_size
        if data is None:
            if self.series_ is None:
                raise DataError(
                    "evaluate: a model read from a file does not hold its training data; pass "
                    "the data: evaluate(data)."
                )
            series = self.series_
        else:
            series = check_series(data, freq=self.freq_)
        cuts = bt.cutoffs(series, self.h, n_windows, step)
        if bt.has_seen(self.tail_, series, cuts[:, 0]):
            return self.backtest(series, n_windows, step, progress=progress)
        beside = self._baselines(series.head(cuts[:, 0].tolist()))
        frames = [self._window_frame(series, window, beside) for window in cuts.T]
        return bt.score(_in_order(frames, series), series, self.season_length_, self.level)

    # -- training ---------------------------------------------------------------------------

    def _fit(self, series: SeriesSet, progress: Progress | None, *, keep_best: bool) -> None:
        """Train, and change nothing of this task before the end."""
        h, rng = self.h, np.random.default_rng(self.seed)
        season = self._season(series.freq)
        val = self.val_size or max(h, min(map(len, series.values)) // 10)
        before_val = [len(y) - val for y in series.values]
        if self.input_size is None:
            sizes = window_choices(series, h, season)
        else:
            sizes = [self.input_size]
            check_series(series, min_length=self.input_size + h)
        choice = choose_path(
            series.values, h, season, input_sizes=sizes, logs=self._logs(series), seed=self.seed
        )
        length = choice.input_size
        training = Windows(series.values, length, h, last=before_val)
        held = Windows(series.values, length, h, first=before_val)
        if len(training) == 0:
            raise DataError(
                f"data: training needs a series of input_size + h + val_size = "
                f"{length} + {h} + {val} steps, but the longest has "
                f"{max(map(len, series.values))}; give longer series or make one of them smaller."
            )
        path = fit_path(training, choice.ridge, choice.log, rng)
        residuals = choice.residuals
        if len(residuals) == 0:
            residuals = left_over(path, *training.gather(thin(len(training), 2000, rng)))[1]
        quantiles = quantiles_of(self.level)
        model = self._net(length, start_quantiles(residuals, quantiles))
        plan = TrainPlan(self.epochs, self.patience, self.batch_size, self.learning_rate, self.seed)
        losses = train(
            model,
            quantiles,
            plan,
            len(training),
            lambda index: left_over(path, *training.gather(index)),
            left_over(path, *held.gather(thin(len(held), MAX_VAL_WINDOWS, rng))),
            progress,
            keep_best=keep_best,
        )
        # The newest season counts most for the linear part; see the figures above.
        last = fit_path(Windows(series.values, length, h), choice.ridge, choice.log, rng)

        self.freq_, self.season_length_ = series.freq, season
        self.input_size_, self.log_ = length, choice.log
        self.path_, self.losses_ = last, losses
        self.series_: SeriesSet | None = series
        self.tail_ = series.tail(length)
        self.model_ = without_optimizer(model)

    def _net(self, input_size: int, start: Array | None) -> Any:
        return build_net(
            input_size,
            self.h,
            len(self.level),
            units=self.units,
            num_layers=self.num_layers,
            dropout=self.dropout,
            num_members=self.num_members,
            seed=self.seed,
            start=start,
        )

    def _season(self, freq: Freq) -> int:
        return season_length_of(freq) if self.season_length is None else self.season_length

    def _logs(self, series: SeriesSet) -> tuple[bool, ...]:
        positive = min(float(y.min()) for y in series.values) > 0
        if self.log is None:
            return (False, True) if positive else (False,)
        if self.log and not positive:
            raise DataError("log: log=True needs positive y, but it is 0 or below; use log=None.")
        return (self.log,)

    # -- forecasting ------------------------------------------------------------------------

    def _columns(
        self, series: SeriesSet, cuts: NDArray[np.intp], level: Sequence[int | float]
    ) -> dict[str, Array]:
        """Return the model's columns, each (S, H)."""
        x = bt.contexts(series, cuts, self.input_size_)
        if self.log_ and x.min() <= 0:
            name = series.ids[int(np.argmin(x.min(axis=1)))]
            raise DataError(
                f"data: the model works on logarithms, as its training data were positive, but "
                f"series {name!r} has a y of {x.min():g}; fit with log=False to allow this."
            )
        scale = WindowScale.fit(x, log=self.log_)
        left = predict(self.model_, scale.apply(x)[..., None]).mean(axis=1, dtype=np.float64)
        y = scale.undo(scale.apply(self.path_.predict(x))[..., None] + left)
        quantiles = quantiles_of(self.level)
        columns = {bt.MODEL: y[..., len(quantiles) // 2]}
        for value in level:
            at = quantiles.index(quantiles_of([value])[0])
            columns[f"{bt.MODEL}-lo-{value}"] = y[..., at]
            columns[f"{bt.MODEL}-hi-{value}"] = y[..., -1 - at]
        return columns

    def _baselines(self, past: SeriesSet) -> bt.Baselines:
        return bt.Baselines(past, self.h, self.input_size_, self.season_length_, self.seed)

    def _window_frame(
        self, series: SeriesSet, cuts: NDArray[np.intp], beside: bt.Baselines
    ) -> pd.DataFrame:
        columns = self._columns(series, cuts, self.level) | beside.predict(series, cuts)
        return bt.forecast_frame(series, cuts, columns, backtest=True)

    # -- arguments and state ----------------------------------------------------------------

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
            "input_size": self.input_size_,
            "log": self.log_,
            "losses": self.losses_,
            "ridge": self.path_.ridge,
            "coef": self.path_.coef_,
            "tail": self.tail_.to_state(),
        }

    def _least_bytes(self, state: dict[str, Any]) -> int:
        check_params(self.get_params())
        rows = self.units + (self.num_layers - 1) * 2 * self.units
        return 2 * 4 * self.units * rows * self.num_members  # 2 bytes, a weight of half precision

    def _set_state(self, state: dict[str, Any]) -> None:
        check_params(self.get_params())
        self.freq_, self.season_length_ = state["freq"], state["season_length"]
        self.input_size_, self.log_ = state["input_size"], state["log"]
        self.losses_ = list(state["losses"])
        self.path_ = NLinear(state["ridge"], self.log_)
        self.path_.coef_ = np.asarray(state["coef"], np.float64)
        if self.path_.coef_.shape != (self.input_size_, self.h):
            raise ValueError(f"coef has the shape {self.path_.coef_.shape}")
        self.tail_ = SeriesSet.from_state(state["tail"], self.freq_)
        if any(len(y) != self.input_size_ for y in self.tail_.values):
            raise ValueError(f"the tail is not {self.input_size_} steps long")
        self.series_ = None
        self.model_ = self._net(self.input_size_, None)


def _in_order(frames: list[pd.DataFrame], series: SeriesSet) -> pd.DataFrame:
    """Join the windows, series by series and cutoff by cutoff."""
    table = pd.concat(frames, ignore_index=True)
    place = table["unique_id"].map({name: i for i, name in enumerate(series.ids)})
    return table.iloc[np.argsort(place.to_numpy(), kind="stable")].reset_index(drop=True)
