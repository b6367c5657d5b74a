"""Several networks of a text classifier."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from longshort.tasks import TextClassifier, load
from longshort.tasks._classifier_training import train
from longshort.tasks._member_training import member_seed
from longshort.tasks._text_members import build_members, train_members
from longshort.tasks._text_net import TextNetShape, build_text_net
from longshort.tasks._training import copy_weights
from test_text_classifier import SMALL, X, Y

SHAPE = TextNetShape(9, 2, 3, 4, 1, False, "max", 0.0, 0.0)
RNG = np.random.default_rng(0)
TEXTS = [RNG.integers(4, 9, 8).astype(np.int32) for _ in range(24)]
TARGETS = np.array([int(text[0] > 6) for text in TEXTS])
OPTIONS: dict[str, Any] = {
    **{"learning_rate": 0.05, "epochs": 3, "batch_size": 8, "patience": 3, "longest": 8},
    **{"progress": None},
}
DATA = (TEXTS, TARGETS, TEXTS[:8], TARGETS[:8])


def test_mean_of_logits() -> None:
    model = build_members(SHAPE, 5, 3)
    mask = np.ones((24, 8), dtype=bool)
    together = keras.ops.convert_to_numpy(model((np.stack(TEXTS), mask)))
    each = [build_text_net(SHAPE, member_seed(5, i))((np.stack(TEXTS), mask)) for i in range(3)]
    each = [keras.ops.convert_to_numpy(values) for values in each]
    np.testing.assert_allclose(together, np.mean(each, axis=0), rtol=1e-5, atol=1e-6)
    assert np.abs(each[0] - each[1]).max() > 1e-3


def test_each_is_trained_as_if_alone() -> None:
    """The second, with the optimizer and the program of the first, gets the same bits."""
    seen: list[tuple[int, int]] = []
    options = OPTIONS | {"progress": lambda epoch, epochs, loss: seen.append((epoch, epochs))}
    weights, history, count = train_members(SHAPE, 5, 2, {}, *DATA, **options)
    assert count == 2 and seen == [(i, 6) for i in range(1, 7)]
    size = len(weights) // 2
    for number in range(2):
        own = member_seed(5, number)
        alone, losses = train(
            build_text_net(SHAPE, own), *DATA, rng=np.random.default_rng([own, 1]), **OPTIONS
        )
        for mine, theirs in zip(weights[number * size :], alone, strict=False):
            assert (mine == theirs).all()
        assert number or losses == history
    model = build_members(SHAPE, 5, 2)
    model.set_weights(weights)
    assert len(copy_weights(model)) == 2 * size


@pytest.mark.parametrize(
    ("when", "kept", "message"), [(4, 2, "after 1 of 3 epochs"), (3, 1, "after 3 of 3")]
)
def test_interrupted(when: int, kept: int, message: str, tmp_path: Path) -> None:
    """Ctrl-C ends the training of all members, and those that there are serve and are saved."""
    epochs = []

    def press(epoch: int, epochs_: int, loss: float) -> None:
        epochs.append(epoch)
        if epoch == when:
            signal.raise_signal(signal.SIGINT)

    task = TextClassifier(**SMALL | {"epochs": 3, "num_members": 3})
    with pytest.warns(UserWarning, match=message):
        task.fit(X, Y, progress=press)
    assert epochs[-1] == when
    assert len(task.model_.weights) == kept * 9 and task._sizes["num_members"] == kept
    task.save(tmp_path / "x.longshort")
    again = load(tmp_path / "x.longshort")
    assert (again.predict_proba(X[:20]) == task.predict_proba(X[:20])).all()
