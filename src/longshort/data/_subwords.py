"""Pieces of words, learnt with SentencePiece: train a model in memory, encode, decode, offsets."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from longshort._errors import DataError

_CHUNK = 1000  # characters
_MOST_CHUNKS = 200_000


def train_pieces(texts: Iterable[str], size: int, seed: int) -> bytes:
    """Learn a unigram model (Kudo 2018) and return it as SentencePiece's protocol buffer.

    Nothing is normalised, every character of the texts is kept, and all others are spelt in
    bytes, so that decoding gives back any text.

    Args:
        texts: Read once; of more than some 200 million characters a random part is used.
        size: Most pieces, with the reserved ones and those of the 256 bytes.
        seed: Decides on that part.

    Raises:
        DataError: If SentencePiece is missing, there is no text, or `size` is too small for it.
    """
    library = _library()
    chunks = _some(_chunks(texts), np.random.default_rng(seed))
    if not chunks:
        raise DataError("Vocabulary: expected texts with at least one character, got none.")
    target = io.BytesIO()
    try:
        library.SentencePieceTrainer.train(
            sentence_iterator=iter(chunks),
            model_writer=target,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=False,
            byte_fallback=True,
            character_coverage=1.0,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            max_sentence_length=16 * _CHUNK,
            num_threads=1,  # sums of another number of threads give other pieces
            minloglevel=2,
        )
    except RuntimeError as error:
        needed = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
        if needed is None:
            raise DataError(f"Vocabulary: SentencePiece refused the texts: {error}.") from None
        raise DataError(
            f"Vocabulary: expected a size of at least {needed[1]} for the bytes and the different "
            f"characters of these texts, got {size}. Raise size."
        ) from None
    return target.getvalue()


class Pieces:
    """A trained model.

    Args:
        proto: What `train_pieces` returned.

    Raises:
        DataError: If SentencePiece is missing.
        ValueError: If `proto` is no such model.
    """

    def __init__(self, proto: bytes) -> None:
        self.proto = proto
        library = _library()
        try:
            self._processor = library.SentencePieceProcessor(model_proto=proto)
        except RuntimeError:
            raise ValueError("the SentencePiece model is damaged") from None
        count = len(self._processor) if proto else 0
        self.tokens = [str(self._processor.id_to_piece(i)) for i in range(count)]
        special = ("pad_id", "unk_id", "bos_id", "eos_id")
        if count < 5 or [getattr(self._processor, name)() for name in special] != [0, 1, 2, 3]:
            raise ValueError("the SentencePiece model is not one of ours")
        self._bytes = {
            i: int(match[1], 16)
            for i, token in enumerate(self.tokens)
            if self._processor.is_byte(i) and (match := re.fullmatch("<0x(..)>", token))
        }

    def encode(self, text: str) -> list[int]:
        """Return the numbers of the pieces of `text`."""
        return list(self._processor.encode(text))

    def decode(self, numbers: Sequence[int]) -> str:
        """Return the text of some pieces."""
        return str(self._processor.decode(list(map(int, numbers))))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each piece lies in `text`; of a character in bytes the first has it."""
        found = []
        place = -1  # the model sees a space before the text
        for number in self.encode(text):
            if number in self._bytes:
                # 10xxxxxx goes on with a character, anything else begins one.
                width = int(self._bytes[number] & 0xC0 != 0x80)
            else:
                width = len(self.tokens[number])
            found.append((max(place, 0), max(place + width, 0)))
            place += width
        return found


def _chunks(texts: Iterable[str]) -> Iterator[str]:
    """Cut texts where words begin: SentencePiece leaves out what it finds too long."""
    pattern = re.compile(rf".{{1,{_CHUNK}}}(?=\s|$)|.{{1,{_CHUNK}}}", re.DOTALL)
    for text in texts:
        yield from pattern.findall(text.replace("\0", ""))  # which SentencePiece warns of


def _some(chunks: Iterator[str], rng: np.random.Generator) -> list[str]:
    """Return all chunks, or a random part of them where they are many (Vitter 1985)."""
    kept: list[str] = []
    for count, chunk in enumerate(chunks):
        if count < _MOST_CHUNKS:
            kept.append(chunk)
        elif (place := int(rng.integers(count + 1))) < _MOST_CHUNKS:
            kept[place] = chunk
    return kept


def _library() -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise DataError(
            "Vocabulary: unit='subword' needs SentencePiece; run pip install longshort[text], or "
            "choose unit='word' or 'char'."
        ) from None
    return sentencepiece
