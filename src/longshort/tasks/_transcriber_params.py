"""What the hyper-parameters of a Transcriber and the arguments of its search may be."""

from __future__ import annotations

from typing import Any

import numpy as np

from longshort._errors import DataError
from longshort.data._audio import MAX_RATE, MIN_RATE
from longshort.tasks._alphabet import UNITS, Alphabet
from longshort.tasks._base import (
    MAX_LAYERS,
    MAX_SEED,
    MAX_UNITS,
    check_bool,
    check_rate,
    check_share,
    check_whole,
)
from longshort.tasks._transcriber_net import REDUCTIONS

NORMALIZE = ("global", "utterance")


def check_params(params: dict[str, Any]) -> None:
    """Raise one DataError that names all that is wrong.

    >>> from longshort.tasks import Transcriber
    >>> check_params(Transcriber(0).get_params())
    Traceback (most recent call last):
    ...
    longshort._errors.DataError: Transcriber: units must be a whole number from 1 to 65536, got 0.
    """
    faults = [
        *check_whole("units", params["units"], 1, MAX_UNITS),
        *check_whole("num_layers", params["num_layers"], 1, MAX_LAYERS),
        *check_bool("bidirectional", params["bidirectional"]),
        *check_bool("resample", params["resample"]),
        *check_whole("num_mels", params["num_mels"], 1, 1000),
        *check_rate("window", params["window"]),
        *check_rate("hop", params["hop"]),
        *check_whole("channels", params["channels"], 1, MAX_UNITS),
        *check_share("dropout", params["dropout"]),
        *check_bool("augment", params["augment"]),
        *check_whole("ngram", params["ngram"], 0, 20),
        *check_rate("learning_rate", params["learning_rate"]),
        *check_whole("epochs", params["epochs"], 1, 10**9),
        *check_share("validation_split", params["validation_split"]),
        *check_whole("patience", params["patience"], 1, 10**9),
        *check_whole("seed", params["seed"], 0, MAX_SEED),
    ]
    if params["batch_size"] is not None:
        faults += check_whole("batch_size", params["batch_size"], 1, 10**6)
    if params["sample_rate"] is not None:
        faults += check_whole("sample_rate", params["sample_rate"], MIN_RATE, MAX_RATE)
    for name, allowed in (
        ("unit", UNITS),
        ("normalize", NORMALIZE),
        ("reduction", REDUCTIONS),
    ):
        if (value := params[name]) not in allowed:
            faults.append(f"{name} must be one of {allowed}, got {value!r}")
    if faults:
        raise DataError(f"Transcriber: {'; '.join(faults)}.")
    if params["alphabet"] is not None:
        try:
            Alphabet(params["alphabet"], params["unit"])
        except (TypeError, ValueError) as error:
            raise DataError(f"Transcriber: alphabet: {error}") from None


def check_search(beam_size: Any, ngram_weight: Any, bonus: Any) -> bool:
    """Return whether the best path will do, after a look at the arguments of a search."""
    faults = check_whole("beam_size", beam_size, 1, 100_000)
    for name, value in (("ngram_weight", ngram_weight), ("bonus", bonus)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            faults.append(f"{name} must be a finite number, got {value!r}")
    if faults:
        raise DataError(f"Transcriber: {'; '.join(faults)}.")
    return bool(beam_size == 1)
