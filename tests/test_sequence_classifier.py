"""SequenceClassifier beyond what all tasks promise."""

from __future__ import annotations

import math
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, ClassVar

import keras
import numpy as np
import pytest

from datasets import japanese_vowels
from longshort._errors import DataError
from longshort.data import Standardizer
from longshort.tasks import SequenceClassifier, _classifier_training, load
from longshort.tasks._classifier_training import _loss, held_out, train
from longshort.tasks._scores import classification_scores
from longshort.tasks._training import interruptible
from longshort.tasks._training_steps import training_steps

rng = np.random.default_rng(0)
X = [rng.normal(size=(3 + i % 9, 2)) + i % 2 * 3 for i in range(40)]
Y = ["low", "high"] * 20


@pytest.fixture(scope="module")
def fitted() -> SequenceClassifier:
    return SequenceClassifier(8, num_layers=2, epochs=20, learning_rate=0.03).fit(X, Y)


def test_learns(fitted: SequenceClassifier) -> None:
    assert fitted.history_[-1] < 0.5 * math.log(2)
    scores = fitted.evaluate(X, Y)
    assert scores["accuracy"] == 1.0
    assert scores["majority_accuracy"] == 0.5
    assert fitted.classes_.tolist() == ["high", "low"]
    assert fitted.num_features_ == 2


def test_probabilities(fitted: SequenceClassifier) -> None:
    p = fitted.predict_proba(X)
    assert p.shape == (40, 2) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert fitted.predict(X).tolist() == fitted.classes_[p.argmax(axis=1)].tolist()


def test_same_answer_alone_or_in_any_batch(fitted: SequenceClassifier) -> None:
    """Padding, the neighbours in a batch and the order change nothing."""
    p = fitted.predict_proba(X)
    alone = np.concatenate([fitted.predict_proba([x]) for x in X[:12]])
    np.testing.assert_allclose(alone, p[:12], atol=2e-6)
    order = np.random.default_rng(1).permutation(40)
    np.testing.assert_allclose(fitted.predict_proba([X[i] for i in order]), p[order], atol=2e-6)
    longer = [*X[:5], np.zeros((50, 2))]
    np.testing.assert_allclose(fitted.predict_proba(longer)[:5], p[:5], atol=2e-6)
    many = fitted.predict_proba(X * 7)  # more than one batch
    np.testing.assert_allclose(many, np.tile(p, (7, 1)), atol=2e-6)


def test_few_shapes(fitted: SequenceClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shape is a compilation: 200 ways to call must not make 200 shapes."""
    shapes = set()

    def record(batch: Any) -> np.ndarray:
        shapes.add(batch[0].shape)
        return np.zeros((len(batch[0]), 2), dtype=np.float32)

    monkeypatch.setattr(fitted.model_, "predict_on_batch", record)
    for n in range(1, 201):
        fitted.predict_proba([np.zeros((1 + (i + n) % 40, 2)) for i in range(n)])
    assert {shape[0] for shape in shapes} == {1, 16}
    assert {shape[1] for shape in shapes} == {8, 11, 16, 24, 32, 48}  # 11 in training


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="counts what JAX compiles")
def test_few_compilations(caplog: pytest.LogCaptureFixture) -> None:
    """One for each rung of the ladder, whatever the lengths, in training and in validation."""
    import jax

    lengths = np.random.default_rng(0).permutation(np.arange(160) % 61 + 1)
    x = [np.full((n, 2), i % 2, dtype=np.float32) for i, n in enumerate(lengths)]
    with jax.log_compiles():
        task = SequenceClassifier(2, epochs=2, bidirectional=False).fit(x, np.arange(160) % 2)
    names = [record.getMessage() for record in caplog.records]

    def count(name: str) -> int:
        return sum(bool(re.match(rf"Compiling (jit\()?{name}\b", text)) for text in names)

    assert task._longest == 61
    assert 3 <= count("train_step") <= 6  # 8, 16, 24, 32, 48, 61
    assert count("predict_step") == 1  # 16 held out


class Recorder:
    """In place of a Keras model: notes the batches."""

    weights: ClassVar[list[Any]] = [keras.Variable(0.0)]

    def __init__(self) -> None:
        self.batches: list[Any] = []

    def compile(self, **options: Any) -> None:
        pass

    def step(self, x: Any, y: np.ndarray, weights: np.ndarray) -> float:
        self.batches.append((*x, y, weights))
        return float((y * weights).mean())


def test_each_sequence_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its steps, its mask and its target stay together; padding weighs nothing."""
    model = Recorder()
    monkeypatch.setattr(_classifier_training, "training_steps", lambda m, _: nullcontext(m.step))
    lengths = [1 + 7 * i % 30 for i in range(37)]
    sequences = [np.full((n, 1), i + 1, dtype=np.float32) for i, n in enumerate(lengths)]
    options: dict[str, Any] = {"learning_rate": 1e-3, "patience": 1, "longest": max(lengths)}
    history = train(
        model,
        sequences,
        np.arange(37),
        [],
        np.array([]),
        epochs=3,
        batch_size=8,
        rng=np.random.default_rng(0),
        progress=None,
        **options,
    )[1]
    assert len(model.batches) == 15
    for epoch in range(3):
        seen = []
        for values, mask, targets, weights in model.batches[5 * epoch : 5 * epoch + 5]:
            assert values.shape[0] == 8 and not values[~mask].any()
            assert mask.any(axis=1).tolist() == (weights > 0).tolist()
            for row, real, target in zip(values, mask, targets, strict=True):
                if real.any():
                    assert row[real].tolist() == [[target + 1]] * lengths[target]
                    seen.append(target)
        assert sorted(seen) == list(range(37))
    assert history == pytest.approx([18] * 3)  # the mean over sequences


@pytest.mark.parametrize("pooling", ["attention", "mean", "max+mean"])
def test_pooling(pooling: str, tmp_path: Any) -> None:
    """What decides lies in the middle, between steps that say nothing."""
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(12 + i % 5, 2)).astype("f4") for i in range(40)]
    y = [i % 2 for i in range(40)]
    for values, label in zip(X, y, strict=True):
        values[4:7, 0] += 6 * label - 3
    task = SequenceClassifier(
        8, pooling=pooling, epochs=25, learning_rate=0.02, validation_split=0, dropout=0.1
    ).fit(X, y)
    p = task.predict_proba(X)
    assert (task.predict(X) == y).mean() > 0.95
    np.testing.assert_allclose(task.predict_proba(X[3:4]), p[3:4], rtol=1e-5)
    task.save(tmp_path / "a.longshort")
    again = load(tmp_path / "a.longshort")
    assert again.pooling == pooling
    np.testing.assert_array_equal(again.predict_proba(X), p)


def test_input_dropout_is_of_the_training_alone() -> None:
    options: dict[str, Any] = {"epochs": 2, "validation_split": 0, "dropout": 0.0}
    none, some = (SequenceClassifier(2, input_dropout=p, **options).fit(X, Y) for p in (0.0, 0.5))
    assert none.history_ != some.history_
    again = SequenceClassifier(2, input_dropout=0.5, **options).fit(X, Y)
    np.testing.assert_array_equal(again.predict_proba(X), some.predict_proba(X))
    np.testing.assert_allclose(some.predict_proba(X)[:3], some.predict_proba(X[:3]), rtol=1e-5)


def test_label_smoothing_is_of_the_training_alone() -> None:
    """(1 - s) times the cross-entropy of the label and s times the mean of those of all classes."""
    rng = np.random.default_rng(2)
    values, targets = rng.normal(size=(7, 3)).astype("f4"), rng.integers(3, size=7)
    log_p = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    expected = -0.8 * log_p[np.arange(7), targets] - 0.2 * log_p.mean(axis=1)
    loss = float(_loss(False, 0.2)(targets[:, None], values))
    assert loss == pytest.approx(expected.mean(), rel=1e-5)
    X, y = [rng.normal(size=(6, 2)) + i % 2 * 8 for i in range(24)], [0, 1] * 12
    options: dict[str, Any] = {"epochs": 40, "learning_rate": 0.05, "dropout": 0.0}
    sure, unsure = (
        SequenceClassifier(4, label_smoothing=s, **options).fit(X, y) for s in (0.0, 0.4)
    )
    assert sure.predict_proba(X).max(axis=1).min() > 0.95
    assert 0.7 < unsure.predict_proba(X).max(axis=1).mean() < 0.9  # 0.8 is the best there is
    log_loss = unsure.evaluate(X[:2], y[:2])["log_loss"]  # of what is so, not of what is taught
    p = unsure.predict_proba(X[:2])
    assert log_loss == pytest.approx(-np.log(p[[0, 1], y[:2]]).mean())


def test_members_are_averaged(tmp_path: Any) -> None:
    rng = np.random.default_rng(1)
    X, y = [rng.normal(size=(5 + i % 3, 2)) + i % 2 for i in range(24)], [0, 1] * 12
    options: dict[str, Any] = {"epochs": 3, "validation_split": 0.2}
    one = SequenceClassifier(4, **options).fit(X, y)
    seen: list[tuple[int, int]] = []
    two = SequenceClassifier(4, num_members=2, **options).fit(
        X, y, progress=lambda epoch, epochs, loss: seen.append((epoch, epochs))
    )
    assert seen == [(n, 6) for n in range(1, 7)] and two.history_ == one.history_
    x, real = np.zeros((1, 5, 2), "f4"), np.ones((1, 5), bool)
    members = [layer for layer in two.model_.layers if layer.name.startswith("member_")]
    each = [np.asarray(member((x, real))) for member in members]
    np.testing.assert_allclose(each[0], one.model_((x, real)), atol=1e-6)
    assert np.abs(each[0] - each[1]).max() > 1e-3
    np.testing.assert_allclose(two.model_((x, real)), np.mean(each, axis=0), atol=1e-6)
    two.save(tmp_path / "two.longshort")
    again = load(tmp_path / "two.longshort")
    np.testing.assert_array_equal(again.predict_proba(X), two.predict_proba(X))
    state = one._get_state()
    del state["num_members"]  # as files were before there were members
    one._set_state(state)


def test_labels_of_any_kind(tmp_path: Any) -> None:
    kinds: list[list[Any]] = [
        [3, 1],
        [True, False],
        [0.5, 0.25],
        [("a", 1), ("b", None)],
        ["one", 1],
        [None, "x"],
        [2**70, 1],
    ]
    for labels in kinds:
        y = [labels[i % 2] for i in range(8)]
        task = SequenceClassifier(1, epochs=1, bidirectional=False).fit(X[:8], y)
        predicted = task.predict(X[:8]).tolist()
        assert {type(label) for label in predicted} <= {type(label) for label in labels}
        assert set(predicted) <= set(labels)
        task.save(tmp_path / "x")
        again = load(tmp_path / "x")
        assert again.classes_.tolist() == task.classes_.tolist()
        assert again.classes_.dtype == task.classes_.dtype
    assert SequenceClassifier(1, epochs=1).fit(X[:8], np.arange(8) % 3).classes_.dtype == np.int64


def test_scaling_sees_the_training_part_only(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    fit = Standardizer.fit
    monkeypatch.setattr(Standardizer, "fit", lambda part: measured.append(part) or fit(part))
    SequenceClassifier(1, epochs=1, validation_split=0.25).fit(X, Y)
    SequenceClassifier(1, epochs=1).fit(X[:30], Y[:30], validation_data=(X[30:], Y[30:]))
    SequenceClassifier(1, epochs=1, standardize=False).fit(X, Y)
    assert [len(part) for part in measured] == [30, 30]


def test_scale_of_the_data_does_not_matter() -> None:
    options: dict[str, Any] = {"epochs": 3, "learning_rate": 0.03}
    small = SequenceClassifier(4, **options).fit(X, Y).predict_proba(X)
    moved = [x * 1000 + 5e6 for x in X]
    large = SequenceClassifier(4, **options).fit(moved, Y).predict_proba(moved)
    np.testing.assert_allclose(large, small, atol=1e-4)


def test_validation_stops_and_keeps_the_best() -> None:
    """With noise as validation labels the loss soon rises."""
    noise = np.random.default_rng(2).permutation(Y)
    calls: list[tuple[int, int, float]] = []
    task = SequenceClassifier(8, epochs=200, patience=2, learning_rate=0.03)
    task.fit(X, Y, validation_data=(X, noise), progress=lambda *call: calls.append(call))
    losses = [call[2] for call in calls]
    assert losses == task.history_
    assert len(losses) == int(np.argmin(losses)) + 1 + 2 < 200
    assert task.evaluate(X, noise)["log_loss"] == pytest.approx(min(losses), abs=1e-5)


def test_held_out() -> None:
    targets = np.repeat([0, 1, 2], [60, 30, 1])
    for seed in range(20):
        part = held_out(targets, 0.1, np.random.default_rng(seed))
        assert 8 <= part.sum() <= 10
        assert abs(part[:60].sum() - 6) <= 1 and abs(part[60:90].sum() - 3) <= 1
        assert not part[90]
    assert not held_out(targets, 0.0, np.random.default_rng(0)).any()
    few = held_out(np.array([0, 1]), 0.9, np.random.default_rng(0))
    assert not few.any()  # each class keeps one


def test_interrupt_before_anything_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_classifier_training, "training_steps", lambda *_: nullcontext(interrupt))
    task = SequenceClassifier(2)
    with pytest.raises(KeyboardInterrupt):
        task.fit(X, Y)
    assert not hasattr(task, "model_")


def press(number: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Press Ctrl-C within the step of that number, as Keras swallows it; return a list of steps."""
    steps: list[int] = []

    @contextmanager
    def pressing(model: Any, precision: str) -> Iterator[Any]:
        with training_steps(model, precision) as step:

            def pressed(*args: Any) -> Any:
                result = step(*args)
                steps.append(len(steps) + 1)
                if len(steps) == number:
                    with suppress(BaseException):
                        signal.raise_signal(signal.SIGINT)
                return result

            yield pressed

    monkeypatch.setattr(_classifier_training, "training_steps", pressing)
    return steps


def test_ctrl_c_within_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    task = SequenceClassifier(2, epochs=5, batch_size=20, validation_split=0)  # 2 steps an epoch
    with monkeypatch.context() as patch:
        steps = press(3, patch)
        with pytest.warns(UserWarning, match="interrupted after 1 of 5 epochs"):
            task.fit(X, Y)
    assert steps == [1, 2, 3] and len(task.history_) == 1
    assert len(task.predict(X)) == 40
    again = SequenceClassifier(2, epochs=5, batch_size=20, validation_split=0)
    steps = press(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        again.fit(X, Y)
    assert steps == [1] and not hasattr(again, "model_")
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_between_steps() -> None:
    def press_it(epoch: int, epochs: int, loss: float) -> None:
        if epoch == 2:
            signal.raise_signal(signal.SIGINT)

    task = SequenceClassifier(2, epochs=5)
    with pytest.warns(UserWarning, match="interrupted after 2 of 5 epochs"):
        task.fit(X, Y, progress=press_it)
    assert len(task.history_) == 2


def test_interruptible() -> None:
    """A second Ctrl-C is raised at once; a program's own handler and other threads are let be."""
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as interrupt:
        interrupt.check()
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    signals: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: signals.append(number))
    try:
        with interruptible() as interrupt:
            signal.raise_signal(signal.SIGINT)
        assert signals == [signal.SIGINT] and not interrupt.requested
    finally:
        signal.signal(signal.SIGINT, before)
    handlers = []

    def elsewhere() -> None:
        with interruptible():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert handlers == [before]


def test_feature_names(tmp_path: Any) -> None:
    task = SequenceClassifier(1, epochs=1).fit(X, Y, feature_names=("x", "y"))
    task.save(tmp_path / "task")
    assert load(tmp_path / "task").feature_names_ == task.feature_names_ == ["x", "y"]
    assert load(tmp_path / "task").num_held_out_ == task.num_held_out_ == 4
    for names in (["x"], ["x", "x"], "xy", ["x", 3]):
        with pytest.raises(DataError, match="feature_names: expected 2 different names"):
            SequenceClassifier(1, epochs=1).fit(X, Y, feature_names=names)


def test_values_far_from_those_of_training() -> None:
    tiny = [x * 1e-30 for x in X]
    task = SequenceClassifier(1, epochs=1).fit(tiny, Y)
    with pytest.raises(DataError, match=r"X\[1\]: 1e\+30 at step 2, channel 1 is too far"):
        task.predict([tiny[0], np.array([[0, 0], [0, 0], [0, 1e30]])])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"units": 0}, "units must be a whole number from 1 to 65536, got 0"),
        ({"units": 10**9}, "units must be a whole number from 1 to 65536"),
        ({"units": True}, "units must be a whole number"),
        ({"pooling": "sum"}, "pooling must be one of .*'attention'.* got 'sum'"),
        ({"input_dropout": 1.0}, "input_dropout must be .* got 1.0"),
        ({"label_smoothing": 1}, "label_smoothing must be .* got 1"),
        ({"num_members": 0}, "num_members must be a whole number from 1"),
        ({"precision": "float16"}, "precision must be one of"),
        ({"num_layers": 2000}, "num_layers must be a whole number from 1 to 100"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0 and at most 1, got 0"),
        ({"learning_rate": 1.5}, "learning_rate must be a number above 0 and at most 1"),
        ({"patience": 0}, "patience must be a whole number from 1"),
        ({"standardize": "x"}, "standardize must be True or False, got 'x'"),
        ({"bidirectional": 1}, "bidirectional must be True or False, got 1"),
        ({"num_layers": 1.5}, "num_layers"),
        ({"epochs": "3"}, "epochs"),
        ({"seed": None}, "seed must be a whole number from 0"),
        ({"dropout": 1.0}, "dropout must be a number from 0 to below 1"),
        ({"validation_split": "x"}, "validation_split"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"units": 0, "patience": -1}, "units .*; patience"),
    ],
)
def test_params_are_checked(params: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SequenceClassifier(**params).fit(X, Y)


def test_data_are_checked(fitted: SequenceClassifier) -> None:
    task = SequenceClassifier(1, epochs=1)
    with pytest.raises(DataError, match="expected 40 labels"):
        task.fit(X, Y[:-1])
    with pytest.raises(DataError, match="one label only"):
        task.fit(X, ["a"] * 40)
    with pytest.raises(DataError, match=r"validation X\[0\]: expected 2 channels, got 3"):
        task.fit(X, Y, validation_data=(np.ones((1, 3, 3)), ["low"]))
    with pytest.raises(DataError, match=r"validation y\[0\]: the label 'mid' did not occur"):
        task.fit(X, Y, validation_data=(X[:1], ["mid"]))
    with pytest.raises(DataError, match=r"X\[0\]: expected 2 channels, got 3"):
        fitted.predict(np.ones((1, 4, 3)))
    with pytest.raises(DataError, match=r"y\[1\]: the label 'mid' did not occur.*'high', 'low'"):
        fitted.evaluate(X[:2], ["low", "mid"])


def test_scores() -> None:
    p = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1]])
    scores = classification_scores(np.array([0, 0, 1, 1]), p, majority=1)
    assert scores["accuracy"] == 0.75
    assert scores["balanced_accuracy"] == 0.75
    # Recall 1 and precision 2/3 for the first class, 1/2 and 1 for the second; no third.
    assert scores["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert scores["log_loss"] == pytest.approx(-np.log([0.8, 0.6, 0.7, 0.4]).mean())
    assert scores["majority_accuracy"] == 0.5
    assert np.isfinite(classification_scores(np.array([1]), np.array([[1.0, 0.0]]), 0)["log_loss"])


@pytest.mark.slow
def test_japanese_vowels() -> None:
    """Defaults, which were chosen on parts of the training set; about 10 s on two cores."""
    train, test = japanese_vowels("TRAIN"), japanese_vowels("TEST")
    assert (len(train[0]), len(test[0])) == (270, 370)
    scores = SequenceClassifier().fit(*train).evaluate(*test)
    assert scores["accuracy"] >= 0.95, scores
    assert scores["majority_accuracy"] < 0.25
