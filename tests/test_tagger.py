"""Tagger beyond what all tasks promise."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from longshort._errors import DataError
from longshort.data._batches import Batch
from longshort.data._tag_schemes import convert_tags
from longshort.tasks import Tagger, load
from longshort.tasks._tag_code import TagCode
from longshort.tasks._tagger_input import (
    MAX_SPELLING,
    WordCode,
    cut_long,
    training_inputs,
    word_shape,
)
from longshort.tasks._training import random_part

NAMES = ["Ann", "Bob", "Eve", "Max Power", "New York City", "Rome"]
VERBS = ["met", "saw", "left", "likes"]


def some_sentences(n: int, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Names of people before verbs and of places after them, with IOB2 tags."""
    rng = np.random.default_rng(seed)
    sentences, tags = [], []
    for _ in range(n):
        words, row = [], []
        for kind in ("PER", "", "LOC"):
            part = (rng.choice(NAMES) if kind else rng.choice(VERBS)).split()
            words += part
            row += [f"{'I' if i else 'B'}-{kind}" if kind else "O" for i in range(len(part))]
        sentences.append([*words, "."])
        tags.append([*row, "O"])
    return sentences, tags


X, Y = some_sentences(48)
QUICK: dict[str, Any] = {
    "units": 8,
    "word_size": 8,
    "char_size": 4,
    "char_units": 4,
    "dropout": 0.1,
    "learning_rate": 0.05,
    "batch_size": 16,
    "epochs": 15,
    "patience": 15,
}


@pytest.fixture(scope="module")
def fitted() -> Tagger:
    return Tagger(**QUICK).fit(X, Y)


def test_learns_spans(fitted: Tagger) -> None:
    """Place tells PER from LOC, and the answers are in the scheme that came in."""
    sentences, tags = some_sentences(30, seed=1)
    scores = fitted.evaluate(sentences, tags)
    assert scores["f1"] == 1.0 and scores["accuracy"] == 1.0
    assert scores["baseline_f1"] < 0.7
    assert {name for name in scores if "-" in name} == {
        f"{rate}-{kind}" for rate in ("precision", "recall", "f1") for kind in ("LOC", "PER")
    }
    assert fitted.scheme_ == "IOB2"
    assert fitted.tags_ == ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]
    assert fitted.num_held_out_ == 5 and min(fitted.history_) == 0.0


def test_same_bits_in_any_company(fitted: Tagger, tmp_path: Any) -> None:
    """Alone, in a batch of others, beside a long one, in another order, and after a file."""
    some = [*X[:3], ["zzz"], ["Ann"] * 40, ["met", "Ünï", "x" * 99]]
    p = fitted.predict_proba(some)
    for i, sentence in enumerate(some):
        assert np.array_equal(fitted.predict_proba([sentence])[0], p[i])
    many = fitted.predict_proba([*X * 3, *some[::-1]])[-len(some) :][::-1]
    assert all(map(np.array_equal, many, p))
    fitted.save(tmp_path / "tagger")
    again = load(tmp_path / "tagger")
    assert all(map(np.array_equal, again.predict_proba(some), p))


def test_probabilities_and_n_best(fitted: Tagger) -> None:
    """Both describe one distribution over sequences."""
    sentence = ["Rome", "met"]
    p = fitted.predict_proba([sentence])[0]
    assert p.shape == (2, 5) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    paths = fitted.n_best([sentence], 200)[0]
    assert [path for _, path in paths][0] == fitted.predict([sentence])[0]
    chances = [chance for chance, _ in paths]
    assert chances == sorted(chances, reverse=True)
    assert len(paths) == 9 + 2  # O, B or S of two types each, and two spans of two words
    np.testing.assert_allclose(sum(chances), 1, atol=1e-5)
    sums = np.zeros(p.shape)
    for chance, path in paths:
        for t, tag in enumerate(path):
            sums[t, fitted.tags_.index(tag)] += chance
    np.testing.assert_allclose(sums, p, atol=1e-5)


def test_features_of_words(tmp_path: Any) -> None:
    """What only a feature tells is learnt, and stays so in a file; a new value says nothing."""
    rng = np.random.default_rng(0)
    kinds = [rng.choice(["a", "b"], size=4).tolist() for _ in range(60)]
    sentences = [[("w", kind, "z") for kind in row] for row in kinds]
    task = Tagger(**QUICK, crf=False).fit(sentences, kinds)
    assert task.num_features_ == 2
    assert task.predict(sentences[:9]) == kinds[:9]
    assert task.evaluate(sentences[:9], kinds[:9])["accuracy"] == 1.0
    task.save(tmp_path / "features")
    again = load(tmp_path / "features")
    new = [[("w", "c", "z"), ("w", "a", "y")]]
    assert again.predict(sentences) == task.predict(sentences)
    assert np.array_equal(again.predict_proba(new)[0], task.predict_proba(new)[0])
    table = task._reader.nets[0].reader.get_layer("feature_table_1").get_weights()[0]
    assert table.shape == (6, 20) and not table[:2].any() and table[4:].all()
    with pytest.raises(DataError, match=r"\[0\]\[1\]: expected a tuple of a word and 2 features"):
        task.predict([[("w", "a", "z"), "w"]])
    with pytest.raises(DataError, match=r"expected a tuple of a word and 2 features.*got 'w'"):
        task.evaluate([["w"]], [["a"]])


def test_state_of_features(fitted: Tagger) -> None:
    """Older files have none; how much a file asks for is known before anything is built."""
    state = fitted._get_state()
    least = fitted._least_bytes(state)
    older = {key: state[key] for key in state if key not in ("features", "num_members")}
    assert fitted._least_bytes(older) == least
    again = Tagger(**QUICK)
    again._set_state(older)
    assert again.num_features_ == 0 and len(again._reader.nets) == 1
    many = {**state, "features": [{"tokens": ["a"] * 1000}] * 100}
    assert fitted._least_bytes(many) > least + 2 * 20 * 100_000
    for number in (0, 10**6, "2"):
        with pytest.raises(ValueError, match="num_members"):
            fitted._least_bytes({**state, "num_members": number})


def test_word_vectors(tmp_path: Any) -> None:
    """The form that a word is looked up by wins, then the first; all members begin with them."""
    sentences, tags = [["Rome", "in", "1984", "Xy"]] * 4, [["LOC", "O", "O", "O"]] * 4
    path = tmp_path / "v.txt"
    lines = ["Rome 9 9 9", "in 1 2 3", "ROME 8 8 8", "rome 1 0 0", "1066 0 1 0", "1984 5 5 5"]
    path.write_text("\n".join([*lines, "other 7 7 7"]))
    options: dict[str, Any] = {"char_units": 2, "word_size": 3, "word_dropout": 0.0}
    options |= {"epochs": 1, "learning_rate": 1e-9, "num_members": 2, "validation_split": 0}
    model = Tagger(4, vectors=str(path), **options).fit(sentences, tags)
    rows = [model._word_code.words.index(word) for word in ("rome", "in", "0000")]
    tables = [w for w in model.model_.weights if w.path.endswith("word_table/embeddings")]
    assert len(tables) == 2
    for table in tables:
        found = keras.ops.convert_to_numpy(table)
        np.testing.assert_allclose(found[rows], [[1, 0, 0], [1, 2, 3], [0, 1, 0]], atol=1e-6)
        assert not found[0].any() and found[model._word_code.words.index("xy")].any()
    path.unlink()  # not needed any more
    model.save(tmp_path / "x")
    assert load(tmp_path / "x").predict(sentences) == model.predict(sentences)
    path.write_text("rome 1 2\n")
    before = model.predict(sentences)
    with pytest.raises(DataError, match=r"vectors of size 2, word_size is 3. Give word_size=2"):
        model.fit([["Rome", "is"]] * 4, [["LOC", "VERB"]] * 4)
    assert model.predict(sentences) == before  # what was learnt before is whole
    with pytest.raises(DataError, match="vectors must be a file name as a str, got 3"):
        Tagger(vectors=3).fit(sentences, tags)  # type: ignore[arg-type]


def test_empty_sentences_and_unknown_words(fitted: Tagger) -> None:
    assert fitted.predict([[], ["Ann"], []])[::2] == [[], []]
    assert fitted.predict([[]]) == [[]]
    assert fitted.predict_proba([[]])[0].shape == (0, 5)
    assert fitted.n_best([[]], 2) == [[(1.0, [])]]
    unknown = [["qqq", "Wwwww", "漢字", "\u200b"]]
    assert len(fitted.predict(unknown)[0]) == 4
    scores = fitted.evaluate(unknown, [["O"] * 4])
    assert scores["unknown_accuracy"] == scores["accuracy"]


def test_a_sentence_of_ten_thousand_words(fitted: Tagger) -> None:
    words = [word for sentence in X * 60 for word in sentence][:10_000]
    tags = fitted.predict([words])[0]
    assert len(words) == len(tags) == 10_000
    assert convert_tags(tags, "IOB2") == tags  # what is broken would come back otherwise
    parts = cut_long([words])
    assert sum(parts, []) == words and max(map(len, parts)) == 250


@pytest.mark.slow
def test_trains_without_spans_and_with_long_sentences() -> None:
    """Plain tags, a softmax a word, no spelling, nothing held out, two layers."""
    flat = [word for sentence in X for word in sentence]
    kinds = [["VERB" if word in VERBS else "OTHER" for word in flat]]
    options = QUICK | {
        "crf": False,
        "char_units": 0,
        "num_layers": 2,
        "validation_split": 0.0,
        "batch_size": 1,
    }
    task = Tagger(**options).fit([flat], kinds)
    assert task.scheme_ is None and task.num_held_out_ == 0
    assert task.history_[-1] < task.history_[0]
    scores = task.evaluate([flat], kinds)
    assert set(scores) == {"accuracy", "baseline_accuracy"}
    assert scores["accuracy"] > 0.95
    crf = task._reader.nets[0].crf
    assert not any(np.asarray(w).any() for w in crf.weights)  # a softmax stays one


def test_a_tag_that_training_lacked_counts_as_wrong(fitted: Tagger) -> None:
    tags = [["B-ORG" if tag == "B-LOC" else tag for tag in row] for row in Y]
    with pytest.warns(UserWarning, match="'B-ORG' did not occur in training"):
        scores = fitted.evaluate(X, tags)
    assert scores["accuracy"] < 1 and scores["f1-ORG"] == 0.0


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES"])
def test_tag_code_there_and_back(scheme: str) -> None:
    rows = [convert_tags(row, scheme) for row in [*Y, ["B-LOC", "B-LOC", "I-LOC", "O"]]]
    code = TagCode.fit(rows, "auto")
    assert code.scheme == scheme
    assert [code.decode(code.encode(row)) for row in rows] == rows
    p = np.random.default_rng(0).random((3, len(code.inner)))
    np.testing.assert_allclose(code.fold(p).sum(axis=1), p.sum(axis=1))


def test_marks_of_other_names_come_back() -> None:
    rows = [["B", "M", "E", "S"], ["B", "E", "S", "S"]]
    code = TagCode.fit(rows, "auto")
    assert code.scheme == "BIOES" and code.outer == ["B", "E", "M", "S"]
    assert [code.decode(code.encode(row)) for row in rows] == rows


def test_training_inputs() -> None:
    """Each place finds its word's spelling; words seen once become unknown at times."""
    words = [[("aa", "x"), ("b", "y"), ("aa", "y")], [("c" * 99, "x"), ("b", "y")]]
    code = WordCode.fit(words, 1, True)
    encoded = code.encode(words)
    rare = code.rare(encoded)
    assert [code.words.tokens[i] for i in np.flatnonzero(rare)] == ["c" * 99]
    batch = Batch(np.array([1, 0]), 3, 4)
    rng = np.random.default_rng(0)
    ids, features, places, spelling, mask = training_inputs(encoded, batch, rare, 0.999, rng)
    assert mask.sum(axis=1).tolist() == [2, 3, 0]
    assert ids[0, 0] == 1 and ids[1, 1] == ids[0, 1] > 1 and not ids[~mask].any()
    assert (features[mask][:, 0] == 1).all() and not places[~mask].any()
    assert features[1, :, 1].tolist() == [5, 4, 4, 0] and not features[~mask].any()
    assert len(spelling) == 6 and not spelling[0].any()
    assert (spelling[places[0, 0]] > 1).sum() == MAX_SPELLING
    assert np.array_equal(spelling[places[1, 0]], spelling[places[1, 2]])
    assert (spelling[places[1, 0]] > 0).sum() == 2
    assert word_shape("McX") == 4 and word_shape("漢字") == 5 and word_shape("ǅ") in range(1, 9)


def test_held_out() -> None:
    assert random_part(100, 0.1, 1).sum() == 10
    assert random_part(1, 0.5, 1).sum() == 0
    assert not np.array_equal(random_part(100, 0.1, 1), random_part(100, 0.1, 2))


@pytest.mark.parametrize(
    ("sentences", "tags", "message"),
    [
        ([["a"], ["b", "c"]], [["X"], ["Y"]], r"tags\[1\]: expected 2 tags, .*\(b c\), got 1"),
        ([["a"]], [["X"], ["Y"]], r"each of the 1 sentences, got 2"),
        ([["a"], []], [["X"], []], r"sentences\[1\]: expected at least one word"),
        ([], [], r"at least one sentence, got none"),
        ("a b", ["X"], r"expected a list of sentences.*got a str"),
        (["a b"], [["X", "Y"]], r"sentences\[0\]: expected a list of words.*sentences\[0\]\.split"),
        ([["a", 3]], [["X", "Y"]], r"sentences\[0\]\[1\]: expected a word .*got 3"),
        ([["a", ""]], [["X", "Y"]], r"sentences\[0\]\[1\]: expected a word .*got ''"),
        ([["a", "b"]], [["X", None]], r"tags\[0\]\[1\]: expected a tag .*got None"),
        ([["a", "b"]], ["XY"], r"tags\[0\]: expected a list of tags, one a word, got a str"),
        ([["a", "b"]], [["X", "X"]], r"tags are all the same \('X'\)"),
        (None, None, r"expected a list of sentences.*NoneType"),
        ([["a", ("b", "X")]], [["X", "Y"]], r"\[0\]\[1\]: expected a word without features"),
        ([[("a", "X")], ["b"]], [["X"], ["Y"]], r"\[1\]\[0\]: expected a tuple of .* 1 feature,"),
        ([[("a", 1)]], [["X"]], r"expected a word \(a str\), or a tuple .*got \('a', 1\)"),
        ([[("a", "<s>"), ("b", "<s>")]], [["X", "Y"]], r"feature 1 of the words has no value but"),
        ([[()]], [["X"]], r"expected a word \(a str\), or a tuple .*got \(\)"),
    ],
)
def test_bad_data(sentences: Any, tags: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Tagger(**QUICK).fit(sentences, tags)


def test_bad_parameters(fitted: Tagger) -> None:
    with pytest.raises(DataError, match=r"units must be .*; crf must be .*; scheme must be 'auto'"):
        Tagger(0, crf=1, scheme="IOB").fit(X, Y)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"scheme is 'IOB2', but the tags do not mark spans"):
        Tagger(scheme="IOB2").fit([["a", "b"]], [["X", "Y"]])
    with pytest.raises(DataError, match=r"min_count is 99, but no word occurs as often"):
        Tagger(min_count=99).fit([["a", "b"]], [["X", "Y"]])
    with pytest.raises(DataError, match=r"k must be a whole number"):
        fitted.n_best(X, 0)
    with pytest.raises(DataError, match="at least one word"):
        fitted.evaluate([[]], [[]])
    with pytest.raises(DataError, match=r"validation sentences\[0\]\[0\]: .* without features"):
        Tagger().fit(X, Y, validation_data=([[("a", "X")]], [["O"]]))
    with pytest.raises(DataError, match=r"validation sentences\[0\]"):
        Tagger().fit(X, Y, validation_data=([[]], [[]]))
