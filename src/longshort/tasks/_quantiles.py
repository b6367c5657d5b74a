"""Quantiles that cannot cross, and their loss.

Axis letters: B windows, M members, H steps ahead, Q quantiles.
"""

from __future__ import annotations

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
USUAL_WINDOWS = 4  # as if so many windows had asked for the usual widths
ENOUGH_WINDOWS = 200  # of so many, nothing else is asked
MOST_APART = 10.0  # of usual widths and those of a forecast, as a factor


def trust_in(num_windows: float) -> float:
    """Return how much windows count that were held out, against usual widths: 0 to 1.

    >>> trust_in(4), trust_in(1000)
    (0.5, 1.0)
    """
    return 1.0 if num_windows >= ENOUGH_WINDOWS else num_windows / (num_windows + USUAL_WINDOWS)


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
        level = quantiles[-1 - i] - quantiles[i]
        rank = min(1.0, np.ceil((len(f) + 1) * level) / len(f))
        factor = np.quantile(np.maximum(below, above), rank, method="higher")
        narrower = factors[i + 1] if i + 1 < n else LEAST_WIDTH
        factors[i] = np.clip(factor, narrower, MOST_WIDTH)
    return factors


def widened(
    forecasts: Array, factors: Array, usual: Array | None = None, trust: float = 1.0
) -> Array:
    """Return quantiles (..., Q) with half widths multiplied, and averaged with the usual ones.

        w = (factor w)^trust usual^(1 - trust)

    A few windows say little of widths, and a network that few windows taught even less: where the
    window it reads was wild, or it works on logarithms, its intervals may be a hundred times as
    wide as anything that happened. So there they are drawn towards usual widths.

    Args:
        forecasts: Quantiles (..., Q), rising.
        factors: One for each interval, from the widest.
        usual: Half widths (..., I) in the same units, NaN where they are not known; more than
            `MOST_APART` times those of the forecast, or less than a part of them, count as that.
        trust: In the forecast's own widths.

    >>> f = np.array([-1.0, 0.0, 1.0])
    >>> widened(f, np.array([4.0]), np.array([1.0]), 0.5).tolist()
    [-2.0, 0.0, 2.0]
    """
    n = forecasts.shape[-1] // 2
    middle = forecasts[..., n : n + 1]
    below, above = (middle - forecasts[..., :n]) * factors, forecasts[..., n + 1 :] - middle
    above = above * factors[::-1]
    if usual is not None:
        below, above = _averaged(below, usual, trust), _averaged(above, usual[..., ::-1], trust)
    widened: Array = np.concatenate([middle - below, middle, middle + above], axis=-1)
    return widened


def _averaged(widths: Array, usual: Array, trust: float) -> Array:
    usual = np.where(np.isnan(usual), widths, usual)
    usual = np.clip(usual, widths / MOST_APART, widths * MOST_APART)
    averaged: Array = widths**trust * usual ** (1.0 - trust)
    return averaged
