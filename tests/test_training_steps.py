"""`training_steps` against Keras' own `train_on_batch`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from longshort.layers import LSTM
from longshort.tasks._training_steps import training_steps

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5, 3)).astype(np.float32)
Y = RNG.normal(size=(4, 1)).astype(np.float32)
COUNTS = np.array([1.0, 0.0, 2.0, 1.0], np.float32)


def compiled() -> Any:
    keras.utils.set_random_seed(1)
    layers = [keras.Input((5, 3)), LSTM(4), keras.layers.Dropout(0.5, seed=2)]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01, global_clipnorm=1.0), "mse")
    return model


def values(model: Any) -> list[np.ndarray]:
    return [
        keras.ops.convert_to_numpy(each) for each in (*model.variables, *model.optimizer.variables)
    ]


def test_steps_are_those_of_keras() -> None:
    """Losses, weights, the optimizer and the noise, to the last bit; rates and counts are used."""
    model, theirs = compiled(), compiled()
    rates = [0.01, 0.01, 0.1]
    wanted = []
    for rate in rates:
        theirs.optimizer.learning_rate = rate
        wanted.append(float(theirs.train_on_batch(X, Y, COUNTS)))
    with training_steps(model) as step:
        found = [step(X, Y, COUNTS, rate) for rate in rates]
    assert found == wanted and len(set(found)) == 3
    for ours, other in zip(values(model), values(theirs), strict=True):
        np.testing.assert_array_equal(ours, other)
    # On from there, the one by the other's means.
    with training_steps(theirs) as step:
        assert step(X, Y) == float(model.train_on_batch(X, Y))


def test_the_model_has_what_was_learnt_before_an_interrupt() -> None:
    model, other = compiled(), compiled()
    with pytest.raises(KeyboardInterrupt), training_steps(model) as step:
        step(X, Y)
        raise KeyboardInterrupt
    with training_steps(other) as step:
        step(X, Y)
    for ours, theirs in zip(values(model), values(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_step_that_fails_says_why() -> None:
    with (
        pytest.raises(ValueError, match=r"shape|dimension|incompatible"),
        training_steps(compiled()) as step,
    ):
        step(X[..., :2], Y)


def test_a_step_that_fails_leaves_what_was_learnt() -> None:
    model, other = compiled(), compiled()
    with pytest.raises(ValueError, match=r"shape|dimension|incompatible"):
        with training_steps(model) as step:
            step(X, Y)
            step(X[..., :2], Y)
    with training_steps(other) as step:
        step(X, Y)
    np.testing.assert_array_equal(model.predict(X, verbose=0), other.predict(X, verbose=0))


def test_rates() -> None:
    """A schedule takes no rate; an optimizer inside another gets it."""
    model = compiled()
    model.compile(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 9)), "mse")
    with training_steps(model) as step, pytest.raises(TypeError, match="schedule"):
        step(X, Y, rate=0.1)
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)), "mse")
    before = values(model)[0].copy()
    with training_steps(model) as step:
        step(X, Y, rate=0.0)
    np.testing.assert_array_equal(values(model)[0], before)
    with training_steps(model) as step:
        step(X, Y, rate=0.5)
    assert (values(model)[0] != before).any()


def test_compiled_anew() -> None:
    model, other = compiled(), compiled()
    for each in (model, other):
        with training_steps(each) as step:
            step(X, Y)
    for each in (model, other):
        each.compile(keras.optimizers.SGD(0.1), "mae")
    with training_steps(model) as step:
        assert step(X, Y) == float(other.train_on_batch(X, Y))
