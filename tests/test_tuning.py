"""The search of hyper-parameters: the defaults first, on time, to be gone on with."""

import sys
import warnings

import numpy as np
import pandas as pd
import pytest

import longshort.tasks._tuning as module
from longshort._errors import DataError
from longshort.data import check_series
from longshort.tasks import Forecaster
from longshort.tasks._tuning_space import rolling_windows, search_space, study_name

Y = np.tile([1.0, 5.0, 2.0, 7.0], 20) + np.random.default_rng(0).normal(0, 0.5, 80)


@pytest.fixture
def optuna():
    return pytest.importorskip("optuna")


@pytest.fixture
def stub(optuna, monkeypatch):
    """Trials of 8 epochs of a second each, whose loss is the distance of the dropout from 0.4."""

    class Stub:
        now, losses, models = 0.0, None, []

        def loss(self, model):
            return abs(model.dropout - 0.4)

    stub = Stub()
    stub.models = []

    def cross_validation(self, series, n_windows, *, static_df, progress):
        stub.models.append(self)
        for epoch in range(1, 9):
            stub.now += 1.0
            progress(epoch, 8, stub.loss(self))
        return stub.loss(self)

    monkeypatch.setattr(Forecaster, "cross_validation", cross_validation)
    monkeypatch.setattr(Forecaster, "fit", lambda self, data, static_df: self)
    monkeypatch.setattr(module, "_score", lambda table, *_: table)
    monkeypatch.setattr(module, "_clock", lambda: stub.now)
    return stub


@pytest.mark.slow
def test_a_search_and_its_forecaster(optuna, capfd):
    seen = []
    model = Forecaster.auto(
        2, Y, n_trials=2, progress=seen.append, epochs=1, units=2, input_size=4, level=(80,)
    )
    assert capfd.readouterr() == ("", "")
    trials = model.trials_
    columns = ["number", "value", "state", "seconds"]
    searched = ["num_layers", "dropout", "learning_rate", "season_length"]
    assert trials.columns.tolist() == columns + searched
    assert trials["number"].tolist() == [0, 1] and (trials["seconds"] > 0).all()
    assert trials.loc[0, searched].tolist() == [1, 0.2, 2e-3, None]
    best = trials.loc[trials["value"].idxmin()]
    assert {name: getattr(model, name) for name in searched} == best[searched].to_dict()
    assert len(model.predict()) == 2 and (model.units, model.input_size) == (2, 4)
    # The value of the defaults is the score of their own rolling windows.
    plain = Forecaster(2, epochs=1, units=2, input_size=4, level=(80,))
    assert trials["value"][0] == pytest.approx(plain.backtest(Y, 8)["LSTM"]["mase"])
    assert [row["number"] for row in seen] == [0, 1]
    assert seen[1]["best"] == trials["value"].min()


def test_the_budget_ends_the_search_and_the_trial(stub):
    model = Forecaster.auto(2, Y, time_budget=19)
    assert stub.now == 19
    assert model.trials_["state"].tolist() == ["complete", "complete", "out of time"]
    assert model.trials_["seconds"].tolist() == [8, 8, 3]
    assert np.isnan(model.trials_["value"][2])
    with pytest.warns(UserWarning, match="budget of 5 s ended before the first trial"):
        model = Forecaster.auto(2, Y, time_budget=5)
    assert model.get_params() == Forecaster(2).get_params()


def test_the_best_is_never_worse_than_the_defaults(stub):
    stub.loss = lambda model: 0.1 if model.dropout == 0.2 else 1.0
    model = Forecaster.auto(2, Y, n_trials=3, seed=4)
    assert model.get_params() == Forecaster(2, seed=4).get_params()
    stub.loss = lambda model: abs(model.dropout - 0.4)
    model = Forecaster.auto(2, Y, n_trials=12)
    assert abs(model.dropout - 0.4) == model.trials_["value"].min() < 0.2


def test_hopeless_trials_are_given_up(stub):
    stub.loss = lambda model: 100.0 if len(stub.models) == 6 else 1.0
    trials = Forecaster.auto(2, Y, n_trials=7).trials_
    assert trials["state"].tolist() == ["complete"] * 5 + ["pruned", "complete"]
    assert trials["seconds"][5] == module.WARM_UP


def test_a_second_call_goes_on(stub, tmp_path):
    file = tmp_path / "tune.db"
    first = Forecaster.auto(2, Y, n_trials=2, storage=file).trials_
    second = Forecaster.auto(2, Y, n_trials=2, storage=file).trials_
    pd.testing.assert_frame_equal(second.head(2), first)
    assert second["number"].tolist() == [0, 1, 2, 3]
    assert second["dropout"].nunique() == 4  # neither the defaults nor a draw comes twice
    other = Forecaster.auto(2, Y + 1, n_trials=1, storage=str(file)).trials_
    assert len(other) == 1 and other["dropout"].tolist() == [0.2]
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(DataError, match="text.db' cannot be used as the file of a study"):
        Forecaster.auto(2, Y, n_trials=1, storage=tmp_path / "text.db")


def test_ctrl_c_keeps_the_best_so_far(stub):
    def loss(model):
        if len(stub.models) == 3:
            raise KeyboardInterrupt
        return abs(model.dropout - 0.4)

    stub.loss = loss
    with pytest.warns(UserWarning, match="the search was interrupted"):
        model = Forecaster.auto(2, Y, n_trials=9)
    assert model.trials_["state"].tolist() == ["complete", "complete", "interrupted"]
    stub.models[:] = [None] * 2
    with pytest.raises(KeyboardInterrupt):
        Forecaster.auto(2, Y, n_trials=9)


def test_settings_that_do_not_suit_the_data_fail_alone(stub):
    def loss(model):
        if len(stub.models) == 2 or model.epochs:
            raise DataError("too short")
        return 1.0

    stub.loss = loss
    assert Forecaster.auto(2, Y, n_trials=3).trials_["state"].tolist() == [
        "complete", "failed", "complete",
    ]  # fmt: skip
    with pytest.raises(DataError, match="too short"):  # the defaults must suit
        Forecaster.auto(2, Y, n_trials=3, epochs=3)


def test_optuna_stays_silent(stub, optuna, capfd):
    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Forecaster.auto(2, Y, n_trials=1)
    assert optuna.logging.get_verbosity() == before and capfd.readouterr() == ("", "")


def test_what_is_said_of_arguments(optuna, tmp_path):
    for wrong, said in (
        ({"unit": 3}, "'unit' is no hyper-parameter of Forecaster"),
        ({"time_budget": None}, "time_budget and n_trials are both None"),
        ({"time_budget": 0}, "time_budget must be a number of seconds above 0, got 0"),
        ({"n_trials": 0}, "n_trials must be a whole number from 1 to 1000000, got 0"),
        ({"storage": 3}, "storage must be the name of a file, got 3"),
        ({"storage": "mysql://x"}, "name of an SQLite file, got the address 'mysql://x'"),
        ({"storage": tmp_path / "no" / "x.db"}, "storage lies in no folder that is there"),
        ({"units": 0}, "units must be a whole number"),
        ({"seed": -1}, "seed must be a whole number"),
    ):
        with pytest.raises(DataError, match=said):
            Forecaster.auto(2, Y, **wrong)
    everything = {"input_size": 4, "units": 2, "num_layers": 1, "dropout": 0, "season_length": 4}
    with pytest.raises(DataError, match="all that is searched is fixed"):
        Forecaster.auto(2, Y, learning_rate=1e-3, **everything)
    with pytest.raises(DataError, match="expected at least"):
        Forecaster.auto(12, Y[:20], n_trials=1)


def test_without_optuna(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(DataError, match="needs Optuna; run pip install optuna"):
        Forecaster.auto(2, Y)


def test_what_is_searched():
    hours = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=900, freq="h"), "y": 1.0})
    series = check_series(hours)
    space = search_space(series, 24, rolling_windows(900, 24), {"units": 8})
    assert space["season_length"] == [None, 168] and space["calendar"] == [False, True]
    assert space["input_size"] == [None, 24, 48, 96, 168] and "units" not in space
    counts = check_series(Y)
    assert search_space(counts, 2, 8, {})["season_length"] == [None, 4, 7, 12]
    months = check_series(hours.assign(ds=pd.date_range("1950-01-01", periods=900, freq="MS")))
    assert "season_length" not in search_space(months, 12, 10, {})
    names = {study_name({"h": h}, s, np.zeros(1)) for h in (1, 2) for s in (counts, months)}
    assert len(names) == 4
