"""Several networks of a text classifier, trained one after the other, and their mean."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from longshort.tasks._classifier_training import train
from longshort.tasks._text_net import TextNetShape, build_text_net
from longshort.tasks._training import Interrupt, Progress, copy_weights, interruptible


def member_seed(seed: int, number: int) -> int:
    """Return the seed of a member, counted from 0; the first has the task's own.

    >>> member_seed(5, 0), member_seed(5, 1) != member_seed(5, 2)
    (5, True)
    """
    if number == 0:
        return seed
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def build_members(shape: TextNetShape, seed: int, num_members: int) -> keras.Model:
    """Return the model of all members: numbers of tokens and mask to the mean of their logits."""
    if num_members == 1:
        return build_text_net(shape, seed)
    ids = keras.Input((None,), dtype="int32", name="tokens")
    real = keras.Input((None,), dtype="bool", name="mask")
    nets = [
        build_text_net(shape, member_seed(seed, number), name=f"member_{number + 1}")
        for number in range(num_members)
    ]
    mean = keras.layers.Average(name="mean")([net((ids, real)) for net in nets])
    return keras.Model((ids, real), mean, name="text_classifiers")


def train_members(
    shape: TextNetShape,
    seed: int,
    num_members: int,
    start: dict[str, Any],
    *data: Any,
    epochs: int,
    progress: Progress | None,
    **options: Any,
) -> tuple[list[np.ndarray], list[float], int]:
    """Train the members one after the other, with one compiled program.

    They differ in their first weights, the order of texts and what is dropped. Ctrl-C ends the
    training of all: those that were trained so far are kept.

    Args:
        shape: Of each network.
        seed: Of all.
        num_members: Their number M.
        start: What each begins with, as arguments of `build_text_net`.
        data: As in `train`.
        epochs: Most passes of each.
        progress: Called with the number of the epoch of M `epochs`.
        options: More arguments of `train`.

    Returns:
        The weights of `build_members`; the losses of the first member; how many there are.
    """
    model: Any = None
    weights: list[np.ndarray] = []
    first: list[float] = []
    with interruptible() as interrupt:
        for number in range(num_members):
            own = member_seed(seed, number)
            net = build_text_net(shape, own, **start)
            if model is None:
                model = net
            else:
                model.set_weights(copy_weights(net))
            try:
                trained, history = train(
                    model,
                    *data,
                    epochs=epochs,
                    rng=np.random.default_rng([own, 1]),
                    progress=_moved(progress, number * epochs, num_members * epochs, interrupt),
                    check=interrupt.check,
                    again=number > 0,
                    **options,
                )
            except KeyboardInterrupt:
                if not number:
                    raise
                warnings.warn(
                    f"Training was interrupted: {number} of {num_members} networks are kept.",
                    stacklevel=3,
                )
                return weights, first, number
            weights += trained
            first = first or history
            if interrupt.requested:
                return weights, first, number + 1
    return weights, first, num_members


def _moved(progress: Progress | None, done: int, most: int, interrupt: Interrupt) -> Progress:
    def moved(epoch: int, epochs: int, loss: float) -> None:
        try:
            if progress is not None:
                progress(done + epoch, most, loss)
        except KeyboardInterrupt:  # it ends more than the training of this member
            interrupt.requested = True
        interrupt.check()

    return moved
