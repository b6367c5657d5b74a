"""What `Forecaster.auto` searches: which hyper-parameters, and from where to where."""

from __future__ import annotations

import hashlib
import inspect
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longshort.data._calendar import calendar_names
from longshort.data._frequency import Freq, season_length_of
from longshort.data._series import SeriesSet
from longshort.tasks._linear_path import default_input_sizes

# A choice of values (a list, the default among them) or numbers from, to, on a logarithmic scale.
Space = dict[str, list[Any] | tuple[float, float, bool]]

UNITS = (16, 32, 64, 128)
SEASONS = (4, 7, 12, 24)  # to try where ds counts and says nothing
MOST_WINDOWS = 10


def rolling_windows(shortest: int, h: int) -> int:
    """Return how many windows of h steps score a trial: a fifth of the data, at most 10 windows.

    Short data give a third if that makes 3 windows, for fewer say little.

    >>> rolling_windows(144, 12), rolling_windows(10_000, 24), rolling_windows(30, 12)
    (3, 10, 1)
    """
    return min(max(1, shortest // (5 * h), min(3, shortest // (3 * h))), MOST_WINDOWS)


def search_space(series: SeriesSet, h: int, n_windows: int, fixed: dict[str, Any]) -> Space:
    """Return what is searched for these data; what is fixed is left out.

    None stands for the forecaster's own choice and is the default; so every default can be a trial.
    """
    shortest = min(map(len, series.values)) - n_windows * h
    season = fixed.get("season_length") or season_length_of(series.freq)
    sizes = default_input_sizes(max(shortest, 2 * h + 2), h, season)
    space: Space = {
        "input_size": [None, *sizes],
        "units": [None, *UNITS],
        "num_layers": [1, 2],
        "dropout": (0.0, 0.6, False),
        "learning_rate": (2e-4, 2e-2, True),
        "calendar": [False, True] if calendar_names(series.freq) else [False],
        "season_length": [None, *_seasons(series.freq, shortest)],
    }
    return {
        name: values
        for name, values in space.items()
        if name not in fixed and not (isinstance(values, list) and len(values) == 1)
    }


def _seasons(freq: Freq, shortest: int) -> list[int]:
    """Return longer seasons than the usual one: a week of days for hours; some where ds counts.

    Never a shorter one: a season that is not looked at is no better a forecast.
    """
    usual = season_length_of(freq)
    if usual > 1:
        longer = [7 * usual] if "day_of_week_sin" in calendar_names(freq) and usual != 7 else []
    else:
        longer = list(SEASONS) if isinstance(freq, int) else []
    return [m for m in longer if shortest >= 4 * m]


def defaults_of(space: Space, signature: inspect.Signature) -> dict[str, Any]:
    """Return the constructor's default of each hyper-parameter of the space."""
    return {name: signature.parameters[name].default for name in space}


def study_name(settings: dict[str, Any], series: SeriesSet, static: NDArray[Any]) -> str:
    """Return a name that is the same for the same settings and data, and for no others."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=repr).encode())
    for name, y, t, futr, hist in zip(
        series.ids, series.values, series.times, series.futr, series.hist, strict=True
    ):
        digest.update(f"{name!r} {t[0]} {t[-1]} {len(y)}".encode())
        for values in (y, futr, hist):
            digest.update(np.ascontiguousarray(values).tobytes())
    digest.update(np.ascontiguousarray(static).tobytes())
    return f"longshort-{digest.hexdigest()[:16]}"
