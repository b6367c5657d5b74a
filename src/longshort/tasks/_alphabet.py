"""What a transcriber can say: characters or words, and their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from longshort._errors import DataError

UNITS = ("char", "word")


class Alphabet:
    """Texts as labels 1 to K; 0 is the blank of CTC.

    White space between words is one space, at the ends none.

    Args:
        tokens: K different characters, or words.
        unit: "char" or "word".

    >>> alphabet = Alphabet(["no", "yes"], "word")
    >>> alphabet.encode(" yes  no")
    (2, 1)
    >>> alphabet.decode([2, 2])
    'yes yes'
    """

    def __init__(self, tokens: Sequence[str], unit: str):
        if unit not in UNITS:
            raise ValueError(f"Alphabet: expected a unit of {', '.join(UNITS)}, got {unit!r}.")
        self.tokens, self.unit = tuple(tokens), unit
        self._index = {token: k for k, token in enumerate(self.tokens, 1)}
        broken = any(not isinstance(t, str) or not t for t in self.tokens)
        if broken or len(self._index) != len(self.tokens) or not self.tokens:
            raise ValueError("Alphabet: expected different texts that are not empty.")
        if unit == "char" and any(len(token) != 1 for token in self.tokens):
            raise ValueError("Alphabet: expected single characters.")

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of(cls, texts: Iterable[str], unit: str) -> Alphabet:
        """Return the alphabet of these texts, in the order of code points."""
        found = {token for text in texts for token in _tokens(text, unit)}
        if not found:
            raise DataError("texts: all are empty; expected what is said in the recordings.")
        return cls(sorted(found), unit)

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the labels of a text.

        Raises:
            DataError: The text holds what the alphabet does not; its sentence begins there.
        """
        found = _tokens(text, self.unit)
        unknown = sorted({token for token in found if token not in self._index})
        if unknown:
            kind = "characters" if self.unit == "char" else "words"
            raise DataError(
                f"holds the {kind} {', '.join(map(repr, unknown[:5]))}, which the alphabet of "
                f"{len(self)} lacks; change the text or the alphabet."
            )
        return tuple(self._index[token] for token in found)

    def decode(self, labels: Iterable[int]) -> str:
        """Return the text of labels."""
        between = "" if self.unit == "char" else " "
        return between.join(self.tokens[k - 1] for k in labels).strip()


def clean(text: Any, name: str) -> str:
    """Return a transcript with one space between words, or raise a DataError."""
    if not isinstance(text, str):
        raise DataError(f"{name}: expected a text, got {text!r}; write what is said in it.")
    return " ".join(text.split())


def _tokens(text: str, unit: str) -> list[str]:
    words = text.split()
    return words if unit == "word" else list(" ".join(words))
