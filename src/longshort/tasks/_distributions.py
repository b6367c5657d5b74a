"""Distributions that a network can forecast: their loss in `keras.ops`, their quantiles in SciPy.

A network gives raw numbers (..., P) for each step, P = `num_params`. `split` turns them into
parameters, each of shape (...), positive ones by softplus and above a floor; the loss is the mean
negative log-likelihood over the steps whose y is known. Everything is a function of its arguments;
the classes hold nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from longshort.tasks._log_gamma import log_gamma_difference, recurrence, stirling_rest

Array = NDArray[np.float64]

# Least scale, in units of the scaled y: a density can then not grow without bound on a series that
# repeats a value, and gradients stay finite for errors up to 1e10.
MIN_SCALE = 1e-4
MIN_MEAN = 1e-6
MIN_DISPERSION = 1e-4
MIN_EXCESS_DF = 1e-2


class Distribution(ABC):
    """What the distributions have in common.

    Attributes:
        names: The parameters, in the order of `split`.
        num_params: Raw numbers a step, P.
    """

    names: ClassVar[tuple[str, ...]]

    @property
    def num_params(self) -> int:
        """Raw numbers a step, P."""
        return len(self.names)

    @abstractmethod
    def split(self, raw: Any, scale: Any = 1.0) -> tuple[Any, ...]:
        """Turn raw numbers (..., P) into parameters, each (...).

        Args:
            raw: Any real numbers, the output of a linear layer.
            scale: Positive size of y, which broadcasts to (...): location and spread of the
                distribution are multiplied by it.

        Returns:
            The parameters, in the order of `names`.
        """

    @abstractmethod
    def log_density(self, params: Sequence[Any], y: Any) -> Any:
        """Return the logarithm of the density (the probability, of counts) at a known y."""

    @abstractmethod
    def quantiles(self, params: Sequence[ArrayLike], qs: ArrayLike) -> Array:
        """Return the quantiles (..., Q) at probabilities `qs` (Q,) between 0 and 1."""

    @abstractmethod
    def mean(self, params: Sequence[ArrayLike]) -> Array:
        """Return the mean (...)."""

    @abstractmethod
    def sample(self, params: Sequence[ArrayLike], n: int, rng: np.random.Generator) -> Array:
        """Return n draws (n, ...) of each step, independent of each other."""

    def negative_log_likelihood(self, params: Sequence[Any], y: Any, mask: Any = None) -> Any:
        """Return the mean of `-log p(y)` over the known y, a scalar tensor.

        Args:
            params: As `split` returns them.
            y: (...) what happened; NaN is unknown.
            mask: (...) booleans, False where y is to be left out; None leaves out NaN only.

        Returns:
            The mean; 0 where no y is known. What lies under the mask reaches neither the value
            nor the gradients.
        """
        y = ops.convert_to_tensor(y, dtype=params[0].dtype)
        known = ops.logical_not(ops.isnan(y))
        if mask is not None:
            known = ops.logical_and(known, ops.cast(mask, "bool"))
        # NaN times a gradient of zero is NaN: the unknown must be gone before the density.
        losses = -self.log_density(params, ops.where(known, y, ops.ones_like(y)))
        weights = ops.cast(known, losses.dtype)
        total = ops.sum(ops.where(known, losses, ops.zeros_like(losses)))
        return total / ops.maximum(ops.sum(weights), 1.0)


class Normal(Distribution):
    """The normal distribution with location m and scale s.

    `log p(y) = -((y - m) / s)^2 / 2 - log s - log(2 pi) / 2`, s at least 1e-4 (times `scale`).

    >>> Normal().quantiles((np.array([1.0]), np.array([2.0])), [0.1, 0.5, 0.9]).round(3).tolist()
    [[-1.563, 1.0, 3.563]]
    """

    names = ("loc", "scale")

    def split(self, raw: Any, scale: Any = 1.0) -> tuple[Any, ...]:
        """Return location and scale; see `Distribution.split`."""
        return raw[..., 0] * scale, (ops.softplus(raw[..., 1]) + MIN_SCALE) * scale

    def log_density(self, params: Sequence[Any], y: Any) -> Any:
        """Return log p(y) (...)."""
        loc, scale = params
        z = (y - loc) / scale
        return -0.5 * z * z - ops.log(scale) - 0.5 * math.log(2 * math.pi)

    def quantiles(self, params: Sequence[ArrayLike], qs: ArrayLike) -> Array:
        """Return the quantiles (..., Q)."""
        loc, scale = _along_quantiles(params)
        return np.asarray(loc + scale * special.ndtri(_probabilities(qs)), np.float64)

    def mean(self, params: Sequence[ArrayLike]) -> Array:
        """Return the mean (...), the location."""
        return np.asarray(params[0], np.float64)

    def sample(self, params: Sequence[ArrayLike], n: int, rng: np.random.Generator) -> Array:
        """Return draws (n, ...)."""
        loc, scale = _arrays(params)
        return loc + scale * rng.standard_normal((n, *np.broadcast_shapes(loc.shape, scale.shape)))


class StudentT(Distribution):
    """Student's t distribution with location m, scale s and v > 2 degrees of freedom.

        log p(y) = log gamma((v + 1) / 2) - log gamma(v / 2) - log(v pi) / 2 - log s
                   - (v + 1) / 2 log(1 + z^2 / v),   z = (y - m) / s

    Its tails take an outlier for what it is: the gradient of the location falls with the distance.
    The variance s^2 v / (v - 2) is finite; v is at least 2.01, s at least 1e-4 (times `scale`).

    >>> params = (np.array([0.0]), np.array([1.0]), np.array([3.0]))
    >>> StudentT().quantiles(params, [0.1, 0.9]).round(3).tolist()
    [[-1.638, 1.638]]
    """

    names = ("loc", "scale", "df")

    def split(self, raw: Any, scale: Any = 1.0) -> tuple[Any, ...]:
        """Return location, scale and degrees of freedom; see `Distribution.split`."""
        df = 2.0 + MIN_EXCESS_DF + ops.softplus(raw[..., 2])
        return raw[..., 0] * scale, (ops.softplus(raw[..., 1]) + MIN_SCALE) * scale, df

    def log_density(self, params: Sequence[Any], y: Any) -> Any:
        """Return log p(y) (...)."""
        loc, scale, df = params
        # log(1 + a^2) without a square that overflows: 2 log b + log1p((a / b^2)^2), b = max(a, 1).
        a = ops.abs(y - loc) / (scale * ops.sqrt(df))
        b = ops.maximum(a, 1.0)
        tail = 2.0 * ops.log(b) + ops.log1p((a / b / b) ** 2)
        start = log_gamma_difference(0.5 * df, 0.5) - 0.5 * ops.log(df * math.pi)
        return start - ops.log(scale) - 0.5 * (df + 1.0) * tail

    def quantiles(self, params: Sequence[ArrayLike], qs: ArrayLike) -> Array:
        """Return the quantiles (..., Q)."""
        loc, scale, df = _along_quantiles(params)
        return np.asarray(loc + scale * special.stdtrit(df, _probabilities(qs)), np.float64)

    def mean(self, params: Sequence[ArrayLike]) -> Array:
        """Return the mean (...), the location."""
        return np.asarray(params[0], np.float64)

    def sample(self, params: Sequence[ArrayLike], n: int, rng: np.random.Generator) -> Array:
        """Return draws (n, ...)."""
        loc, scale, df = _arrays(params)
        shape = np.broadcast_shapes(loc.shape, scale.shape, df.shape)
        return loc + scale * rng.standard_t(df, (n, *shape))


class NegativeBinomial(Distribution):
    """The negative binomial distribution of counts y = 0, 1, 2 ... with mean m and dispersion a.

        log P(y) = log gamma(y + r) - log gamma(r) - log gamma(y + 1)
                   - r log(1 + m / r) + y log(m / (m + r)),   r = 1 / a

    The variance is m + a m^2: a near 0 is a Poisson distribution (Cameron and Trivedi, 2013,
    "Regression analysis of count data", section 3.3.1; as in Salinas et al., 2020, "DeepAR").
    a is at least 1e-4, m at least 1e-6 (times `scale`). In float32 the loss is good to 1e-5 of its
    terms for counts up to some thousands.

    >>> params = (np.array([3.0]), np.array([0.5]))
    >>> NegativeBinomial().quantiles(params, [0.1, 0.5, 0.9]).tolist()
    [[0.0, 2.0, 7.0]]
    """

    names = ("mean", "dispersion")

    def split(self, raw: Any, scale: Any = 1.0) -> tuple[Any, ...]:
        """Return mean and dispersion; see `Distribution.split`. Only the mean is scaled."""
        mean = (ops.softplus(raw[..., 0]) + MIN_MEAN) * scale
        return mean, ops.softplus(raw[..., 1]) + MIN_DISPERSION

    def log_density(self, params: Sequence[Any], y: Any) -> Any:
        """Return log P(y) (...)."""
        mean, dispersion = params
        r = 1.0 / dispersion
        # log_gamma_difference(r, y) - log_gamma_difference(1, y), whose terms y log y, far larger
        # than the result, are taken together: log(r + 8 + y) - log(9 + y).
        moved, one = r + 8.0, 9.0
        choose = (
            (moved - 0.5) * ops.log1p(y / moved)
            - (one - 0.5) * ops.log1p(y / one)
            + y * ops.log1p((r - 1.0) / (one + y))
            + (stirling_rest(moved + y) - stirling_rest(moved))
            - (stirling_rest(one + y) - stirling_rest(one * ops.ones_like(y)))
            - (recurrence(r, y) - recurrence(ops.ones_like(y), y))
        )
        return choose - r * ops.log1p(mean / r) - y * ops.log1p(r / mean)

    def quantiles(self, params: Sequence[ArrayLike], qs: ArrayLike) -> Array:
        """Return the quantiles (..., Q), whole numbers."""
        mean, dispersion = _along_quantiles(params)
        r = 1.0 / dispersion
        return np.asarray(stats.nbinom.ppf(_probabilities(qs), r, r / (r + mean)), np.float64)

    def mean(self, params: Sequence[ArrayLike]) -> Array:
        """Return the mean (...)."""
        return np.asarray(params[0], np.float64)

    def sample(self, params: Sequence[ArrayLike], n: int, rng: np.random.Generator) -> Array:
        """Return draws (n, ...): a Poisson count whose rate is gamma distributed."""
        mean, dispersion = _arrays(params)
        shape = np.broadcast_shapes(mean.shape, dispersion.shape)
        rate = rng.gamma(1.0 / dispersion, mean * dispersion, (n, *shape))
        return rng.poisson(rate).astype(np.float64)


def _arrays(params: Sequence[ArrayLike]) -> list[Array]:
    return [np.asarray(value, np.float64) for value in params]


def _along_quantiles(params: Sequence[ArrayLike]) -> list[Array]:
    return [value[..., None] for value in _arrays(params)]


def _probabilities(qs: ArrayLike) -> Array:
    q = np.asarray(qs, np.float64)
    if q.ndim != 1 or not ((q > 0) & (q < 1)).all():
        raise ValueError(f"quantiles: expected probabilities between 0 and 1, got {qs!r}.")
    return q
