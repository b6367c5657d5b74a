"""What the hyper-parameters of a Tagger may be."""

from __future__ import annotations

from typing import Any

from longshort._errors import DataError
from longshort.data._tag_schemes import SCHEMES
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


def check_params(params: dict[str, Any]) -> None:
    """Raise one DataError that names all that is wrong.

    >>> from longshort.tasks import Tagger
    >>> check_params(Tagger(0).get_params())
    Traceback (most recent call last):
    ...
    longshort._errors.DataError: Tagger: units must be a whole number from 1 to 65536, got 0.
    """
    faults = [
        *check_whole("units", params["units"], 1, MAX_UNITS),
        *check_whole("num_layers", params["num_layers"], 1, MAX_LAYERS),
        *check_whole("word_size", params["word_size"], 1, MAX_UNITS),
        *check_whole("char_size", params["char_size"], 1, MAX_UNITS),
        *check_whole("char_units", params["char_units"], 0, MAX_UNITS),
        *check_share("dropout", params["dropout"]),
        *check_share("word_dropout", params["word_dropout"]),
        *check_bool("crf", params["crf"]),
        *check_whole("num_members", params["num_members"], 1, MAX_LAYERS),
        *check_whole("min_count", params["min_count"], 1, 10**9),
        *check_bool("lowercase", params["lowercase"]),
        *check_rate("learning_rate", params["learning_rate"]),
        *check_whole("epochs", params["epochs"], 1, 10**9),
        *check_whole("batch_size", params["batch_size"], 1, 10**6),
        *check_share("validation_split", params["validation_split"]),
        *check_whole("patience", params["patience"], 1, 10**9),
        *check_choice("precision", params["precision"], PRECISIONS),
        *check_whole("seed", params["seed"], 0, MAX_SEED),
    ]
    if not isinstance(params["vectors"], str | None):
        faults.append(f"vectors must be a file name as a str, got {params['vectors']!r}")
    if (given := params["scheme"]) not in (None, "auto", *SCHEMES):
        faults.append(
            f"scheme must be 'auto', None, {', '.join(map(repr, SCHEMES))}, got {given!r}"
        )
    if faults:
        raise DataError(f"Tagger: {'; '.join(faults)}.")
