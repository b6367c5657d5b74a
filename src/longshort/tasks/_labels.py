"""Labels of a classification: their classes, their numbers, arrays of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from longshort._errors import DataError
from longshort.data._sequences import check_labels


def find_classes(labels: list[Hashable]) -> list[Hashable]:
    """Return the different labels, sorted where they have an order."""
    classes = list(dict.fromkeys(labels))
    try:
        return sorted(classes)  # type: ignore[type-var]
    except TypeError:
        return classes


def index_labels(labels: list[Hashable], classes: list[Hashable], name: str) -> np.ndarray:
    """Return the place of each label in `classes`, (n,)."""
    places = {label: k for k, label in enumerate(classes)}
    unseen = [(i, label) for i, label in enumerate(labels) if label not in places]
    if unseen:
        i, label = unseen[0]
        known = ", ".join(map(repr, classes[:10])) + (", ..." if len(classes) > 10 else "")
        raise DataError(
            f"{name}[{i}]: the label {label!r} did not occur in training (labels there: {known})."
        )
    return np.array([places[label] for label in labels], dtype=np.int64)


def label_array(classes: list[Hashable]) -> np.ndarray:
    """Return the labels as a plain array of their kind, else as an array of objects."""
    kinds = {type(label) for label in classes}
    if len(kinds) == 1 and kinds <= {str, bool, int, float}:
        array = np.array(classes)
        if array.dtype.kind in "Ubif" and array.tolist() == classes:
            return array
    array = np.empty(len(classes), dtype=object)
    array[:] = classes
    return array


def check_label_sets(y: Any, n: int, *, name: str = "y") -> list[list[Hashable]]:
    """Check one list of labels, maybe empty, for each of `n` sequences.

    Raises:
        DataError: If there are more or fewer, or one is no list of hashable labels.

    Example:
        >>> check_label_sets([("a", "b"), []], 2)
        [['a', 'b'], []]
    """
    if isinstance(y, (str, bytes)) or not isinstance(y, Iterable) or hasattr(y, "columns"):
        raise DataError(
            f"{name}: expected a list of {n} lists of labels, got a {type(y).__name__}."
        )
    sets = list(y)
    if len(sets) != n:
        raise DataError(f"{name}: expected {n} lists of labels, one a text, got {len(sets)}.")
    for i, labels in enumerate(sets):
        if not isinstance(labels, (list, tuple, set, frozenset, np.ndarray)):
            raise DataError(
                f"{name}[{i}]: expected a list of labels, as several may apply "
                f"(multi_label=True), got {labels!r}. Put a single one into a list."
            )
        labels = sorted(labels, key=str) if isinstance(labels, (set, frozenset)) else labels
        sets[i] = check_labels(labels, len(labels), name=f"{name}[{i}]")
    return sets


def index_label_sets(sets: list[list[Hashable]], classes: list[Hashable], name: str) -> np.ndarray:
    """Return which of the `classes` apply to each, (n, K) float32 of 0 and 1."""
    targets = np.zeros((len(sets), len(classes)), dtype=np.float32)
    for i, labels in enumerate(sets):
        targets[i, index_labels(labels, classes, f"{name}[{i}]")] = 1
    return targets
