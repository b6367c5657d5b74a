"""What the hyper-parameters of a Forecaster may be."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from longshort._errors import DataError

# From, to. XLA ends the process where an array has more elements than it can count.
_WHOLE = {
    "h": (1, 100_000),
    "units": (1, 65_536),
    "num_layers": (1, 100),
    "num_members": (1, 100),
    "epochs": (1, 10**9),
    "batch_size": (1, 10**6),
    "patience": (1, 10**9),
    "input_size": (1, 10**6),
    "season_length": (1, 10**6),
    "val_size": (1, 10**9),
    "seed": (0, 2**63 - 1),
}
_OPTIONAL = ("input_size", "season_length", "val_size")


def check_params(params: dict[str, Any]) -> None:
    """Raise one DataError that names all that is wrong.

    >>> from longshort.tasks import Forecaster
    >>> check_params(Forecaster(0).get_params())
    Traceback (most recent call last):
    ...
    longshort._errors.DataError: Forecaster: h must be an integer from 1 to 100000, got 0.
    """
    faults = []
    for name, (least, most) in _WHOLE.items():
        value = params[name]
        if value is None and name in _OPTIONAL:
            continue
        if name == "val_size" and _is(Integral, params["h"]):
            least = max(int(params["h"]), 1)
        if not _is(Integral, value) or not least <= value <= most:
            faults.append(f"{name} must be an integer from {least} to {most}, got {value!r}")
    dropout, rate, level = params["dropout"], params["learning_rate"], params["level"]
    if not _is(Real, dropout) or not 0 <= dropout < 1:
        faults.append(f"dropout must be a number from 0 to below 1, got {dropout!r}")
    if not _is(Real, rate) or not 0 < rate < float("inf"):
        faults.append(f"learning_rate must be a number above 0, got {rate!r}")
    numbers = list(level) if isinstance(level, Sequence) else []
    if not numbers or not all(_is(Real, v) and 0.01 <= v <= 99.99 for v in numbers):
        faults.append(f"level must hold percents from 0.01 to 99.99, got {level!r}")
    elif len({round(v, 3) for v in numbers}) < len(numbers):
        faults.append(f"level must hold different percents, got {level!r}")
    if params["log"] is not None and not isinstance(params["log"], bool):
        faults.append(f"log must be True, False or None, got {params['log']!r}")
    if faults:
        raise DataError(f"Forecaster: {'; '.join(faults)}.")


def _is(kind: type, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
