import numpy as np
import pytest

from longshort._errors import NotFittedError
from longshort.data._windows import Windows
from longshort.tasks import _linear_path
from longshort.tasks import _metrics as metrics
from longshort.tasks._baselines import MAX_RESIDUAL, NLinear, naive, seasonal_naive
from longshort.tasks._linear_path import (
    MAX_FOLDS,
    RIDGES,
    _folds,
    choose_path,
    default_input_sizes,
    fit_paths,
    left_over,
    start_quantiles,
)


def batch(x, y):
    return x, y, np.ones(len(x))


def test_naive_by_hand():
    x = np.array([[1.0, 2.0, 4.0], [7.0, 8.0, 9.0]])
    assert naive(x, 2).tolist() == [[4, 4], [9, 9]]


@pytest.mark.parametrize("h", [1, 3, 4, 9])
def test_seasonal_naive_repeats_the_season(h):
    y = np.tile([5.0, 1.0, 2.0], 7)
    for cut in (3, 4, 5, 9):
        assert seasonal_naive(y[None, :cut], h, 3)[0].tolist() == y[cut : cut + h].tolist()


def test_seasonal_naive_without_a_season():
    assert seasonal_naive(np.array([[1.0, 2.0]]), 2, 12).tolist() == [[2, 2]]


def test_nlinear_is_exact_on_a_recurrence():
    # y[t] = y[t-12] + y[t-1] - y[t-13] holds for season plus slope: a linear map of the window.
    t = np.arange(80)
    y = 3.0 * t + np.tile([0, 5, 1, 9, 2, 4, 8, 3, 3, 1, 0, 7], 7)[:80]
    windows = [(y[c - 13 : c], y[c : c + 4]) for c in range(13, 60)]
    x, target = (np.stack(part) for part in zip(*windows, strict=True))
    model = NLinear(ridge=1e-10).fit([batch(x[:20], target[:20]), batch(x[20:], target[20:])])
    np.testing.assert_allclose(model.predict(y[None, 60:73]), y[None, 73:77], atol=1e-3)


def test_nlinear_follows_size_and_level():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)), rng.normal(size=(40, 2))
    model = NLinear().fit([batch(x, y)])
    np.testing.assert_allclose(model.predict(10 * x + 3), 10 * model.predict(x) + 3)


def test_nlinear_repeats_and_ignores_what_stands_still():
    rng = np.random.default_rng(0)
    x, y = rng.normal(1000, 50, (60, 6)), rng.normal(1000, 50, (60, 2))
    alone = NLinear().fit([batch(x, y)])
    still = np.full((9, 6), 1.0), np.full((9, 2), 900.0)
    beside = NLinear().fit([batch(x, y), batch(*still)])
    np.testing.assert_allclose(beside.coef_, alone.coef_, atol=1e-12)
    assert beside.predict(np.full((1, 6), 5.0)).tolist() == [[5.0, 5.0]]
    assert NLinear().fit([batch(*still)]).predict(still[0][:1]).tolist() == [[1.0, 1.0]]


def test_nlinear_is_not_led_by_a_few_jumps():
    rng = np.random.default_rng(0)
    x, y = rng.normal(1000, 50, (200, 6)), rng.normal(1000, 50, (200, 2))
    jumps = np.zeros((20, 6)), np.full((20, 2), 1000.0)
    jumps[0][np.arange(20), np.arange(20) % 6] = 0.01
    forecast = NLinear().fit([batch(x, y), batch(*jumps)]).predict(x)
    assert np.abs(forecast - 1000).max() < 100


def test_path_has_the_least_squares_in_units_of_the_series():
    """By definition, with one series; and a series' size has no say in how much it counts."""
    rng = np.random.default_rng(0)
    series = [np.cumsum(rng.normal(0, 1 + np.arange(60) / 20)) for _ in range(2)]
    (path,) = fit_paths(Windows(series[:1], 5, 2), [(0.0, 1e-13)], False, rng)
    x, y = Windows(series[:1], 5, 2).gather(range(54))
    inputs = np.concatenate([x[:, :-1] - x[:, -1:], x.std(axis=1, keepdims=True)], axis=1)
    expected = np.linalg.lstsq(inputs, y - x[:, -1:], rcond=None)[0]
    np.testing.assert_allclose(path.coef_, expected, rtol=1e-5, atol=1e-6)
    (both,) = fit_paths(Windows(series, 5, 2), [(0.0, 1e-13)], False, rng)
    (larger,) = fit_paths(Windows([series[0], 1000 * series[1]], 5, 2), [(0.0, 1e-13)], False, rng)
    np.testing.assert_allclose(larger.coef_, both.coef_, rtol=1e-5, atol=1e-6)
    assert np.abs(both.coef_ - path.coef_).max() > 1e-3


def test_nlinear_before_fit():
    with pytest.raises(NotFittedError):
        NLinear().predict(np.ones((1, 3)))
    with pytest.raises(ValueError, match="at least one batch"):
        NLinear().fit([])


def test_path_finds_the_logarithm():
    # Steps in percent of a level that moves by a factor of 100, against steps of one size.
    rng = np.random.default_rng(0)
    season = np.tile([0.0, 0.5, 0.1, 0.9], 300)
    walk = np.cumsum(rng.normal(0, 0.25, 1200))
    args = {"input_sizes": [4, 8], "logs": [False, True], "seed": 1}
    assert choose_path([np.exp(walk + season)], 4, 4, **args).log
    assert not choose_path([1 + walk - walk.min() + 4 * season], 4, 4, **args).log


def test_path_pools_seasons_where_that_helps():
    rng = np.random.default_rng(0)
    noise, args = rng.normal(size=400), {"input_sizes": [16], "logs": [False], "seed": 1}
    season = np.tile([0.0, 2.0], 200)
    cycle = 5 * np.sin(np.arange(400) * np.pi / 4)  # four seasons long
    assert choose_path([season + noise], 8, 2, **args).pooled == 0.5
    assert choose_path([season + cycle + noise], 8, 2, **args).pooled == 0.0
    assert choose_path([season + noise], 7, 2, **args).pooled == 0.0  # nothing to pool


def test_path_folds_fit_before_they_score():
    series = [np.arange(40.0), np.arange(25.0)]
    folds = _folds(series, 8, 3, np.random.default_rng(0))
    assert len(folds) == MAX_FOLDS
    for fold in folds:
        for length in (5, 8):  # the same targets for windows of any length
            fit, score = fold.windows(series, length, 3)
            fitted, scored = fit.gather(range(len(fit)))[1], score.gather(fold.scored)[1]
            for i in range(2):
                last = fitted[fit.series(range(len(fit))) == i].max()
                first = scored[score.series(fold.scored) == i].min()
                assert last + 1 == first
        assert len(score) == len(fold.scored)


def test_path_compares_on_the_same_cutoffs(monkeypatch):
    rng = np.random.default_rng(0)
    seen = []

    def spy(path, x, y):
        seen.append(y)
        return left_over(path, x, y)

    monkeypatch.setattr(_linear_path, "left_over", spy)
    monkeypatch.setattr(_linear_path, "MAX_SCORE_WINDOWS", 5)
    series = [rng.normal(size=n) for n in (200, 90, 70)]
    choose_path(series, 4, 4, input_sizes=[4, 8, 64], logs=[False], seed=1)
    folds = len(seen) // (3 * len(RIDGES))
    assert folds > 1
    for i, y in enumerate(seen):
        np.testing.assert_array_equal(y, seen[i // len(RIDGES) % folds * len(RIDGES)])


def test_path_without_a_rolling_forecast_has_no_score():
    short = choose_path([np.arange(8.0)], 3, 1, input_sizes=[1, 2], logs=[False], seed=1)
    assert short.score == float("inf") and len(short.residuals) == 0
    assert short.input_size == 1


def test_path_residuals_are_bounded():
    y = np.concatenate([np.full(60, 0.0), [1e-6, 0.0] * 5, np.full(8, 1e6), np.full(22, 0.0)])
    found = choose_path([y], 4, 4, input_sizes=[6], logs=[False], seed=1)
    assert np.abs(found.residuals).max() <= MAX_RESIDUAL


@pytest.mark.parametrize(
    ("args", "sizes"),
    [((144, 12, 12), [12, 24, 48]), ((6, 2, 1), [1]), ((30, 12, 12), [4]), ((5000, 1, 1), None)],
)
def test_default_input_sizes(args, sizes):
    found = default_input_sizes(*args)
    assert found == (sizes or [4, 8, 16, 28])
    assert all(size + 2 * args[1] <= args[0] for size in found)


def test_start_quantiles_rise_and_widen():
    rng = np.random.default_rng(0)
    residuals = rng.normal(size=(2000, 6)) * np.sqrt(np.arange(1, 7))
    q = start_quantiles(residuals, [0.025, 0.1, 0.5, 0.9, 0.975])
    assert (np.diff(q, axis=1) > 0).all() and (q[:, 2] == 0).all()
    np.testing.assert_allclose(q[:, 3] / np.sqrt(np.arange(1, 7)), 1.2816, rtol=0.1)
    np.testing.assert_allclose(q[:, 4] / np.sqrt(np.arange(1, 7)), 1.96, rtol=0.1)


# -- metrics, by hand ------------------------------------------------------------------------


def test_errors_by_hand():
    y, f = [1.0, 2.0, 3.0], [2.0, 2.0, 5.0]
    assert metrics.mae(y, f) == 1.0
    assert metrics.rmse(y, f) == pytest.approx(np.sqrt(5 / 3))
    assert metrics.smape(y, f) == pytest.approx((200 / 3 + 0 + 400 / 8) / 3)


def test_smape_of_zeros():
    assert metrics.smape([0.0, 0.0], [0.0, 1.0]) == 100.0


def test_seasonal_scale_by_hand():
    # Seasonal differences of the history, m = 2: |3-1|, |5-2|, |5-3| -> 7/3.
    assert metrics.seasonal_scale([1, 2, 3, 5, 5], 2) == pytest.approx(7 / 3)
    assert metrics.seasonal_scale([1, 2, 4], 5) == 1.5
    assert metrics.seasonal_scale([3, 3, 3]) == metrics.seasonal_scale([3]) == 0.0


def test_coverage_by_hand():
    assert metrics.coverage([1, 2, 3, 4], [1, 3, 0, 0], [2, 4, 3, 3]) == 0.5


def test_pinball_by_hand():
    assert metrics.pinball([10, 10], [8, 14], 0.25) == pytest.approx((0.25 * 2 + 0.75 * 4) / 2)
    both = metrics.pinball([[10, 10]], [[8, 14]], [0.25, 0.75])
    assert both == pytest.approx((0.25 * 2 + 0.25 * 4) / 2)
    assert metrics.pinball([1, 5], [2, 3], 0.5) == metrics.mae([1, 5], [2, 3]) / 2


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(2,\) and \(1,\)"):
        metrics.mae([1, 2], [1])
