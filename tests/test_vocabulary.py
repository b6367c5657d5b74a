"""Text to numbers and back."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from longshort._errors import DataError
from longshort.data import Vocabulary
from longshort.data._vocabulary import RESERVED
from longshort.tasks._json import decode, encode

TEXTS = [
    "The cat sat on the mat.",
    "“It's 1,000.50 €”, she said; they'll (really!) pay.",
    "Zoë & Zoe\u0308: naïve?\n\tНет, это не так",
    "नमस्ते दुनिया, می‌خواهم",
    "日本語 👍🏽 a_b C3PO 3.5mm ... \x00",
]


def random_texts(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    alphabet = list("abcXYZ 012.,'’\n\t-_()éß日\u0301\u094d👍\u200d\x00İ▂")
    return ["".join(rng.choice(alphabet, rng.integers(0, 40))) for _ in range(count)]


def test_words() -> None:
    def words(text: str) -> list[str]:
        return [text[a:b] for a, b in Vocabulary.fit(["x"]).spans(text)]

    assert words(TEXTS[1]) == [
        *("“", "It", "'s", "1,000.50", "€", "”", ",", "she", "said", ";", "they", "'ll"),
        *("(", "really", "!", ")", "pay", "."),
    ]
    assert words(TEXTS[3]) == ["नमस्ते", "दुनिया", ",", "می‌خواهم"]
    assert words(TEXTS[4])[0] == "日本語" and words(TEXTS[4])[3:8] == [
        "a_b",
        "C3PO",
        "3.5",
        "mm",
        ".",
    ]
    assert words("do n't you 've 'quoted' l'eau") == [
        *("do", "n", "'t", "you", "'ve", "'", "quoted", "'", "l", "'", "eau"),
    ]


def test_numbers_are_those_of_the_frequent_first() -> None:
    vocabulary = Vocabulary.fit(["b a b c c c", "a d"])
    assert vocabulary.tokens == [*RESERVED, "c", "a", "b", "d"]  # a and b by their text
    assert Vocabulary.fit(["a b b"], size=5).tokens[4:] == ["b"]
    assert Vocabulary.fit(["a b b"], min_count=2).tokens[4:] == ["b"]
    assert vocabulary.encode("d, x").tolist() == [7, 1, 1]
    assert vocabulary.encode("").shape == (0,) and vocabulary.encode("a").dtype == np.int32
    assert vocabulary.index("c") == 4 and vocabulary.index("<pad>") == vocabulary.index("?") == 1


def test_forms_of_a_word() -> None:
    vocabulary = Vocabulary.fit(["Zoë", "Zoe\u0308"])
    assert vocabulary.tokens[4:] == ["Zoë"]
    assert vocabulary.encode("Zoe\u0308 zoë").tolist() == [4, 1]
    lower = Vocabulary.fit(["İstanbul A"], lowercase=True)
    assert lower.encode("a İSTANBUL").tolist() == [4, 5]
    assert lower.index("A") == lower.index("a") == 4


@pytest.mark.parametrize("unit", ["word", "char"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_one_span_a_token(unit: str, lowercase: bool) -> None:
    """Spans go forward, lie within the text, and all between them is white space."""
    vocabulary = Vocabulary.fit(TEXTS, unit, lowercase=lowercase)
    for text in [*TEXTS, *random_texts(300)]:
        spans = vocabulary.spans(text)
        assert len(spans) == len(vocabulary.encode(text))
        rest, place = "", 0
        for start, end in spans:
            assert place <= start < end <= len(text)
            rest += text[place:start]
            place = end
        assert not (rest + text[place:]).strip()


def test_chars_come_back() -> None:
    texts = [*TEXTS, *random_texts(50)]
    vocabulary = Vocabulary.fit(texts, "char")
    for text in texts:
        assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.decode([2, 0, 1, *vocabulary.encode("a"), 3]) == "\ufffda"
    assert vocabulary.index("\u0301") != 1  # nothing is put into another form


def test_words_are_joined_as_they_are_written() -> None:
    for text in ["They'll come (really!), for $5, at 3:30 p.m.", "A 50% “discount”."]:
        vocabulary = Vocabulary.fit([text])
        decoded = vocabulary.decode(vocabulary.encode(text))
        assert vocabulary.encode(decoded).tolist() == vocabulary.encode(text).tolist()
    vocabulary = Vocabulary.fit(["Yes, it's (not) so."])
    assert vocabulary.decode(vocabulary.encode("Yes, it's (not) so.")) == "Yes, it's (not) so."


def test_texts_are_read_once() -> None:
    def stream() -> Iterator[str]:
        yield from TEXTS

    assert Vocabulary.fit(stream()).tokens == Vocabulary.fit(TEXTS).tokens


def test_tokens_that_were_cut_before() -> None:
    words = ["New York", "is", "is", "<unk>"]
    vocabulary = Vocabulary.of_tokens(words)
    assert vocabulary.tokens[4:] == ["is", "New York"]
    assert vocabulary.encode_tokens(["New York", "<unk>", "Is"]).tolist() == [5, 1, 1]
    assert vocabulary.encode("is <unk> it?").tolist() == [4, 1, 1]
    assert vocabulary.decode([4, 5]) == "is New York"
    assert Vocabulary.of_tokens(Counter(words)).tokens == vocabulary.tokens
    lower = Vocabulary.of_tokens({"A": 1, "b": 2, "a": 2}, lowercase=True)
    assert lower.tokens[4:] == ["a", "b"]


@pytest.fixture(scope="module")
def pieces() -> Vocabulary:
    pytest.importorskip("sentencepiece")
    return Vocabulary.fit([text.replace("\x00", "") for text in TEXTS] * 20, "subword", 420)


def test_subwords_come_back(pieces: Vocabulary) -> None:
    assert pieces.tokens[:4] == list(RESERVED) and len(pieces) <= 420
    for text in [*TEXTS, *random_texts(200), "", " ", "  two  spaces ", "</s><pad>", "ü"]:
        numbers = pieces.encode(text)
        assert pieces.decode(numbers) == text
        assert not set(numbers.tolist()) & {0, 1, 2, 3}
        spans = pieces.spans(text)
        assert len(spans) == len(numbers)
        assert all(0 <= a <= b <= len(text) for a, b in spans)
        assert "".join(text[a:b] for a, b in spans) == text
    assert pieces.index(pieces.tokens[300]) == 300


def test_subwords_are_the_same_each_time(pieces: Vocabulary, capfd: Any) -> None:
    texts = [text.replace("\x00", "") for text in TEXTS] * 20
    assert Vocabulary.fit(iter(texts), "subword", 420).get_state() == pieces.get_state()
    lower = Vocabulary.fit(texts, "subword", 420, lowercase=True)
    assert lower.encode("THE Cat").tolist() == lower.encode("the cat").tolist()
    # A long text counts whole, though SentencePiece leaves out lines of more than some size.
    long = Vocabulary.fit(["ab " * 40_000 + "zebra " * 500], "subword", 300)
    assert any("zebra" in token for token in long.tokens)
    assert capfd.readouterr() == ("", "")


def test_subwords_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentencepiece")
    with pytest.raises(DataError, match=r"size of at least \d+ for the bytes and .*, got 100"):
        Vocabulary.fit(["some text"], "subword", 100)
    with pytest.raises(DataError, match="at least one character, got none"):
        Vocabulary.fit([""], "subword")
    with pytest.raises(DataError, match="min_count=2 has no meaning"):
        Vocabulary.fit(["a"], "subword", min_count=2)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(DataError, match=r"pip install longshort\[text\]"):
        Vocabulary.fit(["some text"], "subword", 300)


@pytest.mark.parametrize("unit", ["word", "char", "subword", "token"])
def test_state(unit: str, pieces: Vocabulary) -> None:
    vocabulary = {
        "word": lambda: Vocabulary.fit(TEXTS, lowercase=True),
        "char": lambda: Vocabulary.fit(TEXTS, "char"),
        "subword": lambda: pieces,
        "token": lambda: Vocabulary.of_tokens(TEXTS[0].split()),
    }[unit]()
    again = Vocabulary.from_state(decode(encode(vocabulary.get_state())))
    assert again.tokens == vocabulary.tokens and again.unit == unit
    for text in TEXTS:
        assert again.encode(text).tolist() == vocabulary.encode(text).tolist()


def test_broken_states(pieces: Vocabulary) -> None:
    good = Vocabulary.fit(["a b"]).get_state()
    faults: list[Any] = [
        {"tokens": ["a", "a"]},
        {"tokens": ["<unk>"]},
        {"tokens": ["a", 3]},
        {"tokens": "ab"},
        {"unit": "line"},
        {"lowercase": 1},
        {"more": 1},
        {"unit": "subword"},
        {"unit": "subword", "tokens": "é"},
        {"unit": "subword", "tokens": ""},
        {"unit": "subword", "tokens": "AAAA"},
    ]
    for fault in faults:
        with pytest.raises(ValueError):
            Vocabulary.from_state(good | fault)
    with pytest.raises(ValueError):
        Vocabulary.from_state([])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a text",), "expected a list of texts, got a str. Put a single one into a list"),
        ((["a", b"b"],), r"texts\[1\] is a bytes, expected a str"),
        ((["", " \n"],), "at least one token, found none"),
        ((["a"], "words"), "expected unit='word', 'char' or 'subword', got 'words'"),
        ((["a"], "word", 4), "expected a size of at least 5.*got 4"),
        ((["a"], "word", True), "expected a size"),
        ((["a"], "word", None, 0), "min_count of at least 1, got 0"),
        ((["a a"], "word", None, 3), "no token occurs 3 times, the most frequent one 2 times"),
    ],
)
def test_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Vocabulary.fit(*arguments)


def test_numbers_that_are_none() -> None:
    vocabulary = Vocabulary.fit(["a"])
    for number in (-1, 5, 1.5):
        with pytest.raises(DataError, match=f"0 to 4, got {number}"):
            vocabulary.decode([number])
