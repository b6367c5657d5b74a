"""What every task promises, checked on every task."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from longshort import tasks
from longshort._errors import NotFittedError
from longshort.tasks import (
    Forecaster,
    LanguageModel,
    SequenceClassifier,
    Tagger,
    Task,
    TextClassifier,
    Transcriber,
    Translator,
    load,
)


def some_series() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    t = np.arange(60)
    y = 10 + 3 * np.sin(t * np.pi / 2) + rng.normal(size=60)
    return pd.DataFrame({"unique_id": "a", "ds": t, "y": y})


def some_sequences() -> tuple[list[np.ndarray], list[str]]:
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(4 + i % 5, 3)) + i % 3 for i in range(30)]
    return X, [("low", "mid", "high")[i % 3] for i in range(30)]


def some_sentences() -> tuple[list[list[str]], list[list[str]]]:
    words = [["Ann", "saw", "Rome"], ["they", "left", "."], ["Rome", "saw", "them", "."]] * 8
    kinds = {"Ann": "B-PER", "Rome": "B-LOC"}
    return words, [[kinds.get(word, "O") for word in row] for row in words]


def some_recordings() -> tuple[list[np.ndarray], list[str]]:
    rng = np.random.default_rng(0)
    texts = [("a", "ba", "", "ab b")[i % 4] for i in range(12)]
    return [rng.normal(0, 0.1, 1200 + 40 * i) for i in range(12)], texts


# After two epochs a transcriber says nothing, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Transcriber. the network says nothing")


@dataclass
class Case:
    make: Callable[..., Task]
    fit: tuple[Any, ...]  # arguments of fit, which evaluate takes too
    predict: tuple[Any, ...]


X, Y = some_sequences()
WORDS, TAGS = some_sentences()
TEXTS = [f"{('poor', 'fair', 'good')[i % 3]} and {i}" for i in range(30)]
CASES = {
    "Forecaster": Case(
        lambda **more: Forecaster(3, 8, units=4, epochs=2, season_length=4, **more),
        (some_series(),),
        (some_series(),),
    ),
    "LanguageModel": Case(
        lambda **more: LanguageModel(units=4, epochs=2, sequence_length=16, **more),
        ("the cat sat on the mat. " * 30,),
        (["the mat", "a cat"],),
    ),
    "SequenceClassifier": Case(
        lambda **more: SequenceClassifier(4, epochs=2, **more), (X, Y), (X,)
    ),
    "Tagger": Case(
        lambda **more: Tagger(4, char_units=0, epochs=2, batch_size=8, **more),
        (WORDS, TAGS),
        (WORDS,),
    ),
    "TextClassifier": Case(
        lambda **more: TextClassifier(4, embedding_size=4, epochs=2, num_members=1, **more),
        (TEXTS, Y),
        (TEXTS,),
    ),
    "Transcriber": Case(
        lambda **more: Transcriber(
            **{"units": 4, "channels": 4, "epochs": 2, "sample_rate": 8000, "augment": False} | more
        ),
        some_recordings(),
        some_recordings()[:1],
    ),
    "Translator": Case(
        lambda **more: Translator(4, unit="word", embedding_size=4, epochs=2, **more),
        (TEXTS, TEXTS[::-1]),
        (TEXTS,),
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def fitted() -> dict[str, Task]:
    return {name: case.make().fit(*case.fit) for name, case in CASES.items()}


@pytest.fixture(params=CASES)
def pair(request: pytest.FixtureRequest, fitted: dict[str, Task]) -> tuple[Task, Case]:
    return fitted[request.param], CASES[request.param]


def values(prediction: Any) -> np.ndarray:
    if isinstance(prediction, pd.DataFrame):
        prediction = prediction.select_dtypes("number").to_numpy()
    if isinstance(prediction, list) and not isinstance(prediction[0], str):
        return np.concatenate([np.asarray(row) for row in prediction])  # one of each sentence
    return np.asarray(prediction)


def outputs(task: Task, case: Case) -> list[np.ndarray]:
    if isinstance(task, (Transcriber, Translator)):  # texts alone would hide a difference
        return [np.array([s for best in task.n_best(*case.predict) for _, s in best])]
    names = [name for name in ("predict", "predict_proba") if hasattr(task, name)]
    return [values(getattr(task, name)(*case.predict)) for name in names]


def equal(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_every_task_has_a_case() -> None:
    public = [getattr(tasks, name) for name in tasks.__all__]
    assert {c.__name__ for c in public if isinstance(c, type) and issubclass(c, Task)} == {
        *CASES,
        "Task",
    }


@pytest.mark.parametrize("method", ["predict", "evaluate", "save"])
def test_not_fitted(case: Case, method: str, tmp_path: Any) -> None:
    task = case.make()
    arguments = {"predict": case.predict, "evaluate": case.fit, "save": (tmp_path / "x",)}
    with pytest.raises(NotFittedError, match=f"{type(task).__name__}.*fit"):
        getattr(task, method)(*arguments[method])


def test_params(case: Case) -> None:
    task = case.make(seed=7)
    params = task.get_params()
    assert params["seed"] == 7
    assert type(task)(**params).get_params() == params
    assert "seed=7" in repr(task)
    assert type(task).__name__ in repr(task)


def test_fit(pair: tuple[Task, Case]) -> None:
    """It returns the task, leaves the parameters, reports each epoch and minds the seed."""
    default, case = pair
    task = case.make(seed=3)
    before = task.get_params()
    calls: list[tuple[int, int, float]] = []
    assert task.fit(*case.fit, progress=lambda *call: calls.append(call)) is task
    assert task.get_params() == before
    assert isinstance(task.model_, keras.Model)
    assert [call[:2] for call in calls] == [(1, 2), (2, 2)]
    assert all(np.isfinite(call[2]) for call in calls)
    assert not equal(outputs(task, case)[-1:], outputs(default, case)[-1:])


def test_evaluate_gives_numbers(pair: tuple[Task, Case]) -> None:
    task, case = pair
    if isinstance(task, Translator):
        pytest.importorskip("sacrebleu")
    scores = task.evaluate(*case.fit)
    assert scores
    groups = scores.values() if isinstance(next(iter(scores.values())), dict) else [scores]
    for group in groups:
        assert all(type(score) is float and np.isfinite(score) for score in group.values()), group


def test_save_and_load(pair: tuple[Task, Case], tmp_path: Any) -> None:
    task, case = pair
    task.save(tmp_path / "task.longshort")
    again = load(tmp_path / "task.longshort")
    assert type(again) is type(task)
    assert again.get_params() == task.get_params()
    assert {k: type(v) for k, v in again.get_params().items()} == {
        k: type(v) for k, v in task.get_params().items()
    }
    assert equal(outputs(again, case), outputs(task, case))
    again.save(tmp_path / "again.longshort")
    assert equal(outputs(load(tmp_path / "again.longshort"), case), outputs(task, case))


def test_same_seed_same_bits_and_no_traces(
    pair: tuple[Task, Case],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A second run gives the same bits, and changes no random state, no folder, no output."""
    task, case = pair
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(5)
    expected = np.asarray(keras.random.uniform((3,)))
    keras.utils.set_random_seed(5)
    python, numpy = random.getstate(), np.random.get_state()
    capfd.readouterr()

    again = case.make().fit(*case.fit)
    assert equal(outputs(again, case), outputs(task, case))

    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert random.getstate() == python
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy, strict=True))
    assert np.array_equal(np.asarray(keras.random.uniform((3,))), expected)


def raise_it() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("press", [raise_it, lambda: signal.raise_signal(signal.SIGINT)])
def test_interrupt_keeps_the_best_so_far(case: Case, press: Callable[[], None]) -> None:
    def interrupt(epoch: int, epochs: int, loss: float) -> None:
        press()

    with pytest.warns(UserWarning, match="interrupt"):
        task = case.make().fit(*case.fit, progress=interrupt)
    assert len(task.predict(*case.predict))
