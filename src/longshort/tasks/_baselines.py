"""Forecasts that a network has to beat: naive, seasonal naive, drift and a linear map.

Each takes input windows x (N, L) and returns forecasts (N, H). The first three pass over unknown
values (NaN); a row without a known value is forecast as NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from longshort._errors import NotFittedError
from longshort.data._windows import WindowScale
from longshort.tasks._seasonal_map import pool_seasons, seasonal_map

Array = NDArray[np.float64]
Batch = tuple[Array, Array, Array]  # inputs (N, L), targets (N, H), weights (N,) of windows

# Scaled targets beyond this say that a window hardly moved before a jump. Unbounded, a handful of
# them would be all of a sum of squares, and all of a validation loss.
MAX_RESIDUAL = 10.0


def naive(x: Array, h: int) -> Array:
    """Repeat the last known value: `f[k] = x[-1]`.

    >>> naive(np.array([[1.0, 2.0], [3.0, np.nan]]), 3).tolist()
    [[2.0, 2.0, 2.0], [3.0, 3.0, 3.0]]
    """
    return np.repeat(x[np.arange(len(x)), _last_known(x)][:, None], h, axis=1)


def seasonal_naive(x: Array, h: int, season_length: int) -> Array:
    """Repeat the last season: `f[k] = x[-m + (k mod m)]`, k from 0; m = 1 where L is below m.

    Where that value is unknown, the last known one at the same place of the season stands for it,
    and where there is none the last known value of all.

    >>> seasonal_naive(np.array([[9.0, 1.0, 2.0]]), 3, season_length=2).tolist()
    [[1.0, 2.0, 1.0]]
    """
    n, length = x.shape
    m = season_length if season_length <= length else 1
    # Whole seasons, so that a column is one place of the season: (N, seasons, m).
    padded = np.pad(x, ((0, 0), (-length % m, 0)), constant_values=np.nan)
    places = padded.reshape(n, -1, m).transpose(0, 2, 1).reshape(n * m, -1)
    last = places[np.arange(n * m), _last_known(places)].reshape(n, m)
    last = np.where(np.isnan(last), naive(x, 1), last)
    return last[:, np.arange(h) % m]


def drift(x: Array, h: int) -> Array:
    """Go on along the line from the first to the last value: a random walk with drift.

    `f[k] = x[-1] + k (x[-1] - x[0]) / (L - 1)`, k from 1 (Hyndman and Athanasopoulos, 2021,
    "Forecasting: principles and practice", section 5.2). First and last are the known ones, and
    the steps are counted between them; one known value alone is repeated.

    >>> drift(np.array([[1.0, 9.0, 5.0]]), 2).tolist()
    [[7.0, 9.0]]
    """
    rows, length = np.arange(len(x)), x.shape[1]
    first, last = np.argmax(~np.isnan(x), axis=1), _last_known(x)
    slope = (x[rows, last] - x[rows, first]) / np.maximum(last - first, 1)
    ahead = (length - 1 - last)[:, None] + np.arange(1, h + 1)
    return x[rows, last][:, None] + ahead * slope[:, None]


def _last_known(x: Array) -> NDArray[np.intp]:
    """Return the index of the last value of each row that is not NaN, the last of all without."""
    return x.shape[1] - 1 - np.argmax(~np.isnan(x[:, ::-1]), axis=1)


class NLinear:
    """One linear map from the input window to all h steps, fitted in closed form.

    `f = last + spread * (z W + b)` with `z = (x - last) / spread`: NLinear of Zeng et al. (2023,
    "Are Transformers Effective for Time Series Forecasting?", section 4), with a ridge penalty
    instead of gradient descent. The division by the window's spread lets one map serve series of
    different size. A window that does not move is repeated, and teaches nothing; one whose scaled
    targets go beyond `MAX_RESIDUAL` weighs less, so that its error counts as one of that size.

    Args:
        ridge: Penalty, as a share of the mean of the diagonal of `z' z`.
        log: Work on the logarithm of y (which must be positive).
        season_length: Steps of a season: what the penalty keeps small is then the distance from
            `seasonal_map`; 0: the coefficients themselves.
        pooled: How far ahead in seasons, as a share, the targets of one are averaged with those of
            its neighbours: `pool_seasons`; 0: not at all.

    >>> x = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [3.0, 5.0, 7.0]])
    >>> y = np.array([[4.0], [5.0], [9.0]])
    >>> model = NLinear(ridge=1e-9).fit([(x, y, np.ones(3))])
    >>> model.predict(np.array([[0.0, 3.0, 6.0]])).round(3).tolist()
    [[9.0]]
    """

    def __init__(
        self,
        ridge: float = 1e-3,
        log: bool = False,
        season_length: int = 0,
        pooled: float = 0.0,
    ):
        self.ridge, self.log, self.season_length = ridge, log, season_length
        self.pooled = pooled

    def fit(self, batches: Iterable[Batch]) -> NLinear:
        """Fit on batches of inputs (N, L), targets (N, H) and weights (N,) of their windows.

        Only sums are kept between them.
        """
        kinds = [(self.pooled, self.ridge)]
        (self.coef_,) = solutions(batches, kinds, self.log, self.season_length)
        return self

    def predict(self, x: Array) -> Array:
        """Return the forecasts (N, H) after the windows `x` (N, L)."""
        if not hasattr(self, "coef_"):
            raise NotFittedError("NLinear: call fit before predict.")
        scale = WindowScale.fit(x, log=self.log)
        return scale.undo(_design(scale, x) @ self.coef_)


def solutions(
    batches: Iterable[Batch],
    kinds: Sequence[tuple[float, float]],
    log: bool,
    season_length: int = 0,
) -> list[Array]:
    """Return `NLinear.coef_` (L, H) for each of `kinds`, (pooled, ridge), from one pass.

    Arguments are those of `NLinear`.
    """
    gram: Array | float = 0.0
    cross: Array | float = 0.0
    for x, y, weights in batches:
        scale = WindowScale.fit(x, log=log)
        z, target = _design(scale, x), scale.apply(y)
        furthest = np.abs(target).max(axis=1, keepdims=True)
        share = np.minimum(1.0, MAX_RESIDUAL / np.maximum(furthest, 1.0)) ** 2
        weighted = z * share * weights[:, None]
        gram = gram + weighted.T @ z
        cross = cross + weighted.T @ target
    if np.ndim(gram) == 0:
        raise ValueError("NLinear: expected at least one batch of windows, got none.")
    gram, cross = np.asarray(gram, np.float64), np.asarray(cross, np.float64)
    power = float(np.trace(gram) - gram[-1, -1]) / max(len(gram) - 1, 1)
    sides: dict[float, tuple[Array, Array]] = {}
    found: list[Array] = []
    for pooled, ridge in kinds:
        if pooled not in sides:
            learnt = pool_seasons(cross, season_length, pooled) if pooled else cross
            center = seasonal_map(gram, learnt, season_length) if season_length else 0.0 * learnt
            sides[pooled] = learnt, center
        learnt, center = sides[pooled]
        penalty = np.full(len(gram), ridge * max(power, 1e-12))
        penalty[-1] = 1e-12  # the constant is free
        right = learnt + penalty[:, None] * center
        found.append(np.linalg.solve(gram + np.diag(penalty), right).astype(np.float64, copy=False))
    return found


def _design(scale: WindowScale, x: Array) -> Array:
    # The last scaled value is 0 in every window; its place holds the constant.
    z = np.concatenate([scale.apply(x)[:, :-1], np.ones((len(x), 1))], axis=1)
    return np.where(scale.still, 0.0, z)
