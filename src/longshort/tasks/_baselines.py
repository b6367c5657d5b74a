"""Forecasts that a network has to beat: naive, seasonal naive and a linear map.

Each takes input windows x (N, L) and returns forecasts (N, H).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from longshort._errors import NotFittedError
from longshort.data._windows import WindowScale

Array = NDArray[np.float64]

# Scaled targets beyond this say that a window hardly moved before a jump. Unbounded, a handful of
# them would be all of a sum of squares, and all of a validation loss.
MAX_RESIDUAL = 10.0


def naive(x: Array, h: int) -> Array:
    """Repeat the last value: `f[k] = x[-1]`.

    >>> naive(np.array([[1.0, 2.0]]), 3).tolist()
    [[2.0, 2.0, 2.0]]
    """
    return np.repeat(x[:, -1:], h, axis=1)


def seasonal_naive(x: Array, h: int, season_length: int) -> Array:
    """Repeat the last season: `f[k] = x[-m + (k mod m)]`, k from 0; m = 1 where L is below m.

    >>> seasonal_naive(np.array([[9.0, 1.0, 2.0]]), 3, season_length=2).tolist()
    [[1.0, 2.0, 1.0]]
    """
    length = x.shape[1]
    m = season_length if season_length <= length else 1
    return x[:, length - m + np.arange(h) % m]


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

    >>> x = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [3.0, 5.0, 7.0]])
    >>> y = np.array([[4.0], [5.0], [9.0]])
    >>> model = NLinear(ridge=1e-9).fit([(x, y)])
    >>> model.predict(np.array([[0.0, 3.0, 6.0]])).round(3).tolist()
    [[9.0]]
    """

    def __init__(self, ridge: float = 1e-3, log: bool = False):
        self.ridge, self.log = ridge, log

    def fit(self, batches: Iterable[tuple[Array, Array]]) -> NLinear:
        """Fit on batches of inputs (N, L) and targets (N, H); only sums are kept between them."""
        gram: Array | float = 0.0
        cross: Array | float = 0.0
        for x, y in batches:
            scale = WindowScale.fit(x, log=self.log)
            z, target = self._design(scale, x), scale.apply(y)
            furthest = np.abs(target).max(axis=1, keepdims=True)
            weighted = z * np.minimum(1.0, MAX_RESIDUAL / np.maximum(furthest, 1.0)) ** 2
            gram = gram + weighted.T @ z
            cross = cross + weighted.T @ target
        if np.ndim(gram) == 0:
            raise ValueError("NLinear: expected at least one batch of windows, got none.")
        gram = np.asarray(gram)
        power = float(np.trace(gram) - gram[-1, -1]) / max(len(gram) - 1, 1)
        penalty = np.full(len(gram), self.ridge * max(power, 1e-12))
        penalty[-1] = 1e-12  # the constant is free
        self.coef_: Array = np.linalg.solve(gram + np.diag(penalty), np.asarray(cross))
        return self

    def predict(self, x: Array) -> Array:
        """Return the forecasts (N, H) after the windows `x` (N, L)."""
        if not hasattr(self, "coef_"):
            raise NotFittedError("NLinear: call fit before predict.")
        scale = WindowScale.fit(x, log=self.log)
        return scale.undo(self._design(scale, x) @ self.coef_)

    @staticmethod
    def _design(scale: WindowScale, x: Array) -> Array:
        # The last scaled value is 0 in every window; its place holds the constant.
        z = np.concatenate([scale.apply(x)[:, :-1], np.ones((len(x), 1))], axis=1)
        return np.where(scale.still, 0.0, z)
