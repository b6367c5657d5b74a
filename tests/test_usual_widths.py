import numpy as np
import pandas as pd
import pytest

from longshort.tasks import Forecaster
from longshort.tasks._quantiles import ENOUGH_WINDOWS, MOST_APART, trust_in, widened, width_factors
from longshort.tasks._usual_widths import usual_widths

AT = [0.025, 0.1, 0.5, 0.9, 0.975]


def by_hand(y, h, season, quantiles):
    """The same, one error after the other."""
    widths = np.full((h, 2), np.nan)
    for k in range(1, h + 1):
        for i, level in enumerate((0.95, 0.8)):
            for lag in (k, season * int(np.ceil(k / season))):
                errors = [y[t] - y[t - lag] for t in range(lag, len(y))]
                errors = [e for e in errors if not np.isnan(e)]
                errors = sorted(abs(e - np.mean(errors)) for e in errors)
                rank = min(int(np.ceil((len(errors) + 1) * level)), len(errors))
                widths[k - 1, i] = np.fmin(widths[k - 1, i], 1.1 * errors[rank - 1])
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


def test_steps_that_a_series_is_too_short_for():
    y = np.array([1.0, 2.0, 4.0, 9.0])  # errors 1, 2, 5 and 3, 7
    found = usual_widths(y, 4, 12, AT)[:, 0]
    np.testing.assert_allclose(found, 1.1 * np.array([5 - 8 / 3, 2.0, 2.0, 2.0]))
    assert np.isnan(usual_widths(y[:1], 2, 1, AT)).all()
    assert np.isnan(usual_widths(np.full(9, np.nan), 2, 1, AT)).all()


def test_wider_intervals_stay_wider():
    rng = np.random.default_rng(2)
    f = np.sort(rng.normal(size=(7, 5, 5)), axis=-1)
    factors = width_factors(f, rng.normal(size=(7, 5)) * 9.0, AT)
    usual = np.sort(rng.exponential(5.0, size=(7, 5, 2)), axis=-1)[..., ::-1]
    usual[0], usual[1], usual[2] = 0.0, 1e9, np.nan
    for trust in (0.0, 0.3, 1.0):
        wide = widened(f, factors, usual, trust)
        assert (np.diff(wide, axis=-1) >= 0).all()
        np.testing.assert_array_equal(wide[..., 2], f[..., 2])
        np.testing.assert_allclose(wide[2], widened(f[2], factors))
    np.testing.assert_allclose(wide, widened(f, factors))
    own = f[3:, :, 2:3] - widened(f, factors)[3:, :, :2]
    found = f[3:, :, 2:3] - widened(f, factors, usual, 0.0)[3:, :, :2]
    np.testing.assert_allclose(found, np.clip(usual[3:], own / MOST_APART, own * MOST_APART))


def test_trust_grows_with_windows():
    found = [trust_in(n) for n in (0, 1, 4, 100, ENOUGH_WINDOWS)]
    assert found == sorted(found)
    assert (found[0], found[2], found[-1]) == (0.0, 0.5, 1.0)


def pollution(seed=0):
    """Like hourly dust: logarithms wander around a mean, and fall within a day at the end."""
    rng = np.random.default_rng(seed)
    z = np.zeros(330)
    for t in range(1, 330):
        z[t] = 0.96 * z[t - 1] + rng.normal(0, 0.25)
    z[-20:] += np.linspace(2.0, -1.5, 20)
    return pd.DataFrame({"ds": np.arange(330), "y": 80.0 * np.exp(z)})


def test_intervals_of_a_wild_window_stay_sane(tmp_path):
    data = pollution()
    model = Forecaster(24, season_length=24, log=True, units=8, num_members=1, epochs=3, seed=1)
    forecast = model.fit(data).predict()
    # The spread of the last window alone would have them a thousand times as high.
    assert forecast["LSTM-hi-95"].max() < 10 * data["y"].max()
    assert forecast["LSTM-lo-95"].min() > 0.02 * data["y"].min()
    pd.testing.assert_frame_equal(model.predict(data), forecast, check_exact=True)


def test_many_windows_are_trusted_alone():
    rng = np.random.default_rng(3)
    data = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(120), 40),
            "ds": np.tile(np.arange(40), 120),
            "y": rng.normal(size=4800),
        }
    )
    model = Forecaster(2, 4, units=4, num_members=1, epochs=1, log=False).fit(data)
    assert model.usual_ is None
    assert model.forecast_model_.trust == 1.0
    few = Forecaster(2, 4, units=4, num_members=1, epochs=1, log=False).fit(data[:400])
    assert few.usual_.shape == (10, 2, 2)
