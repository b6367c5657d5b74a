"""The linear path under a forecasting network, and the window it looks through.

The network forecasts what a linear map in closed form leaves over. The map costs milliseconds, so
what has to be chosen for a data set (length of the window, logarithm or not, ridge penalty) is
chosen with it, by rolling forecasts inside the training part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longshort.data._windows import Windows, WindowScale
from longshort.tasks._baselines import NLinear

Array = NDArray[np.float64]

MAX_FOLDS = 4
MAX_FIT_WINDOWS = 20_000  # for one fit while choosing: 0.2 s at 336 steps
MAX_SCORE_WINDOWS = 2_000
RIDGES = (1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class PathChoice:
    """What the rolling forecasts chose, and how far off they were.

    Attributes:
        input_size: L, steps of input.
        log: Whether to work on logarithms.
        ridge: Penalty of the map.
        score: Mean absolute error over the rolling forecasts, each series scaled by its own
            seasonal differences (a MASE).
        residuals: (N, H), scaled errors `z - forecast` of these forecasts: out of sample.
    """

    input_size: int
    log: bool
    ridge: float
    score: float
    residuals: Array


def choose_path(
    series: Sequence[Array],
    h: int,
    season_length: int,
    *,
    input_sizes: Sequence[int],
    logs: Sequence[bool],
    seed: int,
) -> PathChoice:
    """Return the best of all combinations by rolling forecasts over the ends of `series`.

    Fold j forecasts from cutoffs in the j-th last stretch of h steps with a map fitted on targets
    before that stretch. `series` must be the training part only, each of `min(input_sizes) + h`
    values at least.
    """
    rng = np.random.default_rng(seed)
    scales = np.array([_scale(y, season_length) for y in series])
    best: PathChoice | None = None
    # All candidates forecast the same cutoffs: those that the longest window still reaches.
    reach = max(input_sizes)
    for length in input_sizes:
        folds = list(_folds(series, length, reach, h, rng))
        for log in logs:
            for ridge in RIDGES:
                errors, residuals = [], []
                for fit, score in folds:
                    model = NLinear(ridge, log).fit(batches(*fit))
                    x, y = score[0].gather(score[1])
                    forecast = model.predict(x)
                    error = np.abs(forecast - y).mean(axis=1)
                    errors.append(error / scales[score[0].series[score[1]]])
                    scale = WindowScale.fit(x, log=log)
                    residuals.append(scale.apply(y) - scale.apply(forecast))
                mean = float(np.concatenate(errors).mean()) if errors else 0.0
                if best is None or mean < best.score:
                    left = np.concatenate(residuals) if residuals else np.zeros((0, h))
                    best = PathChoice(length, log, ridge, mean, left)
    assert best is not None
    return best


def default_input_sizes(shortest: int, h: int, season_length: int) -> list[int]:
    """Return the windows to choose from: a season or h, and 2, 4, 8 times that.

    Bounded so that the shortest series keeps as many windows as a window is long, and by 400
    steps, beyond which an LSTM takes long.

    >>> default_input_sizes(108, h=12, season_length=12)
    [12, 24]
    """
    base = max(h, season_length, 4)
    most = max(1, (shortest - 2 * h) // 2)
    sizes = [base * k for k in (1, 2, 4, 8) if base * k <= min(most, max(base, 400))]
    return sizes or [min(base, most)]


def start_quantiles(residuals: Array, quantiles: Sequence[float]) -> Array:
    """Return (H, Q) quantiles around 0 from scaled rolling errors `residuals` (N, H).

    N is often 20 or less, so each step has only a spread of its own, smoothed as
    `a + b sqrt(k)` over the steps k, and all steps share one symmetric shape.
    """
    h = residuals.shape[1]
    spread = np.sqrt((residuals**2).mean(axis=0))
    design = np.stack([np.ones(h), np.sqrt(np.arange(1, h + 1))], axis=1)
    smooth = design @ np.linalg.lstsq(design, spread, rcond=None)[0]
    smooth = np.maximum(smooth, max(0.2 * float(spread.mean()), 1e-4))
    shape = np.abs(residuals / smooth).ravel()
    half = np.quantile(shape, [1 - 2 * q for q in quantiles[: len(quantiles) // 2]])
    around = np.concatenate([-half, [0.0], half[::-1]])
    result: Array = smooth[:, None] * around
    return result


def batches(
    windows: Windows, index: NDArray[np.intp], size: int = 2048
) -> Iterator[tuple[Array, Array]]:
    """Yield the windows `index` in pieces of at most `size`."""
    for start in range(0, len(index), size):
        yield windows.gather(index[start : start + size])


def thin(n: int, most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return at most `most` of the numbers below n, in order.

    Drawn at random: an even stride would see one hour of the day only.
    """
    if n <= most:
        return np.arange(n)
    return np.sort(rng.choice(n, size=most, replace=False))


Part = tuple[Windows, NDArray[np.intp]]


def _folds(
    series: Sequence[Array], length: int, reach: int, h: int, rng: np.random.Generator
) -> Iterator[tuple[Part, Part]]:
    for j in range(MAX_FOLDS):
        start = [len(y) - (j + 1) * h for y in series]
        stop = [min(len(y), s + 2 * h - 1) for y, s in zip(series, start, strict=True)]
        # A series too short for this fold gives it nothing: targets may start at its end only.
        first = [s if s >= reach else len(y) for y, s in zip(series, start, strict=True)]
        fit = Windows(series, length, h, last=start)
        score = Windows(series, length, h, first=first, last=stop)
        # With fewer windows than steps the map would say little about the choice.
        if len(score) == 0 or len(fit) < h:
            return
        yield (
            (fit, thin(len(fit), MAX_FIT_WINDOWS, rng)),
            (score, thin(len(score), MAX_SCORE_WINDOWS, rng)),
        )


def _scale(y: Array, season_length: int) -> float:
    m = season_length if len(y) > season_length else 1
    scale = float(np.abs(y[m:] - y[:-m]).mean())
    return scale if scale > 0 else 1.0
