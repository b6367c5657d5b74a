import numpy as np
import pytest

from longshort.tasks._baselines import NLinear
from longshort.tasks._seasonal_map import LAST, SMOOTHING, WINDOWS, pool_seasons, seasonal_map


def windows(count, length, h):
    rng = np.random.default_rng(length + h)
    z, y = rng.normal(size=(count, length)), rng.normal(size=(count, h))
    z[:, -1] = 1.0
    return z, y


def smoothed(x, m, n):
    """Return season (N, m) and levels at the end (N, 2) of windows, step by step."""
    seasons = x[:, x.shape[1] - n * m :].reshape(len(x), n, m)
    season = (seasons - seasons.mean(axis=2, keepdims=True)).mean(axis=1)
    levels = []
    for factor in SMOOTHING:
        level = seasons[:, 0].mean(axis=1)
        for value, p in ((seasons[:, j, p], p) for j in range(1, n) for p in range(m)):
            level = factor * (value - season[:, p]) + (1 - factor) * level
        levels.append(level)
    return season, np.stack(levels, axis=1)


def by_rows(z, y, m):
    """Return the forecasts (N, H) of ridge regressions that see each phase as a row of its own."""
    (N, L), H = z.shape, y.shape[1]
    n = L // m
    x = np.where(np.arange(L) < L - 1, z, 0.0)
    seasons = x[:, L - n * m :].reshape(N, n, m)
    means, levels = seasons.mean(axis=2), smoothed(x, m, n)[1]
    usual = np.array([(1 - LAST) / n] * n + [0.0] * n + [0.5, 0.5, 0.0])
    usual[n - 1] += LAST
    found = np.zeros((N, H))
    for start in range(0, H, m):
        phases = range(min(m, H - start))
        rows = np.concatenate(
            [np.hstack([seasons[..., p] - means, means, levels, np.ones((N, 1))]) for p in phases]
        )
        target = np.concatenate([y[:, start + p] for p in phases])
        size = (rows**2).sum(axis=0)
        penalty = [size[:n].mean()] * n + [size[n:-1].mean()] * (n + 2) + [1e-12]
        penalty = np.array(penalty) * WINDOWS / N
        right = rows.T @ target + penalty * usual
        w = np.linalg.solve(rows.T @ rows + np.diag(penalty), right)
        found[:, start : start + m] = (rows @ w).reshape(-1, N).T
    return found


@pytest.mark.parametrize(
    ("length", "h", "m"), [(8, 4, 4), (12, 3, 4), (13, 9, 4), (24, 12, 12), (25, 30, 12), (6, 1, 2)]
)
def test_is_the_regression_over_all_phases(length, h, m):
    z, y = windows(50, length, h)
    np.testing.assert_allclose(z @ seasonal_map(z.T @ z, z.T @ y, m), by_rows(z, y, m), atol=1e-9)


@pytest.mark.parametrize(("length", "m"), [(11, 6), (8, 1), (1, 1), (2, 1)])
def test_is_levels_without_two_seasons(length, m):
    z, y = windows(30, length, 3)
    x = np.where(np.arange(length) < length - 1, z, 0.0)
    level = x[:, 0]
    for t in range(1, length):
        level = SMOOTHING[0] * x[:, t] + (1 - SMOOTHING[0]) * level
    found = z @ seasonal_map(z.T @ z, z.T @ y, m)
    of = np.stack([level, np.ones(30)], axis=1)  # the other level, the last value, is 0
    fitted = of @ np.linalg.lstsq(of, found, rcond=None)[0]
    np.testing.assert_allclose(found, fitted, atol=1e-8)


def test_few_windows_leave_exponential_smoothing():
    """A season and a level that no penalty has to be weighed against."""
    x = np.random.default_rng(3).normal(size=(1, 12))
    x -= x[:, -1:]
    z = np.append(x[:, :-1], [[1.0]], axis=1)
    season, levels = smoothed(x, 4, 3)
    last = x[0, 8:] - x[0, 8:].mean()
    y = levels.mean(axis=1)[:, None] + (1 - LAST) * season + LAST * last
    found = seasonal_map(z.T @ z, z.T @ y, 4)
    np.testing.assert_allclose(z @ found, y, atol=1e-9)


def test_a_great_penalty_leaves_the_seasonal_map():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 9)), rng.normal(size=(60, 5))
    batch = x, y, np.ones(60)
    free, held = NLinear(1e-9, season_length=4), NLinear(1e9, season_length=4)
    near = np.abs(held.fit([batch]).coef_[:-1]).max()
    assert near > 0.01  # with season_length=0 it would be 0
    np.testing.assert_allclose(free.fit([batch]).coef_, NLinear(1e-9).fit([batch]).coef_, atol=1e-5)


def test_pooled_seasons_by_hand():
    cross = np.array([[0.0, 10.0, 1.0, 20.0, 2.0, 30.0, 9.0, 70.0, 5.0]])  # four seasons and a step
    expected = [[0.0, 10.0, 1.0, 20.0, 4.0, 40.0, 9.0, 70.0, 5.0]]
    np.testing.assert_allclose(pool_seasons(cross, 2, 0.5), expected)
    np.testing.assert_array_equal(pool_seasons(cross, 2, 0.0), cross)
    np.testing.assert_array_equal(pool_seasons(cross, 20, 0.5), cross)  # not one whole season


def test_pooled_is_a_fit_to_means_of_seasons():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 9)), rng.normal(size=(60, 12))
    means = pool_seasons(y, 3, 0.5)
    assert np.abs(means - y)[:, 6:9].max() > 0.1
    pooled = NLinear(0.1, season_length=3, pooled=0.5).fit([(x, y, np.ones(60))])
    usual = NLinear(0.1, season_length=3).fit([(x, means, np.ones(60))])
    np.testing.assert_allclose(pooled.coef_, usual.coef_, atol=1e-12)
