"""`LSTMStep` against the reference over a whole sequence, and its bad inputs."""

import numpy as np
import pytest

from longshort._errors import DataError
from longshort.layers import LSTM
from longshort.ops import LSTMStep, _library
from longshort.ops._inputs import LSTMInputs
from longshort.ops._reference import lstm_forward

pytestmark = pytest.mark.skipif(_library.load() is None, reason="installed without a compiler")


def weights(D, H, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((D, 4 * H), (H, 4 * H), (4 * H,))
    return [rng.normal(size=s).astype("f4") / np.sqrt(s[0]) for s in shapes]


@pytest.mark.parametrize(("B", "D", "H"), [(1, 10, 128), (1, 1, 1), (5, 3, 17), (8, 20, 33)])
@pytest.mark.parametrize("isa", ["portable", "neon", "avx2", "avx512"])
def test_steps_are_the_sequence(B, D, H, isa):
    try:
        _library.set_isa(isa)
    except Exception as error:
        pytest.skip(str(error))
    try:
        step = LSTMStep(*weights(D, H), batch=B)
    finally:
        _library.set_isa(None)  # the step keeps the set that it was packed for
    x = np.random.default_rng(1).normal(size=(B, 7, D)).astype("f4")
    expected = lstm_forward(LSTMInputs(x, *weights(D, H)))
    for t in range(7):
        assert np.abs(step(x[:, t]) - expected.hs[:, t]).max() < 1e-5
    assert np.abs(step.c - expected.c_last).max() < 1e-5


def test_stream_of_a_layer():
    layer = LSTM(5, return_sequences=True, weight_drop=0.2, recurrent_dropout=0.1)
    with pytest.raises(DataError, match="no weights yet"):
        layer.stream()
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("f4")
    hs = np.asarray(layer(x))
    step = layer.stream(2)
    for t in range(4):
        assert np.abs(step(x[:, t]) - hs[:, t]).max() < 1e-6
    for options, message in (
        ({"zoneout": 0.1, "peephole": True}, "has not peephole, zoneout;"),
        ({"activation": "relu"}, "activations other than"),
        ({"go_backwards": True}, "go_backwards"),
    ):
        other = LSTM(5, **options)
        other.build((None, None, 3))
        with pytest.raises(DataError, match=message):
            other.stream()


def test_state():
    step = LSTMStep(*weights(3, 4)[:2])
    first = step([1, 2, 3])
    assert (step([1, 2, 3]) != first).any()
    step.reset()
    assert (step(np.array([[1.0, 2.0, 3.0]])) == first).all()


def test_bad_inputs():
    kernel, recurrent, bias = weights(3, 4)
    with pytest.raises(DataError, match=r"expected kernel \(D, 4H\)"):
        LSTMStep(recurrent, kernel, bias)
    with pytest.raises(DataError, match="expected kernel"):
        LSTMStep(kernel, recurrent, bias[:3])
    with pytest.raises(DataError, match="batch of at least 1"):
        LSTMStep(kernel, recurrent, bias, batch=0)
    step = LSTMStep(kernel, recurrent, bias)
    with pytest.raises(DataError, match=r"inputs of shape \(1, 3\), got \(4,\)"):
        step(np.zeros(4))
    with pytest.raises(DataError, match=r"got \(1,\)"):  # no broadcasting
        step(np.zeros(1))
