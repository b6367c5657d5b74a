"""How wrong transcripts are: word and character error rates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def edit_distance(given: Sequence[Hashable], wanted: Sequence[Hashable]) -> int:
    """Return the fewest insertions, deletions and substitutions between two sequences.

    By dynamic programming (Wagner and Fischer 1974), a row at a time.

    >>> edit_distance("kitten", "sitting")
    3
    """
    numbers: dict[Hashable, int] = {}
    a = np.array([numbers.setdefault(v, len(numbers)) for v in given], np.int64)
    b = np.array([numbers.setdefault(v, len(numbers)) for v in wanted], np.int64)
    places = np.arange(len(b) + 1)
    row = places.copy()
    for k, value in enumerate(a, 1):
        best = np.minimum(row[1:] + 1, row[:-1] + (b != value))
        # An insertion takes its cost from the left in the same row: a running minimum.
        best = np.concatenate([[k], best]) - places
        row = np.minimum.accumulate(best) + places
    return int(row[-1])


def error_rates(given: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
    """Return `wer` and `cer`: edits over the words, or characters, of what was said.

    Edits and lengths are summed over all pairs before the division, so long utterances count for
    more. Words are what spaces separate; characters include the spaces between words. With more
    insertions than words a rate is above 1; where nothing was said it is NaN.

    Args:
        given: Transcripts to score.
        wanted: What was said, in the same order.

    >>> error_rates(["yes no", "no"], ["yes no", "no no"])
    {'wer': 0.25, 'cer': 0.2727272727272727}
    """
    if len(given) != len(wanted):
        raise ValueError(f"error_rates: got {len(given)} transcripts for {len(wanted)} texts.")
    words = chars = word_edits = char_edits = 0
    for hypothesis, reference in zip(given, wanted, strict=True):
        h, r = hypothesis.split(), reference.split()
        word_edits, words = word_edits + edit_distance(h, r), words + len(r)
        chars += len(" ".join(r))
        char_edits += edit_distance(" ".join(h), " ".join(r))
    nan = float("nan")
    return {
        "wer": word_edits / words if words else nan,
        "cer": char_edits / chars if chars else nan,
    }
