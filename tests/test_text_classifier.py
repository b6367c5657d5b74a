"""TextClassifier beyond what all tasks promise."""

from __future__ import annotations

import gzip
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from longshort._errors import DataError
from longshort.data._batches import fixed_batches
from longshort.tasks import SequenceClassifier, TextClassifier, load
from longshort.tasks._classifier_training import _rarest, logits
from longshort.tasks._labels import check_label_sets
from longshort.tasks._pooling import POOLINGS, Pooling
from longshort.tasks._scores import calibration_error, fit_temperature
from longshort.tasks._text_input import kept
from longshort.tasks._text_net import TextNetShape, build_text_net

WORDS = "the a film plot cast it was and so one of in with scene".split()
SIGNAL = {"yes": "superb", "no": "dreadful"}


def some_texts(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Noise of 1 to 7 words, and one word that decides."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for i in range(count):
        words = list(rng.choice(WORDS, rng.integers(1, 8)))
        labels.append(("no", "yes")[i % 2])
        words.insert(rng.integers(len(words) + 1), SIGNAL[labels[-1]])
        texts.append(" ".join(words))
    return texts, labels


X, Y = some_texts(160)
ORDER = sorted(range(160), key=lambda i: Y[i])  # as files often are
X, Y = [X[i] for i in ORDER], [Y[i] for i in ORDER]
SMALL: dict[str, Any] = {
    "units": 8,
    "embedding_size": 8,
    "epochs": 5,
    "batch_size": 16,
    "learning_rate": 0.03,
    "dropout": 0.2,
    "embedding_dropout": 0.1,
    "num_members": 1,
}


@pytest.fixture(scope="module")
def fitted() -> TextClassifier:
    return TextClassifier(**SMALL).fit(X, Y)


@pytest.fixture(scope="module")
def several() -> TextClassifier:
    labels = [[x for x, word in SIGNAL.items() if word in text] for text in X]
    labels[0], texts = ["yes", "no"], ["superb dreadful film", *X[1:]]
    labels[5], texts[5] = [], "a film"
    return TextClassifier(**SMALL, multi_label=True).fit(texts, labels)


def test_learns(fitted: TextClassifier) -> None:
    assert min(fitted.history_) < 0.3 * math.log(2)
    test, labels = some_texts(60, seed=1)
    scores = fitted.evaluate(test, labels)
    assert scores["accuracy"] >= 0.95 and scores["majority_accuracy"] == 0.5
    assert list(scores) == [
        *("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "calibration_error"),
        *("linear_accuracy", "majority_accuracy"),
    ]
    assert fitted.classes_.tolist() == ["no", "yes"] and fitted.num_held_out_ == 16
    p = fitted.predict_proba(test)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert fitted.predict(test).tolist() == fitted.classes_[p.argmax(axis=1)].tolist()


def random_sentences(count: int) -> list[str]:
    rng = np.random.default_rng(3)
    words = [*WORDS, *SIGNAL.values(), "unseen", "?"]
    return [" ".join(rng.choice(words, rng.integers(0, 15))) for _ in range(count)]


@pytest.mark.parametrize("pooling", ["max+mean", "attention"])
def test_same_bits_alone_or_in_any_company(pooling: str) -> None:
    """Neither neighbours nor their order nor the place in a batch change one bit."""
    rng = np.random.default_rng(0)
    shape = TextNetShape(200, 3, 20, 24, 2, True, pooling, 0.5, 0.1)
    model = build_text_net(shape, 1)
    model.set_weights([rng.normal(size=w.shape, scale=0.5) for w in model.get_weights()])
    texts = [rng.integers(1, 200, rng.integers(0, 24)).astype(np.int32) for _ in range(150)]

    def run(indices: Any) -> np.ndarray:
        return logits(model, [texts[i] for i in indices], 24, fixed_batches)

    whole = run(range(150))
    assert np.isfinite(whole).all() and whole.std() > 0.1
    alone = np.concatenate([run([i]) for i in range(0, 150, 5)])
    assert (alone == whole[::5]).all()
    for _ in range(2):
        order = rng.permutation(150)[: rng.integers(80, 150)]
        assert (run(order) == whole[order]).all()


def test_same_bits_saved(fitted: TextClassifier, tmp_path: Path) -> None:
    texts = random_sentences(40)
    p = fitted.predict_proba(texts)
    fitted.save(tmp_path / "x.longshort")
    again = load(tmp_path / "x.longshort")
    assert (again.predict_proba(texts) == p).all()
    assert (np.concatenate([again.predict_proba([text]) for text in texts]) == p).all()
    assert again.explain(texts[1]).scores.tolist() == fitted.explain(texts[1]).scores.tolist()


def test_explanation_finds_the_word_that_decides(fitted: TextClassifier) -> None:
    for text, label in zip(*some_texts(6, seed=2), strict=True):
        for about in ("yes", "no"):
            found = fitted.explain(text, about)
            p = fitted.predict_proba([text, ""])[:, fitted.classes_.tolist().index(about)]
            whole, none = np.log(p / (1 - p))
            assert found.base == pytest.approx(none, abs=1e-5)
            assert found.scores.sum() == pytest.approx(whole - none, abs=1e-4)  # complete
            best = int(np.abs(found.scores).argmax())
            assert found.tokens[best] == SIGNAL[label]
            assert (found.scores[best] > 0) == (about == label)
    assert fitted.explain("superb").label == "yes"
    assert fitted.explain("superb").probability == fitted.predict_proba(["superb"]).max()


def test_an_empty_text_gets_what_the_network_says_of_nothing(fitted: TextClassifier) -> None:
    p = fitted.predict_proba(["", " \n", "film", "xyzzy", "xyzzy qwerty"])
    assert (p[0] == p[1]).all() and np.isfinite(p).all()
    assert 0.1 < p[0, 0] < 0.9  # nothing speaks for either
    table = np.array(keras.ops.convert_to_numpy(fitted.model_.get_layer("embedding").embeddings))
    assert (p[3] == fitted.predict_proba(["qwerty"])[0]).all() and not table[:2].any()


def test_a_very_long_text(fitted: TextClassifier) -> None:
    """Of more than `max_tokens` the ends are read, so that it takes no longer than others."""
    long = "superb " + "film " * 200_000 + "superb"
    short = "superb " + "film " * 398 + "superb"
    assert (fitted.predict_proba([long]) == fitted.predict_proba([short])).all()
    assert kept(5, 5).tolist() == [0, 1, 2, 3, 4] and kept(6, 5).tolist() == [0, 1, 2, 4, 5]
    task = TextClassifier(**SMALL | {"epochs": 1}, max_tokens=4).fit(X[:16], ["a", "b"] * 8)
    first, second = "a b superb dreadful so so", "a b film film so so"
    assert (task.predict_proba([first]) == task.predict_proba([second])).all()
    found = task.explain("one two three four five")
    assert found.tokens == ["one", "two", "four", "five"]
    a_word = fitted.predict_proba(["x" * 1_000_000, "x"])
    assert (a_word[0] == a_word[1]).all()


class Page(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.values += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page(fitted: TextClassifier, tmp_path: Path) -> None:
    """One file that asks for nothing, in which no text becomes markup."""
    nasty = "A <script>alert(1)</script> \"superb\" & <b onclick='x'>film</b>\n\ud800é"
    found = fitted.explain(nasty)
    page = Page(found.to_html(tmp_path / "x.html"))
    assert set(page.tags) <= {*"html head meta title style body p mark".split()}
    assert page.tags.count("mark") == len(found.tokens)
    assert nasty in page.text
    assert not any("http:" in value or "https:" in value for value in page.values)
    written = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert Page(written).text == page.text.replace("\ud800", "?")
    assert found._repr_html_() == found.to_html()


def test_several_labels(several: TextClassifier, tmp_path: Path) -> None:
    assert several.predict(["superb and dreadful", "superb film"])[1] == ["yes"]
    p = several.predict_proba(X)
    assert p.shape == (160, 2) and ((p > 0) & (p < 1)).all()
    assert several.predict(X)[3] == [c for c, q in zip(["no", "yes"], p[3], strict=True) if q > 0.5]
    test, labels = some_texts(40, seed=1)
    scores = several.evaluate(test, [[label] for label in labels])
    assert set(scores) == {
        *("micro_f1", "macro_f1", "subset_accuracy", "log_loss", "calibration_error"),
        *("linear_micro_f1", "majority_subset_accuracy"),
    }
    assert scores["micro_f1"] > 0.9 and scores["subset_accuracy"] > 0.8
    several.save(tmp_path / "x")
    assert (load(tmp_path / "x").predict_proba(X) == p).all()
    found = several.explain(test[0], "no")
    assert found.tokens[int(found.scores.argmax())] == SIGNAL["no"]
    assert _rarest(np.array([[1, 1], [1, 0], [0, 0.0]])).tolist() == [1, 0, 2]
    with pytest.raises(DataError, match=r"labels\[1\]: expected a list of labels.*got 'no'"):
        several.evaluate(["a", "b"], [["no"], "no"])
    with pytest.raises(DataError, match=r"labels\[0\]\[0\]: the label 'x' did not occur"):
        several.evaluate(["a"], [["x"]])
    assert check_label_sets([{"b", "a"}], 1) == [["a", "b"]]


def test_class_weights() -> None:
    """With weights the probabilities are those of labels as frequent as these make them."""
    texts, labels = ["a film"] * 36, ["yes", *["no"] * 5] * 6
    options = SMALL | {"epochs": 3, "validation_split": 0}

    def sure(weight: Any) -> float:
        task = TextClassifier(**options, class_weight=weight).fit(texts, labels)
        assert task.temperature_ == 1.0 and task.num_held_out_ == 0
        return task.predict_proba(["a film"])[0, 1]

    assert sure(None) < 0.35
    assert sure({"no": 1, "yes": 5}) == pytest.approx(0.5, abs=0.1)


def test_calibration() -> None:
    """A network that is too sure of itself is told so by the validation part, and only by it."""
    texts, labels = ["superb", "dreadful"] * 20, ["yes", "no"] * 20
    noise = np.random.default_rng(5).permutation(labels)
    task = TextClassifier(**SMALL).fit(texts, labels, validation_data=(texts, noise))
    assert task.temperature_ > 1.2
    assert task.evaluate(texts, noise)["log_loss"] < 0.72
    rng = np.random.default_rng(0)
    values = 3 * rng.normal(size=(3000, 4))
    p = np.exp(values / 2.5) / np.exp(values / 2.5).sum(axis=1, keepdims=True)
    targets = np.array([rng.choice(4, p=row) for row in p])
    assert fit_temperature(values, targets) == pytest.approx(2.5, rel=0.05)
    several = (rng.random((3000, 4)) < 1 / (1 + np.exp(-values / 2.5))).astype(np.float32)
    assert fit_temperature(values, several) == pytest.approx(2.5, rel=0.05)
    chosen = p.argmax(axis=1) == targets
    assert calibration_error(p.max(axis=1), chosen) < 0.03
    assert calibration_error(np.minimum(1.3 * p.max(axis=1), 1), chosen) > 0.1


def test_units_of_text(tmp_path: Path) -> None:
    texts, labels = ["so good", "so bad"] * 10, ["yes", "no"] * 10
    options = SMALL | {"epochs": 1, "vocabulary_size": 300}
    task = TextClassifier(**options, unit="char").fit(texts, labels)
    assert set(task.vocabulary_.tokens[4:]) == set("so godba")
    assert task.explain("so").tokens == ["s", "o"]
    pytest.importorskip("sentencepiece")
    task = TextClassifier(**options, unit="subword").fit(texts, labels)
    task.save(tmp_path / "x")
    again = load(tmp_path / "x")
    assert (again.predict_proba(texts) == task.predict_proba(texts)).all()
    assert "".join(again.explain("a good one").tokens) == "a good one"


def vectors(path: Path, *lines: str) -> str:
    content = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


def test_word_vectors(tmp_path: Path) -> None:
    lines = ["Superb 9 9 9", "superb 1 0 0", "other 5 5 5", "dreadful -1 0.5 0", "film 0 1e-1 0"]
    path = vectors(tmp_path / "v.txt.gz", "5 3", *lines)
    options: dict[str, Any] = SMALL | {"embedding_size": None, "epochs": 1, "learning_rate": 1e-9}
    task = TextClassifier(**options, vectors=path).fit(X, Y)
    table = np.array(task.model_.get_layer("embedding").get_weights()[0])
    rows = [task.vocabulary_.index(word) for word in ("superb", "dreadful", "film")]
    np.testing.assert_allclose(table[rows], [[1, 0, 0], [-1, 0.5, 0], [0, 0.1, 0]], atol=1e-6)
    assert not table[0].any()
    others = np.delete(table, [0, *rows], axis=0)  # as the vectors of the file spread
    assert others.std() == pytest.approx(table[rows].std(), rel=0.4)
    (tmp_path / "v.txt.gz").unlink()
    task.save(tmp_path / "x")  # the file is not needed any more
    assert (load(tmp_path / "x").predict_proba(X) == task.predict_proba(X)).all()
    faults = {
        "line 2: expected a word and 3 numbers, got 2 fields": ["film 1 2 3", "so 1 2"],
        "line 2: expected a word and 3 numbers, got 4": ["film 1 2 3", "so 1 2 3 4"],
        "line 3: expected 3 finite numbers after 'so'": ["film 1 2 3", ". . . 1 2 3", "so 1 x 3"],
        "line 1: expected 3 finite numbers after 'film'": ["film 1 nan 3"],
        "has a vector for none of the 16 words": ["other 1 2 3"],
    }
    for message, content in faults.items():
        with pytest.raises(DataError, match=message):
            TextClassifier(**options, vectors=vectors(tmp_path / "v.txt", *content)).fit(X, Y)
    path = vectors(tmp_path / "v.txt", "film 1 2 3")
    with pytest.raises(DataError, match="vectors of size 3, embedding_size is 4"):
        TextClassifier(embedding_size=4, vectors=path).fit(X, Y)


def test_pooling() -> None:
    """Steps under the mask do not count, NaN included; without any step the result is 0."""
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    real = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]], dtype=bool)
    x[~real] = np.nan
    for kind in POOLINGS[:-1]:
        layer = Pooling(kind, seed=1)
        y = keras.ops.convert_to_numpy(layer(x, real))
        for row in (0, 1):
            steps = x[row][real[row]]
            alone = layer(steps[None], np.ones((1, len(steps)), dtype=bool))
            np.testing.assert_allclose(y[row], keras.ops.convert_to_numpy(alone)[0], rtol=1e-6)
        assert (y[2] == 0).all()
        assert Pooling.from_config(layer.get_config()).kind == kind
    both = keras.ops.convert_to_numpy(Pooling("max+mean")(x, real))
    np.testing.assert_allclose(both[0], [*x[0, :3].max(0), *x[0, :3].mean(0)], rtol=1e-6)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        ("a text", ["a"], "texts: expected a list of texts, got a str"),
        ([], [], "at least one text, got none"),
        (["a", ""], ["a", "b"], r"texts\[1\]: the text is empty. Drop it and its label"),
        (["a", None], ["a", "b"], r"texts\[1\]: the text is missing"),
        (["a", b"b"], ["a", "b"], r"texts\[1\]: expected a str, got a bytes"),
        (["a", "b"], ["a"], "labels: expected 2 labels"),
        (["a", "b"], ["a", "a"], "at least 2 different labels, got 'a' for all texts"),
        (["a", "b"], ["a", float("nan")], r"labels\[1\]: the label is missing"),
    ],
)
def test_refused(texts: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TextClassifier(2, epochs=1).fit(texts, labels)


def test_refused_later(fitted: TextClassifier) -> None:
    with pytest.raises(DataError, match=r"labels\[1\]: the label 'maybe' did not occur in train"):
        fitted.evaluate(["a", "b"], ["yes", "maybe"])
    with pytest.raises(DataError, match=r"label\[0\]: the label 3 did not occur"):
        fitted.explain("a", 3)
    with pytest.raises(DataError, match="at least one token, got none"):
        fitted.explain(" ")
    with pytest.raises(
        DataError, match="num_orders must be a whole number from 1 to 1000000, got 0"
    ):
        fitted.explain("a", num_orders=0)
    with pytest.raises(DataError, match=r"validation texts\[0\]: the text is empty"):
        TextClassifier().fit(X, Y, validation_data=([""], ["yes"]))
    with pytest.raises(DataError, match="no label at all"):
        TextClassifier(multi_label=True).fit(["a", "b"], [[], []])
    with pytest.raises(DataError, match=r"class_weight lacks 'yes'; give one weight .*'no', 'yes'"):
        TextClassifier(class_weight={"no": 1}).fit(X, Y)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"unit": "words"}, "unit must be one of 'word', 'char', 'subword', got 'words'"),
        ({"pooling": None}, "pooling must be one of"),
        ({"vocabulary_size": 4}, "vocabulary_size must be a whole number from 5"),
        ({"max_tokens": 1}, "max_tokens must be a whole number from 2"),
        ({"embedding_size": 0}, "embedding_size must be a whole number from 1"),
        ({"num_members": 0}, "num_members must be a whole number from 1 to 100"),
        ({"embedding_dropout": 1}, "embedding_dropout must be a number from 0 to below 1"),
        ({"class_weight": "even"}, "class_weight must be None, 'balanced' or a dict, got 'even'"),
        ({"class_weight": {"a": 0}}, "class_weight must hold numbers above 0"),
        ({"class_weight": "balanced", "multi_label": True}, "class_weight is for one label a text"),
        ({"vectors": 3}, "vectors must be a file name as a str, and unit 'word'"),
        ({"vectors": "x", "unit": "char"}, "vectors must be a file name"),
        ({"units": 0, "patience": 0}, "units must be .*; patience must be"),
    ],
)
def test_params(params: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TextClassifier(**params).fit(X, Y)


def test_both_classifiers_share_one_loop() -> None:
    """What they are documented to share."""
    ours, theirs = TextClassifier().get_params(), SequenceClassifier().get_params()
    assert set(theirs) - set(ours) == {"standardize", "input_dropout", "label_smoothing"}
