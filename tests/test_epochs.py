"""The training loop over epochs."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import keras
import numpy as np
import pytest

from longshort._errors import DataError
from longshort.tasks._epochs import run_epochs


class Counting:
    """A model whose one weight is the number of steps so far."""

    def __init__(self) -> None:
        self.weights: Any = [keras.Variable(0.0)]
        self.loss = 1.0

    def steps(self) -> Generator[float, None, None]:
        for _ in range(2):
            self.weights[0].assign_add(1.0)
            yield self.loss


def train(errors: list[float] | None, patience: int = 2, loss: float = 1.0) -> Any:
    model = Counting()
    model.loss = loss
    left = iter(errors or [])
    calls: list[Any] = []
    weights, history = run_epochs(
        model,
        model.steps,
        None if errors is None else lambda: next(left),
        epochs=5,
        patience=patience,
        progress=lambda *call: calls.append(call),
    )
    assert calls == [(i, 5, error) for i, error in enumerate(history, 1)]
    return float(weights[0]), history


def test_the_best_epoch_is_kept() -> None:
    assert train([0.5, 0.3, 0.4, 0.2, 0.6], patience=9) == (8.0, [0.5, 0.3, 0.4, 0.2, 0.6])
    assert train([0.5, 0.6, 0.7, 0.1, 0.1]) == (2.0, [0.5, 0.6, 0.7])
    assert train([0.5, 0.5, 0.5, 0.1, 0.1]) == (6.0, [0.5, 0.5, 0.5])  # of equal ones the last
    assert train(None) == (10.0, [1.0] * 5)


def test_a_limit_of_its_own_ends_it() -> None:
    model, left = Counting(), iter([[1.0, 3.0], []])
    over: list[bool] = []

    def ended() -> bool:
        over.append(True)
        return len(over) == 2

    given = {"epochs": 5, "patience": 1, "progress": None}
    weights, history = run_epochs(model, model.steps, None, ended=ended, **given)
    assert float(weights[0]) == 4.0 and history == [1.0, 1.0]
    found = run_epochs(model, lambda: (loss for loss in next(left)), None, **given)
    assert found[1] == [2.0]  # no step, no epoch


def test_steps_are_closed_before_it_ends() -> None:
    model, closed = Counting(), []

    def steps() -> Generator[float, None, None]:
        try:
            yield 1.0
            yield 1.0
        finally:
            closed.append(True)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    given = {"epochs": 1, "patience": 1}
    run_epochs(model, steps, None, progress=None, **given)
    with pytest.raises(KeyboardInterrupt):
        run_epochs(model, steps, interrupt, progress=None, **given)
    assert closed == [True, True]


def test_divergence() -> None:
    assert train([np.inf, 0.5, np.nan, 0.7, 0.8])[0] == 4.0
    with pytest.raises(DataError, match="Lower learning_rate"):
        train([np.inf] * 5, patience=9)
    with pytest.raises(DataError, match="Lower learning_rate"):
        train([0.5] * 5, loss=np.nan)
