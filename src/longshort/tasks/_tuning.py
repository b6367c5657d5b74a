"""Search a forecaster's hyper-parameters with Optuna, within a time budget."""

from __future__ import annotations

import inspect
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from longshort._errors import DataError
from longshort.data._covariates import check_static
from longshort.data._series import SeriesSet
from longshort.tasks import _backtest as bt
from longshort.tasks._base import check_whole, is_a
from longshort.tasks._tuning_space import (
    Space,
    defaults_of,
    rolling_windows,
    search_space,
    study_name,
)

if TYPE_CHECKING:
    from longshort.tasks._forecaster import Forecaster

TuneProgress = Callable[[dict[str, Any]], object]

WARM_UP = 5  # epochs before a trial can be given up
FIRST_TRIALS = 4  # that are never given up, for the median to mean something

_clock = time.monotonic


class _Pruned(Exception):
    """The trial does worse than the median of the others."""


class _OutOfTime(Exception):
    """The budget is used up."""


class Tuned:
    """A forecaster whose hyper-parameters can be searched."""

    trials_: pd.DataFrame  # of `auto`

    @classmethod
    def auto(
        cls,
        h: int,
        data: Any,
        *,
        time_budget: float | None = 600,
        n_trials: int | None = None,
        storage: str | os.PathLike[str] | None = None,
        static_df: Any = None,
        seed: int = 1,
        progress: TuneProgress | None = None,
        **fixed: Any,
    ) -> Forecaster:
        """Search the hyper-parameters and return a forecaster trained with the best on all data.

        Searched are input_size, units, num_layers, dropout, learning_rate, calendar and
        season_length (longer seasons than the usual one) with Optuna's TPE (Bergstra et al. 2011).
        A trial trains a model on what comes before the last windows of `data` (a fifth of them,
        3 to 10 windows of h where the data allow) and is scored there by the mean MASE, by the
        usual season in every trial; the median's rule gives up those whose validation loss lags
        behind. The first trial is the defaults, so that the best is never worse than they are on
        these windows. Its value there is too good an estimate of the error to come: keep a test
        part out of `data`.

        Args:
            h: Steps to forecast.
            data: As in `fit`.
            time_budget: Seconds of the search; the trial that runs then ends there, after its
                epoch. The training with the best settings comes on top. None: n_trials is the end.
            n_trials: New trials at most; None: as many as the time allows.
            storage: An SQLite file that keeps the trials; a second call with the same data and
                settings goes on. None keeps them in memory.
            static_df: As in `fit`.
            seed: Of the search and of each forecaster.
            progress: Called after each trial with its row of `trials_` as a dict, in which `best`
                is the least value so far.
            **fixed: Hyper-parameters of the forecaster that are not searched.

        Returns:
            The fitted forecaster. `trials_` is a table of all trials: `number`, `value`, `state`
            (complete, pruned, failed, out of time, interrupted, running), `seconds`, and the
            parameters, None where the forecaster chooses; a file does not keep it. Ctrl-C ends
            the search with a warning and keeps the best so far.

        Raises:
            DataError: An argument cannot be used, Optuna is missing, or the data are too few for
                the defaults.
        """
        return _auto(
            cast("type[Forecaster]", cls),
            h,
            data,
            time_budget=time_budget,
            n_trials=n_trials,
            storage=storage,
            static_df=static_df,
            seed=seed,
            progress=progress,
            fixed=fixed,
        )


def _auto(
    cls: type[Forecaster],
    h: int,
    data: Any,
    *,
    time_budget: float | None,
    n_trials: int | None,
    storage: str | os.PathLike[str] | None,
    static_df: Any,
    seed: int,
    progress: TuneProgress | None,
    fixed: dict[str, Any],
) -> Forecaster:
    """Return what `Forecaster.auto` does, which says what the arguments are."""
    optuna = _optuna()
    signature = inspect.signature(cls.__init__)
    _check(signature, time_budget, n_trials, storage, fixed)
    start = _clock()
    deadline = math.inf if time_budget is None else start + time_budget
    base = cls(h, seed=seed, **fixed)
    base._check_params()
    series = base._check_series(data, base.freq)
    static = check_static(series.ids, static_df, base.stat_exog_list)[0]
    n_windows = rolling_windows(min(map(len, series.values)), h)
    space = search_space(series, h, n_windows, fixed)
    if not space:
        raise DataError("auto: all that is searched is fixed; leave out at least one of them.")
    defaults = defaults_of(space, signature)

    def trial_score(params: dict[str, Any], after_epoch: Callable[[int, int, float], None]) -> Any:
        model = cls(h, seed=seed, **fixed, **params)
        table = model.cross_validation(series, n_windows, static_df=static_df, progress=after_epoch)
        return _score(table, series, base._season(series.freq), base.level)

    settings = {"h": h, "seed": seed, "fixed": fixed, "space": space, "windows": n_windows}
    name = study_name(settings, series, static)
    with _quiet(optuna), _study(optuna, storage, name, seed) as study:
        search = _Search(optuna, study, space, defaults, trial_score, deadline, progress)
        try:
            search.run(n_trials)
        except KeyboardInterrupt:
            if search.best() is None:
                raise
            warnings.warn(
                "Forecaster.auto: the search was interrupted; the best settings so far are used.",
                UserWarning,
                stacklevel=3,
            )
        best = search.best()
        trials = search.table()
    if best is None:
        warnings.warn(
            f"Forecaster.auto: the budget of {time_budget:g} s ended before the first trial did; "
            "the defaults are used. Give it more time.",
            UserWarning,
            stacklevel=3,
        )
    model = cls(h, seed=seed, **fixed, **(defaults if best is None else best))
    model.fit(series, static_df=static_df)
    model.trials_ = trials
    return model


class _Search:
    """Trials of one study, one after the other."""

    def __init__(
        self,
        optuna: Any,
        study: Any,
        space: Space,
        defaults: dict[str, Any],
        score: Callable[..., float],
        deadline: float,
        progress: TuneProgress | None,
    ):
        self.optuna, self.study, self.space, self.defaults = optuna, study, space, defaults
        self.score, self.deadline, self.progress = score, deadline, progress
        self.states = optuna.trial.TrialState

    def run(self, n_trials: int | None) -> None:
        """Run trials until there are `n_trials` new ones or the time is up."""
        if not any(t.user_attrs.get("defaults") for t in self._completed()):
            self.study.enqueue_trial(self.defaults, user_attrs={"defaults": True})
        done = 0
        while (n_trials is None or done < n_trials) and (done == 0 or _clock() < self.deadline):
            self._run_one()
            done += 1

    def _run_one(self) -> None:
        trial, began = self.study.ask(), _clock()
        is_default = bool(trial.user_attrs.get("defaults"))

        def after_epoch(epoch: int, epochs: int, loss: float) -> None:
            if _clock() >= self.deadline:
                raise _OutOfTime
            trial.report(loss, epoch)
            if not is_default and trial.should_prune():
                raise _Pruned

        value, state, note = None, self.states.FAIL, "failed"
        try:
            value = self.score(self._suggest(trial), after_epoch)
            state, note = self.states.COMPLETE, "complete"
        except _Pruned:
            state, note = self.states.PRUNED, "pruned"
        except _OutOfTime:
            note = "out of time"
        except KeyboardInterrupt:
            note = "interrupted"
            raise
        except DataError:
            # Other settings may not suit the data; where the defaults do not, the caller must know.
            if is_default:
                raise
        finally:
            trial.set_user_attr("state", note)
            trial.set_user_attr("seconds", _clock() - began)
            self.study.tell(trial, value, state=state)
        if self.progress is not None:
            row = self.table().set_index("number", drop=False).loc[trial.number].to_dict()
            values = [t.value for t in self._completed()]
            self.progress(row | {"best": min(values, default=math.nan)})

    def _suggest(self, trial: Any) -> dict[str, Any]:
        params = {}
        for name, values in self.space.items():
            if isinstance(values, list):
                params[name] = trial.suggest_categorical(name, values)
            else:
                low, high, log = values
                params[name] = trial.suggest_float(name, low, high, log=log)
        return params

    def _completed(self) -> list[Any]:
        return self.study.get_trials(deepcopy=False, states=(self.states.COMPLETE,))

    def best(self) -> dict[str, Any] | None:
        """Return the settings of the least value, the earlier of two; None before there is any."""
        completed = self._completed()
        return dict(min(completed, key=lambda t: t.value).params) if completed else None

    def table(self) -> pd.DataFrame:
        """Return a row for each trial."""
        rows = []
        for t in self.study.get_trials(deepcopy=False):
            value = t.value if t.state == self.states.COMPLETE else math.nan
            state = t.user_attrs.get("state", t.state.name.lower())
            row = [t.number, value, state, t.user_attrs.get("seconds", math.nan)]
            rows.append([*row, *(t.params.get(name) for name in self.space)])
        columns = ["number", "value", "state", "seconds", *self.space]
        table = pd.DataFrame(rows, columns=columns, dtype=object)  # None and numbers stay apart
        floats = [name for name, values in self.space.items() if isinstance(values, tuple)]
        kinds = {"number": int} | dict.fromkeys(["value", "seconds", *floats], float)
        return table.astype(kinds)


def _score(table: pd.DataFrame, series: SeriesSet, season: int, level: Any) -> float:
    """Return the mean MASE of a backtest, or where no series moves the mean absolute error."""
    scores = bt.score(table, series, season, level)[bt.MODEL]
    value = scores["mase"] if np.isfinite(scores["mase"]) else scores["mae"]
    if not np.isfinite(value):
        raise DataError("auto: none of the y in the windows at the end of the data is known.")
    return float(value)


def _check(
    signature: inspect.Signature,
    time_budget: Any,
    n_trials: Any,
    storage: Any,
    fixed: dict[str, Any],
) -> None:
    """Raise one DataError that names all that is wrong."""
    faults = []
    unknown = [name for name in fixed if name not in signature.parameters or name == "self"]
    if unknown:
        faults.append(f"{', '.join(map(repr, unknown))} is no hyper-parameter of Forecaster")
    if time_budget is None and n_trials is None:
        faults.append("time_budget and n_trials are both None, so that the search has no end")
    if time_budget is not None and not (is_a(Real, time_budget) and 0 < time_budget < math.inf):
        faults.append(f"time_budget must be a number of seconds above 0, got {time_budget!r}")
    if n_trials is not None:
        faults += check_whole("n_trials", n_trials, 1, 10**6)
    if storage is not None and not isinstance(storage, str | os.PathLike):
        faults.append(f"storage must be the name of a file, got {storage!r}")
    elif storage is not None and "://" in os.fspath(storage):
        faults.append(f"storage must be the name of an SQLite file, got the address {storage!r}")
    elif storage is not None and not Path(storage).absolute().parent.is_dir():
        faults.append(f"storage lies in no folder that is there: {os.fspath(storage)!r}")
    if faults:
        raise DataError(f"auto: {'; '.join(faults)}.")


# -- Optuna -----------------------------------------------------------------------------------


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise DataError(
            "auto: the search needs Optuna; run pip install optuna (or longshort[tune])."
        ) from error
    return optuna


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Keep Optuna's messages and its warnings of what is experimental from the user."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def _study(optuna: Any, storage: Any, name: str, seed: int) -> Iterator[Any]:
    """Give the study of this name, an older one where the file has it, and let go of the file."""
    kept = None
    try:
        if storage is not None:
            kept = optuna.storages.RDBStorage(f"sqlite:///{Path(storage).absolute()}")
        pruner = optuna.pruners.MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=WARM_UP)
        study = optuna.create_study(
            storage=kept, study_name=name, pruner=pruner, load_if_exists=True
        )
    except Exception as error:  # SQLAlchemy's, if the file is no database or cannot be written
        if storage is None:
            raise
        raise DataError(
            f"auto: {os.fspath(storage)!r} cannot be used as the file of a study "
            f"({type(error).__name__}); give another name."
        ) from error
    # Going on with the first seed would draw the first trials once more.
    known = len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.TPESampler(seed=(seed + known) % 2**32)
    try:
        yield study
    finally:
        if kept is not None:
            kept.remove_session()
            kept.engine.dispose()
