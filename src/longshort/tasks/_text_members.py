"""Several networks of a text classifier, trained one after the other, and their mean."""

from __future__ import annotations

from typing import Any

import keras

from longshort.tasks._classifier_training import train
from longshort.tasks._member_training import Weights, mean_model, train_alike
from longshort.tasks._text_net import TextNetShape, build_text_net


def build_members(shape: TextNetShape, seed: int, num_members: int) -> keras.Model:
    """Return the model of all members: numbers of tokens and mask to the mean of their logits."""

    def build(own: int, name: str) -> keras.Model:
        return build_text_net(shape, own, name=name)

    return mean_model(build, seed, num_members, "text_classifier")


def train_members(
    shape: TextNetShape,
    seed: int,
    num_members: int,
    start: dict[str, Any],
    *data: Any,
    **options: Any,
) -> tuple[Weights, list[float], int]:
    """Train the members, which differ in first weights, the order of texts and what is dropped.

    Args:
        shape: Of each network.
        seed: Of all.
        num_members: Their number M.
        start: What each begins with, as arguments of `build_text_net`.
        data: As in `train`.
        options: As in `train_alike`.

    Returns:
        The weights of `build_members`; the losses of the first member; how many there are.
    """

    def train_one(model: keras.Model, **given: Any) -> tuple[Weights, list[float]]:
        return train(model, *data, **given)

    def build(own: int) -> keras.Model:
        return build_text_net(shape, own, **start)

    return train_alike(build, train_one, seed, num_members, **options)
