"""From text to numbers: words, characters or pieces of words."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from longshort._errors import DataError
from longshort.data._subwords import Pieces, train_pieces

PADDING, UNKNOWN, BEGIN, END = range(4)
RESERVED = ("<pad>", "<unk>", "<s>", "</s>")
UNITS = ("word", "char", "subword", "token")
_DEFAULT_PIECES = 8000
# Which signs of a text stand without a space before or after them.
_CLOSING, _OPENING = frozenset(".,;:!?)]}%…”»、。！？"), frozenset("([{¿¡“«$€£")


class Vocabulary:
    """Tokens and their numbers: 0 padding, 1 unknown, 2 begin, 3 end, then the frequent ones first.

    `unit` says what a token is:

    - "word": a word with the accents that belong to it, a number such as 1,000.50, the short end of
      a word after an apostrophe ('s, 'll, 't), or one sign of any other kind. Nothing but white
      space is left out, and words are compared in Unicode's form NFC. For scripts that write no
      spaces take another unit.
    - "char": a character, white space too; decoding gives back the text.
    - "subword": a piece of a word as SentencePiece's unigram model has them (Kudo 2018); what it
      does not know is spelt in bytes, so nothing is unknown and decoding gives back the text (but
      for the character U+2581, which stands for a space). Needs `pip install longshort[text]`.
    - "token": text that was cut before, at its white space (`of_tokens`).

    Made by `fit`, `of_tokens` or `from_state`.

    Attributes:
        unit: See above.
        lowercase: Whether tokens are compared in lower case.
        tokens: Text of each token by number; the first four are the reserved ones.

    Example:
        >>> vocabulary = Vocabulary.fit(["a rose is a rose"])
        >>> vocabulary.tokens[4:]
        ['a', 'rose', 'is']
        >>> vocabulary.encode("a daisy is").tolist()
        [4, 1, 6]
    """

    def __init__(
        self,
        tokens: Sequence[str],
        unit: str,
        *,
        lowercase: bool = False,
        pieces: Pieces | None = None,
    ) -> None:
        self.unit, self.lowercase = unit, lowercase
        self.tokens = list(tokens)
        self._pieces = pieces
        self._numbers = {token: i for i, token in enumerate(self.tokens) if i >= len(RESERVED)}

    @classmethod
    def fit(
        cls,
        texts: Iterable[str],
        unit: str = "word",
        size: int | None = None,
        min_count: int = 1,
        lowercase: bool = False,
        seed: int = 1,
    ) -> Vocabulary:
        """Count the tokens of some texts and keep the most frequent.

        Args:
            texts: Read once, one at a time: may be larger than memory.
            unit: "word", "char" or "subword".
            size: Most tokens, the four reserved ones included; None keeps all words and
                characters, and learns 8,000 subwords.
            min_count: Least number of times that a word or character occurs; for subwords 1.
            lowercase: Whether to turn everything into lower case first.
            seed: Decides which part of more than some 200 million characters subwords are learnt
                from.

        Raises:
            DataError: If an argument or a text cannot be used, there is no token, or SentencePiece
                is missing.
        """
        if unit not in UNITS[:3]:
            raise DataError(f"Vocabulary: expected unit='word', 'char' or 'subword', got {unit!r}.")
        _check(size, min_count)
        if unit == "subword":
            if min_count != 1:
                raise DataError(
                    f"Vocabulary: min_count={min_count} has no meaning for subwords, whose number "
                    "is given by size. Leave it at 1."
                )
            lowered = (_lower(text) if lowercase else text for text in _checked(texts))
            pieces = Pieces(train_pieces(lowered, size or _DEFAULT_PIECES, seed))
            return cls(pieces.tokens, unit, lowercase=lowercase, pieces=pieces)
        counts: Counter[str] = Counter()
        for text in _checked(texts):
            counts.update(_cut(text, unit, lowercase))
        return cls(_frequent(counts, size, min_count), unit, lowercase=lowercase)

    @classmethod
    def of_tokens(
        cls,
        tokens: Iterable[str] | Mapping[str, int],
        size: int | None = None,
        min_count: int = 1,
        lowercase: bool = False,
    ) -> Vocabulary:
        """Keep the most frequent of tokens that were cut before.

        Args:
            tokens: All of them, one after the other, or how often each occurs.
            size: As in `fit`.
            min_count: As in `fit`.
            lowercase: As in `fit`.

        Example:
            >>> Vocabulary.of_tokens(["NOUN", "VERB", "NOUN"]).encode_tokens(["VERB"]).tolist()
            [5]
        """
        _check(size, min_count)
        counts: Counter[str] = Counter()
        if isinstance(tokens, Mapping):
            for token, count in zip(_checked(tokens), tokens.values(), strict=True):
                counts[_form(token, lowercase)] += count
        else:
            counts.update(_form(token, lowercase) for token in _checked(tokens, "tokens"))
        return cls(_frequent(counts, size, min_count), "token", lowercase=lowercase)

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"<Vocabulary of {len(self)}: {self.unit}>"

    def index(self, token: str) -> int:
        """Return the number of a token, that of unknown ones where it is not known."""
        if self.unit in ("char", "subword"):
            form = _lower(token) if self.lowercase else token
        else:
            form = _form(token, self.lowercase)
        return self._numbers.get(form, UNKNOWN)

    def encode(self, text: str) -> np.ndarray:
        """Return the numbers of the tokens of `text`, (n,) int32."""
        if self._pieces is not None:
            numbers = self._pieces.encode(self._clean(text))
        else:
            numbers = [
                self._numbers.get(token, UNKNOWN) for token in _cut(text, self.unit, self.lowercase)
            ]
        return np.array(numbers, dtype=np.int32)

    def encode_tokens(self, tokens: Iterable[str]) -> np.ndarray:
        """Return the numbers of tokens that were cut before, (n,) int32."""
        return np.array([self.index(token) for token in tokens], dtype=np.int32)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each token of `encode(text)` begins and ends in `text`, in characters.

        Example:
            >>> Vocabulary.fit(["a"]).spans("Oh, no")
            [(0, 2), (2, 3), (4, 6)]
        """
        if self._pieces is not None:
            return self._pieces.spans(self._clean(text))
        return [match.span() for match in _pattern(self.unit).finditer(text)]

    def decode(self, numbers: Iterable[int]) -> str:
        """Return the text of some tokens; padding, begin and end have none.

        Characters and subwords give back the text as it was, words are joined with spaces but
        before and after the signs that stand without.

        Raises:
            DataError: If a number is none of a token.

        Example:
            >>> vocabulary = Vocabulary.fit(["Well, it's (not) so."])
            >>> vocabulary.decode(vocabulary.encode("It's so (not), well."))
            "<unk>'s so (not), <unk>."
        """
        kept = []
        for number in np.asarray(list(numbers)).tolist():
            if type(number) is not int or not 0 <= number < len(self):
                raise DataError(
                    f"Vocabulary: expected numbers of tokens, 0 to {len(self) - 1}, got {number!r}."
                )
            if number not in (PADDING, BEGIN, END):
                kept.append(number)
        if self._pieces is not None:
            return self._pieces.decode(kept)
        if self.unit == "char":
            return "".join("\ufffd" if i == UNKNOWN else self.tokens[i] for i in kept)
        words = [self.tokens[i] for i in kept]
        return " ".join(words) if self.unit == "token" else _join(words)

    def get_state(self) -> dict[str, Any]:
        """Return it as plain values, for a file."""
        if self._pieces is not None:
            content: Any = base64.b64encode(self._pieces.proto).decode("ascii")
        else:
            content = self.tokens[len(RESERVED) :]
        return {"unit": self.unit, "lowercase": self.lowercase, "tokens": content}

    @classmethod
    def from_state(cls, state: Any) -> Vocabulary:
        """Make it from what `get_state` returned.

        Raises:
            ValueError: If `state` is something else.
            DataError: If it has subwords and SentencePiece is missing.
        """
        if not isinstance(state, dict) or set(state) != {"unit", "lowercase", "tokens"}:
            raise ValueError("broken vocabulary")
        unit, lowercase, content = state["unit"], state["lowercase"], state["tokens"]
        if unit not in UNITS or type(lowercase) is not bool:
            raise ValueError("broken vocabulary")
        if unit == "subword":
            if type(content) is not str:
                raise ValueError("the SentencePiece model is no text")
            pieces = Pieces(base64.b64decode(content, validate=True))
            return cls(pieces.tokens, unit, lowercase=lowercase, pieces=pieces)
        if type(content) is not list or not all(type(token) is str for token in content):
            raise ValueError("broken tokens")
        if len({*content, *RESERVED}) != len(content) + len(RESERVED):
            raise ValueError("a token is there twice")
        return cls([*RESERVED, *content], unit, lowercase=lowercase)

    def _clean(self, text: str) -> str:
        text = _lower(text) if self.lowercase else text
        # Half a surrogate pair is no character, and has no bytes to be spelt in.
        return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _check(size: Any, min_count: Any) -> None:
    whole = size is None or (isinstance(size, int) and not isinstance(size, bool))
    if not whole or (size is not None and size <= len(RESERVED)):
        raise DataError(
            f"Vocabulary: expected a size of at least {len(RESERVED) + 1}, as {len(RESERVED)} "
            f"tokens are reserved, or None for all; got {size!r}."
        )
    if not isinstance(min_count, int) or isinstance(min_count, bool) or min_count < 1:
        raise DataError(f"Vocabulary: expected a min_count of at least 1, got {min_count!r}.")


def _checked(texts: Iterable[str], name: str = "texts") -> Iterator[str]:
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise DataError(
            f"Vocabulary: expected a list of {name}, got a {type(texts).__name__}. "
            "Put a single one into a list."
        )
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"Vocabulary: {name}[{i}] is a {type(text).__name__}, expected a str. "
                "Decode or convert it."
            )
        yield text


def _frequent(counts: Counter[str], size: int | None, min_count: int) -> list[str]:
    for reserved in RESERVED:  # data where rare words were replaced have <unk>
        counts.pop(reserved, None)
    if not counts:
        raise DataError("Vocabulary: expected at least one token, found none. Check the texts.")
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = [token for token, count in ranked if count >= min_count]
    if not kept:
        raise DataError(
            f"Vocabulary: no token occurs {min_count} times, the most frequent one "
            f"{ranked[0][1]} times. Lower min_count."
        )
    return [*RESERVED, *(kept if size is None else kept[: size - len(RESERVED)])]


def _cut(text: str, unit: str, lowercase: bool) -> Iterator[str]:
    if unit == "char":
        return iter(_lower(text) if lowercase else text)
    return (_form(match[0], lowercase) for match in _pattern(unit).finditer(text))


def _form(word: str, lowercase: bool) -> str:
    word = word if word.isascii() else unicodedata.normalize("NFC", word)
    return word.lower() if lowercase else word


def _lower(text: str) -> str:
    """Lower each character that stays one, so that places in the text stay the same."""
    if text.isascii():
        return text.lower()
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


@cache
def _pattern(unit: str) -> re.Pattern[str]:
    if unit == "char":
        return re.compile(".", re.DOTALL)
    if unit == "token":
        return re.compile(r"\S+")
    # Accents and vowel signs are no letters to `re`; joiners hold the parts of a word together.
    planes = [*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)]
    marks = "".join(chr(c) for c in planes if unicodedata.category(chr(c)).startswith("M"))
    mark = f"[{_ranges(marks)}\u200c\u200d]*"
    return re.compile(
        rf"\d+(?:[.,]\d+)+|['’]\w{{1,2}}(?!\w)|(?:\w{mark})+|[^\w\s]{mark}",
    )


def _ranges(chars: str) -> str:
    """Return sorted characters as the inside of a regular expression's set."""
    parts: list[list[str]] = []
    for char in chars:
        if parts and ord(char) == ord(parts[-1][1]) + 1:
            parts[-1][1] = char
        else:
            parts.append([char, char])
    return "".join(f"{first}-{last}" for first, last in parts)


def _join(words: Sequence[str]) -> str:
    text, opened = "", True
    for word in words:
        tight = word in _CLOSING or (word[0] in "'’" and len(word) > 1)
        text += word if opened or tight else f" {word}"
        opened = word in _OPENING
    return text
