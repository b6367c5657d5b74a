"""Run the training steps of a Keras model one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

# Trains on inputs and targets, and weights of the rows where they are given; returns the loss.
Step = Callable[..., float]


@contextmanager
def training_steps(model: keras.Model) -> Iterator[Step]:
    """Give what `model.train_on_batch` does, and on JAX without what Keras does around it.

    There each `train_on_batch` collects the variables of all layers, puts new values into them and
    sets the metrics back, some 2 of 10 ms of a step of a text classifier. Here the values stay
    outside; the variables get them at the end, however that comes, and are not to be read before.

    Args:
        model: Compiled, without metrics but the loss.

    Yields:
        A function of inputs, targets, weights of the rows (None: all the same) and the learning
        rate (None: the optimizer's own) that takes a step and returns its loss.

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
    run = _compiled(model)
    variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    state = [[each.value for each in some] for some in variables]
    metrics = [keras.ops.zeros_like(each.value) for each in model.metrics_variables]
    rates = [i for i, each in enumerate(optimizer.variables) if each.name == "learning_rate"]

    def step(x: Any, y: Any, weights: Any = None, rate: float | None = None) -> float:
        nonlocal state
        if rate is not None:
            state[2][rates[0]] = keras.ops.convert_to_tensor(rate, "float32")
        given, state = state, []  # its memory is given away: if the step fails, nothing is left
        loss, state = run(given, metrics, (x, y, weights))
        return float(loss)

    try:
        yield step
    finally:
        for some, values in zip(variables, state, strict=False):
            for variable, value in zip(some, values, strict=True):
                variable.assign(value)


def _compiled(model: keras.Model) -> Any:
    """Return Keras' step as a function of its state, compiled once for each `model.compile`."""
    import jax

    known = vars(model).get("_longshort_step")
    if known is None or known[0] is not model.optimizer:
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)

        def train_step(state: Any, metrics: Any, data: Any) -> Any:
            logs, after = model.train_step((*state, metrics), data)
            return logs["loss"], [list(values) for values in after[:3]]

        known = model.optimizer, jax.jit(train_step, donate_argnums=0)
        # Past Keras, which would look for layers in it.
        vars(model)["_longshort_step"] = known
    return known[1]
