"""Texts and their translations as a translator takes them: checked, and as numbers of tokens."""

from __future__ import annotations

from typing import Any

from longshort._errors import DataError
from longshort.data._vocabulary import Vocabulary
from longshort.tasks._seq2seq_pairs import Pairs
from longshort.tasks._text_input import check_texts


def check_pairs(pairs: Any, names: tuple[str, str]) -> tuple[list[str], list[str]]:
    """Return texts and as many translations as lists of str.

    Raises:
        DataError: If they are none; the message has one of the names, and the index.

    >>> check_pairs((("a", "b"), ["x", "y"]), ("sources", "targets"))
    (['a', 'b'], ['x', 'y'])
    """
    if not isinstance(pairs, (tuple, list)) or len(pairs) != 2:
        raise DataError(
            f"{names[0]} and {names[1]}: expected a pair of lists, got a {type(pairs).__name__}."
        )
    first, second = (
        check_texts(texts, name=name) for texts, name in zip(pairs, names, strict=True)
    )
    if len(first) != len(second):
        raise DataError(
            f"{names[0]} and {names[1]}: expected as many texts in each, got {len(first)} and "
            f"{len(second)}."
        )
    return first, second


def encode_pairs(
    pairs: tuple[list[str], list[str]],
    vocabularies: tuple[Vocabulary, ...],
    names: tuple[str, str],
) -> Pairs:
    """Return pairs as numbers of tokens.

    Raises:
        DataError: If a text has no token; the message has its name and index.
    """
    found = []
    for texts, vocabulary, name in zip(pairs, vocabularies, names, strict=True):
        found.append([vocabulary.encode(text) for text in texts])
        for i, ids in enumerate(found[-1]):
            if not len(ids):
                raise DataError(f"{name}[{i}]: the text is empty. Drop the pair.")
    return Pairs(*found)
