"""Running text as numbers."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from longshort._errors import DataError
from longshort.data._corpus import check_known, encode_corpus, iter_texts, split_at, trailing
from longshort.data._vocabulary import END, Vocabulary

TEXT = "A rose is\r\na rose\n\nis a rose."


@pytest.mark.parametrize("unit", ["char", "word"])
@pytest.mark.parametrize("name", ["rose.txt", "rose.txt.gz"])
def test_a_file_is_like_its_text(tmp_path: Path, unit: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(TEXT.encode()) if name.endswith("gz") else TEXT.encode())
    vocabulary = Vocabulary.fit(iter_texts(TEXT, unit), unit)
    assert vocabulary.get_state() == Vocabulary.fit(iter_texts(path, unit), unit).get_state()
    first, second = encode_corpus(TEXT, vocabulary), encode_corpus(path, vocabulary)
    assert np.array_equal(first.ids, second.ids)
    assert first.num_characters == second.num_characters == len(TEXT) - 1  # \r\n is one


def test_characters_keep_ends_of_lines_and_words_get_a_token() -> None:
    chars = Vocabulary.fit([TEXT], "char")
    assert chars.decode(encode_corpus(TEXT, chars).ids) == TEXT.replace("\r", "")
    words = Vocabulary.fit([TEXT])
    ids = encode_corpus(TEXT, words).ids
    assert [words.tokens[i] for i in ids] == (
        "</s> A rose is </s> a rose </s> </s> is a rose .".split()
    )


def test_several_texts_end_with_a_token() -> None:
    vocabulary = Vocabulary.fit(["ab"], "char")
    corpus = encode_corpus(["ab", "", "b"], vocabulary)
    assert corpus.ids.tolist() == [END, 4, 5, END, END, 5, END]
    assert [t.tolist() for t in corpus.texts()] == [[END, 4, 5, END], [END, END], [END, 5, END]]
    alone = encode_corpus(["ab", "b"], vocabulary, several=False)
    assert [t.tolist() for t in alone.texts()] == [[END, 4, 5], [END, 5]]
    assert corpus.ids.dtype == np.uint16


def test_ends_of_lines_in_several_texts() -> None:
    """A model of one text has a token for them in all texts, a model of several in none."""
    vocabulary = Vocabulary.fit(["a b"])
    assert encode_corpus(["a\nb", "b"], vocabulary).ids.tolist() == [END, 4, 5, END, 5, END]
    alone = encode_corpus(["a\nb", "b"], vocabulary, several=False)
    assert alone.ids.tolist() == [END, 4, END, 5, END, 5]
    assert encode_corpus("a\nb", vocabulary, several=True).ids.tolist() == [END, 4, 5, END]


def test_subwords_have_the_same_ends_of_lines() -> None:
    pytest.importorskip("sentencepiece")
    text = "the cat sat.\nthe dog sat.\n" * 20
    vocabulary = Vocabulary.fit(iter_texts(text, "subword"), "subword", size=275)
    ids = encode_corpus(text, vocabulary).ids
    lines = "".join("\n" if i == END else vocabulary.tokens[i] for i in ids)
    assert lines.replace("\u2581", " ").replace("\n ", "\n") == "\n" + text


def test_many_tokens_need_four_bytes() -> None:
    vocabulary = Vocabulary.of_tokens(f"w{i}" for i in range(70_000))
    assert encode_corpus("w69999 w0", vocabulary).ids.dtype == np.int32


def test_a_line_of_a_million_characters(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("ab" * 500_000)
    vocabulary = Vocabulary.fit(iter_texts(path, "char"), "char")
    assert encode_corpus(path, vocabulary).num_tokens == 1_000_000


def test_refused(tmp_path: Path) -> None:
    vocabulary = Vocabulary.fit(["ab"], "char")
    path = tmp_path / "broken.txt"
    path.write_bytes(b"good\nbad \xff here\n")
    cases = {
        r"broken.txt.*line 2.*UTF-8": path,
        r"nothing.txt.*no such file": tmp_path / "nothing.txt",
        r"found no token": "",
        r"texts: expected some text": [],
        r"texts\[1\].*int": ["a", 3],
        r"got a bytes": b"ab",
        r"got a int": 3,
    }
    for match, texts in cases.items():
        with pytest.raises(DataError, match=match):
            encode_corpus(texts, vocabulary)
    with pytest.raises(DataError, match="none of its 2 tokens occurred in training"):
        check_known(encode_corpus("xy", vocabulary), "xy")
    assert check_known(encode_corpus("xa", vocabulary), "xa") == 0.5


@pytest.mark.parametrize("share", [0.05, 0.7])
def test_the_trailing_part_is_exact(share: float) -> None:
    text = "".join(np.random.default_rng(0).choice(list("ab \n"), 500))
    for unit in ("char", "word"):
        pieces = list(trailing(text, unit, share))
        vocabulary = Vocabulary.fit(pieces, unit)
        ids = encode_corpus(text, vocabulary).ids
        tail = ids[split_at(ids, pieces, vocabulary) :]
        numbers = np.concatenate([vocabulary.encode(piece) for piece in pieces])
        assert len(tail[tail != END]) == len(numbers)
        # The first word may be cut.
        np.testing.assert_array_equal(tail[tail != END][1:], numbers[1:])
        if unit == "char":
            assert len(numbers) == round(len(text) * (1 - share))
    assert list(trailing(["abc", "de"], "char", 0.0)) == ["abc", "de"]
    assert list(trailing(["", "ab", "", "cd", ""], "word", 0.5)) == ["cd"]
    assert list(trailing("ab\ncd\n", "word", 0.5)) == ["cd"]


def test_where_the_trailing_part_begins() -> None:
    """Behind the END of what comes before it, also between texts and lines."""
    for texts in (["ab", "", "cd"], "ab\n\ncd"):
        vocabulary = Vocabulary.fit(["ab", "cd"])
        ids = encode_corpus(texts, vocabulary).ids
        place = split_at(ids, ["cd"], vocabulary)
        assert ids[place - 1] == END and ids[place] == vocabulary.encode("cd")[0]
        assert split_at(ids, ["ab", "cd"], vocabulary) == 1
    assert split_at(np.array([END, 5, 6]), ["ab ab ab"], vocabulary) == 1
