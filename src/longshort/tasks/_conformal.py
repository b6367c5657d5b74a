"""Conformal intervals: widths that hold what they promise, from the errors of rolling forecasts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ConformalWidths:
    """How far each interval is moved outwards, for each level and step ahead.

    Split conformal prediction (Vovk, Gammerman and Shafer, 2005, "Algorithmic learning in a random
    world"; Lei et al., 2018, "Distribution-free predictive inference for regression") in the form
    for quantile forecasts (Romano, Patterson and Candes, 2019, "Conformalized quantile
    regression"). With the ends lo and hi of an interval, y of rolling forecasts that the model was
    not trained on, and the scale s of each forecast's series,

        e = max(lo - y, y - hi) / s                       one score a forecast
        w = the k-th smallest of N scores, k = ceil((N + 1) level)
        [lo - s w, hi + s w]                              the new interval

    which holds the next y with a probability of at least `level`, whatever the model, as long as
    its score is exchangeable with those N. A negative w shrinks an interval that was too wide.
    With lo = hi = f it is the interval f +- s w of a point forecast.

    Windows of one series that follow each other are exchangeable only where the series does not
    change, and overlapping ones know less than their number says: there the level is a target,
    no promise.

    Attributes:
        level: Levels in percent, rising; V of them.
        widths: (V, H) widths w in units of the scale.
        num_scores: (H,) scores that each step had.

    >>> y, f = np.array([[1.0], [2.0], [3.0], [9.0]]), np.zeros((4, 1))
    >>> fitted = ConformalWidths.fit(y, f, f, scale=np.ones(4), level=[60, 80])
    >>> fitted.widths.tolist()
    [[3.0], [9.0]]
    >>> low, high = fitted.apply([[10.0]], [[10.0]], scale=[2.0])
    >>> low.tolist(), high.tolist()
    ([[[4.0, -8.0]]], [[[16.0, 28.0]]])
    """

    level: tuple[int | float, ...]
    widths: Array
    num_scores: NDArray[np.int64]

    @classmethod
    def fit(
        cls,
        y: ArrayLike,
        lower: ArrayLike,
        upper: ArrayLike,
        scale: ArrayLike,
        level: Sequence[int | float],
    ) -> ConformalWidths:
        """Measure the widths on rolling forecasts, many series together or one.

        Args:
            y: (N, H) what happened; NaN is unknown and left out.
            lower: Lower ends (N, H, V), one for each level, or (N, H) for all of them.
            upper: Upper ends of the same shape; a point forecast is both.
            scale: (N,) positive size of each forecast's series, in the units of y, known before
                the forecast was made; forecasts whose scale is NaN are left out.
            level: Levels in percent, rising, each above 0 and below 100.

        Returns:
            The widths. Where N scores are too few for a level (k above N, so N below
            level / (100 - level)) the largest score is taken and a UserWarning names the level
            that it stands for, N / (N + 1): an honest interval would be infinite, which helps
            nobody who has to draw it.

        Raises:
            ValueError: Shapes or levels do not fit; a scale is not positive; a forecast of a
                known y is not finite; or a step has no known y at all.
        """
        levels = _check_level(level)
        y_, scale_ = np.asarray(y, np.float64), np.asarray(scale, np.float64)
        if y_.ndim != 2 or scale_.shape != y_.shape[:1]:
            raise ValueError(
                f"ConformalWidths: expected y (N, H) and scale (N,), got {y_.shape} and "
                f"{scale_.shape}."
            )
        if (scale_ <= 0).any():
            raise ValueError("ConformalWidths: expected positive scales; leave such series out.")
        low, high = _ends(lower, upper, y_.shape, len(levels))
        known = ~np.isnan(y_) & ~np.isnan(scale_)[:, None]
        scores = np.maximum(low - y_[..., None], y_[..., None] - high) / scale_[:, None, None]
        if not np.isfinite(scores[known]).all():
            raise ValueError("ConformalWidths: a forecast of a known y is not finite.")
        count = known.sum(axis=0)
        if not count.all():
            step = int(np.argmin(count)) + 1
            raise ValueError(f"ConformalWidths: no y is known {step} steps ahead of any forecast.")
        widths = np.empty((len(levels), y_.shape[1]))
        for j in range(y_.shape[1]):
            ordered = np.sort(scores[known[:, j], j], axis=0)  # (n, V)
            for v, value in enumerate(levels):
                widths[v, j] = ordered[min(_rank(len(ordered), value), len(ordered)) - 1, v]
        _warn_of_few(int(count.min()), levels)
        return cls(levels, widths, count.astype(np.int64))

    def apply(
        self, lower: ArrayLike, upper: ArrayLike, scale: ArrayLike, middle: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Move the ends of intervals; those of larger levels contain those of smaller ones.

        An interval that shrinks below nothing becomes its centre. What would cross is widened,
        never narrowed, so no interval loses what it was promised to hold.

        Args:
            lower: Lower ends (S, H, V), one for each level, or (S, H) for all of them.
            upper: Upper ends of the same shape.
            scale: (S,) sizes of the series, as in `fit`.
            middle: (S, H) forecasts that every interval must contain, such as the median; None
                for none.

        Returns:
            Lower and upper ends, each (S, H, V).

        Raises:
            ValueError: The shapes do not fit.
        """
        scale_ = np.asarray(scale, np.float64)
        shape = (*scale_.shape, self.widths.shape[1])
        if scale_.ndim != 1:
            raise ValueError(f"ConformalWidths: expected scale (S,), got {scale_.shape}.")
        low, high = _ends(lower, upper, shape, len(self.level))
        move = scale_[:, None, None] * self.widths.T
        low, high = low - move, high + move
        centre = (low + high) / 2
        low, high = np.minimum(low, centre), np.maximum(high, centre)
        if middle is not None:
            centre = np.asarray(middle, np.float64)
            if centre.shape != shape:
                raise ValueError(f"ConformalWidths: expected middle {shape}, got {centre.shape}.")
            low, high = np.minimum(low, centre[..., None]), np.maximum(high, centre[..., None])
        return np.minimum.accumulate(low, axis=-1), np.maximum.accumulate(high, axis=-1)


def _rank(n: int, level: float) -> int:
    """Return k = ceil((n + 1) level), the rank of the score that is the width."""
    # 10 times 90 % is 9, not 10 as a float above 9 would have it.
    return max(math.ceil((n + 1) * level / 100 - 1e-9), 1)


def _ends(
    lower: ArrayLike, upper: ArrayLike, shape: tuple[int, ...], num_levels: int
) -> tuple[Array, Array]:
    """Return both ends as (N, H, V)."""
    found = []
    for name, given in (("lower", lower), ("upper", upper)):
        end = np.asarray(given, np.float64)
        if end.shape == shape:
            end = np.repeat(end[..., None], num_levels, axis=-1)
        if end.shape != (*shape, num_levels):
            raise ValueError(
                f"ConformalWidths: expected {name} as {(*shape, num_levels)} or {shape}, "
                f"got {end.shape}."
            )
        found.append(end)
    return found[0], found[1]


def _check_level(level: Sequence[int | float]) -> tuple[int | float, ...]:
    levels = tuple(level)
    rising = all(a < b for a, b in zip(levels, levels[1:], strict=False))
    if not levels or not all(0 < v < 100 for v in levels) or not rising:
        raise ValueError(
            f"ConformalWidths: expected levels that rise between 0 and 100, got {[*levels]}."
        )
    return levels


def _warn_of_few(n: int, levels: Sequence[int | float]) -> None:
    short = [v for v in levels if _rank(n, v) > n]
    if short:
        names = ", ".join(f"{v:g}" for v in short)
        needed = math.ceil(short[-1] / (100 - short[-1]) - 1e-9)
        warnings.warn(
            f"ConformalWidths: {n} forecasts are too few for the level{'s' * (len(short) > 1)} "
            f"{names}; the largest error is taken, which stands for {100 * n / (n + 1):.0f} %. "
            f"Use at least {needed} windows.",
            UserWarning,
            stacklevel=3,
        )
