"""Checks of the text classifier's hyper-parameters; what they mean for its training."""

from __future__ import annotations

from collections.abc import Hashable
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from longshort._errors import DataError
from longshort.data._vocabulary import RESERVED
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
from longshort.tasks._pooling import POOLINGS

if TYPE_CHECKING:
    from longshort.tasks._text_classifier import TextClassifier

MAX_TOKENS, MAX_VOCABULARY = 100_000, 10_000_000
MANY_TEXTS = 10_000
LEAST_STEPS, LEAST_EPOCHS, MOST_EPOCHS = 1500, 6, 40


def check_params(task: TextClassifier) -> None:
    """Raise a DataError that names all hyper-parameters which cannot be used."""
    faults = [
        *check_whole("units", task.units, 1, MAX_UNITS),
        *check_whole("num_layers", task.num_layers, 1, MAX_LAYERS),
        *check_bool("bidirectional", task.bidirectional),
        *check_choice("unit", task.unit, ("word", "char", "subword")),
        *check_whole("vocabulary_size", task.vocabulary_size, len(RESERVED) + 1, MAX_VOCABULARY),
        *check_whole("min_count", task.min_count, 1, 10**9),
        *check_bool("lowercase", task.lowercase),
        *check_whole("max_tokens", task.max_tokens, 2, MAX_TOKENS),
        *check_choice("pooling", task.pooling, POOLINGS),
        *check_share("dropout", task.dropout),
        *check_share("embedding_dropout", task.embedding_dropout),
        *check_whole("ngrams", task.ngrams, 0, 5),
        *check_bool("multi_label", task.multi_label),
        *check_share("threshold", task.threshold),
        *check_rate("learning_rate", task.learning_rate),
        *check_whole("batch_size", task.batch_size, 1, 10**6),
        *check_share("validation_split", task.validation_split),
        *check_whole("patience", task.patience, 1, 10**9),
        *check_choice("precision", task.precision, PRECISIONS),
        *check_whole("seed", task.seed, 0, MAX_SEED),
        *_check_class_weight(task),
    ]
    if task.epochs is not None:
        faults += check_whole("epochs", task.epochs, 1, 10**9)
    if task.num_members is not None:
        faults += check_whole("num_members", task.num_members, 1, 100)
    if task.embedding_size is not None:
        faults += check_whole("embedding_size", task.embedding_size, 1, MAX_UNITS)
    if task.vectors is not None and (not isinstance(task.vectors, str) or task.unit != "word"):
        faults.append(
            f"vectors must be a file name as a str, and unit 'word', got {task.vectors!r} and "
            f"{task.unit!r}"
        )
    if faults:
        raise DataError(f"TextClassifier: {'; '.join(faults)}.")


def _check_class_weight(task: TextClassifier) -> list[str]:
    given = task.class_weight
    if given is None:
        return []
    if task.multi_label:
        return ["class_weight is for one label a text, leave it out with multi_label=True"]
    if isinstance(given, dict):
        positive = all(is_a(Real, weight) and 0 < weight < np.inf for weight in given.values())
        return [] if positive else [f"class_weight must hold numbers above 0, got {given!r}"]
    if isinstance(given, str) and given == "balanced":
        return []
    return [f"class_weight must be None, 'balanced' or a dict, got {given!r}"]


def epochs_of(task: TextClassifier, num_texts: int) -> int:
    """Return the most passes over `num_texts`: few texts make few steps, so they need more.

    >>> from longshort.tasks import TextClassifier
    >>> [epochs_of(TextClassifier(), n) for n in (5000, 2000, 100)]
    [10, 24, 40]
    """
    if task.epochs is not None:
        return task.epochs
    steps = -(-num_texts // min(task.batch_size, num_texts))
    return min(max(LEAST_EPOCHS, -(-LEAST_STEPS // steps)), MOST_EPOCHS)


def members_of(task: TextClassifier, num_texts: int) -> int:
    """Return how many networks to train on `num_texts`: chance counts less where there are many.

    >>> from longshort.tasks import TextClassifier
    >>> members_of(TextClassifier(), 9_999), members_of(TextClassifier(), 10_000)
    (3, 1)
    """
    return task.num_members or (3 if num_texts < MANY_TEXTS else 1)


def class_weights(
    given: str | dict[Any, float] | None, targets: np.ndarray, classes: list[Hashable]
) -> np.ndarray | None:
    """Return how much each text counts, (n,) float32 of mean 1, or None for all the same.

    Example:
        >>> class_weights("balanced", np.array([0, 0, 0, 1]), ["a", "b"]).tolist()
        [0.6666666865348816, 0.6666666865348816, 0.6666666865348816, 2.0]
    """
    if given is None:
        return None
    counts = np.bincount(targets, minlength=len(classes))
    if isinstance(given, dict):
        missing = [label for label in classes if label not in given]
        unknown = [label for label in given if label not in classes]
        if missing or unknown:
            what = f"lacks {missing[0]!r}" if missing else f"has the unknown {unknown[0]!r}"
            known = ", ".join(map(repr, classes[:10])) + (", ..." if len(classes) > 10 else "")
            raise DataError(
                f"TextClassifier: class_weight {what}; give one weight for each label ({known})."
            )
        weights = np.array([float(given[label]) for label in classes])
    else:
        weights = 1 / np.maximum(counts, 1)
    rows = weights[targets]
    return (rows / rows.mean()).astype(np.float32)


def check_state(state: dict[str, Any]) -> None:
    """Raise ValueError if what a file holds beside vocabulary and networks cannot be."""
    classes, shares = state["classes"], state["shares"]
    if type(classes) is not list or len(set(classes)) < len(classes) or not classes:
        raise ValueError("broken classes")
    if np.shape(shares) != (len(classes),):
        raise ValueError("broken shares")
    if not 0 < state["temperature"] < np.inf or type(state["num_held_out"]) is not int:
        raise ValueError("broken temperature or num_held_out")
    if type(state["share"]) is not float or not 0 <= state["share"] <= 1:
        raise ValueError("broken share")
    if type(state["history"]) is not list:
        raise ValueError("broken history")
