import random
import signal
import warnings

import numpy as np
import pandas as pd
import pytest

import longshort.tasks._forecast_model as module
from longshort._errors import DataError, NotFittedError
from longshort.data import check_series, load_dataset
from longshort.tasks import Forecaster, load
from longshort.tasks._backtest import BASELINES, cutoffs, score
from longshort.tasks._net_training import train

SMALL = {"units": 4, "num_members": 1, "epochs": 2, "batch_size": 16}
SEASON = np.array([0.0, 5.0, 1.0, 9.0])


def planted(n=60, name="a", slope=0.5, start="2020-01-01"):
    """Season plus slope: the future is known to the last digit."""
    t = np.arange(n)
    ds = pd.date_range(start, periods=n, freq="D")
    return pd.DataFrame({"unique_id": name, "ds": ds, "y": SEASON[t % 4] + slope * t})


def two_series():
    return pd.concat([planted(60), planted(47, "b", -0.25, "2021-06-01")], ignore_index=True)


def noisy(n=80):
    frame = planted(n)
    frame["y"] += np.random.default_rng(0).normal(0, 0.5, n)
    return frame


def small(**kwargs):
    return Forecaster(3, 8, **(SMALL | {"season_length": 4} | kwargs))


@pytest.fixture(scope="module")
def fitted():
    return small().fit(two_series())


@pytest.fixture(scope="module")
def backtest():
    return small().cross_validation(two_series(), 3, 2)


# -- the right answer at the right place -----------------------------------------------------


def test_forecast_of_a_planted_series(fitted):
    table = fitted.predict()
    whole = pd.concat([planted(63).iloc[60:], planted(50, "b", -0.25, "2021-06-01").iloc[47:]])
    assert table["unique_id"].tolist() == whole["unique_id"].tolist()
    assert table["ds"].tolist() == whole["ds"].tolist()
    np.testing.assert_allclose(table["LSTM"], whole["y"], atol=0.1)


def test_columns(fitted):
    names = ["LSTM", "LSTM-lo-80", "LSTM-hi-80", "LSTM-lo-95", "LSTM-hi-95"]
    assert fitted.predict().columns.tolist() == ["unique_id", "ds", *names]
    assert fitted.predict(level=[95]).columns.tolist()[2:] == ["LSTM", names[3], names[4]]
    with pytest.raises(DataError, match=r"trained for level=\[80, 95\], got \[90\]"):
        fitted.predict(level=[90])
    with pytest.raises(DataError, match=r"level as a list such as \[80\], got 80"):
        fitted.predict(level=80)


def test_predict_goes_on_from_other_data(fitted):
    frame = planted(31, "new", 0.5, "2022-03-01")
    table = fitted.predict(frame.iloc[:28])
    assert table["ds"].tolist() == frame["ds"].iloc[28:].tolist()
    np.testing.assert_allclose(table["LSTM"], frame["y"].iloc[28:], atol=0.1)
    with pytest.raises(DataError, match="at least 8 steps.*'new' \\(7\\)"):
        fitted.predict(frame.iloc[:7])
    with pytest.raises(DataError, match="freq"):
        fitted.predict(frame["y"].to_numpy())


def test_backtest_is_aligned(backtest):
    data = two_series()
    known = data.set_index(["unique_id", "ds"])["y"]
    assert backtest.columns.tolist()[:4] == ["unique_id", "ds", "cutoff", "y"]
    assert backtest.columns.tolist()[-4:] == ["Naive", "SeasonalNaive", "Drift", "Linear"]
    assert len(backtest) == 2 * 3 * 3 and backtest["unique_id"].is_monotonic_increasing
    day = pd.Timedelta("1D")
    for name, part in backtest.groupby("unique_id"):
        end = data.loc[data["unique_id"] == name, "ds"].max()
        cutoffs = part["cutoff"].unique()
        assert list(cutoffs) == [end - 7 * day, end - 5 * day, end - 3 * day]
    for row in backtest.itertuples(index=False):
        step = (row.ds - row.cutoff) // day
        assert 1 <= step <= 3
        assert row.y == known[row.unique_id, row.ds]
        assert row.Naive == known[row.unique_id, row.cutoff]
        assert row.SeasonalNaive == known[row.unique_id, row.ds - 4 * day]
    np.testing.assert_allclose(backtest["Linear"], backtest["y"], atol=0.1)
    np.testing.assert_allclose(backtest["LSTM"], backtest["y"], atol=0.1)


def test_nothing_leaks_from_behind_a_cutoff():
    once, anew = (small().cross_validation(noisy(), 2, refit=r) for r in (False, True))
    columns = [c for c in once if c != "y"]
    for table, refit in ((once, False), (anew, True)):
        changed = noisy()
        changed.loc[74:, "y"] = -1e3  # the targets of both windows, the inputs of the second
        other = small().cross_validation(changed, 2, refit=refit)
        pd.testing.assert_frame_equal(table[columns][:3], other[columns][:3], check_exact=True)
        assert not np.allclose(table["LSTM"][3:], other["LSTM"][3:])
        assert not np.allclose(table["y"], other["y"])
    # Training anew changes the second window only.
    # Both windows at once are another shape of the map's product, which may round otherwise.
    pd.testing.assert_frame_equal(once[:3], anew[:3], rtol=1e-9)
    assert (once["LSTM"][3:] != anew["LSTM"][3:]).all()


def test_quantiles_do_not_cross():
    rng = np.random.default_rng(1)
    data = pd.Series(np.exp(np.cumsum(rng.normal(0, 0.3, 120))))
    model = Forecaster(5, level=(50, 80, 95, 99), epochs=8, units=8, num_members=2).fit(data)
    table = model.predict(rng.normal(50, 20, 60).clip(0.01))
    order = [f"LSTM-lo-{v}" for v in (99, 95, 80, 50)] + ["LSTM"]
    order += [f"LSTM-hi-{v}" for v in (50, 80, 95, 99)]
    assert (np.diff(table[order].to_numpy(), axis=1) > 0).all()


def test_network_learns_what_a_linear_map_cannot():
    # A logistic map: the next value is a parabola of the last one.
    y = [0.3]
    for _ in range(600):
        y.append(3.8 * y[-1] * (1 - y[-1]))
    data = pd.DataFrame({"ds": np.arange(601), "y": y})
    model = Forecaster(1, 4, units=16, num_members=1, epochs=25, learning_rate=1e-2, log=False)
    scores = model.fit(data.iloc[:560]).evaluate(data, n_windows=41)
    assert model.losses_[-1] < 0.5 * model.losses_[0]
    assert scores["LSTM"]["mae"] < 0.5 * scores["Linear"]["mae"]


def test_air_passengers():
    # Box & Jenkins, last 36 months in 3 windows of 12, trained anew on what comes before each.
    model = Forecaster(12)
    data = check_series(load_dataset("air-passengers"))
    scores = score(model.cross_validation(data, 3, refit=True), data, 12, model.level)
    best = min(scores[name]["mase"] for name in BASELINES)
    assert scores["LSTM"]["mase"] < 0.9 * best
    assert scores["LSTM"]["coverage-95"] >= 0.6


# -- evaluate --------------------------------------------------------------------------------


def test_evaluate_backtests_what_was_seen(fitted, backtest):
    scores = fitted.evaluate(two_series(), 3, 2)
    assert list(scores) == ["LSTM", "Naive", "SeasonalNaive", "Drift", "Linear"]
    assert list(scores["Naive"]) == ["mase", "smape", "mae", "rmse"]
    assert {"coverage-80", "coverage-95", "pinball"} < set(scores["LSTM"])
    errors = (backtest["Naive"] - backtest["y"]).abs()
    assert scores["Naive"]["mae"] == pytest.approx(errors.mean())
    assert fitted.evaluate(n_windows=3, step_size=2) == scores


def test_evaluate_uses_the_fitted_model_on_what_is_new(monkeypatch):
    data = noisy()
    model = small().fit(data.iloc[:71])
    expected = small().cross_validation(data, 3)
    monkeypatch.setattr(Forecaster, "cross_validation", None)
    scores = model.evaluate(data, 3)
    assert scores["LSTM"]["mae"] == pytest.approx((expected["LSTM"] - expected["y"]).abs().mean())
    with pytest.raises(TypeError):  # one step more was seen: wants to train
        model.evaluate(data, 3, 4)


def test_backtest_trains_a_fresh_model(backtest):
    epochs = []
    model = small()
    scores = model.backtest(two_series(), 3, 2, progress=lambda *args: epochs.append(args[0]))
    errors = (backtest["LSTM"] - backtest["y"]).abs()
    assert scores["LSTM"]["mae"] == pytest.approx(errors.mean())
    assert epochs == [1, 2] and not hasattr(model, "model_")


def test_evaluate_reports_the_training_of_a_fresh_model():
    data, epochs = noisy(), []
    model = small().fit(data.iloc[:71])
    model.evaluate(data, 3, progress=lambda *args: epochs.append(args[0]))
    assert epochs == []
    model.evaluate(data, 4, progress=lambda *args: epochs.append(args[0]))
    assert epochs == [1, 2]


def test_renamed_training_data_are_recognised(monkeypatch):
    model = small().fit(noisy().iloc[:71])
    monkeypatch.setattr(Forecaster, "backtest", lambda *args, **kwargs: "fresh")
    renamed = noisy().assign(unique_id="z")
    assert model.evaluate(renamed, 4) == "fresh"
    assert model.evaluate(renamed.iloc[:71], 2) == "fresh"
    assert model.evaluate(renamed, 3) != "fresh"  # begins behind what was seen
    assert model.evaluate(renamed.assign(y=renamed["y"] + 1), 4) != "fresh"  # other values


def test_mase_is_over_the_same_windows_for_every_model():
    t = np.arange(30)
    flat = np.full(30, 2.0)
    series = check_series(
        pd.concat(
            pd.DataFrame({"unique_id": name, "ds": t, "y": y})
            for name, y in (("moves", t % 2 + 0.0), ("flat", flat))
        )
    )
    rows = [
        {"unique_id": name, "ds": 29, "cutoff": 28, "y": y}
        | {"LSTM": y + miss, "Naive": y + 1, "SeasonalNaive": y, "Linear": y}
        for name, y, miss in (("moves", 1.0, 0.5), ("flat", 2.0, 0.0))
    ]
    assert cutoffs(series, 1, 1, 1).tolist() == [[29], [29]]
    scores = score(pd.DataFrame(rows), series, 1, [])
    # The flat series would be an error of 0 for the LSTM and left out for Naive.
    assert scores["LSTM"]["mase"] == 0.5 and scores["Naive"]["mase"] == 1.0


def test_evaluate_of_series_too_short_for_the_linear_forecast(fitted):
    with pytest.raises(DataError, match="8 \\+ 3 steps there.*'new', has 10;"):
        fitted.evaluate(planted(13, "new", start="2023-01-01"), n_windows=1)


# -- the same twice, and no traces -----------------------------------------------------------


def test_same_seed_same_numbers_and_global_state_untouched():
    np.random.seed(7)
    random.seed(7)
    before = np.random.get_state()[1].copy(), random.getstate()
    first = small(dropout=0.3, num_members=2).fit(noisy())
    np.random.random(3)
    middle = np.random.get_state()[1].copy(), random.getstate()
    second = small(dropout=0.3, num_members=2).fit(noisy())
    assert first.losses_ == second.losses_
    pd.testing.assert_frame_equal(first.predict(), second.predict(), check_exact=True)
    assert np.array_equal(middle[0], np.random.get_state()[1]) and middle[1] == random.getstate()
    assert before[1] == random.getstate()
    other = small(dropout=0.3, num_members=2, seed=2).fit(noisy())
    assert other.losses_ != first.losses_


def test_no_file_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small().fit(noisy()).predict()
    assert list(tmp_path.iterdir()) == []


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


def raise_interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("interrupt", [press_ctrl_c, raise_interrupt])
def test_interrupt_keeps_the_best_weights(interrupt):
    def stop(epoch, epochs, loss):
        if epoch == 2:
            interrupt()

    model = small(epochs=9)
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 9.*are kept"):
        model.fit(noisy(), progress=stop)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = small(epochs=9).fit(noisy())
    assert model.losses_ == whole.losses_[:3]
    assert len(model.predict()) == 3


def test_interrupt_ends_a_backtest():
    def stop(epoch, epochs, loss):
        raise KeyboardInterrupt

    for call in (small().cross_validation, small().backtest):
        with pytest.raises(KeyboardInterrupt):
            call(noisy(), 2, progress=stop)


def test_failed_fit_changes_nothing():
    def fail(epoch, epochs, loss):
        raise RuntimeError("no more")

    model = small()
    with pytest.raises(RuntimeError, match="no more"):
        model.fit(noisy(), progress=fail)
    assert not [name for name in vars(model) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        model.predict()
    model.fit(noisy())
    before, kept = model.predict(), dict(vars(model))
    with pytest.raises(RuntimeError, match="no more"):
        model.fit(two_series(), progress=fail)
    assert all(vars(model)[name] is value for name, value in kept.items())
    pd.testing.assert_frame_equal(model.predict(), before, check_exact=True)


def test_progress_and_early_stopping():
    seen = []
    model = small(epochs=60, patience=3, learning_rate=0.5)
    model.fit(noisy(), progress=lambda *args: seen.append(args))
    assert [s[0] for s in seen] == list(range(1, len(seen) + 1))
    assert all(s[1] == 60 for s in seen)
    assert [s[2] for s in seen] == model.losses_[1:]
    assert len(seen) == np.argmin(model.losses_) + 3 < 60


def test_every_batch_has_one_shape(monkeypatch):
    shapes = set()

    def spy(model, loss, plan, num_windows, gather, *rest, **options):
        def watched(index):
            shapes.add(index.shape)
            return gather(index)

        return train(model, loss, plan, num_windows, watched, *rest, **options)

    monkeypatch.setattr(module, "train", spy)
    small().fit(noisy())
    assert shapes == {(16,)}


# -- keeping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_save_and_load(tmp_path, zone):
    data = noisy()
    data["ds"] = data["ds"].dt.tz_localize(zone)
    model = small().fit(data)
    model.save(tmp_path / "model.longshort")
    again = load(tmp_path / "model.longshort")
    pd.testing.assert_frame_equal(again.predict(), model.predict(), check_exact=True)
    assert again.predict()["ds"].iloc[0] == data["ds"].iloc[-1] + pd.Timedelta("1D")
    assert again.losses_ == model.losses_
    with pytest.raises(DataError, match="does not hold its training data"):
        again.evaluate()
    if zone is not None:
        with pytest.raises(DataError, match="ds has the time zone None"):
            again.evaluate(noisy())


def test_hyper_parameters_in_a_file_are_checked():
    model = small().fit(noisy())
    other = small(dropout=2.0)
    with pytest.raises(DataError, match="dropout must"):
        other._set_state(model._get_state())


# -- what is refused -------------------------------------------------------------------------


def test_before_fit():
    for call in (Forecaster(3).predict, Forecaster(3).evaluate):
        with pytest.raises(NotFittedError):
            call()


def test_hyper_parameters_are_checked_together():
    model = Forecaster(0, level=(80, 120), dropout=1.0, units=2.5, val_size=0, log=1)
    with pytest.raises(DataError) as caught:
        model.fit(noisy())
    text = str(caught.value)
    for part in ("h must", "level must", "dropout must", "units must", "val_size must", "log"):
        assert part in text
    for name, value in [("seed", None), ("seed", -1), ("dropout", "x"), ("level", ("a",))]:
        with pytest.raises(DataError, match=f"{name} must .* got"):
            small(**{name: value}).fit(noisy())
    with pytest.raises(DataError, match="val_size must be a whole number from 5"):
        Forecaster(np.int64(5), val_size=4).fit(noisy())
    with pytest.raises(DataError, match="level must hold .* got 80"):
        small(level=80).fit(noisy())
    with pytest.raises(DataError, match="val_size must be a whole number from 3"):
        small(val_size=2).fit(noisy())


def test_short_series_is_named():
    data = pd.concat([planted(), planted(10, "b")])
    with pytest.raises(DataError, match="at least 11 steps.*'b' \\(10\\)"):
        small().fit(data)
    with pytest.raises(DataError, match="8 \\+ 3 \\+ 3 steps, but the longest has 12"):
        small().fit(planted(12))
    with pytest.raises(DataError, match="at least 8 steps"):
        Forecaster(3).fit(planted(7))
    with pytest.raises(DataError, match="more than 30 steps, but series 'a' has fewer"):
        small().cross_validation(planted(30), 10)
    with pytest.raises(DataError, match="n_windows: expected a positive integer, got 0"):
        small().cross_validation(planted(), 0)


def test_few_short_series_do_not_shrink_the_window_of_all():
    long = planted(300).assign(unique_id="long")
    data = pd.concat([long, planted(8, "short")])
    model = Forecaster(2, season_length=4, **SMALL)
    with pytest.raises(DataError, match="1 of 2 \\('short'\\); leave these out or pass input_size"):
        model.fit(data)
    assert model.fit(long).input_size_ >= 4
    model = Forecaster(2, 2, season_length=4, **SMALL).fit(data)
    assert model.input_size_ == 2
    # Where most are short there is nothing to protect.
    data = pd.concat([long, planted(8, "short"), planted(9, "short too")])
    assert Forecaster(2, season_length=4, **SMALL).fit(data).input_size_ < 4


def test_series_that_stand_still_leave_the_others_alone():
    rng = np.random.default_rng(0)
    y = {f"steady {i}": rng.normal(1000, 50, 60) for i in range(5)}
    y |= {f"still {i}": np.where(np.arange(60) % 30 < 20, 0.0, 500.0) for i in range(5)}
    data = pd.concat(pd.DataFrame({"unique_id": k, "ds": range(60), "y": v}) for k, v in y.items())
    table = Forecaster(4, 8, **SMALL).fit(data).predict()
    steady = table[table["unique_id"].str.startswith("steady")]
    assert steady["LSTM"].between(850, 1150).all()
    assert (steady["LSTM-hi-95"] - steady["LSTM-lo-95"]).max() < 2000


def test_shortest_possible_series():
    assert len(Forecaster(3, **SMALL).fit(planted(8)).predict()) == 3


def test_constant_series():
    table = Forecaster(2, **SMALL).fit(np.full(40, 5.0)).predict()
    np.testing.assert_allclose(table["LSTM"], 5, atol=0.2)
    assert np.isfinite(table.select_dtypes("number").to_numpy()).all()


def test_logarithm():
    with pytest.raises(DataError, match="log=True needs positive y"):
        small(log=True).fit(planted())
    positive = planted().assign(y=lambda t: t["y"] + 5)
    model = small(log=True).fit(positive)
    with pytest.raises(DataError, match="series 'a' has a y of 0 in .* fit with log=False"):
        model.predict(planted(20).assign(y=lambda t: t["y"].where(t["y"] > 9, 0.0)))
