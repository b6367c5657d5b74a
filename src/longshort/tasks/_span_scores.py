"""Scores of tags: of words, and of the spans that tags mark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from longshort.data._tag_schemes import spans


def span_scores(
    true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Score spans: one is right if its type, its first and its last word are.

    As conlleval of the CoNLL shared tasks counts (Tjong Kim Sang and Buchholz 2000): tags that
    break their scheme have spans too (see `longshort.data._tag_schemes.spans`), so the two sides
    need not be in one scheme, and a precision or recall of nothing is 0.

    Args:
        true: A list of tags a sentence.
        predicted: As many lists of as many tags.

    Returns:
        precision, recall, f1 (each from 0 to 1), and the numbers of spans true and predicted, for
        "all" types together (micro) and for each type, sorted.

    Example:
        >>> span_scores([["B-NP", "I-NP", "O", "B-VP"]], [["B-NP", "I-NP", "B-VP", "O"]])["all"]
        {'precision': 0.5, 'recall': 0.5, 'f1': 0.5, 'true': 2.0, 'predicted': 2.0}
    """
    counts: dict[str, Counter[str]] = {"all": Counter()}
    for gold, guess in zip(true, predicted, strict=True):
        there, found = set(spans(gold)), set(spans(guess))
        for name, some in (("true", there), ("predicted", found), ("right", there & found)):
            for span in some:
                # A type may be called "all" too; conlleval has none of these names.
                counts.setdefault(f"type {span.kind}", Counter())[name] += 1
                counts["all"][name] += 1
    kinds = sorted(key for key in counts if key != "all")
    return {key.removeprefix("type "): _rates(counts[key]) for key in kinds} | {
        "all": _rates(counts["all"])
    }


def _rates(counts: Counter[str]) -> dict[str, float]:
    right, true, predicted = counts["right"], counts["true"], counts["predicted"]
    return {
        "precision": right / predicted if predicted else 0.0,
        "recall": right / true if true else 0.0,
        "f1": 2 * right / (true + predicted) if right else 0.0,
        "true": float(true),
        "predicted": float(predicted),
    }


def frequent_errors(
    true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], most: int = 10
) -> list[tuple[str, str, int]]:
    """Return the most frequent pairs of a true tag and another that was predicted, with counts.

    >>> frequent_errors([["A", "B", "B"]], [["B", "A", "A"]])
    [('B', 'A', 2), ('A', 'B', 1)]
    """
    pairs: Counter[tuple[str, str]] = Counter()
    for gold, guess in zip(true, predicted, strict=True):
        pairs.update((a, b) for a, b in zip(gold, guess, strict=True) if a != b)
    ranked: list[Any] = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [(a, b, count) for (a, b), count in ranked[:most]]
