import numpy as np
import pandas as pd
import pytest

from longshort.tasks import Forecaster, load
from longshort.tasks._usual_widths import (
    ENOUGH_WINDOWS,
    LEAST_ERRORS,
    MOST_APART,
    drawn_to_usual,
    trust_in,
    usual_widths,
)

SMALL = {"units": 4, "num_members": 1, "epochs": 2, "seed": 1}
AT = [0.025, 0.1, 0.5, 0.9, 0.975]


def by_hand(y, h, season, quantiles):
    """The same, one error after the other."""
    widths = np.full((h, len(quantiles) // 2), np.nan)
    for k in range(1, h + 1):
        for i in range(widths.shape[1]):
            level = quantiles[-1 - i] - quantiles[i]
            for lag in (k, season * int(np.ceil(k / season))):
                errors = [y[t] - y[t - lag] for t in range(lag, len(y))]
                errors = [e for e in errors if not np.isnan(e)]
                n = len(errors)
                if n < LEAST_ERRORS:
                    continue
                errors = sorted(abs(e - np.mean(errors)) for e in errors)
                width = errors[min(int(np.ceil((n + 1) * level)), n) - 1] * np.sqrt(1 + 2 * lag / n)
                widths[k - 1, i] = np.fmin(widths[k - 1, i], width)
        if np.isnan(widths[k - 1]).any() and k > 1:
            widths[k - 1] = widths[k - 2]
    return widths


@pytest.mark.parametrize("season", [1, 4, 7])
@pytest.mark.parametrize("missing", [False, True])
def test_against_one_error_after_the_other(season, missing):
    rng = np.random.default_rng(season)
    y = rng.normal(size=60).cumsum() + 3.0 * np.sin(np.arange(60) * np.pi / 2)
    if missing:
        y[rng.random(60) < 0.3] = np.nan
    np.testing.assert_allclose(usual_widths(y, 9, season, AT), by_hand(y, 9, season, AT))


def test_of_logarithms():
    y = np.exp(np.random.default_rng(0).normal(size=50))
    found = usual_widths(y, 5, 4, AT, log=True)
    np.testing.assert_allclose(found, usual_widths(np.log(y), 5, 4, AT))
    holes = np.where(np.arange(50) == 7, np.nan, y)
    np.testing.assert_allclose(
        usual_widths(np.where(np.isnan(holes), -1.0, y), 5, 4, AT, log=True),
        usual_widths(holes, 5, 4, AT, log=True),
    )


def test_few_errors_say_nothing():
    # Two errors of a season less their mean are next to nothing: no reason for narrow intervals.
    y = np.random.default_rng(6).normal(size=54)
    np.testing.assert_array_equal(usual_widths(y, 13, 52, AT), usual_widths(y, 13, 1, AT))
    short = usual_widths(y[:10], 5, 12, AT)
    np.testing.assert_array_equal(short[2:], np.stack([short[1]] * 3))
    assert np.isnan(usual_widths(y[:8], 2, 1, AT)).all()
    assert np.isnan(usual_widths(np.full(90, np.nan), 2, 1, AT)).all()


def test_random_walks_are_covered():
    # At the last step, in series of two to four times as many; the last value is the forecast.
    rng = np.random.default_rng(9)
    for length, h in ((60, 24), (100, 48)):
        walks = rng.normal(size=(400, length + h)).cumsum(axis=1)
        widths = np.stack([usual_widths(y[:length], h, 1, AT)[-1] for y in walks])
        inside = np.abs(walks[:, -1] - walks[:, length - 1])[:, None] <= widths
        assert (np.abs(inside.mean(axis=0) - [0.95, 0.8]) < 0.07).all()


def test_wider_intervals_stay_wider():
    rng = np.random.default_rng(2)
    f = np.sort(rng.normal(size=(7, 5, 5)), axis=-1)
    usual = np.sort(rng.exponential(5.0, size=(7, 5, 2)), axis=-1)[..., ::-1]
    usual[0], usual[1], usual[2] = 0.0, 1e9, np.nan
    own = np.abs(f - f[..., 2:3])
    for trust in (0.0, 0.3, 1.0):
        drawn = drawn_to_usual(f, usual, trust)
        assert (np.diff(drawn, axis=-1) >= 0).all()
        np.testing.assert_array_equal(drawn[..., 2], f[..., 2])
        np.testing.assert_allclose(drawn[2], f[2])
        both = np.concatenate([usual, usual[..., ::-1]], axis=-1)[3:]
        widths, at = own[3:][..., [0, 1, 3, 4]], np.abs(drawn - f[..., 2:3])[3:][..., [0, 1, 3, 4]]
        both = np.clip(both, widths / MOST_APART, widths * MOST_APART)
        np.testing.assert_allclose(at, np.exp(trust * np.log(widths) + (1 - trust) * np.log(both)))


def test_trust_grows_with_windows():
    found = [trust_in(n) for n in (0, 1, 4, 100, ENOUGH_WINDOWS)]
    assert found == sorted(found)
    assert (found[0], found[2], found[-1]) == (0.0, 0.5, 1.0)


def calm(seed=0):
    """Logarithms that wander around a mean."""
    rng = np.random.default_rng(seed)
    z = np.zeros(330)
    for t in range(1, 330):
        z[t] = 0.9 * z[t - 1] + rng.normal(0, 0.05)
    return pd.DataFrame({"ds": np.arange(330), "y": 80.0 * np.exp(z)})


def test_intervals_after_a_wild_window_stay_sane():
    data = calm()
    model = Forecaster(12, 24, season_length=1, log=True, **SMALL).fit(data)
    pd.testing.assert_frame_equal(model.predict(data), model.predict(), check_exact=True)
    wild = data.copy()
    wild.loc[318:, "y"] *= np.exp(-np.linspace(0.2, 2.4, 12))
    drawn = model.predict(wild)
    model.forecast_model_.trust = 1.0
    alone = model.predict(wild)
    # The spread of the last window has them above all that was seen, after a fall to a tenth of it.
    assert drawn["LSTM-hi-95"].max() < 0.5 * alone["LSTM-hi-95"].max()
    assert drawn["LSTM-lo-95"].min() > alone["LSTM-lo-95"].min()
    pd.testing.assert_series_equal(drawn["LSTM"], alone["LSTM"])


def test_nothing_leaks_from_behind_a_cutoff():
    long, short = calm(1)[:120], calm(2)[:90]
    data = pd.concat([long.assign(unique_id="a"), short.assign(unique_id="b")], ignore_index=True)
    changed = data.copy()
    last = changed.groupby("unique_id")["ds"].transform("max") - changed["ds"] < 8
    changed.loc[last, "y"] *= 7.0  # the targets of both windows, and the inputs of the second
    tables = [Forecaster(4, 12, **SMALL).cross_validation(d, 2) for d in (data, changed)]
    first, second = (t.groupby("unique_id").head(4).drop(columns="y") for t in tables)
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_unknown_widths_are_kept_in_a_file(tmp_path):
    data = calm()[:120]
    data.loc[1::2, "y"] = np.nan  # nothing is known of one step
    model = Forecaster(3, 12, season_length=1, **SMALL).fit(data)
    assert np.isnan(model.usual_[0, 0]).all()
    assert np.isfinite(model.usual_[0, 1]).all()
    model.save(tmp_path / "model.longshort")
    again = load(tmp_path / "model.longshort")
    pd.testing.assert_frame_equal(again.predict(), model.predict(), check_exact=True)
    for key, value in (("usual", None), ("trust", 1.5)):
        state = model._get_state()
        (state if key == "usual" else state["model"])[key] = value
        with pytest.raises(ValueError, match=key):
            Forecaster(3, 12, season_length=1, **SMALL)._set_state(state)


def test_recursive_models_have_their_own():
    model = Forecaster(3, 12, recursive=True, **SMALL).fit(calm()[:120])
    assert model.usual_ is None


def test_many_windows_are_trusted_alone():
    rng = np.random.default_rng(3)
    data = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(120), 40),
            "ds": np.tile(np.arange(40), 120),
            "y": rng.normal(size=4800),
        }
    )
    model = Forecaster(2, 4, log=False, **SMALL).fit(data)
    assert model.usual_ is None
    assert model.forecast_model_.trust == 1.0
    few = Forecaster(2, 4, log=False, **SMALL).fit(data[:400])
    assert few.usual_.shape == (10, 2, 2)
