"""A linear map that knows of seasons: few weights, which all phases of a season share.

Axis letters: L steps of input, H steps ahead, m steps of a season, n seasons of input.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RIDGE = 0.1  # for either kind of weights, as a share of the mean of their squares' sums
LAST = 0.5  # what the penalty pulls the weights of the last season towards, the others towards 0


def seasonal_map(gram: Array, cross: Array, season_length: int) -> Array:
    """Return the map of least squares among those that treat all phases of a season alike.

    The last n whole seasons of a window, counted back from its end, have values `z[j, p]` at phase
    p and means `a[j]`. Phase p of the season b ahead is

        f[b, p] = sum_j w[b, j] (z[j, p] - a[j]) + sum_j v[b, j] a[j] + c[b]

    with 2n + 1 weights for a season ahead where a map for each step has m L. That phases share
    weights is from SparseTSF (Lin et al. 2024), that means have their own is not. A ridge penalty
    pulls towards halfway between the last value, which is 0, and the last season.

    Args:
        gram: (L, L) `z' z` of windows whose last column is the constant 1.
        cross: (L, H) `z' y`.
        season_length: m.

    Returns:
        (L, H) float64; zeros where fewer than two seasons lie in a window, or m is 1.

    Example:
        >>> z = np.random.default_rng(0).normal(size=(99, 8))
        >>> z[:, -1] = 1.0
        >>> y = z[:, [4, 5]]  # what was two seasons ago
        >>> seasonal_map(z.T @ z, z.T @ y, season_length=2).argmax(axis=0).tolist()
        [4, 5]
    """
    (L, H), m = cross.shape, season_length
    n = L // m
    coef = np.zeros((L, H))
    if m < 2 or n < 2:
        return coef
    of = np.arange(n * m).reshape(n, m) + L - n * m  # the step of each season and phase
    means = np.zeros((L, n))
    means[of, np.arange(n)[:, None]] = 1.0 / m
    features = np.zeros((m, L, 2 * n + 1))  # of each phase
    for p in range(m):
        features[p, of[:, p], np.arange(n)] = 1.0
    features[..., :n] -= means
    features[..., n : 2 * n] = means
    features[:, -1] = 0.0  # the last value is where the constant is
    features[:, -1, -1] = 1.0
    naive = np.zeros(2 * n + 1)
    naive[[n - 1, 2 * n - 1]] = LAST
    grams = np.stack([one.T @ gram @ one for one in features])
    for start in range(0, H, m):
        there = slice(0, min(m, H - start))
        normal = grams[there].sum(axis=0)
        right = np.einsum("plf,lp->f", features[there], cross[:, start : start + m])
        size = np.diag(normal)
        penalty = np.repeat([size[:n].mean(), size[n : 2 * n].mean(), 0.0], [n, n, 1]) * RIDGE
        penalty = np.maximum(penalty, 1e-12)
        weights = np.linalg.solve(normal + np.diag(penalty), right + penalty * naive)
        coef[:, start : start + m] = (features[there] @ weights).T
    return coef
