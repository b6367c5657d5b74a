"""What the outputs of a forecasting network mean: quantiles, or a distribution's parameters.

Axis letters: N windows, L steps of input, M members, H steps ahead, R raw outputs, Q quantiles.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from longshort.data._windows import WindowScale
from longshort.tasks._distributions import Distribution, NegativeBinomial, Normal, StudentT
from longshort.tasks._linear_path import start_quantiles
from longshort.tasks._members import targets
from longshort.tasks._quantiles import pinball_loss, raw_of, rising

Array = NDArray[np.float64]


def head_of(distribution: str | None, quantiles: Sequence[float]) -> Head:
    """Return the head for one of `_forecaster_params.DISTRIBUTIONS`, or None for quantiles."""
    if distribution is None:
        return QuantileHead(quantiles)
    if distribution == "NegativeBinomial":
        return CountHead(quantiles)
    return LocationScaleHead(quantiles, Normal() if distribution == "Normal" else StudentT())


class Head(ABC):
    """From raw outputs to quantiles, and the loss.

    Args:
        quantiles: Rising, the median in the middle, Q of them.
    """

    outputs: int  # R
    calibrated = True  # whether widths of intervals may be changed afterwards

    def __init__(self, quantiles: Sequence[float]):
        self.at = list(quantiles)

    @abstractmethod
    def start(self, left: Array) -> Array:
        """Return raw outputs (H, R) that say how errors `left` (N, H) spread around 0."""

    def targets(self, x: Array, y: Array, base: Array, scale: WindowScale) -> Array:
        """Return what the loss is given of y (N, H): (N, M, H), what `base` leaves over."""
        return targets(y, base, scale)

    @abstractmethod
    def loss(self, y: Any, raw: Any) -> Any:
        """Return the loss of each window (N,) from targets and raw outputs (N, M, H, R)."""

    @abstractmethod
    def quantiles(self, x: Array, raw: Any, base: Array, scale: WindowScale) -> Array:
        """Return the members' quantiles (N, M, H, Q), scaled.

        Args:
            x: Windows (N, L).
            raw: Raw outputs (N, M, H, R).
            base: What the members set out from, (N, M, H), scaled.
            scale: Of the windows.
        """


class QuantileHead(Head):
    """The quantiles themselves, by the pinball loss."""

    def __init__(self, quantiles: Sequence[float]):
        super().__init__(quantiles)
        self.outputs = len(self.at)
        self._loss = pinball_loss(self.at)

    def start(self, left: Array) -> Array:
        """Return raw outputs (H, R); see `Head.start`."""
        return raw_of(start_quantiles(left, self.at))

    def loss(self, y: Any, raw: Any) -> Any:
        """Return the pinball loss (N,)."""
        return self._loss(y, raw)

    def quantiles(self, x: Array, raw: Any, base: Array, scale: WindowScale) -> Array:
        """Return the quantiles; see `Head.quantiles`."""
        return np.asarray(rising(raw), np.float64) + base[..., None]


class LocationScaleHead(Head):
    """A normal or Student t distribution of the scaled y, by its likelihood.

    Args:
        quantiles: As in `Head`.
        distribution: Its first parameters are location and scale.
    """

    def __init__(self, quantiles: Sequence[float], distribution: Distribution):
        super().__init__(quantiles)
        self.distribution = distribution
        self.outputs = distribution.num_params

    def start(self, left: Array) -> Array:
        """Return raw outputs (H, R): location 0, scale by the central 80 % of `left`."""
        spread = start_quantiles(left, [0.1, 0.5, 0.9])[:, 2] / 1.2816
        raw = np.zeros((len(spread), self.outputs))
        raw[:, 1] = spread + np.log(-np.expm1(-spread))  # the inverse of softplus
        raw[:, 2:] = 5.0  # degrees of freedom, where there are any: nearly normal
        return raw

    def loss(self, y: Any, raw: Any) -> Any:
        """Return the mean negative log-likelihood of the known steps, (N,)."""
        return _per_window(self.distribution, self.distribution.split(raw), y)

    def quantiles(self, x: Array, raw: Any, base: Array, scale: WindowScale) -> Array:
        """Return the quantiles; see `Head.quantiles`."""
        params = self.distribution.split(raw)
        return (
            self.distribution.quantiles([np.asarray(p) for p in params], self.at)
            + (base[..., None])
        )


class CountHead(Head):
    """A negative binomial distribution of y itself, whose mean is a multiple of the window's.

    The base of a member, which may be negative and no whole number, is not used.
    """

    outputs = NegativeBinomial().num_params
    calibrated = False  # the ends of intervals are counts

    distribution = NegativeBinomial()

    def start(self, left: Array) -> Array:
        """Return raw outputs (H, R): the mean of the window, and a dispersion of 1."""
        return np.full((left.shape[1], self.outputs), np.log(np.expm1(1.0)))

    def targets(self, x: Array, y: Array, base: Array, scale: WindowScale) -> Array:
        """Return y and the size of its window, (N, M, H, 2)."""
        both = np.stack([y, np.broadcast_to(_size(x), y.shape)], axis=-1)
        return np.broadcast_to(both[:, None], (len(y), base.shape[1], *both.shape[1:]))

    def loss(self, y: Any, raw: Any) -> Any:
        """Return the mean negative log-likelihood of the known steps, (N,)."""
        params = self.distribution.split(raw, y[..., 1])
        return _per_window(self.distribution, params, y[..., 0])

    def quantiles(self, x: Array, raw: Any, base: Array, scale: WindowScale) -> Array:
        """Return the quantiles; see `Head.quantiles`."""
        params = self.distribution.split(np.asarray(raw, np.float64), _size(x)[:, None])
        counts = self.distribution.quantiles([np.asarray(p) for p in params], self.at)
        return scale.apply(counts.reshape(len(x), -1)).reshape(counts.shape)


def _size(x: Array) -> Array:
    """Return the size of windows of counts, (N, 1): their mean, and a half where all are 0."""
    return x.mean(axis=1, keepdims=True) + 0.5


def _per_window(distribution: Distribution, params: Sequence[Any], y: Any) -> Any:
    known = ops.logical_not(ops.isnan(y))
    each = -distribution.log_density(params, ops.where(known, y, 1.0))
    count = ops.maximum(ops.sum(ops.cast(known, each.dtype), axis=(1, 2)), 1.0)
    return ops.sum(ops.where(known, each, 0.0), axis=(1, 2)) / count
