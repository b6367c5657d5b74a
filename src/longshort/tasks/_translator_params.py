"""What the hyper-parameters of a Translator and the arguments of its search may be."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from longshort._errors import DataError
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
    is_a,
)
from longshort.tasks._beam_search import Search
from longshort.tasks._cross_attention import KINDS

UNITS = ("subword", "word", "char")
MAX_BEAM = 512


def check_params(params: dict[str, Any]) -> None:
    """Raise one DataError that names all that is wrong.

    >>> from longshort.tasks import Translator
    >>> check_params(Translator(7).get_params())
    Traceback (most recent call last):
    ...
    longshort._errors.DataError: Translator: units must be even, half for each direction, got 7.
    """
    faults = [
        *check_whole("units", params["units"], 2, MAX_UNITS),
        *check_whole("num_layers", params["num_layers"], 1, MAX_LAYERS),
        *check_whole("embedding_size", params["embedding_size"], 1, MAX_UNITS),
        *check_bool("joint", params["joint"]),
        *check_bool("input_feeding", params["input_feeding"]),
        *check_share("dropout", params["dropout"]),
        *check_share("label_smoothing", params["label_smoothing"]),
        *check_whole("max_length", params["max_length"], 1, 10**5),
        *check_whole("batch_size", params["batch_size"], 1, 10**5),
        *check_rate("learning_rate", params["learning_rate"]),
        *check_share("validation_split", params["validation_split"]),
        *check_whole("patience", params["patience"], 1, 10**9),
        *check_choice("precision", params["precision"], PRECISIONS),
        *check_whole("seed", params["seed"], 0, MAX_SEED),
    ]
    if not faults and params["units"] % 2:
        faults.append(f"units must be even, half for each direction, got {params['units']}")
    for name, least, most in (
        ("vocabulary_size", 5, 10**7),
        ("min_count", 1, 10**9),
        ("epochs", 1, 10**9),
    ):
        if params[name] is not None:
            faults += check_whole(name, params[name], least, most)
    for name, allowed in (("unit", UNITS), ("attention", KINDS)):
        faults += check_choice(name, params[name], allowed)
    if params["unit"] == "subword" and params["min_count"] not in (None, 1):
        faults.append("min_count has no meaning for subwords; give vocabulary_size")
    for name, value in (("clip_norm", params["clip_norm"]), ("max_minutes", params["max_minutes"])):
        if value is None and name == "max_minutes":
            continue
        if not is_a(Real, value) or not 0 < value < math.inf:
            faults.append(f"{name} must be a number above 0, got {value!r}")
    if faults:
        raise DataError(f"Translator: {'; '.join(faults)}.")


def check_search(
    *,
    beam_size: Any,
    length_penalty: Any,
    coverage_penalty: Any,
    no_repeat_ngram_size: Any,
    max_length: Any,
    n: Any = 1,
) -> Search:
    """Return the settings of a search.

    Raises:
        DataError: A value is out of range.
    """
    faults = check_whole("beam_size", beam_size, 1, MAX_BEAM)
    faults += check_whole("no_repeat_ngram_size", no_repeat_ngram_size, 0, 10**6)
    if max_length is not None:
        faults += check_whole("max_length", max_length, 1, 10**6)
    for name, value in (("length_penalty", length_penalty), ("coverage_penalty", coverage_penalty)):
        if not is_a(Real, value) or not 0 <= value <= 100:
            faults.append(f"{name} must be a number from 0 to 100, got {value!r}")
    if not faults:
        faults = check_whole("n", n, 1, beam_size)
    if faults:
        raise DataError(f"Translator: {'; '.join(faults)}.")
    return Search(
        beam_size=beam_size,
        length_penalty=float(length_penalty),
        coverage_penalty=float(coverage_penalty),
        no_repeat_ngram_size=no_repeat_ngram_size,
        num_best=n,
    )
