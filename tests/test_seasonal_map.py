import numpy as np
import pytest

from longshort.tasks._baselines import NLinear
from longshort.tasks._seasonal_map import LAST, RIDGE, seasonal_map


def windows(count, length, h):
    rng = np.random.default_rng(length + h)
    z, y = rng.normal(size=(count, length)), rng.normal(size=(count, h))
    z[:, -1] = 1.0
    return z, y


def by_rows(z, y, m):
    """Return the forecasts (N, H) of ridge regressions that see each phase as a row of its own."""
    (N, L), H = z.shape, y.shape[1]
    n = L // m
    seasons = np.where(np.arange(L) < L - 1, z, 0.0)[:, L - n * m :].reshape(N, n, m)
    means = seasons.mean(axis=2)
    naive = np.zeros((2 * n + 1, 1))
    naive[[n - 1, 2 * n - 1]] = LAST
    found = np.zeros((N, H))
    for start in range(0, H, m):
        phases = range(min(m, H - start))
        rows = np.concatenate(
            [np.hstack([seasons[..., p] - means, means, np.ones((N, 1))]) for p in phases]
        )
        target = np.concatenate([y[:, start + p] for p in phases])
        size = (rows**2).sum(axis=0)
        penalty = [RIDGE * size[:n].mean()] * n + [RIDGE * size[n : 2 * n].mean()] * n + [1e-12]
        right = rows.T @ target + np.array(penalty) * naive[:, 0]
        w = np.linalg.solve(rows.T @ rows + np.diag(penalty), right)
        found[:, start : start + m] = (rows @ w).reshape(-1, N).T
    return found


@pytest.mark.parametrize(
    ("length", "h", "m"), [(8, 4, 4), (12, 3, 4), (13, 9, 4), (24, 12, 12), (25, 30, 12), (6, 1, 2)]
)
def test_is_the_regression_over_all_phases(length, h, m):
    z, y = windows(50, length, h)
    np.testing.assert_allclose(z @ seasonal_map(z.T @ z, z.T @ y, m), by_rows(z, y, m), atol=1e-9)


@pytest.mark.parametrize(("length", "m"), [(11, 6), (8, 1)])
def test_is_nothing_without_two_seasons(length, m):
    z, y = windows(30, length, 3)
    assert not seasonal_map(z.T @ z, z.T @ y, m).any()


def test_a_great_penalty_leaves_the_seasonal_map():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 9)), rng.normal(size=(60, 5))
    batch = x, y, np.ones(60)
    free, held = NLinear(1e-9, season_length=4), NLinear(1e9, season_length=4)
    near = np.abs(held.fit([batch]).coef_[:-1]).max()
    assert near > 0.01  # without a season it would be 0
    np.testing.assert_allclose(free.fit([batch]).coef_, NLinear(1e-9).fit([batch]).coef_, atol=1e-5)
