"""Quantiles that cannot cross, and their loss.

Axis letters: B windows, M members, H steps ahead, Q quantiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

Array = NDArray[Any]


def quantiles_of(level: Sequence[int | float]) -> list[float]:
    """Return the quantiles of central intervals and the median, in rising order.

    >>> quantiles_of((80, 95))
    [0.025, 0.1, 0.5, 0.9, 0.975]
    """
    low = sorted({round(0.5 - v / 200, 6) for v in level})
    return [*low, 0.5, *(round(1 - q, 6) for q in reversed(low))]


def rising(raw: Any) -> Any:
    """Turn raw outputs (..., 2 n + 1) into quantiles that rise along the last axis.

    The first raw output is the median; the others lie below and above it by sums of softplus
    terms, those below first, the outermost one first.
    """
    n = raw.shape[-1] // 2
    middle, gaps = raw[..., :1], ops.softplus(raw[..., 1:])
    below = middle - ops.flip(ops.cumsum(ops.flip(gaps[..., :n], -1), axis=-1), -1)
    above = middle + ops.cumsum(gaps[..., n:], axis=-1)
    return ops.concatenate([below, middle, above], axis=-1)


def raw_of(quantiles: Array) -> Array:
    """Return what `rising` turns into these quantiles (..., Q); gaps of 1e-4 are the smallest."""
    n = quantiles.shape[-1] // 2
    gaps = np.maximum(np.diff(quantiles, axis=-1), 1e-4)
    inverse = gaps + np.log(-np.expm1(-gaps))  # of softplus
    return np.concatenate([quantiles[..., n : n + 1], inverse], axis=-1)


def pinball_loss(quantiles: Sequence[float]) -> Callable[[Any, Any], Any]:
    """Return the loss of targets (B, M, H) and raw outputs (B, M, H, Q): a number a window, (B,).

    The mean over members, steps and quantiles of `max(q e, (q - 1) e)`, e = y - f. Steps whose
    target is NaN do not count.
    """
    q = np.asarray(quantiles, "float32")

    def loss(y: Any, raw: Any) -> Any:
        known = ops.logical_not(ops.isnan(y))
        error = ops.where(known, y, 0.0)[..., None] - rising(raw)
        each = ops.mean(ops.maximum(q * error, (q - 1.0) * error), axis=-1)
        return ops.mean(ops.where(known, each, 0.0), axis=(1, 2))

    return loss


LEAST_WIDTH, MOST_WIDTH = 0.5, 4.0


def conformal_rank(n: int, level: float) -> int:
    """Return which of n errors in rising order a `level` of the next ones stays below, 1 to n.

    That is ceil((n + 1) level), as in split conformal prediction.

    >>> conformal_rank(9, 0.9), conformal_rank(9, 0.95)
    (9, 9)
    """
    # 10 times 0.9 is 9, and not the 10 that a float just above 9 would make.
    return min(max(math.ceil((n + 1) * level - 1e-9), 1), n)


def width_factors(forecasts: Array, y: Array, quantiles: Sequence[float]) -> Array:
    """Return, for each interval from the widest, what its half widths are to be multiplied by.

    With the factor the interval holds its share of the values: it is the quantile, at the
    interval's level, of how far the values lie from the median in half widths (split conformal
    prediction with that score; Sesia and Candes 2020, "A comparison of some conformal quantile
    regression methods"). Between `LEAST_WIDTH` and `MOST_WIDTH`; that of a wider interval is never
    smaller, so that intervals do not cross.

    Args:
        forecasts: Quantiles (N, H, Q) of windows that were not trained on.
        y: What happened, (N, H); NaN where that is not known.
        quantiles: The Q quantiles.

    >>> f, y = np.array([[[-1.0, 0.0, 1.0]]]), np.array([[3.0]])
    >>> width_factors(f, y, [0.1, 0.5, 0.9]).tolist()
    [3.0]
    """
    n, known = len(quantiles) // 2, ~np.isnan(y)
    f, happened = forecasts[known], y[known]
    factors = np.ones(n)
    for i in reversed(range(n)):
        below = (f[:, n] - happened) / (f[:, n] - f[:, i])
        above = (happened - f[:, n]) / (f[:, -1 - i] - f[:, n])
        rank = conformal_rank(len(f), quantiles[-1 - i] - quantiles[i])
        factor = np.sort(np.maximum(below, above))[rank - 1]
        narrower = factors[i + 1] if i + 1 < n else LEAST_WIDTH
        factors[i] = np.clip(factor, narrower, MOST_WIDTH)
    return factors


def widened(forecasts: Array, factors: Array) -> Array:
    """Return quantiles (..., Q) with the half widths of each interval multiplied by its factor."""
    n = forecasts.shape[-1] // 2
    middle = forecasts[..., n : n + 1]
    both = np.concatenate([factors, [1.0], factors[::-1]])
    widened: Array = middle + (forecasts - middle) * both
    return widened
