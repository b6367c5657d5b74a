"""What a tagger sees of a word: form, shape, given features and spelling, as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from longshort._errors import DataError
from longshort.data._batches import Batch
from longshort.data._vocabulary import PADDING, UNKNOWN, Vocabulary

# Longer words are spelt by their first and last 12 characters.
MAX_SPELLING = 24
NUM_SHAPES = 9
# Longer sentences are cut for training, where each row of a batch is as long as the longest.
LONGEST = 256

Token = tuple[str, ...]  # a word and its features


def word_shape(word: str) -> int:
    """Return how a word is written, from 1.

    1 lower case, 2 Capitalised, 3 UPPER CASE, 4 mIxed, 5 a letter without case or one capital, 6
    digits and signs, 7 digits and letters, 8 signs.

    >>> [word_shape(w) for w in ("the", "The", "THE", "iPod", "I", "1,000", "7th", "--")]
    [1, 2, 3, 4, 5, 6, 7, 8]
    """
    if any(map(str.isdigit, word)):
        return 7 if any(map(str.isalpha, word)) else 6
    if not any(map(str.isalpha, word)):
        return 8
    if word.lower() == word.upper():
        return 5
    if word == word.lower():
        return 1
    if len(word) == 1:
        return 5
    if word == word.upper():
        return 3
    return 2 if word[0].isupper() and word[1:] == word[1:].lower() else 4


class Encoded(NamedTuple):
    """Some sentences as numbers.

    Attributes:
        words: n arrays (T_i,) of numbers of words.
        features: n arrays (T_i, 1 + F) of shapes and numbers of features.
        places: n arrays (T_i,) of rows of `spelling`.
        spelling: (W, MAX_SPELLING) characters of the different words.
    """

    words: list[np.ndarray]
    features: list[np.ndarray]
    places: list[np.ndarray]
    spelling: np.ndarray

    @property
    def lengths(self) -> list[int]:
        """Words of each sentence."""
        return [len(words) for words in self.words]


class WordCode:
    """Numbers of words, characters and features.

    Args:
        words: Vocabulary of forms.
        chars: Vocabulary of characters.
        features: Vocabularies of the values of each feature.
        lowercase: Whether a form is the word in lower case with 0 for each digit, or the word.
    """

    def __init__(
        self, words: Vocabulary, chars: Vocabulary, features: list[Vocabulary], lowercase: bool
    ) -> None:
        self.words, self.chars, self.features = words, chars, features
        self.lowercase = lowercase

    @classmethod
    def fit(cls, sentences: Sequence[Sequence[Token]], min_count: int, lowercase: bool) -> WordCode:
        """Count the words and the features of some sentences."""
        tokens = [token for sentence in sentences for token in sentence]
        try:
            forms = [form(token[0], lowercase) for token in tokens]
            words = Vocabulary.of_tokens(forms, min_count=min_count)
        except DataError:
            raise DataError(
                f"Tagger: min_count is {min_count}, but no word occurs as often; lower it."
            ) from None
        chars = Vocabulary.fit((token[0] for token in tokens), unit="char")
        features = []
        for number, values in enumerate(list(zip(*tokens, strict=True))[1:], 1):
            try:
                features.append(Vocabulary.of_tokens(values))
            except DataError:
                raise DataError(
                    f"Tagger: feature {number} of the words has no value but {values[0]!r}, which "
                    "stands for nothing; leave it out."
                ) from None
        return cls(words, chars, features, lowercase)

    def encode(self, sentences: Sequence[Sequence[Token]]) -> Encoded:
        """Turn sentences into numbers; each different word is looked at once."""
        rows: dict[str, int] = {}
        places = [
            np.array([rows.setdefault(token[0], len(rows)) for token in s], dtype=np.int32)
            for s in sentences
        ]
        numbers = np.array([self.words.index(form(w, self.lowercase)) for w in rows], np.int32)
        shapes = np.array([word_shape(word) for word in rows], np.int32)
        spelling = np.full((len(rows), MAX_SPELLING), PADDING, np.int32)
        for row, word in enumerate(rows):
            half = MAX_SPELLING // 2
            text = word if len(word) <= MAX_SPELLING else word[:half] + word[-half:]
            spelling[row, : len(text)] = self.chars.encode(text)
        features = [
            np.stack([shapes[place], *self._given(sentence)], axis=1)
            for place, sentence in zip(places, sentences, strict=True)
        ]
        return Encoded([numbers[p] for p in places], features, places, spelling)

    def _given(self, sentence: Sequence[Token]) -> Iterator[np.ndarray]:
        _, *columns = zip(*sentence, strict=True)
        for vocabulary, values in zip(self.features, columns, strict=True):
            yield vocabulary.encode_tokens(values)

    def rare(self, encoded: Encoded) -> np.ndarray:
        """Return which words of the vocabulary occur once in `encoded`, (V,) booleans."""
        counts = np.bincount(np.concatenate(encoded.words), minlength=len(self.words))
        rare = counts == 1
        rare[: UNKNOWN + 1] = False
        return rare


def form(word: str, lowercase: bool) -> str:
    """Return what a word is looked up by.

    >>> form("The", True), form("1984", True), form("1984", False)
    ('the', '0000', '1984')
    """
    return re.sub(r"\d", "0", word.lower()) if lowercase else word


def rounded(lengths: Sequence[int]) -> list[int]:
    """Round lengths up to 16, 32, 64, ...

    Steps of padding are not computed, and XLA takes longer to compile a shape than for a hundred
    steps of training with it; so the ladder of lengths is coarser here than in other tasks.

    >>> rounded([1, 16, 17])
    [16, 16, 32]
    """
    return [max(16, 1 << (n - 1).bit_length()) for n in lengths]


def pad_rows(rows: Sequence[np.ndarray], batch: Batch, filler: int = 0) -> np.ndarray:
    """Return a batch's part of n arrays (T_i, ...) as (B, T, ...)."""
    padded = np.full((batch.size, batch.length, *rows[0].shape[1:]), filler, np.int32)
    for row, i in enumerate(batch.rows):
        padded[row, : len(rows[i])] = rows[i]
    return padded


def training_inputs(
    encoded: Encoded, batch: Batch, drop: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """Return what `TaggerNet.model` takes of one batch.

    Args:
        encoded: All sentences.
        batch: Which of them.
        drop: (V,) words that may be taken for unknown.
        share: How often they are.
        rng: Decides when.

    Returns:
        Words (B, T), shapes and features (B, T, 1 + F), places (B, T), spelling (W, L), whose first
        row is padding, and mask (B, T). W is a half of B T or all, so that there are few shapes.
    """
    words = pad_rows(encoded.words, batch)
    mask = pad_rows([np.ones(n, np.int32) for n in encoded.lengths], batch) > 0
    words = np.where(drop[words] & (rng.random(words.shape) < share), UNKNOWN, words)
    places = pad_rows(encoded.places, batch)
    used, local = np.unique(places[mask], return_inverse=True)
    places[mask] = local + 1
    most = batch.size * batch.length
    room = most // 2 if most // 2 > len(used) else most + 1
    spelling = np.full((room, MAX_SPELLING), PADDING, np.int32)
    spelling[1 : len(used) + 1] = encoded.spelling[used]
    return words.astype(np.int32), pad_rows(encoded.features, batch), places, spelling, mask


def check_sentences(
    sentences: Any, name: str = "sentences", num_features: int | None = None
) -> list[list[Token]]:
    """Check sentences and return their words as tuples with the features.

    Args:
        sentences: n lists of words, or of tuples of a word and its features.
        name: For messages.
        num_features: How many each word must have; None: as many as the first.

    Raises:
        DataError: If it is no list of lists of words; the message has the index.
    """
    if isinstance(sentences, (str, bytes)) or not isinstance(sentences, Iterable):
        raise DataError(
            f"{name}: expected a list of sentences, each a list of words, got a "
            f"{type(sentences).__name__}."
        )
    checked: list[list[Token]] = []
    like = "the first word has" if num_features is None else "in training"
    for i, sentence in enumerate(sentences):
        if isinstance(sentence, (str, bytes)) or not isinstance(sentence, Iterable):
            fix = f" Cut it into words: {name}[{i}].split()." if isinstance(sentence, str) else ""
            raise DataError(
                f"{name}[{i}]: expected a list of words, got a {type(sentence).__name__}.{fix}"
            )
        checked.append([])
        for t, word in enumerate(sentence):
            token = tuple(word) if isinstance(word, (tuple, list)) else (word,)
            if not token or not all(isinstance(part, str) and part for part in token):
                raise DataError(
                    f"{name}[{i}][{t}]: expected a word (a str), or a tuple of a word and its "
                    f"features (all str), got {word!r}."
                )
            if num_features is None:
                num_features = len(token) - 1
            if len(token) - 1 != num_features:
                raise DataError(
                    f"{name}[{i}][{t}]: expected {_described(num_features)}, as {like}, got "
                    f"{word!r}; features of words are read with --features, or feature_cols."
                )
            checked[-1].append(tuple(map(str, token)))
    if not checked:
        raise DataError(f"{name}: expected at least one sentence, got none.")
    return checked


def words_of(sentences: Sequence[Sequence[str | Token]]) -> list[list[str]]:
    """Return the words without any features.

    >>> words_of([["a", "b"], [("c", "X")]])
    [['a', 'b'], ['c']]
    """
    return [[word if isinstance(word, str) else word[0] for word in row] for row in sentences]


def _described(num_features: int) -> str:
    if not num_features:
        return "a word without features"
    return f"a tuple of a word and {num_features} feature{'s' * (num_features > 1)}"


def check_tags(
    tags: Any, sentences: Sequence[Sequence[Token]], name: str = "tags"
) -> list[list[str]]:
    """Check that there is a tag for each word and return the tags as lists.

    Raises:
        DataError: If not; the message has the index of the sentence.
    """
    if isinstance(tags, (str, bytes)) or not isinstance(tags, Iterable):
        raise DataError(f"{name}: expected a list of tags a sentence, got a {type(tags).__name__}.")
    rows = list(tags)
    if len(rows) != len(sentences):
        raise DataError(
            f"{name}: expected a list of tags for each of the {len(sentences)} sentences, got "
            f"{len(rows)}."
        )
    checked = []
    for i, (row, sentence) in enumerate(zip(rows, sentences, strict=True)):
        if isinstance(row, (str, bytes)) or not isinstance(row, Iterable):
            raise DataError(
                f"{name}[{i}]: expected a list of tags, one a word, got a {type(row).__name__}."
            )
        found = list(row)
        if len(found) != len(sentence):
            raise DataError(
                f"{name}[{i}]: expected {len(sentence)} tags, one for each word of sentence {i} "
                f"({' '.join(token[0] for token in sentence[:5])}"
                f"{' ...' if len(sentence) > 5 else ''}), got {len(found)}."
            )
        for t, tag in enumerate(found):
            if not isinstance(tag, str) or not tag:
                raise DataError(f"{name}[{i}][{t}]: expected a tag (a str), got {tag!r}.")
        checked.append([str(tag) for tag in found])
    return checked


def refuse_empty(sentences: list[list[Token]], name: str) -> None:
    """Raise a DataError that names the first sentence without words."""
    for i, sentence in enumerate(sentences):
        if not sentence:
            raise DataError(f"{name}[{i}]: expected at least one word, got none. Drop it.")


def pick(rows: list[list[Any]], part: np.ndarray) -> list[list[Any]]:
    """Return the rows where `part` is true."""
    return [rows[i] for i in np.flatnonzero(part)]


def cut_long(rows: list[list[Any]]) -> list[list[Any]]:
    """Cut what is longer than `LONGEST` into parts of about equal length."""
    parts = []
    for row in rows:
        pieces = -(-len(row) // LONGEST)
        size = -(-len(row) // pieces)
        parts += [row[start : start + size] for start in range(0, len(row), size)]
    return parts
