"""The linear path under a forecasting network, and the window it looks through.

The network forecasts what a linear map in closed form leaves over. The map costs milliseconds, so
what has to be chosen for a data set (length of the window, logarithm or not, ridge penalty) is
chosen with it, by rolling forecasts inside the training part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._frames import SeriesSet, check_series
from longshort.data._windows import Windows, WindowScale
from longshort.tasks._baselines import MAX_RESIDUAL, NLinear, solutions
from longshort.tasks._metrics import seasonal_scale

Array = NDArray[np.float64]

MAX_FOLDS = 4
STRETCHES = 20  # of a series that is long beside h; one is what a fold scores
MAX_FIT_WINDOWS = 20_000  # for one fit while choosing: 0.2 s at 336 steps
MAX_SCORE_WINDOWS = 2_000
MAX_INPUT_SIZE = 720
LEAST_SEASONS = 7  # of a window that is shorter than h
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
POOLED = (0.0, 0.5)  # where h is four seasons or more; else they are the same
SLACK = 0.01  # of the score, to look back longer where the network has the data to use it


@dataclass(frozen=True)
class PathChoice:
    """What the rolling forecasts chose, and how far off they were.

    Attributes:
        input_size: L, steps of input.
        log: Whether to work on logarithms.
        ridge: Penalty of the map.
        pooled: How far neighbouring seasons ahead are averaged, see `NLinear`.
        season_length: Steps of a season, of the map that the penalty pulls towards.
        score: Mean absolute error over the rolling forecasts, each series scaled by its own
            seasonal differences (a MASE); infinite where the series are too short for any.
        residuals: (N, H), scaled errors of these forecasts as `left_over` gives them: out of
            sample.
    """

    input_size: int
    log: bool
    ridge: float
    pooled: float
    season_length: int
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
    slack: float = 0.0,
) -> PathChoice:
    """Return the best of all combinations by rolling forecasts over the ends of `series`.

    Of the input sizes whose best score is at most `1 + slack` times the best of all, it is the
    longest.

    Fold j forecasts from cutoffs in the j-th last stretch of h steps, or of a twentieth of the
    shortest series if that is longer, with a map fitted on targets before that stretch. `series`
    must hold nothing that the forecaster is tested on.
    """
    scales = np.array([seasonal_scale(y, season_length) or 1.0 for y in series])
    choices: list[PathChoice] = []
    folds = _folds(series, max(input_sizes), h, np.random.default_rng(seed))
    kinds = [(p, r) for p in POOLED[: 2 if h >= 4 * season_length > 4 else 1] for r in RIDGES]
    for length in input_sizes:
        found: dict[tuple[bool, float, float], list[tuple[Array, Array]]] = {}
        for fold in folds:
            fit, score = fold.windows(series, length, h)
            x, y = score.gather(fold.scored)
            scale = scales[score.series(fold.scored)]
            for log in logs:
                rng = np.random.default_rng(seed)
                for path in fit_paths(fit, kinds, log, rng, season_length):
                    error = np.abs(path.predict(x) - y).mean(axis=1) / scale
                    parts = found.setdefault((log, path.pooled, path.ridge), [])
                    parts.append((error, left_over(path, x, y)[1]))
        none = np.zeros((0, h))
        best = PathChoice(length, logs[0], RIDGES[0], 0.0, season_length, float("inf"), none)
        for (log, pooled, ridge), parts in found.items():
            mean = float(np.concatenate([error for error, _ in parts]).mean())
            if mean < best.score:
                residuals = np.concatenate([left for _, left in parts])
                best = PathChoice(length, log, ridge, pooled, season_length, mean, residuals)
        choices.append(best)
    bound = (1.0 + slack) * min(choice.score for choice in choices)
    if not folds:
        return choices[0]
    return max((c for c in choices if c.score <= bound), key=lambda c: c.input_size)


def fit_paths(
    windows: Windows,
    kinds: Sequence[tuple[float, float]],
    log: bool,
    rng: np.random.Generator,
    season_length: int = 0,
) -> list[NLinear]:
    """Return the linear map of each of `kinds`, fitted on at most `MAX_FIT_WINDOWS` of the windows.

    A kind is (pooled, ridge), see `NLinear`. The penalty pulls towards the map of seasons of
    `season_length`, or towards 0 where that is 0. The map works in units of a window's spread, but
    what is least are the squared errors in units of the series: a window counts by the square of
    its spread, as a share of the mean of its series. Else errors after quiet windows would count
    most, and they are the least foreseeable.
    """
    index = thin(len(windows), MAX_FIT_WINDOWS, rng)
    parts = [index[i : i + 2048] for i in range(0, len(index), 2048)]
    scales = [WindowScale.fit(windows.gather(part)[0], log=log) for part in parts]
    squares = [scale.spread[:, 0] ** 2 for scale in scales]
    of = [windows.series(part) for part in parts]
    sums = np.bincount(np.concatenate(of), np.concatenate(squares))
    usual = sums / np.maximum(np.bincount(np.concatenate(of)), 1)
    batches = (
        (*windows.gather(part), square / usual[series])
        for part, square, series in zip(parts, squares, of, strict=True)
    )
    paths = [NLinear(ridge, log, season_length, pooled) for pooled, ridge in kinds]
    for path, coef in zip(paths, solutions(batches, kinds, log, season_length), strict=True):
        path.coef_ = coef
    return paths


def left_over(path: NLinear, x: Array, y: Array) -> tuple[Array, Array]:
    """Return scaled windows (N, L, 1) and what the path leaves over of their targets (N, H)."""
    scale = WindowScale.fit(x, log=path.log)
    left = scale.apply(y) - scale.apply(path.predict(x))
    return scale.apply(x)[..., None], np.clip(left, -MAX_RESIDUAL, MAX_RESIDUAL)


def window_choices(series: SeriesSet, h: int, season_length: int) -> list[int]:
    """Return the lengths of window to choose from for these series.

    Raises:
        DataError: A series is too short, or a few are so much shorter than the others that the
            window would shrink for all.
    """
    # Two windows of h steps (training and validation) and two values to look back on.
    check_series(series, min_length=2 * h + 2, allow_missing=True)
    sizes = default_input_sizes(min(map(len, series.values)), h, season_length)
    base = max(h, season_length, 4)
    least = 2 * (h + base)
    short = [n for n, y in zip(series.ids, series.values, strict=True) if len(y) < least]
    if 0 < len(short) <= len(series) / 2:
        raise DataError(
            f"data: expected at least {least} steps in every series, to look back over {base}, "
            f"got fewer in {len(short)} of {len(series)} ({', '.join(map(repr, short[:5]))}"
            f"{' ...' * (len(short) > 5)}); leave these out or pass input_size, at most "
            f"{sizes[0]} for all to take part."
        )
    return sizes


def default_input_sizes(shortest: int, h: int, season_length: int) -> list[int]:
    """Return the windows to choose from: a season or h, and 2, 4, 7 times that.

    Where h is long, a quarter and a half of it too, in whole seasons and at least seven of them.
    Bounded by two thirds of the shortest series, less two h, and by `MAX_INPUT_SIZE` steps.

    >>> default_input_sizes(108, h=12, season_length=12)
    [12, 24, 48]
    >>> default_input_sizes(9_000, h=720, season_length=24)
    [168, 360, 720]
    """
    base = max(h, season_length, 4)
    most = max(1, (shortest - 2 * h) * 2 // 3)
    shorter = [base // k // season_length * season_length for k in (4, 2)]
    sizes = [n for n in shorter if n >= max(LEAST_SEASONS * season_length, 4)]
    sizes += [base * k for k in (1, 2, 4, 7)]
    sizes = [n for n in sizes if n <= min(most, max(base, MAX_INPUT_SIZE))]
    return sizes or [min(base, most)]


def start_quantiles(residuals: Array, quantiles: Sequence[float]) -> Array:
    """Return (H, Q) quantiles around 0 from scaled rolling errors `residuals` (N, H).

    Unknown ones are NaN. N is often 20 or less, so each step has only a spread of its own,
    smoothed as `a + b sqrt(k)` over the steps k, and all steps share one symmetric shape.
    """
    h = residuals.shape[1]
    known = ~np.isnan(residuals)
    count = np.maximum(known.sum(axis=0), 1)
    spread = np.sqrt((np.where(known, residuals, 0.0) ** 2).sum(axis=0) / count)
    design = np.stack([np.ones(h), np.sqrt(np.arange(1, h + 1))], axis=1)
    smooth = design @ np.linalg.lstsq(design, spread, rcond=None)[0]
    smooth = np.maximum(smooth, max(0.2 * float(spread.mean()), 1e-4))
    shape = np.abs(residuals / smooth)[known]
    half = np.quantile(shape, [1 - 2 * q for q in quantiles[: len(quantiles) // 2]])
    around = np.concatenate([-half, [0.0], half[::-1]])
    result: Array = smooth[:, None] * around
    return result


def thin(n: int, most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return at most `most` of the numbers below n, in order.

    Drawn at random: an even stride would see one hour of the day only.
    """
    if n <= most:
        return np.arange(n)
    return np.sort(rng.choice(n, size=most, replace=False))


@dataclass(frozen=True)
class _Fold:
    """One stretch to forecast, the same for windows of every length.

    Attributes:
        start: For each series the index before which targets of the fit end.
        first: For each series the first cutoff to score; its length where it takes no part.
        stop: For each series the index before which the targets to score end.
        scored: Numbers of the windows to score.
    """

    start: list[int]
    first: list[int]
    stop: list[int]
    scored: NDArray[np.intp]

    def windows(self, series: Sequence[Array], length: int, h: int) -> tuple[Windows, Windows]:
        """Return the windows to fit on and those that `scored` counts."""
        fit = Windows(series, length, h, last=self.start)
        return fit, Windows(series, length, h, first=self.first, last=self.stop)


def _folds(series: Sequence[Array], reach: int, h: int, rng: np.random.Generator) -> list[_Fold]:
    """Return folds for windows of up to `reach` steps."""
    folds: list[_Fold] = []
    stretch = max(h, min(map(len, series)) // STRETCHES)
    for j in range(MAX_FOLDS):
        start = [len(y) - (j + 1) * stretch for y in series]
        stop = [min(len(y), s + stretch + h - 1) for y, s in zip(series, start, strict=True)]
        # A series too short for this fold gives it nothing: targets may start at its end only.
        first = [s if s >= reach else len(y) for y, s in zip(series, start, strict=True)]
        fit, score = _Fold(start, first, stop, np.zeros(0, np.intp)).windows(series, reach, h)
        # With fewer windows than steps the map would say little about the choice.
        if len(score) == 0 or len(fit) < h:
            break
        folds.append(_Fold(start, first, stop, thin(len(score), MAX_SCORE_WINDOWS, rng)))
    return folds
