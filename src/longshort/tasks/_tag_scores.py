"""How good tags are: beside giving each word its usual one, and by spans."""

from __future__ import annotations

from collections import Counter

import numpy as np

from longshort.data._tag_schemes import find_scheme
from longshort.tasks._span_scores import span_scores

Rows = list[list[str]]


def tag_scores(
    words: Rows, gold: Rows, found: Rows, usual: dict[str, str], *, spans: bool
) -> dict[str, float]:
    """Return the scores that `Tagger.evaluate` describes.

    Args:
        words: n sentences.
        gold: Their right tags.
        found: The tags to score.
        usual: As `usual_tags` gives it for the training part.
        spans: Whether the model's tags mark spans.

    >>> usual = usual_tags([["a", "b"]], [["X", "Y"]])
    >>> tag_scores([["a", "c"]], [["X", "X"]], [["X", "Y"]], usual, spans=False)
    {'accuracy': 0.5, 'unknown_accuracy': 0.0, 'baseline_accuracy': 1.0}
    """
    flat = [word for row in words for word in row]
    baseline = [[usual.get(word, usual[""]) for word in row] for row in words]
    right = right_tags(gold, found)
    scores = {"accuracy": float(right.mean())}
    unknown = np.array([word not in usual for word in flat])
    if unknown.any():
        scores["unknown_accuracy"] = float(right[unknown].mean())
    scores["baseline_accuracy"] = float(right_tags(gold, baseline).mean())
    if spans and find_scheme(gold) is not None:
        of_spans = span_scores(gold, found)
        for name in ("precision", "recall", "f1"):
            scores[name] = of_spans["all"][name]
        scores["baseline_f1"] = span_scores(gold, baseline)["all"]["f1"]
        for kind, rates in list(of_spans.items())[:-1]:
            for name in ("precision", "recall", "f1"):
                scores[f"{name}-{kind}"] = rates[name]
    return scores


def usual_tags(words: list[list[str]], gold: list[list[str]]) -> dict[str, str]:
    """Return each word's most frequent tag, and under "" that of all words."""
    counts: dict[str, Counter[str]] = {"": Counter()}
    for row, tags in zip(words, gold, strict=True):
        for word, tag in zip(row, tags, strict=True):
            counts.setdefault(word, Counter())[tag] += 1
            counts[""][tag] += 1
    return {word: max(sorted(found), key=found.__getitem__) for word, found in counts.items()}


def right_tags(gold: list[list[str]], found: list[list[str]]) -> np.ndarray:
    """Return for each word whether its tag is right."""
    pairs = zip(gold, found, strict=True)
    return np.array([a == b for row, tags in pairs for a, b in zip(row, tags, strict=True)])
