"""The linear part of the text classifier, against the problem written out densely."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from longshort import DataError, load
from longshort.data._vocabulary import BEGIN, END
from longshort.tasks import TextClassifier
from longshort.tasks._text_ngrams import Ngrams, choose_share


def some(n: int = 60, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    texts = [rng.integers(4, 12, rng.integers(1, 7)) for _ in range(n)]
    return texts, rng.integers(0, 3, n)


def runs(ids: Any, longest: int) -> set[tuple[int, ...]]:
    framed = [BEGIN, *ids.tolist(), END]
    found = {(token,) for token in ids.tolist()}
    if longest > 1:
        found |= {(a, -1, b) for a, b in zip(framed, framed[2:], strict=False)}  # any one between
    for size in range(2, longest + 1):
        found |= {tuple(framed[i : i + size]) for i in range(len(framed) - size + 1)}
    return found


def dense(texts: list[np.ndarray], longest: int) -> np.ndarray:
    """(n, G) of 0 and 1, G sorted by length and tokens; longer runs of one text left out."""
    each = [runs(ids, longest) for ids in texts]
    every = sorted({run for one in each for run in one}, key=lambda run: (len(run), run))
    kept = [run for run in every if len(run) == 1 or sum(run in one for one in each) > 1]
    return np.array([[float(run in one) for run in kept] for one in each])


@pytest.mark.parametrize("longest", [1, 2, 3])
@pytest.mark.parametrize("several", [False, True])
def test_is_the_minimum(longest: int, several: bool) -> None:
    texts, classes = some()
    true = np.eye(3)[classes]
    if several:
        true[:20, 1] = 1
    counts = np.random.default_rng(1).uniform(0.5, 1.5, len(texts))
    X = dense(texts, longest)
    with_it, without = X.T @ true + 1, X.T @ (1 - true) + 1
    ratio = np.log(with_it / with_it.sum(0)) - np.log(without / without.sum(0))

    def loss(flat: np.ndarray) -> float:
        w = flat.reshape(-1, 3)
        z = X @ (ratio * w[:-1]) + w[-1]
        if several:
            losses = np.logaddexp(0, z) - true * z
        else:
            losses = true * (np.log(np.exp(z).sum(1, keepdims=True)) - z)
        return float((losses * counts[:, None]).sum() + 0.5 * (w[:-1] ** 2).sum())

    targets = true if several else classes
    linear = Ngrams.fit(texts, targets, [], targets[:0], 12, longest, counts)
    assert linear.weights.shape == (X.shape[1], 3)
    w = np.divide(linear.weights, ratio, out=np.zeros_like(ratio), where=ratio != 0)
    ours = np.concatenate([w, linear.bias[None]])
    best = minimize(loss, np.zeros(ours.size), method="BFGS")
    assert loss(ours.ravel()) <= best.fun * (1 + 1e-6)
    if not several:  # a constant added to all b changes nothing
        ours[-1] -= ours[-1].mean()
        best.x[-3:] -= best.x[-3:].mean()
    np.testing.assert_allclose(ours.ravel(), best.x, atol=5e-3)


def test_a_text_alone_and_unknown_runs() -> None:
    texts, classes = some()
    linear = Ngrams.fit(texts, classes, [], classes[:0], 12, 2)
    more = [*texts, np.array([1, 1, 1]), np.empty(0, np.int64)]
    every = linear.logits(more)
    assert (np.concatenate([linear.logits([ids]) for ids in more]) == every).all()
    np.testing.assert_allclose(every[-2], linear.bias)
    again = Ngrams.from_state(linear.get_state(), 12, 3)
    assert (again.logits(more) == every).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state | {"keys": state["keys"][::-1]},
        lambda state: state | {"keys": state["keys"][1:]},
        lambda state: state | {"bias": state["bias"][1:]},
        lambda state: state | {"weights": state["weights"] * np.float32("nan")},
        lambda state: state | {"longest": 0},
        lambda state: state | {"longest": 40},
    ],
)
def test_broken_state(change: Any) -> None:
    texts, classes = some()
    state = Ngrams.fit(texts, classes, [], classes[:0], 12, 2).get_state()
    with pytest.raises(ValueError, match="broken n-grams"):
        Ngrams.from_state(change(state), 12, 3)


def test_the_held_out_part_chooses_the_penalty() -> None:
    """Noise wants a strong penalty; what holds everywhere a weak one."""
    texts, noise = some(80)
    rule = np.array([int(4 in ids) for ids in texts])

    def size(targets: np.ndarray) -> float:
        fitted = Ngrams.fit(texts[:60], targets[:60], texts[60:], targets[60:], 12, 1)
        return float(np.abs(fitted.weights).max())

    assert size(rule) > 4 * size(noise)


def test_more_of_them_than_a_file_should_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    from longshort.tasks import _text_ngrams

    monkeypatch.setattr(_text_ngrams, "MOST_WEIGHTS", 18)
    texts, classes = some()
    linear = Ngrams.fit(texts, classes, [], classes[:0], 12, 2)
    assert linear.weights.shape == (6, 3) and (linear.keys <= 12).all()  # the most frequent


def test_share_between_networks_and_linear_part() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 400)
    signal = np.where(np.eye(2)[targets] > 0, 1.0, -1.0)
    one, other = (signal + rng.normal(0, 2, signal.shape) for _ in "ab")
    assert choose_share(one, other, targets) == pytest.approx(0.5, abs=0.11)
    assert choose_share(one, rng.normal(size=signal.shape), targets) <= 0.2
    assert choose_share(rng.normal(size=signal.shape), one, targets) >= 0.8
    several = np.eye(2)[targets]
    assert choose_share(one, other, several) == pytest.approx(0.5, abs=0.11)


def pairs(count: int = 120) -> tuple[list[str], list[str]]:
    """ "Not good" is bad and "not bad" good: what single words cannot tell."""
    rng = np.random.default_rng(5)
    texts, labels = [], []
    for i in range(count):
        words = list(rng.choice(["film", "plot", "the", "a"], 3))
        place, denied, good = rng.integers(4), i % 2, i % 4 < 2
        words[place:place] = (["not"] if denied else []) + ["good" if good else "bad"]
        texts.append(" ".join(words))
        labels.append("yes" if good != bool(denied) else "no")
    return texts, labels


SMALL: dict[str, Any] = {"units": 4, "embedding_size": 4, "epochs": 1, "num_members": 1}


def test_in_the_classifier(tmp_path: Any) -> None:
    texts, labels = pairs()
    task = TextClassifier(**SMALL).fit(texts, labels)
    assert task.share_ > 0  # one epoch teaches the network nothing
    scores = task.evaluate(*pairs(40))
    assert scores["linear_accuracy"] == 1.0 and scores["accuracy"] == 1.0
    task.save(tmp_path / "a.longshort")
    again = load(tmp_path / "a.longshort")
    assert (again.predict_proba(texts) == task.predict_proba(texts)).all()
    assert again.share_ == task.share_ and again.evaluate(*pairs(40)) == scores
    told = task.explain("the film not good")
    assert told.label == "no" and told.scores.argmax() == 2
    p = task.predict_proba(["the film not good", ""])[:, 0]
    np.testing.assert_allclose(told.scores.sum() + told.base, np.log(p[0] / (1 - p[0])), rtol=1e-5)
    np.testing.assert_allclose(told.base, np.log(p[1] / (1 - p[1])), rtol=1e-5)


def test_without_it() -> None:
    task = TextClassifier(**SMALL, ngrams=0).fit(*pairs())
    assert task.share_ == 0.0 and "linear_accuracy" not in task.evaluate(*pairs(8))


def test_several_labels_and_nothing_held_out() -> None:
    texts, labels = pairs()
    sets = [[label] if "film" in text else [] for text, label in zip(texts, labels, strict=True)]
    task = TextClassifier(**SMALL, multi_label=True, validation_split=0.0).fit(texts, sets)
    assert task.share_ == 0.5
    scores = task.evaluate(texts, sets)
    assert scores["linear_micro_f1"] > 0.7


def test_bad_input() -> None:
    with pytest.raises(DataError, match="ngrams must be a whole number from 0 to 5, got 6"):
        TextClassifier(ngrams=6).fit(*pairs(8))
    texts, classes = some()
    with pytest.raises(DataError, match="ngrams=5 is too long for 10000 tokens"):
        Ngrams.fit(texts, classes, [], classes[:0], 10_000, 5)
