"""Running text as numbers: one text, a file that is larger than memory, or several texts."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longshort._errors import DataError
from longshort.data._text_files import iter_lines
from longshort.data._vocabulary import END, UNKNOWN, Vocabulary


@dataclass(frozen=True)
class Corpus:
    """Numbers of the tokens of some texts, laid end to end.

    Attributes:
        ids: (n,) uint16, int32 where the vocabulary is larger. END begins and ends texts, as
            `<eos>` does in the Penn Treebank: END, text 1, END, text 2, ..., and END again where
            there may be several. In words and subwords each line of a single text ends with one.
        starts: Place in `ids` of the END before each text.
        num_characters: Of all texts.
        several: Whether there may be several texts, each with END behind it.
    """

    ids: np.ndarray
    starts: list[int]
    num_characters: int
    several: bool

    @property
    def num_tokens(self) -> int:
        """How many tokens have one before them, the END that begins a text included."""
        return len(self.ids) - 1

    def texts(self) -> list[np.ndarray]:
        """Return the numbers of each text, from the END before it to its last token.

        Example:
            >>> vocabulary = Vocabulary.fit(["ab"], "char")
            >>> [text.tolist() for text in encode_corpus(["ab", "b"], vocabulary).texts()]
            [[3, 4, 5, 3], [3, 5, 3]]
        """
        ends = [*(start + self.several for start in self.starts[1:]), len(self.ids)]
        return [self.ids[a:b] for a, b in zip(self.starts, ends, strict=True)]


def encode_corpus(
    texts: Any, vocabulary: Vocabulary, name: str = "texts", *, several: bool | None = None
) -> Corpus:
    r"""Read texts once, a line at a time, and keep only their numbers.

    A gigabyte of characters takes 2 GB, as all but the largest vocabularies fit two bytes.

    Args:
        texts: A str is one text, a `Path` a file with one text (UTF-8), an iterable several texts.
        vocabulary: Cuts them into tokens.
        name: Of `texts`, for messages.
        several: Whether END is put behind each text; None: where `texts` is an iterable.

    Raises:
        DataError: If they are of another kind, hold no token, or a file is not in UTF-8.

    Example:
        >>> vocabulary = Vocabulary.fit(["a rose is a rose"])
        >>> encode_corpus("a rose is\na rose", vocabulary).ids.tolist()
        [3, 4, 5, 6, 3, 4, 5]
    """
    single = isinstance(texts, (str, Path))
    ids = array("H" if len(vocabulary) <= 2**16 else "i")
    dtype = np.dtype(np.uint16 if ids.typecode == "H" else np.int32)
    several = not single if several is None else several
    lines = not several and vocabulary.unit != "char"
    starts, characters = [0], 0
    ids.append(END)
    begun = True
    for text in _each(texts, name):
        if not begun:
            if not several:
                ids.append(END)
            starts.append(len(ids) - 1)
        whole = several and isinstance(text, str)
        for line in [text] if whole else _lines(text):
            characters += len(line)
            ended = lines and line.endswith("\n")
            numbers = vocabulary.encode(line[:-1] if ended else line)
            ids.frombytes(numbers.astype(dtype).tobytes())
            if ended:
                ids.append(END)
        begun = False
        if several:
            ids.append(END)
    found = np.frombuffer(ids, dtype)
    if not (found != END).any():
        raise DataError(f"{_named(texts, name)}: expected some text, found no token in it.")
    return Corpus(found, starts, characters, several)


def check_known(corpus: Corpus, texts: Any, name: str = "texts") -> float:
    """Return the share of tokens that are unknown.

    Raises:
        DataError: If all are.
    """
    tokens = corpus.ids[corpus.ids != END]
    unknown = int((tokens == UNKNOWN).sum())
    if unknown == len(tokens):
        raise DataError(
            f"{_named(texts, name)}: none of its {unknown} tokens occurred in training. Is it in "
            "the language and script that the model was trained on?"
        )
    return unknown / len(tokens)


def iter_texts(texts: Any, unit: str, name: str = "texts") -> Iterator[str]:
    """Yield the lines of a text or of a file, or several texts, for a vocabulary to be fitted on.

    Lines have their ends where these are tokens of the vocabulary: with characters. Arguments and
    errors as in `encode_corpus`.
    """
    single = isinstance(texts, (str, Path))
    for text in _each(texts, name):
        for line in _lines(text) if single else [text]:
            yield line if unit == "char" or not single else line.removesuffix("\n")


def trailing(texts: Any, unit: str, share: float) -> Iterator[str]:
    """Yield what `iter_texts` does, without the first `share` of the characters.

    Example:
        >>> list(trailing(["ab", "cd", "ef"], "word", 0.5))
        ['d', 'ef']
    """
    if share == 0:
        yield from iter_texts(texts, unit)
        return
    to_skip = int(sum(map(len, iter_texts(texts, unit))) * share)
    for piece in iter_texts(texts, unit):
        if to_skip < len(piece):
            yield piece[to_skip:]
        to_skip = max(0, to_skip - len(piece))


def split_at(ids: np.ndarray, pieces: Iterable[str], vocabulary: Vocabulary) -> int:
    r"""Return the place of the first token, END aside, of a text's trailing `pieces`.

    Example:
        >>> vocabulary = Vocabulary.fit(["a rose is"])
        >>> ids = encode_corpus("a rose is\na rose", vocabulary).ids
        >>> split_at(ids, ["a rose"], vocabulary), ids.tolist()
        (5, [3, 4, 6, 5, 3, 4, 6])
    """
    count = sum(len(vocabulary.encode(piece)) for piece in pieces)
    so_far = np.cumsum(ids != END)
    # A subword that is cut may count as several.
    return max(1, int(np.searchsorted(so_far, so_far[-1] - count, side="right")))


def _lines(source: str | Path) -> Iterator[str]:
    """Yield the lines of a text or of a file alike, with line feeds at their ends."""
    if isinstance(source, Path):
        yield from iter_lines(source, keep_ends=True)
        return
    start = 0
    while start < len(source):
        end = source.find("\n", start) + 1
        if not end:
            yield source[start:].rstrip("\r")
            return
        yield source[start:end].rstrip("\r\n") + "\n"
        start = end


def _each(texts: Any, name: str) -> Iterator[Any]:
    if isinstance(texts, (str, Path)):
        yield texts
        return
    if isinstance(texts, bytes) or not isinstance(texts, Iterable):
        raise DataError(
            f"{name}: expected a str, a pathlib.Path of a file or a list of str, got a "
            f"{type(texts).__name__}."
        )
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"{name}[{i}]: expected a str, got a {type(text).__name__}. Decode or convert it."
            )
        yield text


def _named(texts: Any, name: str) -> str:
    return str(texts) if isinstance(texts, Path) else name
