"""Run the training steps of a Keras model one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from longshort.ops._rounding import products_in

# Trains on inputs and targets, and weights of the rows where they are given; returns the loss.
Step = Callable[..., float]


@contextmanager
def training_steps(model: keras.Model, precision: str = "float32") -> Iterator[Step]:
    """Give what `model.train_on_batch` does, and on JAX without what Keras does around it.

    There each `train_on_batch` collects the variables of all layers, puts new values into them and
    sets the metrics back, some 2 of 10 ms of a step of a text classifier. Here the values stay
    outside; the variables get them at the end, however that comes, and are neither to be read nor
    to be set before: the learning rate comes with the step.

    Args:
        model: Compiled, without metrics but the loss.
        precision: Of the products of LSTMs and `TokenLoss`, see `products_in`; the same each time
            for one model.

    Yields:
        A function of inputs, targets, weights of the rows (None: all the same) and the learning
        rate (None: the optimizer's own) that takes a step and returns its loss.

    Raises:
        TypeError: From a step that gets a rate where the optimizer has a schedule.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((2, 1), "float32"), np.zeros((2, 1), "float32")
        >>> with training_steps(model) as step:
        ...     losses = [step(x, y) for _ in range(3)]
        >>> losses == sorted(losses, reverse=True)
        True
    """
    optimizer = model.optimizer
    if keras.backend.backend() != "jax":

        def on_batch(x: Any, y: Any, weights: Any = None, rate: float | None = None) -> float:
            if rate is not None:
                optimizer.learning_rate = rate
            return float(model.train_on_batch(x, y, weights))

        yield on_batch
        return
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    model.make_train_function()  # once for each `compile`; it takes the state's memory for the next
    variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    state: Any = [[each.value for each in some] for some in variables]
    metrics = [np.zeros(each.shape, each.dtype) for each in model.metrics_variables]
    # Of an optimizer that wraps another (loss scaling) the inner one's comes last.
    rates = [i for i, each in enumerate(optimizer.variables) if each.name == "learning_rate"][-1:]

    def step(x: Any, y: Any, weights: Any = None, rate: float | None = None) -> float:
        nonlocal state
        if rate is not None:
            if not rates:
                raise TypeError("training_steps: the learning rate is a schedule's.")
            variable = optimizer.variables[rates[0]]
            state[2][rates[0]] = keras.ops.convert_to_tensor(rate, variable.dtype)
        data = iter([(x, y, weights)])
        with products_in(precision):  # a batch of another shape is compiled anew
            logs, (*after, _) = model.train_function((*state, metrics), data)
        state = [list(values) for values in after]
        return float(logs["loss"])

    try:
        yield step
    finally:
        for some, values in zip(variables, state, strict=True):
            for variable, value in zip(some, values, strict=True):
                if not value.is_deleted():  # given away to a step that failed
                    variable.assign(value)
