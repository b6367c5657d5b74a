"""Several networks of a tagger."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from longshort.layers import CRF
from longshort.tasks import Tagger, load
from longshort.tasks._member_training import member_seed
from longshort.tasks._tagger_input import check_sentences
from test_tagger import QUICK, X, Y

FEW: dict[str, Any] = QUICK | {"epochs": 2}
NEW = [["Ann", "went", "home", "."], ["Rome", "."]]


@pytest.fixture(scope="module")
def three() -> Tagger:
    return Tagger(**FEW, num_members=3).fit(X, Y)


def test_scores_are_the_mean_of_all(three: Tagger, tmp_path: Path) -> None:
    nets = three._reader.nets
    encoded = three._word_code.encode(check_sentences(NEW[:1]))
    inputs = [encoded.words[0][None], encoded.features[0][None], encoded.places[0][None]]
    inputs += [encoded.spelling, np.ones((1, 4), dtype=bool)]
    each = [np.asarray(keras.ops.convert_to_numpy(net.model(inputs))) for net in nets]
    assert np.abs(each[0] - each[1]).max() > 1e-3
    mean = np.mean(each, axis=0)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(three.model_(inputs)), mean, rtol=1e-5, atol=1e-6
    )
    crf = CRF.from_config(nets[0].crf.get_config())
    crf.build(mean.shape)
    weights = [[keras.ops.convert_to_numpy(w) for w in net.crf.weights] for net in nets]
    crf.set_weights([np.mean(same, axis=0) for same in zip(*weights, strict=True)])
    expected = keras.ops.convert_to_numpy(crf.marginals(mean))[0]
    found = three._reader.run(encoded, "marginals")[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    three.save(tmp_path / "three.longshort")
    again = load(tmp_path / "three.longshort")
    for mine, theirs in zip(three.predict_proba(NEW), again.predict_proba(NEW), strict=True):
        assert (mine == theirs).all()
    assert again.predict(NEW) == three.predict(NEW)


def test_each_is_trained_as_if_alone(three: Tagger) -> None:
    """But for what is dropped: the second goes on with the first's noise."""
    seeds = [member_seed(1, number) for number in range(2)]
    options = FEW | {"dropout": 0.0, "word_dropout": 0.0, "validation_split": 0.0}
    both = Tagger(**options, num_members=2).fit(X, Y)
    for net, seed in zip(both._reader.nets, seeds, strict=True):
        alone = Tagger(**options, seed=seed).fit(X, Y)
        for mine, theirs in zip(net.model.weights, alone.model_.weights, strict=True):
            assert (np.asarray(mine) == np.asarray(theirs)).all()


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C ends the training of all members, and those that there are serve and are saved."""
    seen: list[tuple[int, int]] = []

    def press(epoch: int, epochs: int, error: float) -> None:
        seen.append((epoch, epochs))
        if epoch == 3:
            signal.raise_signal(signal.SIGINT)

    task = Tagger(**FEW, num_members=3)
    with pytest.warns(UserWarning, match="after 1 of 2 epochs"):
        task.fit(X, Y, progress=press)
    assert seen == [(1, 6), (2, 6), (3, 6)]
    assert len(task._reader.nets) == 2
    task.save(tmp_path / "x.longshort")
    assert load(tmp_path / "x.longshort").predict(NEW) == task.predict(NEW)
