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
    PRECISIONS,
    check_bool,
    check_choice,
    check_rate,
    check_share,
    check_whole,
)
from longshort.tasks._transcriber_net import REDUCTIONS

NORMALIZE = ("global", "loudness", "utterance")
LEARNING_RATE = 0.003
MOST_AT_ONCE = 16  # recordings a step, if not said
NGRAM_WEIGHT = 0.5  # a guess, not measured


def usual_learning_rate(batch_size: int) -> float:
    """Return the learning rate for n recordings a step: 0.003 sqrt(n / 16), at most 0.003.

    Gradients of a few recordings point anywhere, and with steps of full length a network may hang
    where it says as many labels as there mostly are, whatever it hears. The root keeps the noise of
    Adam's steps (Malladi et al. 2022, "On the SDEs and scaling rules for adaptive gradient
    algorithms").

    >>> usual_learning_rate(4), usual_learning_rate(16), usual_learning_rate(64)
    (0.0015, 0.003, 0.003)
    """
    return LEARNING_RATE * min(1.0, batch_size / MOST_AT_ONCE) ** 0.5


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
        *check_choice("unit", params["unit"], UNITS),
        *check_choice("normalize", params["normalize"], NORMALIZE),
        *check_bool("resample", params["resample"]),
        *check_whole("num_mels", params["num_mels"], 1, 1000),
        *check_rate("window", params["window"]),
        *check_rate("hop", params["hop"]),
        *check_whole("channels", params["channels"], 1, MAX_UNITS),
        *check_share("dropout", params["dropout"]),
        *check_bool("augment", params["augment"]),
        *check_whole("ngram", params["ngram"], 0, 20),
        *check_whole("num_members", params["num_members"], 1, MAX_LAYERS),
        *check_whole("epochs", params["epochs"], 1, 10**9),
        *check_share("validation_split", params["validation_split"]),
        *check_whole("patience", params["patience"], 1, 10**9),
        *check_choice("precision", params["precision"], PRECISIONS),
        *check_whole("seed", params["seed"], 0, MAX_SEED),
    ]
    if params["learning_rate"] is not None:
        faults += check_rate("learning_rate", params["learning_rate"])
    if params["batch_size"] is not None:
        faults += check_whole("batch_size", params["batch_size"], 1, 10**6)
    if params["sample_rate"] is not None:
        faults += check_whole("sample_rate", params["sample_rate"], MIN_RATE, MAX_RATE)
    if (value := params["reduction"]) not in REDUCTIONS:
        faults.append(f"reduction must be one of {REDUCTIONS}, got {value!r}")
    if faults:
        raise DataError(f"Transcriber: {'; '.join(faults)}.")
    if params["alphabet"] is not None:
        try:
            Alphabet(params["alphabet"], params["unit"])
        except (TypeError, ValueError) as error:
            raise DataError(f"Transcriber: alphabet: {error}") from None


def check_search(beam_size: Any, ngram_weight: Any, bonus: Any, *, ngram: bool) -> float | None:
    """Return the weight of the n-gram model in a search with a beam, or None for the best path.

    Args:
        beam_size: 1 for the best path.
        ngram_weight: None: 0.5 where there is an n-gram model.
        bonus: For each label.
        ngram: Whether there is an n-gram model.

    Raises:
        DataError: A value is out of range, or would have no effect.
    """
    faults = check_whole("beam_size", beam_size, 1, 100_000)
    for name, value in (("ngram_weight", ngram_weight), ("bonus", bonus)):
        if name == "ngram_weight" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            faults.append(f"{name} must be a finite number, got {value!r}")
    if not faults and ngram_weight is not None and not ngram:
        faults.append("ngram_weight: the model has no n-gram model; fit it with ngram=3, say")
    if not faults and beam_size == 1 and (ngram_weight is not None or bonus):
        faults.append("ngram_weight and bonus are for a search; use a beam_size of 2 or more")
    if faults:
        raise DataError(f"Transcriber: {'; '.join(faults)}.")
    if beam_size == 1:
        return None
    return NGRAM_WEIGHT if ngram_weight is None else float(ngram_weight)
