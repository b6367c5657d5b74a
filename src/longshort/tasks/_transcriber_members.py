"""Several networks of a transcriber, trained one after the other, and what they say together.

CTC networks say a label in one step, and each may say it in another one, so the mean of their steps
may be blanks. Whole texts are compared instead: what any of them says, by what all make of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longshort.tasks._ctc_decoding import Labels, PrefixBeam, best_path, ctc_losses
from longshort.tasks._member_training import Weights, member_seed, train_alike
from longshort.tasks._transcriber_net import TranscriberShape, build_transcriber
from longshort.tasks._transcriber_training import train_transcriber

Array = NDArray[np.floating]


def build_members(shape: TranscriberShape, seed: int, num_members: int) -> Any:
    """Return the model of all members: features and mask to the logits of each.

    One member: the logits (B, T', K + 1) themselves, as of `build_transcriber`; more: a list.
    """
    import keras

    if num_members == 1:
        return build_transcriber(shape, seed)
    nets = [
        build_transcriber(shape, member_seed(seed, i), name=f"member_{i + 1}")
        for i in range(num_members)
    ]
    given = nets[0].inputs
    inputs = [keras.Input(each.shape[1:], dtype=each.dtype, name=each.name) for each in given]
    return keras.Model(inputs, [net(inputs) for net in nets], name="transcribers")


def train_members(
    shape: TranscriberShape, seed: int, num_members: int, *data: Any, **options: Any
) -> tuple[Weights, list[float], int]:
    """Train the members, which differ in first weights, order, what is changed and dropped.

    Args:
        shape: Of each network.
        seed: Of all.
        num_members: Their number M.
        data: As in `train_transcriber`.
        options: As in `train_alike`.

    Returns:
        The weights of `build_members`; the scores of the first member; how many there are.
    """

    def train_one(model: Any, **given: Any) -> tuple[Weights, list[float]]:
        return train_transcriber(model, *data, **given)

    return train_alike(partial(build_transcriber, shape), train_one, seed, num_members, **options)


def most_probable(members: Sequence[Array]) -> Labels:
    """Return the best path of a network's log probabilities (T', K + 1), or of several networks'.

    Of several the best path of one of them: the labels that all, by the mean of their log
    probabilities, find most probable.

    >>> once = np.log([[0.6, 0.4], [0.9, 0.1]])
    >>> twice = np.log([[0.1, 0.9], [0.2, 0.8]])
    >>> most_probable([once]), most_probable([once, twice])
    ((), (1,))
    """
    paths = list(dict.fromkeys(best_path(p) for p in members))
    return paths[int(np.argmax(joint_scores(members, paths)))] if len(paths) > 1 else paths[0]


def n_best(
    members: Sequence[Array], search: Callable[[], PrefixBeam]
) -> list[tuple[Labels, float]]:
    """Return what a beam finds in one network, or what it finds in any of several, best first.

    The scores of several are the means of the log probabilities, and what the search adds.
    """
    beams = []
    for log_probs in members:
        beams.append(search())
        beams[-1].push(log_probs)
    if len(beams) == 1:
        return beams[0].best()
    found = list(dict.fromkeys(labels for beam in beams for labels, _ in beam.best()))
    scores = joint_scores(members, found)
    gains = [beams[0].gain(labels) for labels in found]
    total = [(found[i], float(scores[i]) + gains[i]) for i in range(len(found))]
    return sorted(total, key=lambda one: (-one[1], one[0]))


def joint_scores(members: Sequence[Array], candidates: Sequence[Labels]) -> Array:
    """Return the means over the members of the log probabilities of label sequences, (n,)."""
    each = [-ctc_losses([p] * len(candidates), candidates) for p in members]
    result: Array = np.mean(each, axis=0)
    return result
