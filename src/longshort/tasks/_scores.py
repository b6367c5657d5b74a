"""Scores and calibration of a classification, from true classes and probabilities."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


class ClassReport(NamedTuple):
    """Scores as a whole and label by label.

    Attributes:
        scores: By name.
        classes: Table `label, precision, recall, f1, count`; count is how often the label is true.
        confusion: Table (K, K), how often the label of the row was taken for that of the column;
            None where several labels may apply to one text.
    """

    scores: dict[str, float]
    classes: pd.DataFrame
    confusion: pd.DataFrame | None


def log_softmax(values: np.ndarray) -> np.ndarray:
    """Return the logarithms of the softmax over the last axis."""
    values = values - values.max(axis=-1, keepdims=True)
    return values - np.log(np.exp(values).sum(axis=-1, keepdims=True))


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-values)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)))


def classification_scores(
    true: np.ndarray, probabilities: np.ndarray, majority: int
) -> dict[str, float]:
    """Score probabilities against the true classes.

    Args:
        true: (n,) class indices.
        probabilities: (n, K), rows sum to 1.
        majority: The most frequent class of the training part, the baseline's only guess.

    Returns:
        accuracy; balanced_accuracy (mean of the recalls of the classes that occur in `true`);
        macro_f1 (mean over the classes that occur or were predicted); log_loss (nats a
        sequence); majority_accuracy, the accuracy of the baseline.

    Example:
        >>> p = np.array([[0.9, 0.1], [0.2, 0.8]])
        >>> classification_scores(np.array([0, 1]), p, majority=0)["majority_accuracy"]
        0.5
    """
    K = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    hits = np.bincount(true[true == predicted], minlength=K)
    occurs = np.bincount(true, minlength=K)
    guessed = np.bincount(predicted, minlength=K)
    present, involved = occurs > 0, occurs + guessed > 0
    chosen = probabilities[np.arange(len(true)), true]
    return {
        "accuracy": float(hits.sum() / len(true)),
        "balanced_accuracy": float((hits[present] / occurs[present]).mean()),
        "macro_f1": float((2 * hits[involved] / (occurs + guessed)[involved]).mean()),
        "log_loss": float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean()),
        "majority_accuracy": float(occurs[majority] / len(true)),
    }


def confusion(true: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Return how often each true class (rows) was predicted as each class (columns), (K, K).

    >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    pairs = np.bincount(true * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def class_scores(
    hits: np.ndarray, occurs: np.ndarray, guessed: np.ndarray
) -> dict[str, np.ndarray]:
    """Return precision, recall and F1 of each class, (K,) each, 0 where they are not defined.

    Args:
        hits: (K,) how often the class was predicted and right.
        occurs: (K,) how often it is true.
        guessed: (K,) how often it was predicted.

    Example:
        >>> scores = class_scores(np.array([1, 0]), np.array([2, 1]), np.array([1, 2]))
        >>> scores["precision"].tolist(), scores["recall"].tolist()
        ([1.0, 0.0], [0.5, 0.0])
    """
    return {
        "precision": hits / np.maximum(guessed, 1),
        "recall": hits / np.maximum(occurs, 1),
        "f1": 2 * hits / np.maximum(occurs + guessed, 1),
    }


def class_report(
    scores: dict[str, float],
    classes: list[Hashable],
    true: np.ndarray,
    predicted: np.ndarray,
    counts: np.ndarray | None = None,
) -> ClassReport:
    """Put a report together.

    Args:
        scores: By name.
        classes: K labels.
        true: (n, K) whether each label is true.
        predicted: (n, K) whether it was predicted.
        counts: What `confusion` returned.
    """
    import pandas as pd

    names = pd.Series(classes, dtype=object)
    occurs = true.sum(axis=0)
    columns = class_scores((true & predicted).sum(axis=0), occurs, predicted.sum(axis=0))
    table = pd.DataFrame({"label": names, **columns, "count": occurs})
    if counts is None:
        return ClassReport(scores, table, None)
    labels = pd.Index(names, name="label", tupleize_cols=False)
    return ClassReport(scores, table, pd.DataFrame(counts, index=labels, columns=labels))


def multi_label_scores(
    true: np.ndarray, probabilities: np.ndarray, threshold: float, shares: np.ndarray
) -> dict[str, float]:
    """Score probabilities of labels of which several may apply.

    Args:
        true: (n, K) of 0 and 1.
        probabilities: (n, K).
        threshold: From which probability on a label is predicted.
        shares: (K,) share of the training part that has each label.

    Returns:
        micro_f1 (of all decisions together); macro_f1 (mean over the labels that occur or were
        predicted); subset_accuracy (share of rows all of whose labels are right); log_loss (nats,
        mean over labels and rows); calibration_error; and, to compare with,
        majority_subset_accuracy: that of always predicting the labels which more than half of the
        training part have.

    Example:
        >>> true = np.array([[1, 0], [1, 1]])
        >>> p = np.array([[0.9, 0.2], [0.8, 0.1]])
        >>> scores = multi_label_scores(true, p, 0.5, np.array([0.9, 0.1]))
        >>> scores["micro_f1"], scores["subset_accuracy"], scores["majority_subset_accuracy"]
        (0.8, 0.5, 0.5)
    """
    true, predicted = true > 0, probabilities >= threshold
    hits, occurs, guessed = (true & predicted).sum(0), true.sum(0), predicted.sum(0)
    involved = occurs + guessed > 0
    f1 = class_scores(hits, occurs, guessed)["f1"]
    everything = occurs.sum() + guessed.sum()
    chosen = np.where(true, probabilities, 1 - probabilities)
    return {
        # Nothing to find and nothing found is right.
        "micro_f1": float(2 * hits.sum() / everything) if everything else 1.0,
        "macro_f1": float(f1[involved].mean()) if involved.any() else 1.0,
        "subset_accuracy": float((true == predicted).all(axis=1).mean()),
        "log_loss": float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean()),
        "calibration_error": calibration_error(probabilities.ravel(), true.ravel()),
        "majority_subset_accuracy": float((true == (shares > 0.5)).all(axis=1).mean()),
    }


def calibration_error(probabilities: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error (Guo et al. 2017), 0 to 1.

    Predictions are put into bins of equal width by their probability; it is the mean over all of
    the distance between mean probability and share of right ones in the bin.

    Args:
        probabilities: (n,) of what was predicted.
        right: (n,) whether it was right.
        bins: Their number.

    Example:
        >>> round(calibration_error(np.array([0.9, 0.9, 0.6]), np.array([1, 0, 1])), 3)
        0.4
    """
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=probabilities - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(probabilities))


def fit_temperature(values: np.ndarray, targets: np.ndarray) -> float:
    """Return the T for which softmax(values / T) has the least cross entropy (Guo et al. 2017).

    With (n, K) targets of 0 and 1 it is sigmoid(values / T). No label changes its rank, but a
    network that is too sure of itself becomes less so. Each class counts as if one text more had it
    (Laplace's rule), or a few texts that are all right would make it sure of everything.

    Args:
        values: (n, K) logits of texts that were not trained on.
        targets: (n,) class indices, or (n, K).

    Returns:
        T, from 0.05 to 20.

    Example:
        >>> values = np.array([[4.0, 0.0]] * 3 + [[-4.0, 0.0]])
        >>> T = fit_temperature(values, np.array([0, 0, 0, 1]))
        >>> round(float(1 / (1 + np.exp(-4 / T))), 3)  # all four are right
        0.833
    """
    n, K = values.shape
    if targets.ndim == 1:
        targets = (n * np.eye(K)[targets] + 1) / (n + K)
        slope = _slope_softmax
    else:
        targets = (n * targets + 1) / (n + 2)
        slope = _slope_sigmoid
    # Convex in 1 / T: halve the interval on the slope.
    low, high = 1 / 20, 1 / 0.05
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        if slope(values, targets, middle) > 0:
            high = middle
        else:
            low = middle
    return float(1 / np.sqrt(low * high))


# Derivatives of the cross entropy of `factor * values` by `factor`.
def _slope_softmax(values: np.ndarray, targets: np.ndarray, factor: float) -> float:
    p = np.exp(factor * (values - values.max(axis=1, keepdims=True)))
    p /= p.sum(axis=1, keepdims=True)
    return float(((p - targets) * values).sum(axis=1).mean())


def _slope_sigmoid(values: np.ndarray, targets: np.ndarray, factor: float) -> float:
    return float(((sigmoid(factor * values) - targets) * values).mean())
