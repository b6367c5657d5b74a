"""Scores of a text classifier beside those of its linear part alone."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from longshort.tasks._scores import (
    ClassReport,
    calibration_error,
    class_report,
    classification_scores,
    confusion,
    multi_label_scores,
    sigmoid,
)


def text_report(
    targets: np.ndarray,
    p: np.ndarray,
    linear: np.ndarray | None,
    classes: list[Hashable],
    shares: np.ndarray,
    threshold: float | None,
) -> ClassReport:
    """Score probabilities as a whole and label by label.

    Args:
        targets: (n,) indices of classes, or (n, K) of 0 and 1 where several may apply.
        p: (n, K) probabilities.
        linear: (n, K) logits of the linear part alone; None: there is none.
        classes: K labels.
        shares: (K,) of the training part.
        threshold: From which probability on a label applies, where several may; else None.
    """
    if threshold is not None:
        scores = multi_label_scores(targets, p, threshold, shares)
        if linear is not None:
            alone = multi_label_scores(targets, sigmoid(linear), threshold, shares)
            scores["linear_micro_f1"] = alone["micro_f1"]
        return class_report(scores, classes, targets > 0, p >= threshold)
    scores = classification_scores(targets, p, int(shares.argmax()))
    majority = scores.pop("majority_accuracy")
    chosen = p.argmax(axis=1)
    scores["calibration_error"] = calibration_error(p.max(axis=1), chosen == targets)
    if linear is not None:
        scores["linear_accuracy"] = float((linear.argmax(axis=1) == targets).mean())
    scores["majority_accuracy"] = majority
    each = np.eye(len(classes), dtype=bool)
    counts = confusion(targets, chosen, len(classes))
    return class_report(scores, classes, each[targets], each[chosen], counts)
