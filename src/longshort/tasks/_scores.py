"""Scores of a classification, from true classes and predicted probabilities."""

from __future__ import annotations

import numpy as np


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
