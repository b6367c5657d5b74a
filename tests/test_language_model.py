"""`LanguageModel`: scores against one step at a time in float64, generation, bad input."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from longshort._errors import DataError, FileFormatError, KernelError
from longshort.data._vocabulary import END, UNKNOWN
from longshort.layers import LSTM
from longshort.tasks import LanguageModel, _language_training, load
from longshort.tasks import _language_scoring as scoring
from longshort.tasks._course import Course
from longshort.tasks._language_net import LanguageNet, NetPlan
from longshort.tasks._language_scoring import Scorer
from longshort.tasks._language_steps import stepper
from longshort.tasks._language_training import RISE, LanguagePlan, _segments
from longshort.tasks._token_loss import as_it_is

LINES = ["the cat sat on the mat.", "the dog sat on the cat.", "a cat and a dog sat."]
TEXT = "\n".join(LINES * 8)
SMALL: dict[str, Any] = {"units": 6, "embedding_size": 5, "epochs": 1, "sequence_length": 16}

REST = {"num_sampled": None, "patience": 1, "max_minutes": None, "precision": "float32", "seed": 1}


@pytest.fixture(scope="module")
def chars() -> LanguageModel:
    return LanguageModel(num_layers=2, **SMALL).fit(TEXT)


@pytest.fixture(scope="module")
def words() -> LanguageModel:
    """Of several texts, with tied weights and a projection."""
    return LanguageModel(unit="word", weight_drop=0.3, embedding_dropout=0.1, **SMALL).fit(
        LINES * 8
    )


def net_of(**options: Any) -> LanguageNet:
    plan: dict[str, Any] = {
        "num_tokens": 11,
        "embedding_size": 5,
        "units": 6,
        "num_layers": 2,
        "tie_weights": True,
        "dropout": 0.0,
        "input_dropout": 0.0,
        "embedding_dropout": 0.0,
        "weight_drop": 0.0,
        "seed": 1,
    }
    return LanguageNet(NetPlan(**plan | options))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def by_hand(net: LanguageNet, ids: np.ndarray) -> np.ndarray:
    """Log probabilities of all tokens but the first, one step at a time in float64."""
    w = {v.path: np.asarray(v, np.float64) for v in net.model.weights}
    found = [next(v for k, v in w.items() if k.endswith("embeddings"))]
    embeddings = found[0]
    layers = [[np.asarray(v, np.float64) for v in lay.weights] for lay in net.stack.layers]
    states = [(np.zeros(net.plan.units), np.zeros(net.plan.units)) for _ in layers]
    scores = []
    for token, target in zip(ids[:-1], ids[1:], strict=True):
        y = embeddings[token]
        for n, (W, U, b) in enumerate(layers):
            h, c = states[n]
            i, f, g, o = np.split(y @ W + h @ U + b, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            y = sigmoid(o) * np.tanh(c)
            states[n] = y, c
        if net.head is not None:
            kernel, bias = (np.asarray(v, np.float64) for v in net.head.weights)
            logits = y @ kernel + bias
        else:
            if net.projection is not None:
                kernel, bias = (np.asarray(v, np.float64) for v in net.projection.weights)
                y = y @ kernel + bias
            logits = embeddings @ y + np.asarray(net.embedding.bias, np.float64)
        scores.append(logits[target] - np.log(np.exp(logits).sum()))
    return np.array(scores)


def shaken(net: LanguageNet) -> LanguageNet:
    """With larger weights, so that far steps count."""
    rng = np.random.default_rng(0)
    net.model.set_weights([rng.normal(size=v.shape) * 0.5 for v in net.model.weights])
    return net


@pytest.mark.parametrize("options", [{}, {"units": 5}, {"tie_weights": False, "num_layers": 1}])
def test_scores_are_those_of_one_step_at_a_time(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts of all lengths beside one another, several calls long, padding and all."""
    monkeypatch.setattr(scoring, "MOST_STEPS", 16)
    net = shaken(net_of(**options))
    rng = np.random.default_rng(1)
    texts = [rng.integers(0, 11, n).astype(np.uint16) for n in (2, 40, 1, 17, 33)]
    for text, scores in zip(texts, Scorer(net).log_probabilities(texts), strict=True):
        assert len(scores) == len(text) - 1
        np.testing.assert_allclose(scores, by_hand(net, text), rtol=2e-5, atol=2e-5)


def test_validation_loss_is_that_of_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "CONTEXT", 40)
    net = shaken(net_of())
    ids = np.random.default_rng(1).integers(0, 11, 500)
    whole = -Scorer(net).log_probabilities([ids])[0].mean()
    assert Scorer(net).mean_loss(ids) == pytest.approx(whole, rel=1e-4)
    assert Scorer(net).mean_loss(ids[:2]) == pytest.approx(-by_hand(net, ids[:2])[0], rel=1e-5)


def test_training_carries_its_state_as_scoring_does() -> None:
    net = shaken(net_of())
    ids = np.random.default_rng(1).integers(1, 11, (3, 25)).astype(np.int32)
    expected = np.stack(Scorer(net).log_probabilities(list(ids)))
    trainer = net.trainer(3, 8)
    net.stack.reset_state(3)
    for start in (0, 8, 16):
        inputs, targets = ids[:, start : start + 8], ids[:, start + 1 : start + 9]
        found = trainer.predict_on_batch([inputs, targets])
        assert found == pytest.approx(-expected[:, start : start + 8].mean(), rel=1e-5)


@pytest.mark.parametrize("tie_weights", [True, False])
def test_a_sampled_softmax_is_the_softmax_with_many_samples(tie_weights: bool) -> None:
    """Values and gradients; each token among the samples or not."""
    net = shaken(net_of(tie_weights=tie_weights))
    ids = np.random.default_rng(1).integers(1, 11, (2, 9)).astype(np.int32)
    given = [ids[:, :-1], ids[:, 1:]]
    expected_losses = -np.stack(Scorer(net).log_probabilities(list(ids)))
    found = []
    for num_sampled in (None, 100_000):
        net.stack.reset_state(2)
        trainer = net.trainer(2, 8, num_sampled)
        losses = trainer.predict_on_batch(given)
        before = [np.array(v) for v in trainer.trainable_variables]
        trainer.compile(keras.optimizers.SGD(1e-3), loss=as_it_is)
        net.stack.reset_state(2)
        trainer.train_on_batch(given, given[1])
        after = [np.array(v) for v in trainer.trainable_variables]
        found.append((losses, [b - a for a, b in zip(after, before, strict=True)]))
        for variable, value in zip(trainer.trainable_variables, before, strict=True):
            variable.assign(value)
    exact, many = found
    assert exact[0] == pytest.approx(expected_losses.mean(), rel=1e-5)
    np.testing.assert_allclose(many[0], expected_losses, atol=0.05)
    for gradient, expected in zip(many[1], exact[1], strict=True):
        np.testing.assert_allclose(gradient, expected, atol=0.05 * np.abs(expected).max())


def test_segments_go_through_the_text() -> None:
    ids = np.arange(101)
    plan = LanguagePlan.of(
        *(100,),
        **dict(batch_size=4, length=8, epochs=9, learning_rate=1, clip_norm=1),
        **REST,
    )
    assert (plan.batch_size, plan.length, plan.steps) == (4, 8, 3)
    rng, seen = np.random.default_rng(0), set()
    for epoch in (1, 2, 3):
        steps = list(_segments(ids, plan, epoch, rng))
        inputs = np.concatenate([step[0] for step in steps], axis=1)
        assert inputs.shape == (4, 24)
        assert np.unique(inputs).size == 96  # none twice
        assert ((np.diff(inputs, axis=1) - 1) % 100 == 0).all()  # in their order, round the end
        for given, wanted in steps:
            assert np.array_equal(wanted, given + 1)
        seen |= {int(inputs[0, 0])}
    assert len(seen) == 3 and 0 in seen


@pytest.mark.parametrize(
    ("num_tokens", "shape"), [(1, (1, 1, 1)), (7, (1, 7, 1)), (40, (2, 16, 1))]
)
def test_short_texts_get_short_rows(num_tokens: int, shape: tuple[int, ...]) -> None:
    plan = LanguagePlan.of(
        *(num_tokens,),
        **dict(batch_size=4, length=16, epochs=None, learning_rate=1, clip_norm=1),
        **REST,
    )
    assert (plan.batch_size, plan.length, plan.steps) == shape
    course = Course(plan.learning_rate, plan.total, RISE)
    assert plan.epochs == 60 and course.rate(0.0) > 0 and course.rate(1.0) < 1e-12


def test_evaluate_counts_every_token_once(chars: LanguageModel, words: LanguageModel) -> None:
    text = "the cat\nand the dog."
    scores, found = chars.score(text), chars.evaluate(text)
    assert len(scores) == len(text) == found["num_tokens"]
    assert found["nats_per_token"] == pytest.approx(-scores.mean())
    assert found["bits_per_character"] == pytest.approx(-scores.mean() / np.log(2))
    assert found["perplexity"] == pytest.approx(np.exp(-scores.mean()))
    ids = np.concatenate([[END], chars.vocabulary_.encode(text)])
    np.testing.assert_allclose(scores, by_hand(chars._net, ids), atol=1e-5)

    table = words.predict(["the cat", "a dog sat."])
    assert table["num_tokens"].tolist() == [3, 5]  # the end of each text is one
    found = words.evaluate(["the cat", "a dog sat."])
    assert found["num_tokens"] == 8
    assert found["nats_per_token"] == pytest.approx(-table["log_probability"].sum() / 8)
    bits = -table["log_probability"].sum() / np.log(2) / len("the cata dog sat.")
    assert found["bits_per_character"] == pytest.approx(bits)
    assert len(words.score("the cat")) == 2
    assert np.array_equal(words.score("the\ncat"), words.score("the cat"))
    first = words.generate("the\ncat", max_tokens=5, temperature=0)
    assert first == words.generate("the cat", max_tokens=5, temperature=0)


@pytest.mark.slow
def test_it_learns() -> None:
    """Better than what counting pairs gives, also where the text begins, which it never saw."""
    task = LanguageModel(
        units=24, epochs=25, learning_rate=0.02, sequence_length=16, dropout=0.0
    ).fit(TEXT * 3)
    assert task.num_held_out_ == int(len(TEXT) * 3 * 0.05)
    found = task.evaluate(TEXT[:200])
    assert found["nats_per_token"] < 0.6 * found["bigram_nats"] < 0.6 * found["unigram_nats"]
    assert min(task.history_) < 0.5
    assert task.generate("the dog", max_tokens=8, temperature=0) == " sat on "


def test_generate(chars: LanguageModel) -> None:
    text = chars.generate("the", max_tokens=40)
    assert len(text) == 40
    assert text == chars.generate("the", max_tokens=40)
    assert text == "".join(chars.stream("the", max_tokens=40))
    assert text != chars.generate("the", max_tokens=40, seed=2)
    assert chars.generate(max_tokens=3, temperature=9.0) != ""
    stop = text[7:10]
    assert chars.generate("the", max_tokens=40, stop=stop) == text[: text.index(stop)]
    greedy = chars.generate("the", max_tokens=20, temperature=0)
    assert greedy == chars.generate("the", max_tokens=20, top_k=1)
    assert greedy == chars.generate("the", max_tokens=20, top_p=1e-6)


def test_greedy_is_what_the_model_finds_likeliest(chars: LanguageModel) -> None:
    prompt = "a cat"
    text = chars.generate(prompt, max_tokens=5, temperature=0)
    ids = np.concatenate([[END], chars.vocabulary_.encode(prompt + text)])
    logits = chars.model_.predict_on_batch([ids[None], *chars._net.zeros(1)])[0][0]
    logits[:, :4] = -np.inf
    assert logits[len(prompt) : -1].argmax(axis=-1).tolist() == ids[len(prompt) + 1 :].tolist()


@pytest.mark.parametrize("options", [{}, {"units": 5}, {"tie_weights": False}])
def test_steps_with_and_without_kernels(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "MOST_STEPS", 8)
    net = shaken(net_of(**options))
    ids = np.random.default_rng(1).integers(0, 11, 21)
    expected = net.model.predict_on_batch([ids[None].astype("int32"), *net.zeros(1)])[0][0, -1]
    states, done = Scorer(net).states_within(ids)
    assert done == 16
    for _ in range(2):
        advance = stepper(net, states)
        for token in ids[done:].tolist():
            logits = advance(token)
        np.testing.assert_allclose(logits, expected, rtol=2e-5, atol=2e-5)

        def missing(self: Any) -> None:
            raise KernelError("no compiler")

        monkeypatch.setattr(LSTM, "stream", missing)


def test_text_ends(words: LanguageModel) -> None:
    """A model of several texts draws the end of one; a model of one text draws ends of lines."""
    assert len(words.vocabulary_.encode(words.generate(max_tokens=10**6))) < 10**5
    task = LanguageModel(unit="word", **SMALL).fit(TEXT)
    text = task.generate("the", max_tokens=200)
    assert "\n" in text
    assert task.vocabulary_.tokens[UNKNOWN] not in text


def test_subwords() -> None:
    pytest.importorskip("sentencepiece")
    task = LanguageModel(unit="subword", vocabulary_size=300, **SMALL).fit(TEXT)
    found = task.evaluate("the cat sat\non the dog.")
    assert found["unknown_share"] == 0.0
    assert task.generate("the cat", max_tokens=30)


def test_validation_text_and_the_end_of_time() -> None:
    task = LanguageModel(max_minutes=1e-6, **(SMALL | {"epochs": 9}))
    steps: list[tuple[int, int, float]] = []
    task.fit(TEXT, validation_text=LINES[0], on_step=lambda *step: steps.append(step))
    assert task.num_held_out_ == len(LINES[0])
    assert len(task.history_) == len(steps) == 1
    assert steps[0][0] < steps[0][1]


def test_file_input_gives_the_same(tmp_path: Path, chars: LanguageModel) -> None:
    (tmp_path / "cats.txt").write_text(TEXT)
    task = LanguageModel(**chars.get_params()).fit(tmp_path / "cats.txt")
    assert np.array_equal(task.score(TEXT[:50]), chars.score(TEXT[:50]))
    assert task.evaluate(tmp_path / "cats.txt") == task.evaluate(TEXT)


def test_a_plain_keras_file_holds_the_network(tmp_path: Path, words: LanguageModel) -> None:
    """Tied weights too: one layer is used twice, not copied."""
    words.model_.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras", compile=False)
    inputs = [np.array([[END, 5, 6]], np.int32), *words._net.zeros(1)]
    expected = words.model_.predict_on_batch(inputs)[0]
    assert np.array_equal(again.predict_on_batch(inputs)[0], expected)


def test_pretrained_layers(chars: LanguageModel) -> None:
    layers = chars.pretrained_layers()
    assert layers["vocabulary"].tokens == chars.vocabulary_.tokens
    assert layers["embeddings"].shape == (len(chars.vocabulary_), 5)
    ids = np.array([[END, 5, 6, 7]])
    x: Any = layers["embeddings"][ids]
    for weights in layers["lstm"]:
        layer = LSTM(6, return_sequences=True)
        layer.build(x.shape)
        layer.set_weights(weights)
        x = layer(x)
    outputs = chars.model_.predict_on_batch([ids.astype(np.int32), *chars._net.zeros(1)])
    np.testing.assert_allclose(x[:, -1], outputs[3], atol=1e-6)  # h of the second layer


def test_bad_texts(chars: LanguageModel, words: LanguageModel) -> None:
    cases = [
        (r"at least one token, found none", lambda: LanguageModel().fit("")),
        (r"at least one token", lambda: LanguageModel().fit([])),
        (r"at least 2 tokens to train on, got 1", lambda: LanguageModel().fit("a")),
        (r"occurs 2 times", lambda: LanguageModel(unit="word").fit("each word once")),
        (r"validation_text: none of", lambda: LanguageModel().fit(TEXT, validation_text="ÄÖÜ")),
        (r"texts: none of its 3 tokens", lambda: chars.evaluate("ÄÖÜ")),
        (r"texts\[1\]: expected some text", lambda: chars.predict(["cat", ""])),
        (r"list of texts, got one", lambda: chars.predict("cat")),
        (r"list of texts, got a int", lambda: chars.predict(3)),
        (r"text: expected a str", lambda: chars.score(["cat"])),
        (r"prompt: none of", lambda: words.generate("Xylophon")),
        (r"prompt: expected a str", lambda: chars.generate(None)),
    ]
    for match, call in cases:
        with pytest.raises(DataError, match=match):
            call()


def test_unknown_characters_of_a_prompt(chars: LanguageModel) -> None:
    with pytest.warns(UserWarning, match="2 tokens of the prompt did not occur"):
        assert len(chars.generate("cat ÄÖ", max_tokens=4)) == 4


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_p": 1.5},
        {"top_k": 0},
        {"max_tokens": 0},
        {"stop": [""]},
        {"stop": 3},
        {"seed": -1},
    ],
)
def test_bad_sampling(chars: LanguageModel, bad: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=f"{next(iter(bad))} must be .* got"):
        chars.stream("a", **bad)  # before the first token is asked for


@pytest.mark.parametrize(
    "bad",
    [
        {"unit": "byte"},
        {"units": 0},
        {"num_layers": 1.5},
        {"embedding_size": 0},
        {"vocabulary_size": 4},
        {"min_count": 0},
        {"lowercase": 1},
        {"tie_weights": "yes"},
        {"num_sampled": 0},
        {"dropout": 1.0},
        {"weight_drop": -0.1},
        {"sequence_length": 0},
        {"batch_size": 0},
        {"epochs": 0},
        {"learning_rate": 0},
        {"clip_norm": 0},
        {"max_minutes": float("inf")},
        {"patience": 0},
        {"seed": -1},
    ],
)
def test_bad_params(bad: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=f"{next(iter(bad))} must be .*got"):
        LanguageModel(**bad).fit(TEXT)


def test_text_shorter_than_a_sequence() -> None:
    task = LanguageModel(units=4, epochs=1, validation_split=0.1).fit("c" * 20 + "ab" * 90)
    assert "c" not in task.vocabulary_.tokens  # what is held out has no say
    assert task.num_held_out_ == 20
    task = LanguageModel(units=4, epochs=1, validation_split=0.0).fit("abcab")
    assert task.num_held_out_ == 0 and len(task.history_) == 1
    assert task.evaluate("ab")["num_tokens"] == 2
    task = LanguageModel(units=4, epochs=1).fit(["", "abcab"])  # a twentieth is no character
    assert task.num_held_out_ == 0


@pytest.mark.parametrize("texts", ["ccdd" + "ab" * 6, ["ccdd", "ab" * 6]])
def test_the_beginning_is_held_out(texts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parts begin with END, as texts do."""
    parts: list[np.ndarray] = []
    train = _language_training.train

    def trained(net: Any, ids: np.ndarray, held: np.ndarray, *rest: Any, **given: Any) -> Any:
        parts.extend((ids, held))
        return train(net, ids, held, *rest, **given)

    monkeypatch.setattr(_language_training, "train", trained)
    task = LanguageModel(units=4, epochs=1, validation_split=0.25).fit(texts)
    a, b = (task.vocabulary_.encode(each)[0] for each in "ab")
    ends = [END] if isinstance(texts, list) else []
    assert parts[0].tolist() == [END, *[a, b] * 6, *ends]
    assert parts[1].tolist() == [END, *[UNKNOWN] * 4, *ends]  # what is held out has no say
    assert task.num_held_out_ == len(parts[1]) - 1


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r'"size": \d+', '"size": 4000'),
        (r'"unit": "char", "lower', '"unit": "word", "lower'),
        (r'"several": false', '"several": 0'),
        (r'"history": \[', '"history": [null, '),
        (r'"discount": [\d.]+', '"discount": 7.0'),
        (r'"units": 6', '"units": 60000'),
    ],
)
def test_damaged_files(
    chars: LanguageModel, tmp_path: Path, pattern: str, replacement: str
) -> None:
    path = tmp_path / "chars.longshort"
    chars.save(path)
    with zipfile.ZipFile(path) as archive:
        text, model = archive.read("task.json").decode(), archive.read("model.keras")
    text, count = re.subn(pattern, replacement, json.dumps(json.loads(text)))
    assert count >= 1
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("task.json", text)
        archive.writestr("model.keras", model)
    with pytest.raises(FileFormatError, match="does not describe|do not fit"):
        load(path)
