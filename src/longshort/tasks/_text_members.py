"""Several networks of a text classifier, trained one after the other, and their mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from longshort.tasks._classifier_training import train
from longshort.tasks._member_training import member_seed, train_each
from longshort.tasks._text_net import TextNetShape, build_text_net
from longshort.tasks._training import Progress, copy_weights


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

    They differ in their first weights, the order of texts and what is dropped. Ctrl-C as in
    `train_each`.

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

    def train_one(
        number: int, progress: Progress, check: Callable[[], object]
    ) -> tuple[list[np.ndarray], list[float]]:
        nonlocal model
        own = member_seed(seed, number)
        net = build_text_net(shape, own, **start)
        if model is None:
            model = net
        else:
            model.set_weights(copy_weights(net))
        return train(
            model,
            *data,
            epochs=epochs,
            rng=np.random.default_rng([own, 1]),
            progress=progress,
            check=check,
            again=number > 0,
            **options,
        )

    weights, first = train_each(train_one, num_members, epochs, progress)
    return [one for each in weights for one in each], first, len(weights)
