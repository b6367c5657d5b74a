"""Train several networks one after the other, the members of a task whose mean answers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from longshort.tasks._base import MAX_LAYERS
from longshort.tasks._training import Interrupt, Progress, copy_weights, interruptible

Weights = list[np.ndarray]
# Trains the member of this number (from 0); what it gets is called after each epoch and each step.
TrainMember = Callable[[int, Progress, Callable[[], object]], tuple[Weights, list[float]]]


def member_seed(seed: int, number: int) -> int:
    """Return the seed of a member, counted from 0; the first has the task's own.

    >>> member_seed(5, 0), member_seed(5, 1) != member_seed(5, 2)
    (5, True)
    """
    if number == 0:
        return seed
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def read_num_members(state: dict[str, Any]) -> int:
    """Return how many members a file holds, one where it does not say; ValueError if broken.

    >>> read_num_members({}), read_num_members({"num_members": 3})
    (1, 3)
    """
    number = state.get("num_members", 1)
    if type(number) is not int or not 1 <= number <= MAX_LAYERS:
        raise ValueError(f"num_members is {number!r}")
    return number


def begin_anew(model: Any) -> None:
    """Set the optimizer of a model back; what was compiled with it serves once more."""
    from keras import ops

    for variable in model.optimizer.variables:
        if variable.name != "learning_rate":  # a number, where it is not a schedule
            variable.assign(ops.zeros(variable.shape, variable.dtype))


def mean_model(build: Callable[[int, str], Any], seed: int, num_members: int, name: str) -> Any:
    """Return a Keras model of all members: the mean of their outputs.

    Args:
        build: Returns the network of a seed, by its name.
        seed: Of all.
        num_members: Their number; one network is returned as it is.
        name: Of the model.
    """
    import keras

    if num_members == 1:
        return build(seed, name)
    nets = [build(member_seed(seed, n), f"member_{n + 1}") for n in range(num_members)]
    inputs = tuple(
        keras.Input(each.shape[1:], dtype=each.dtype, name=each.name) for each in nets[0].inputs
    )
    mean = keras.layers.Average(name="mean")([net(inputs) for net in nets])
    return keras.Model(inputs, mean, name=name)


def train_each(
    train: TrainMember, num_members: int, epochs: int, progress: Progress | None
) -> tuple[list[Weights], list[float]]:
    """Train members one after the other.

    Ctrl-C ends the training of all: those that were trained so far are kept.

    Args:
        train: Trains one.
        num_members: Their number M.
        epochs: Most passes of each.
        progress: Called with the number of the epoch of M `epochs`.

    Returns:
        The weights of each member that there is, and the losses of the first.
    """
    weights: list[Weights] = []
    first: list[float] = []
    with interruptible() as interrupt:
        for number in range(num_members):
            moved = _moved(progress, number * epochs, num_members * epochs, interrupt)
            try:
                trained, history = train(number, moved, interrupt.check)
            except KeyboardInterrupt:
                if not number:
                    raise
                warnings.warn(
                    f"Training was interrupted: {number} of {num_members} networks are kept.",
                    stacklevel=5,
                )
                break
            weights.append(trained)
            first = first or history
            if interrupt.requested:
                break
    return weights, first


def _moved(progress: Progress | None, done: int, most: int, interrupt: Interrupt) -> Progress:
    def moved(epoch: int, epochs: int, loss: float) -> None:
        try:
            if progress is not None:
                progress(done + epoch, most, loss)
        except KeyboardInterrupt:  # it ends more than the training of this member
            interrupt.requested = True
        interrupt.check()

    return moved


def train_alike(
    build: Callable[[int], Any],
    train: Callable[..., tuple[Weights, list[float]]],
    seed: int,
    num_members: int,
    *,
    epochs: int,
    progress: Progress | None,
    **options: Any,
) -> tuple[Weights, list[float], int]:
    """Train members that differ in their seeds alone with one compiled program, as `train_each`.

    Args:
        build: Returns the network of a seed.
        train: Trains one: called with the network, and by name `epochs`, `rng`, `progress`, `check`
            (to be called after each step), `again` (whether it was compiled before) and `options`.
        seed: Of all.
        num_members: Their number M.
        epochs: Most passes of each.
        progress: Called with the number of the epoch of M `epochs`.
        options: More arguments of `train`.

    Returns:
        The weights of all members, one after the other; the losses of the first; how many members
        there are.
    """
    model: Any = None

    def train_one(
        number: int, progress: Progress, check: Callable[[], object]
    ) -> tuple[Weights, list[float]]:
        nonlocal model
        own = member_seed(seed, number)
        net = build(own)
        if model is None:
            model = net
        else:
            model.set_weights(copy_weights(net))
        rng, again = np.random.default_rng([own, 1]), number > 0
        given = {"rng": rng, "progress": progress, "check": check, "again": again}
        return train(model, epochs=epochs, **given, **options)

    weights, first = train_each(train_one, num_members, epochs, progress)
    return [one for each in weights for one in each], first, len(weights)
