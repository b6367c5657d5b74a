"""Vectors of words from a text file, as word2vec, GloVe and fastText write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from longshort._errors import DataError
from longshort.data._text_files import iter_lines
from longshort.data._vocabulary import RESERVED, UNKNOWN, Vocabulary

if TYPE_CHECKING:
    import os


def read_word_vectors(
    path: str | os.PathLike[str],
    vocabulary: Vocabulary,
    rng: np.random.Generator,
    form: Callable[[str], str] = str,
) -> np.ndarray:
    """Read the vectors of the words of a vocabulary; of the file no more than a line is in memory.

    A line has a word and its numbers, with single spaces between them; a first line with the number
    of words and that of dimensions (word2vec) is left out. Of words that are looked up by one form,
    as The and THE are in lower case, the form itself wins, and else the first in the file.

    Args:
        path: The file, also of .gz.
        vocabulary: V words.
        rng: Draws the vectors of words that the file lacks, with the deviation of those it has.
        form: What a word of the file is looked up by.

    Returns:
        (V, E) float32; zeros for padding.

    Raises:
        DataError: If the file is missing or a line is broken (the message has its number), or it
            has none of the words.
    """
    rows: dict[int, np.ndarray] = {}
    exact: set[int] = set()
    size = None
    for number, line in enumerate(iter_lines(path), 1):
        fields = line.rstrip(" ").split(" ")
        if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
            continue
        if size is None:
            size = len(fields) - 1
        # A word may hold spaces, as ". . ." does in a large GloVe; its numbers come last.
        word, numbers = " ".join(fields[: len(fields) - size]), fields[len(fields) - size :]
        if size < 1 or len(numbers) != size or not word or _are_numbers(fields[1:-size]):
            raise DataError(
                f"{path}: line {number}: expected a word and {max(size, 1)} numbers, got "
                f"{len(fields) - 1} fields after the first. Repair or drop the line."
            )
        place = vocabulary.index(form(word))
        same = place != UNKNOWN and vocabulary.tokens[place] == word
        if place == UNKNOWN or place in exact or (place in rows and not same):
            continue
        try:
            vector = np.array(numbers, dtype=np.float32)
        except ValueError:
            vector = np.array([np.nan])
        if not np.isfinite(vector).all():
            raise DataError(
                f"{path}: line {number}: expected {size} finite numbers after {word!r}. Repair or "
                "drop the line."
            )
        rows[place] = vector
        if same:
            exact.add(place)
    if not rows or size is None:
        raise DataError(
            f"{path}: has a vector for none of the {len(vocabulary) - len(RESERVED)} words of the "
            "texts. Check language, unit and lowercase."
        )
    found = np.stack(list(rows.values()))
    table = rng.normal(scale=float(found.std()), size=(len(vocabulary), size)).astype(np.float32)
    table[list(rows)] = found
    table[0] = 0
    return table


def _are_numbers(fields: list[str]) -> bool:
    """Return whether there are fields and all are numbers: then a line has too many, not a word."""
    try:
        return bool([float(field) for field in fields])
    except ValueError:
        return False
