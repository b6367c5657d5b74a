"""A linear map of few weights, which all phases of a season share: smoothing with free weights.

Axis letters: L steps of input, H steps ahead, m steps of a season, n seasons of input.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMOOTHING = (0.3, 1.0)  # of each level; 1 leaves the last value
WINDOWS = 30  # that the penalty counts as
LAST = 0.5  # share of the last season where the penalty pulls; the rest is the mean of all


def seasonal_map(gram: Array, cross: Array, season_length: int) -> Array:
    """Return the map of least squares among those that treat all phases of a season alike.

    The last n whole seasons of a window, counted back from its end, have values `z[j, p]` at phase
    p and means `a[j]`; s[p], the mean of `z[j, p] - a[j]` over j, is the season, and l[i] are
    levels at the end: what is left of the values without it, smoothed exponentially from the first
    season's mean on, with the factors 0.3 and 1 (the last value). Phase p of the season b ahead is

        f[b, p] = sum_j w[b, j] (z[j, p] - a[j]) + sum_j v[b, j] a[j] + sum_i u[b, i] l[i] + c[b]

    with 2n + 3 weights for a season ahead where a map for each step has m L. That phases share
    weights is from SparseTSF (Lin et al. 2024); means and levels have weights of their own here. A
    ridge penalty that counts as 30 windows pulls towards seasonal exponential smoothing:
    `f = mean(l) + (s[p] + z[n-1, p] - a[n-1]) / 2`. Windows of less than two seasons, and those
    where m is 1, have levels only.

    Args:
        gram: (L, L) `z' z` of windows whose last column is the constant 1 in place of the last
            value, which is 0.
        cross: (L, H) `z' y`.
        season_length: m.

    Returns:
        (L, H) float64.

    Example:
        >>> z = np.random.default_rng(0).normal(size=(999, 8))
        >>> z[:, -1] = 1.0
        >>> y = z[:, [4, 5]]  # what was two seasons ago
        >>> seasonal_map(z.T @ z, z.T @ y, season_length=2).argmax(axis=0).tolist()
        [4, 5]
    """
    (L, H), m = cross.shape, season_length
    n = L // m
    if m == 1 or n < 2:
        m, n = 1, 0
    features = _features(L, m, n)
    usual = np.zeros(features.shape[-1])
    usual[2 * n : -1] = 1.0 / len(SMOOTHING)
    if n:
        usual[:n] = (1.0 - LAST) / n
        usual[n - 1] += LAST
    coef = np.zeros((L, H))
    grams = np.stack([one.T @ gram @ one for one in features])
    share = WINDOWS / max(float(gram[-1, -1]), 1.0)
    for start in range(0, H, m):
        there = slice(0, min(m, H - start))
        normal = grams[there].sum(axis=0)
        right = np.einsum("plf,lp->f", features[there], cross[:, start : start + m])
        size = np.diag(normal)
        penalty = np.zeros(len(size))  # the constant is free
        penalty[:n] = size[:n].sum() / max(n, 1)
        penalty[n:-1] = size[n:-1].mean()
        penalty = np.maximum(penalty * share, 1e-12)
        weights = np.linalg.solve(normal + np.diag(penalty), right + penalty * usual)
        coef[:, start : start + m] = (features[there] @ weights).T
    return coef


def pool_seasons(cross: Array, season_length: int, share: float) -> Array:
    """Return `cross` (L, H) of targets that are means over neighbouring seasons ahead.

    What is learnt for season b ahead (0 is the next) is the mean of the same phase in the seasons
    b - w to b + w, w = `share` b rounded down: so far ahead nobody tells one season from the next,
    and a mean has less noise to fit. No mean reaches behind the last whole season.

    >>> pool_seasons(np.array([[0.0, 1.0, 4.0, 9.0, 16.0]]), season_length=1, share=0.5)
    array([[ 0.        ,  1.        ,  4.66666667,  9.66666667, 16.        ]])
    """
    m, whole = season_length, cross.shape[1] // max(season_length, 1)
    pooled = cross.copy()
    for b in range(whole):
        w = min(int(share * b), whole - 1 - b)
        around = cross[:, (b - w) * m : (b + w + 1) * m]
        pooled[:, b * m : (b + 1) * m] = around.reshape(len(cross), 2 * w + 1, m).mean(axis=1)
    return pooled


def _features(L: int, m: int, n: int) -> Array:
    """Return for each phase the weights of the steps in each of the features, (m, L, features)."""
    of = np.arange(n * m).reshape(n, m) + L - n * m  # the step of each season and phase
    means = np.zeros((L, n))
    means[of, np.arange(n)[:, None]] = 1.0 / m
    apart = np.zeros((m, L, n))
    for p in range(m):
        apart[p, of[:, p], np.arange(n)] = 1.0
    apart -= means
    # The mean of the first season, then what comes in; smoothing is linear, so these are weights.
    start, span = (L - n * m, m) if n else (0, 1)
    rest = L - start - span
    levels = np.zeros((len(SMOOTHING), L))
    for level, factor in zip(levels, SMOOTHING, strict=True):
        level[start : start + span] = (1.0 - factor) ** rest / span
        level[L - rest :] = factor * (1.0 - factor) ** np.arange(rest - 1, -1, -1)
    if n:
        levels -= levels[:, of].sum(axis=1) @ apart.mean(axis=2)
    alike = np.concatenate([means, levels.T, np.zeros((L, 1))], axis=1)
    features = np.concatenate([apart, np.broadcast_to(alike, (m, *alike.shape))], axis=2)
    features[:, -1] = 0.0  # the last value is where the constant is
    features[:, -1, -1] = 1.0
    return features
