"""What the hyper-parameters of a Forecaster may be."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from longshort._errors import DataError
from longshort.tasks._base import (
    MAX_LAYERS,
    MAX_SEED,
    MAX_UNITS,
    check_bool,
    check_rate,
    check_share,
    check_whole,
    is_a,
)

DISTRIBUTIONS = ("Normal", "StudentT", "NegativeBinomial")

# From, to.
_WHOLE = {
    "h": (1, 100_000),
    "units": (1, MAX_UNITS),
    "num_layers": (1, MAX_LAYERS),
    "num_members": (1, 100),
    "epochs": (1, 10**9),
    "batch_size": (1, 10**6),
    "patience": (1, 10**9),
    "input_size": (1, 10**6),
    "season_length": (1, 10**6),
    "val_size": (1, 10**9),
    "seed": (0, MAX_SEED),
}
_OPTIONAL = ("input_size", "season_length", "val_size", "units", "epochs", "batch_size")


def check_params(params: dict[str, Any]) -> None:
    """Raise one DataError that names all that is wrong.

    >>> from longshort.tasks import Forecaster
    >>> check_params(Forecaster(0).get_params())
    Traceback (most recent call last):
    ...
    longshort._errors.DataError: Forecaster: h must be a whole number from 1 to 100000, got 0.
    """
    faults = []
    for name, (least, most) in _WHOLE.items():
        value = params[name]
        if value is None and name in _OPTIONAL:
            continue
        if name == "val_size" and is_a(Integral, params["h"]):
            least = max(int(params["h"]), 1)
        faults += check_whole(name, value, least, most)
    faults += check_share("dropout", params["dropout"])
    faults += check_rate("learning_rate", params["learning_rate"])
    level = params["level"]
    numbers = list(level) if isinstance(level, Sequence) else []
    if not numbers or not all(is_a(Real, v) and 0.01 <= v <= 99.99 for v in numbers):
        faults.append(f"level must hold percents from 0.01 to 99.99, got {level!r}")
    elif len({round(v, 3) for v in numbers}) < len(numbers):
        faults.append(f"level must hold different percents, got {level!r}")
    if (given := params["distribution"]) is not None and given not in DISTRIBUTIONS:
        names = ", ".join(map(repr, DISTRIBUTIONS))
        faults.append(f"distribution must be one of {names}, or None, got {given!r}")
    elif given == "NegativeBinomial" and params["log"]:
        faults.append("log: a logarithm of counts is no count; use log=None with NegativeBinomial")
    for name in ("calendar", "recursive"):
        faults += check_bool(name, params[name])
    if params["recursive"] is True and len(params["hist_exog_list"]):
        faults.append("recursive forecasts cannot know the hist_exog_list of the steps to come")
    if params["log"] is not None and not isinstance(params["log"], bool):
        faults.append(f"log must be True, False or None, got {params['log']!r}")
    if faults:
        raise DataError(f"Forecaster: {'; '.join(faults)}.")
