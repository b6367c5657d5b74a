"""The hyper-parameters of a language model, checked."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING

from longshort._errors import DataError
from longshort.tasks._base import (
    MAX_LAYERS,
    MAX_SEED,
    MAX_UNITS,
    PRECISIONS,
    check_choice,
    check_rate,
    check_share,
    check_whole,
)

if TYPE_CHECKING:
    from longshort.tasks._language_model import LanguageModel

UNITS = ("char", "word", "subword")


def check_params(task: LanguageModel) -> None:
    """Raise one DataError for all that is wrong."""
    faults = [
        *check_choice("unit", task.unit, UNITS),
        *check_whole("units", task.units, 1, MAX_UNITS),
        *check_whole("num_layers", task.num_layers, 1, MAX_LAYERS),
        *check_whole("embedding_size", task._embedding_size, 1, MAX_UNITS),
        *(
            []
            if task.vocabulary_size is None
            else check_whole("vocabulary_size", task.vocabulary_size, 5, 10**7)
        ),
        *([] if task.min_count is None else check_whole("min_count", task.min_count, 1, 10**9)),
        *(
            []
            if task.num_sampled is None
            else check_whole("num_sampled", task.num_sampled, 1, 10**6)
        ),
        *[
            f"{name} must be True or False{rest}, got {value!r}"
            for name, rest, value, allowed in (
                ("lowercase", "", task.lowercase, (True, False)),
                ("tie_weights", " or None", task.tie_weights, (True, False, None)),
            )
            if not any(value is each for each in allowed)
        ],
        *check_share("dropout", task.dropout),
        *check_share("input_dropout", task.input_dropout),
        *check_share("embedding_dropout", task.embedding_dropout),
        *check_share("weight_drop", task.weight_drop),
        *check_whole("sequence_length", task.sequence_length, 1, 10**5),
        *check_whole("batch_size", task.batch_size, 1, 10**5),
        *([] if task.epochs is None else check_whole("epochs", task.epochs, 1, 10**9)),
        *check_rate("learning_rate", task.learning_rate),
        *check_share("validation_split", task.validation_split),
        *check_whole("patience", task.patience, 1, 10**9),
        *check_choice("precision", task.precision, PRECISIONS),
        *check_whole("seed", task.seed, 0, MAX_SEED),
    ]
    for name, value in (("clip_norm", task.clip_norm), ("max_minutes", task.max_minutes)):
        if value is None and name == "max_minutes":
            continue
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 < value < math.inf:
            faults.append(f"{name} must be a number above 0, got {value!r}")
    if faults:
        raise DataError(f"LanguageModel: {'; '.join(faults)}.")
