"""The forecaster told more than y: covariates, the calendar, missing values; step by step."""

import numpy as np
import pandas as pd
import pytest

from longshort._errors import DataError
from longshort.tasks import Forecaster, load
from longshort.tasks._features import Features, carried_forward

RNG = np.random.default_rng(0)
QUICK = {"season_length": 4, "units": 16, "batch_size": 32, "learning_rate": 1e-2, "seed": 3}


def sales(names=("a", "b"), n=140, seed=0):
    """A season, a jump of 8 in promotions, and what a sensor said the step before."""
    rng, tables = np.random.default_rng(seed), []
    for name in names:
        promo, sensor = (rng.random(n) < 0.3) * 1.0, rng.normal(size=n)
        season = np.array([10.0, 14.0, 11.0, 13.0])[np.arange(n) % 4]
        y = season + 8 * promo + 3 * np.roll(sensor, 1)
        ds = pd.date_range("2024-01-01", periods=n, freq="D")
        columns = {"unique_id": name, "ds": ds, "y": y, "promo": promo, "sensor": sensor}
        tables.append(pd.DataFrame(columns).iloc[1:])
    return pd.concat(tables, ignore_index=True)


def split(table, h):
    """The past, the future's covariates, and what happened."""
    ends = table.groupby("unique_id").tail(h).index
    return table.drop(ends), table.loc[ends].drop(columns="y"), table.loc[ends, "y"].to_numpy()


@pytest.fixture(scope="module")
def fitted():
    past, future, _ = split(sales(), 2)
    options = QUICK | {"futr_exog_list": ["promo"], "hist_exog_list": ["sensor"], "epochs": 120}
    return Forecaster(2, 8, **options).fit(past)


def test_covariates_are_used(fitted):
    past, future, y = split(sales(("x", "y", "z"), seed=1), 2)
    table = fitted.predict(past, futr_df=future)
    first = table.groupby("unique_id").head(1).index  # of the second step no sensor says anything
    assert np.abs(table["LSTM"] - y)[first].mean() < 2.0
    changed = fitted.predict(past, futr_df=future.assign(promo=1 - future["promo"]))
    jump = (changed["LSTM"] - table["LSTM"]) * np.where(future["promo"] == 1, -1, 1)
    assert jump.between(4, 12).all()
    last = past.groupby("unique_id").tail(1).index
    moved = past.copy()
    moved.loc[last, "sensor"] += 1.0
    change = fitted.predict(moved, futr_df=future)["LSTM"] - table["LSTM"]
    assert change[first].between(0.5, 5.0).all() and change[first].mean() > 1.0


def test_covariates_survive_a_file_and_a_backtest(fitted, tmp_path):
    _, future, _ = split(sales(), 2)
    fitted.save(tmp_path / "model.longshort")
    again = load(tmp_path / "model.longshort")
    expected = fitted.predict(futr_df=future)
    pd.testing.assert_frame_equal(again.predict(futr_df=future), expected, check_exact=True)
    # The covariates of a backtest's steps ahead are those of the table.
    other = sales(("p",), n=60, seed=5)
    scores = fitted.evaluate(other, n_windows=4)
    assert scores["LSTM"]["mae"] < 0.7 * scores["Linear"]["mae"]
    one = split(other, 2)
    table = fitted.predict(one[0], futr_df=one[1])
    assert np.abs(table["LSTM"] - one[2]).mean() == pytest.approx(
        fitted.evaluate(other, n_windows=1)["LSTM"]["mae"]
    )


def test_what_is_said_of_covariates(fitted):
    past, future, _ = split(sales(), 2)
    with pytest.raises(DataError, match="'promo' of the 2 steps to come are needed"):
        fitted.predict()
    with pytest.raises(DataError, match="series 'b' lacks 1 of the 2 steps"):
        fitted.predict(futr_df=future.iloc[:-1])
    with pytest.raises(DataError, match="sensor"):
        fitted.predict(past.drop(columns="sensor"), futr_df=future)
    with pytest.raises(DataError, match="promo"):
        Forecaster(2, 8, futr_exog_list=["promo"], hist_exog_list=["promo"]).fit(past)
    with pytest.raises(DataError, match="recursive forecasts cannot know the hist_exog_list"):
        Forecaster(2, 8, recursive=True, hist_exog_list=["sensor"]).fit(past)
    with pytest.raises(DataError, match="calendar must be True or False"):
        Forecaster(2, 8, calendar=1).fit(past)


@pytest.mark.slow
def test_static_covariates():
    # Half of the series rise by 2 a step, half fall; a window of four steps of noise hides it.
    rng, tables = np.random.default_rng(0), []
    kinds = {f"s{i}": ("up", "down")[i % 2] for i in range(6)}
    for name, kind in kinds.items():
        y = np.arange(60) * (2.0 if kind == "up" else -2.0) + rng.normal(0, 5, 60)
        tables.append(pd.DataFrame({"unique_id": name, "ds": np.arange(60), "y": y}))
    data, static = pd.concat(tables), pd.DataFrame(kinds.items(), columns=["unique_id", "kind"])
    model = Forecaster(4, 4, stat_exog_list=["kind"], epochs=30, units=8, log=False)
    model.fit(data, static_df=static)
    other = data[data["unique_id"] == "s0"]
    as_it_is = model.predict(other, static_df=static)["LSTM"]
    reverse = static.assign(kind=static["kind"].map({"up": "down", "down": "up"}))
    assert (as_it_is - model.predict(other, static_df=reverse)["LSTM"]).iloc[-1] > 3
    with pytest.raises(DataError, match="kind"):
        model.predict(other, static_df=static.assign(kind="sideways"))
    with pytest.raises(DataError, match="pass it with data"):
        model.predict(static_df=static)
    with pytest.raises(DataError, match="static"):
        model.predict(other)


@pytest.mark.slow
def test_calendar():
    # Weekends are 8 higher, and no window is as long as a week.
    ds = pd.date_range("2024-01-01", periods=200, freq="D")
    y = 20 + 8.0 * (ds.day_of_week >= 5) + np.random.default_rng(0).normal(0, 1.0, 200)
    data = pd.DataFrame({"ds": ds, "y": y})
    options = QUICK | {"season_length": 1, "epochs": 60, "log": False}
    errors = [
        Forecaster(3, 3, calendar=calendar, **options).backtest(data, 5)["LSTM"]["mae"]
        for calendar in (True, False)
    ]
    assert errors[0] < 0.7 * errors[1]


def test_missing_values_are_no_values():
    data = sales(("a",), n=140)[["ds", "y"]]
    data["y"] = np.array([10.0, 14.0, 11.0, 13.0])[np.arange(1, 140) % 4]
    data.loc[np.random.default_rng(1).random(139) < 0.2, "y"] = np.nan
    past, happened = data.iloc[:-6], np.array([10.0, 14.0, 11.0, 13.0])[np.arange(134, 140) % 4]
    model = Forecaster(6, 12, **(QUICK | {"epochs": 60})).fit(past)
    assert np.abs(model.predict()["LSTM"] - happened).max() < 1.0
    scores = model.backtest(data, 4)
    assert scores["LSTM"]["mae"] < 1.0 and np.isfinite(scores["Linear"]["mae"])
    whole = Forecaster(6, 12, **(QUICK | {"epochs": 1})).fit(past.interpolate().bfill())
    with pytest.raises(DataError, match="has missing y .row .*training data had none"):
        whole.predict(past)
    with pytest.raises(DataError, match="nothing but missing values in the 12 steps"):
        model.predict(past.assign(y=past["y"].where(past.index < 100)))


def test_a_missing_target_is_not_counted():
    y = np.array([np.nan, 1.0, np.nan, np.nan, 4.0])
    assert carried_forward(y).tolist() == [1.0, 1.0, 1.0, 1.0, 4.0]
    assert np.isnan(carried_forward(y * np.nan)).all()


def test_covariates_are_scaled_by_the_training_part():
    from longshort.data import check_series

    table = sales(("a",), n=50)
    series = check_series(table, futr_exog_list=["promo"], hist_exog_list=["sensor"])
    features = Features.fit(series.head([40]), calendar=True, missing=True)
    past = features.past(series)[0]
    assert past.shape[1] == features.counts(series)[0] == 6 + 1 + 1 + 1
    np.testing.assert_allclose(past[:40, 6:8].mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(past[:40, 6:8].std(0), 1)
    still = Features.fit(series.head([1]), calendar=False, missing=False)
    assert not still.past(series)[0].any()
    again = Features.from_state(features.to_state())
    np.testing.assert_array_equal(again.past(series)[0], past)


# -- step by step ------------------------------------------------------------------------------


def test_recursive_forecast_is_one_step_after_the_other():
    data = sales(("a", "b"))
    past, future, _ = split(data, 3)
    model = Forecaster(3, 8, recursive=True, futr_exog_list=["promo"], **(QUICK | {"epochs": 8}))
    table = model.fit(past).predict(futr_df=future)
    # By hand: forecast, append the median, forecast again.
    known, rows = past, []
    for step in range(3):
        ahead = future.groupby("unique_id").nth(slice(step, step + 3))
        missing = 3 - len(ahead) // 2
        if missing:  # steps that nobody looks at
            after = [future.assign(ds=future["ds"] + pd.Timedelta(days=3 * k)) for k in range(1, 3)]
            ahead = pd.concat([ahead, *after])
        one = model.predict(known, futr_df=ahead).groupby("unique_id").head(1)
        rows.append(one["LSTM"].to_numpy())
        new = one[["unique_id", "ds"]].assign(y=one["LSTM"])
        new = new.merge(future[["unique_id", "ds", "promo"]])
        known = pd.concat([known, new], ignore_index=True)
    np.testing.assert_allclose(table["LSTM"], np.stack(rows, 1).ravel(), rtol=1e-6)


def test_recursive_and_direct_forecasts_of_a_planted_series(tmp_path):
    t = np.arange(90)
    data = pd.DataFrame({"ds": t, "y": np.array([0.0, 5.0, 1.0, 9.0])[t % 4] + 0.5 * t})
    for recursive in (False, True):
        options = QUICK | {"epochs": 3, "log": False}
        model = Forecaster(5, 8, recursive=recursive, **options).fit(data.iloc[:85])
        table = model.predict()
        assert table["ds"].tolist() == [85, 86, 87, 88, 89]
        np.testing.assert_allclose(table["LSTM"], data["y"].iloc[85:], atol=0.2)
        order = ["LSTM-lo-95", "LSTM-lo-80", "LSTM", "LSTM-hi-80", "LSTM-hi-95"]
        assert (np.diff(table[order], axis=1) > 0).all()
        model.save(tmp_path / "m.longshort")
        again = load(tmp_path / "m.longshort").predict()
        pd.testing.assert_frame_equal(again, table, check_exact=True)
