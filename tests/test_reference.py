"""The float64 reference itself, by central differences and by hand."""

from dataclasses import replace

import numpy as np
import pytest

from longshort.ops._inputs import LSTMInputs
from longshort.ops._reference import lstm_backward, lstm_forward


def random_inputs(rng, *, mask, reverse):
    B, T, D, H = 2, 4, 3, 2
    return LSTMInputs(
        rng.normal(size=(B, T, D)),
        rng.normal(size=(D, 4 * H)),
        rng.normal(size=(H, 4 * H)),
        rng.normal(size=4 * H),
        np.array([[1, 0, 1, 1], [0, 1, 1, 0]], bool) if mask else None,
        rng.normal(size=(B, H)),
        rng.normal(size=(B, H)),
        rng.normal(size=(4, B, D)),
        rng.normal(size=(4, B, H)),
        reverse,
    )


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_central_differences(mask, reverse):
    rng = np.random.default_rng(0)
    inputs = random_inputs(rng, mask=mask, reverse=reverse)
    arriving = [rng.normal(size=s) for s in ((2, 4, 2), (2, 2), (2, 2))]

    def value(changed):
        out = lstm_forward(changed)
        return sum(
            np.sum(d * v) for d, v in zip(arriving, (out.hs, out.h_last, out.c_last), strict=True)
        )

    gradients = lstm_backward(inputs, lstm_forward(inputs), *arriving)
    for name, gradient in gradients.items():
        array = getattr(inputs, name)
        for index in np.ndindex(array.shape):
            step = np.zeros_like(array)
            step[index] = 1e-6
            difference = value(replace(inputs, **{name: array + step})) - value(
                replace(inputs, **{name: array - step})
            )
            assert gradient[index] == pytest.approx(difference / 2e-6, rel=1e-6, abs=1e-8), name


def test_one_step_by_hand():
    # H = D = 1: z = 0.5 w + 0.1 u + b for each gate, worked with a pocket calculator.
    inputs = LSTMInputs(
        [[[0.5]]], [[1.0, 2.0, 3.0, 4.0]], [[1.0, 1.0, 1.0, 1.0]], [0.0, 1.0, 0.0, 0.0],
        None, [[0.1]], [[0.2]],
    )  # fmt: skip
    i, f, o = (1 / (1 + np.exp(-z)) for z in (0.6, 2.1, 2.1))
    g = np.tanh(1.6)
    c = f * 0.2 + i * g
    out = lstm_forward(inputs)
    assert out.c_last[0, 0] == pytest.approx(c)
    assert out.h_last[0, 0] == pytest.approx(o * np.tanh(c))


def test_split_sequence_with_carried_state_is_one_run():
    rng = np.random.default_rng(1)
    inputs = random_inputs(rng, mask=True, reverse=False)
    whole = lstm_forward(inputs)
    first = lstm_forward(replace(inputs, x=inputs.x[:, :2], mask=inputs.mask[:, :2]))
    second = lstm_forward(
        replace(
            inputs, x=inputs.x[:, 2:], mask=inputs.mask[:, 2:], h0=first.h_last, c0=first.c_last
        )
    )
    np.testing.assert_allclose(np.concatenate([first.hs, second.hs], 1), whole.hs)
