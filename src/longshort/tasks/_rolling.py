"""Rolling backtests of a forecaster: train before a cutoff, forecast, score beside baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._frequency import Freq
from longshort.data._series import SeriesSet
from longshort.tasks import _backtest as bt
from longshort.tasks._panel import Panel
from longshort.tasks._training import Progress

Array = NDArray[np.float64]


class Rolling:
    """What a forecaster does with the past to say how good it is; the forecaster does the rest."""

    h: int
    level: Sequence[int | float]
    freq: Freq | None
    seed: int
    freq_: Freq
    input_size_: int
    season_length_: int
    tail_: SeriesSet
    series_: SeriesSet | None
    get_params: Callable[[], dict[str, Any]]
    _check_fitted: Callable[..., None]
    _check_params: Callable[[], None]
    _check_series: Callable[[Any, Freq | None], SeriesSet]
    _fit: Callable[..., None]
    _season: Callable[[Freq], int]
    _panel: Callable[[SeriesSet, Array], Panel]
    _static: Callable[[SeriesSet, Any], Array]
    _forecasts: Callable[..., Array]
    _columns: Callable[[Array, Sequence[int | float]], dict[str, Array]]

    def cross_validation(
        self,
        data: Any,
        n_windows: int = 3,
        step_size: int | None = None,
        *,
        refit: bool = False,
        static_df: Any = None,
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
            static_df: As in `fit`.
            progress: As in `fit`.

        Returns:
            A table with `unique_id`, `ds`, `cutoff` (the last time known), `y`, the columns of
            `predict`, and beside them `Naive`, `SeasonalNaive`, `Drift` and `Linear`.

        Raises:
            DataError: The data cannot be used, or are too short for so many windows.
        """
        self._check_params()
        series = self._check_series(data, self.freq)
        step = self.h if step_size is None else step_size
        cuts = bt.cutoffs(series, self.h, n_windows, step)
        frames = []
        for windows in np.hsplit(cuts, n_windows) if refit else [cuts]:
            past = series.head(windows[:, 0].tolist())
            model = type(self)(**self.get_params())
            model._fit(past, static_df, progress, keep_best=False)
            frames += model._window_frames(series, windows, static_df, past)
        return bt.in_order(frames, series)

    def backtest(
        self,
        data: Any,
        n_windows: int = 3,
        step_size: int | None = None,
        *,
        static_df: Any = None,
        progress: Progress | None = None,
    ) -> dict[str, dict[str, float]]:
        """Score a fresh model on the last `n_windows` windows, beside the baselines.

        It has the same hyper-parameters and is trained on what comes before the first window, as
        in `cross_validation`; this one is left as it is and need not be fitted.

        Args:
            data: As in `fit`.
            n_windows: Windows, the last ending with the data.
            step_size: Steps from one cutoff to the next; None: h.
            static_df: As in `fit`.
            progress: As in `fit`.

        Returns:
            `{"LSTM": {...}, "Naive": {...}, "SeasonalNaive": {...}, "Drift": {...}, "Linear":
            {...}}` with the
            metrics `mase`, `smape` (0 to 200), `mae`, `rmse`, and for the LSTM `pinball` and
            `coverage-LEVEL` (share inside the interval).

        Raises:
            DataError: The data cannot be used, or are too short for so many windows.
        """
        series = self._check_series(data, self.freq)
        table = self.cross_validation(
            series, n_windows, step_size, static_df=static_df, progress=progress
        )
        return bt.score(table, series, self._season(series.freq), self.level)

    def evaluate(
        self,
        data: Any = None,
        n_windows: int = 3,
        step_size: int | None = None,
        *,
        static_df: Any = None,
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
            static_df: As in `fit`.
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
            series = self._check_series(data, self.freq_)
        cuts = bt.cutoffs(series, self.h, n_windows, step)
        if bt.has_seen(self.tail_, series, cuts[:, 0]):
            return self.backtest(series, n_windows, step, static_df=static_df, progress=progress)
        frames = self._window_frames(series, cuts, static_df, series.head(cuts[:, 0].tolist()))
        return bt.score(bt.in_order(frames, series), series, self.season_length_, self.level)

    def _window_frames(
        self, series: SeriesSet, cuts: NDArray[np.intp], static_df: Any, past: SeriesSet
    ) -> list[pd.DataFrame]:
        """Return a table for each column of cutoffs, beside baselines fitted on `past`."""
        panel = self._panel(series, self._static(series, static_df))
        forecasts = self._forecasts(panel, past, cuts)
        beside = bt.Baselines(past, self.h, self.input_size_, self.season_length_, self.seed)
        return [
            bt.forecast_frame(
                series,
                at,
                self._columns(forecasts[:, w], self.level) | beside.predict(series, at),
                backtest=True,
            )
            for w, at in enumerate(cuts.T)
        ]
