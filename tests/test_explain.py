"""What moved a forecast: planted causes are found, and by how much."""

import functools

import numpy as np
import pandas as pd
import pytest

from longshort._errors import DataError, NotFittedError
from longshort.tasks import Forecaster, load, plot_explanation
from longshort.tasks._explain import group_sizes


def planted(n=320, seed=0):
    """y is 0.9 of y four steps before, 4 more in promotions; the weather says nothing."""
    rng = np.random.default_rng(seed)
    promo, weather = (rng.random(n + 1) < 0.4) * 1.0, rng.normal(size=n + 1)
    y = np.zeros(n + 1)
    for t in range(n + 1):
        y[t] = 2 + 0.8 * y[max(t - 4, 0)] + 4 * promo[t] + 0.2 * rng.normal()
    return pd.DataFrame({"ds": np.arange(n + 1), "y": y, "promo": promo, "weather": weather})


def test_planted_causes_come_first():
    table = planted()
    past, future = table.iloc[:-1], table.iloc[-1:].drop(columns="y")
    model = Forecaster(
        1, 6, futr_exog_list=["promo", "weather"], season_length=1, units=16, epochs=40,
        batch_size=32, learning_rate=1e-2, log=False, dropout=0.0,
    ).fit(past)  # fmt: skip
    found = model.explain(futr_df=future)
    whole = found[found["lag"].isna()].set_index("feature")["effect"]
    centred = future["promo"].iloc[0] - past["promo"].mean()
    assert whole["promo"] == pytest.approx(4 * centred, abs=0.8)
    assert abs(whole["weather"]) < 0.25 * abs(whole["promo"])
    lags = found[found["feature"] == "y"]
    # Lag 1 stands for the level of the window as well, which every scaled model reads.
    y = past["y"].to_numpy()
    first = lags[lags["lag"] > 1].iloc[0]
    assert first["lag"] == 4 == first["lag_to"]
    assert first["effect"] == pytest.approx(0.8 * (y[-4] - (y[-5] + y[-3]) / 2), rel=0.4)
    assert (np.diff(found["effect"].abs()) <= 0).all()
    # The steps ahead have a row of their own.
    ahead = found[(found["feature"] == "promo") & (found["lag"] == 0)]["effect"].item()
    assert ahead == pytest.approx(4 * centred, abs=0.8)


@functools.cache
def linear(h=2, length=6):
    y = np.cumsum(np.random.default_rng(1).normal(size=80)) + 50
    model = Forecaster(
        h, length, season_length=1, units=2, epochs=1, learning_rate=1e-9, log=False
    ).fit(y)
    model.forecast_model_.share = 0.0  # the linear path, and a network on it that says nothing
    return model, y[-length:]


def test_effects_of_an_untrained_network_are_the_linear_map():
    model, x = linear()
    weights, constant = model.forecast_model_.path.coef_[:-1], model.forecast_model_.path.coef_[-1]
    for step, ahead in ((None, slice(None)), (2, slice(1, 2))):
        found = model.explain(step=step).set_index("lag")["effect"]
        for lag in range(2, 7):  # of lag 1 the level changes as well
            other = x.copy()
            at = len(x) - lag
            other[at] = x[1] if at == 0 else (x[at - 1] + x[at + 1]) / 2
            change = (x - other)[:-1] @ weights + (x.std() - other.std()) * constant
            assert found[lag] == pytest.approx(change[ahead].mean(), abs=2e-5)
        other = np.append(x[:-1], x[-2])
        both = model.forecast_model_.path.predict(np.stack([x, other]))
        assert found[1] == pytest.approx((both[0] - both[1])[ahead].mean(), abs=2e-5)


def test_groups():
    assert group_sizes(12, 1, None) == [1] * 12
    assert group_sizes(96, 24, None) == [24] * 4
    assert group_sizes(100, 1, None) == [3] * 4 + [2] * 44
    assert group_sizes(7, 1, 3) == [3, 2, 2]
    model, x = linear()
    found = model.explain(groups=2)
    assert sorted(zip(found["lag"], found["lag_to"], strict=True)) == [(1, 3), (4, 6)]
    both = model.forecast_model_.path.predict(np.stack([x, np.r_[x[3], x[3], x[3], x[3:]]]))
    old = found[found["lag"] == 4]["effect"].item()
    assert old == pytest.approx((both[0] - both[1]).mean(), abs=2e-5)


def shops(n=60):
    rng, tables = np.random.default_rng(2), []
    for i, name in enumerate("abc"):
        ds = pd.date_range("2024-01-01", periods=n, freq="D")
        y = 20 + i + np.arange(n) % 7 + rng.normal(0, 0.3, n)
        columns = {"price": rng.normal(size=n), "clicks": rng.normal(size=n)}
        tables.append(pd.DataFrame({"unique_id": name, "ds": ds, "y": y, **columns}))
    static = pd.DataFrame({"unique_id": list("abc"), "kind": ["x", "y", "x"], "size": [1, 2, 4]})
    return pd.concat(tables, ignore_index=True), static


def test_all_kinds_of_covariates_of_several_series(tmp_path):
    data, static = shops()
    data.loc[[3, 70], "y"] = np.nan
    past = data.groupby("unique_id").head(58)
    future = data.drop(past.index).drop(columns="y")
    model = Forecaster(
        2, 7, futr_exog_list=["price"], hist_exog_list=["clicks"], calendar=True,
        stat_exog_list=["kind", "size"], units=4, epochs=2,
    ).fit(past, static_df=static)  # fmt: skip
    found = model.explain(futr_df=future)
    assert found["unique_id"].tolist() == [name for name in "abc" for _ in range(27)]
    one = found[found["unique_id"] == "b"]
    counts = one["feature"].value_counts().to_dict()
    assert counts == {"y": 7, "price": 9, "clicks": 8, "calendar": 1, "kind": 1, "size": 1}
    assert one["lag"].isna().sum() == 5 and np.isfinite(found["effect"]).all()
    assert one[one["feature"] == "price"]["lag_to"].min() == 0
    # A covariate at its neutral value has no effect, and a series is explained by itself.
    still = model.explain(
        past.assign(price=model.features_.futr_mean[0]),
        futr_df=future.assign(price=model.features_.futr_mean[0]),
        static_df=static,
    )
    assert still[still["feature"] == "price"]["effect"].abs().max() < 1e-5
    alone = model.explain(past[past["unique_id"] == "b"], futr_df=future, static_df=static)
    pd.testing.assert_frame_equal(
        alone.sort_values(["feature", "lag"], ignore_index=True),
        one.sort_values(["feature", "lag"], ignore_index=True),
        atol=1e-4,
    )
    model.save(tmp_path / "m.longshort")
    again = load(tmp_path / "m.longshort").explain(futr_df=future)
    pd.testing.assert_frame_equal(again, found, check_exact=True)


def test_a_hidden_y_is_a_missing_one_where_the_model_knows_these():
    y = np.tile([1.0, 5.0, 2.0, 7.0], 20) + np.random.default_rng(0).normal(0, 0.1, 80)
    y[[10, 21, 33, 40, 55]] = np.nan
    model = Forecaster(1, 4, season_length=1, units=4, epochs=3, log=False).fit(y)
    found = model.explain().set_index("lag")["effect"]
    gone = y.copy()
    gone[-2] = np.nan
    change = model.predict()["LSTM"].item() - model.predict(gone)["LSTM"].item()
    assert found[2] == pytest.approx(change, abs=1e-5)
    assert model.explain(gone).set_index("lag")["effect"][2] == 0  # it was missing
    alone = y.copy()
    alone[-4:-1] = np.nan
    found = model.explain(alone).set_index("lag")["effect"]
    assert np.isnan(found[1]) and (found[[2, 3, 4]].abs() < 1e-12).all()  # but for rounding


def test_recursive_forecasts_are_explained():
    y = np.tile([1.0, 5.0, 2.0, 7.0], 15)
    options = {"season_length": 1, "units": 2, "epochs": 1, "log": False}
    found = Forecaster(3, 4, recursive=True, **options).fit(y).explain(step=3)
    assert len(found) == 4 and found["effect"].abs().max() > 0.1


def test_what_is_said_of_arguments():
    with pytest.raises(NotFittedError, match="before it can explain a forecast"):
        Forecaster(2).explain()
    model, _ = linear()
    for step in (0, 3, 1.0, True):
        with pytest.raises(DataError, match="explain: step must be a whole number from 1 to 2"):
            model.explain(step=step)
    with pytest.raises(DataError, match="explain: groups must be .* from 2 to 6, got 1"):
        model.explain(groups=1)
    with pytest.raises(DataError, match="futr_df: there are no future covariates"):
        model.explain(futr_df=pd.DataFrame({"ds": [1]}))
    with pytest.raises(DataError, match="pass it with data"):
        model.explain(static_df=pd.DataFrame({"ds": [1]}))


# -- the picture ------------------------------------------------------------------------------


def found():
    rows = [("promo", np.nan, np.nan, 4.0), ("y", 1, 2, -3.0), ("promo", 0, 0, 3.0)]
    rows += [("y", 3, 4, 0.5), ("promo", 1, 2, 0.1), ("kind", np.nan, np.nan, -0.1)]
    rows += [("promo", 3, 4, np.nan)]
    table = pd.DataFrame(rows, columns=["feature", "lag", "lag_to", "effect"])
    return pd.concat([table.assign(unique_id=name) for name in ("a", "b")])


def test_plot_explanation(tmp_path):
    figure = plot_explanation(found(), title="Why")
    figure.savefig(tmp_path / "why.png", dpi=40)
    bars, strip = figure.axes[:2]
    assert [bar.get_width() for bar in bars.patches] == [4.0, -0.1]
    assert [t.get_text() for t in bars.get_yticklabels()] == ["promo", "kind"]
    assert [t.get_text() for t in strip.get_yticklabels()] == ["y", "promo"]
    assert strip.get_xlim() == (4.5, -0.5) and len(strip.patches) == 5
    red, _, blue, _ = strip.patches[1].get_facecolor()
    assert strip.patches[1].get_x() == -0.5 and red > blue
    assert len(plot_explanation(found(), max_series=1).axes) == 3  # two and the colours
    only = found()[lambda t: t["feature"] == "y"]
    assert len(plot_explanation(only, max_series=1).axes) == 2
    assert [
        t.get_text() for t in plot_explanation(found(), max_features=1).axes[1].get_yticklabels()
    ] == ["y"]
    with pytest.raises(DataError, match="no column 'lag_to'; pass what Forecaster.explain"):
        plot_explanation(found().drop(columns="lag_to"))
    with pytest.raises(DataError, match="max_series must be a whole number .* got 0; the table is"):
        plot_explanation(found().iloc[:0], max_series=0)
