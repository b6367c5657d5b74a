"""Texts as a classifier takes them: checked, cut into tokens, the middle of long ones left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from longshort._errors import DataError
from longshort.data._vocabulary import Vocabulary


def check_texts(texts: Any, *, name: str = "texts", blank: bool = True) -> list[str]:
    """Check some texts and return them as a list.

    Args:
        texts: An iterable of str.
        name: What to call them in messages.
        blank: Whether one may be empty or all white space.

    Raises:
        DataError: If there is none, or one is no str or blank; the message has its index.

    Example:
        >>> check_texts(("one", "two"))
        ['one', 'two']
    """
    if isinstance(texts, (str, bytes, dict)) or not isinstance(texts, Iterable):
        raise DataError(
            f"{name}: expected a list of texts, got a {type(texts).__name__}. Put a single one "
            "into a list."
        )
    if hasattr(texts, "columns"):
        raise DataError(f"{name}: expected a list of texts, got a table. Pass one of its columns.")
    checked: list[str] = []
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            missing = text is None or (isinstance(text, float) and text != text)
            raise DataError(
                f"{name}[{i}]: "
                + (
                    "the text is missing. Drop or fill it."
                    if missing
                    else f"expected a str, got a {type(text).__name__}. Decode or convert it."
                )
            )
        if not blank and not text.strip():
            raise DataError(f"{name}[{i}]: the text is empty. Drop it and its label.")
        checked.append(str(text))
    if not checked:
        raise DataError(f"{name}: expected at least one text, got none.")
    return checked


def kept(count: int, most: int) -> np.ndarray:
    """Return which of `count` tokens are kept: all, or half of `most` from either end.

    What a text is about stands at its ends more often than in its middle (Sun et al. 2019).

    >>> kept(7, 4).tolist()
    [0, 1, 5, 6]
    """
    places = np.arange(count)
    if count <= most:
        return places
    tail = most // 2
    return np.concatenate([places[: most - tail], places[count - tail :]])


def encode_texts(texts: list[str], vocabulary: Vocabulary, most: int) -> list[np.ndarray]:
    """Return the numbers of the tokens of each text, at most `most` of them, (T_i,) int32."""
    sequences = (vocabulary.encode(text) for text in texts)
    return [tokens[kept(len(tokens), most)] for tokens in sequences]
