"""The float64 reference itself, by central differences and by hand."""

from dataclasses import replace

import numpy as np
import pytest

from longshort.ops._inputs import LSTMInputs
from longshort.ops._reference import lstm_backward, lstm_forward
from variants import ALONE, OPTIONS, PAIRS, settings, variant_arguments


def random_inputs(rng, *names, mask=True, reverse=False):
    B, T, D, H = 2, 3, 2, 3
    weights = variant_arguments(rng, B, T, D, H, **settings(*names))
    arrays = {k: v.astype("f8") for k, v in weights.items() if getattr(v, "dtype", "") == "f4"}
    return LSTMInputs(
        rng.normal(size=(B, T, D)),
        mask=np.array([[1, 0, 1], [0, 1, 1]], bool) if mask else None,
        x_dropout=rng.normal(size=(4, B, D)),
        h_dropout=rng.normal(size=(4, *arrays["h0"].shape)),
        reverse=reverse,
        **weights | arrays,
    )


def assert_gradients_are_central_differences(rng, inputs):
    inputs.check()
    outputs = lstm_forward(inputs)
    results = (outputs.hs, outputs.h_last, outputs.c_last)
    arriving = [rng.normal(size=result.shape) for result in results]

    def value(changed):
        out = lstm_forward(changed)
        return sum(
            np.sum(d * v) for d, v in zip(arriving, (out.hs, out.h_last, out.c_last), strict=True)
        )

    gradients = lstm_backward(inputs, outputs, *arriving)
    own = ("peephole", "projection", "norm_gains", "norm_cell")
    assert [name for name in own if getattr(inputs, name) is not None] == list(gradients)[6:]
    for name, gradient in gradients.items():
        array = getattr(inputs, name)
        assert gradient.shape == array.shape
        for index in np.ndindex(array.shape):
            step = np.zeros_like(array)
            step[index] = 1e-6
            difference = value(replace(inputs, **{name: array + step})) - value(
                replace(inputs, **{name: array - step})
            )
            assert gradient[index] == pytest.approx(difference / 2e-6, rel=1e-5, abs=1e-7), name


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_central_differences(mask, reverse):
    rng = np.random.default_rng(0)
    assert_gradients_are_central_differences(rng, random_inputs(rng, mask=mask, reverse=reverse))


@pytest.mark.parametrize("names", [*ALONE, *PAIRS], ids="-".join)
def test_gradients_of_variants_are_central_differences(names):
    rng = np.random.default_rng(1)
    assert_gradients_are_central_differences(rng, random_inputs(rng, *names, reverse=True))


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


def test_a_step_of_each_variant_by_hand():
    # As above; one unit and one value of h, so that layer norm gives its bias: v - mean is 0.
    inputs = LSTMInputs(
        [[[0.5]]], [[1.0, 2.0, 3.0, 4.0]], [[1.0, 1.0, 1.0, 1.0]], [0.0, 1.0, 0.0, 0.0],
        None, [[0.1]], [[0.2]],
    )  # fmt: skip

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def check(c, h, **changed):
        out = lstm_forward(replace(inputs, **changed))
        assert out.c_last[0, 0] == pytest.approx(c)
        assert out.h_last[0, 0] == pytest.approx(h)

    g = np.tanh(1.6)
    c = sigmoid(2.1) * 0.2 + sigmoid(0.6) * g
    h = sigmoid(2.1) * np.tanh(c)
    peeped = sigmoid(2.1 + 0.4) * 0.2 + sigmoid(0.6 + 0.2) * g
    check(peeped, sigmoid(2.1 + 3 * peeped) * np.tanh(peeped), peephole=[[1.0], [2.0], [3.0]])
    tied = sigmoid(2.1) * 0.2 + (1 - sigmoid(2.1)) * g
    check(
        tied, sigmoid(2.1) * np.tanh(tied), coupled=True,
        kernel=[[2.0, 3.0, 4.0]], recurrent_kernel=[[1.0] * 3], bias=[1.0, 0.0, 0.0],
    )  # fmt: skip
    check(c, 5 * h, projection=[[5.0]])
    check(0.5, sigmoid(2.1) * np.tanh(0.5), cell_clip=0.5)
    check(0.3 * 0.2 + 0.7 * c, 0.9 * 0.1 + 0.1 * h, zoneout=(0.9, 0.3))
    check(0.2, 0.1, zoneout=(1.0, 1.0), noise_key=(1, 2))
    soft = sigmoid(2.1) * 0.2 + sigmoid(0.6) * 1.6 / 2.6
    check(soft, sigmoid(2.1) * soft / (1 + soft), activation="softsign")
    hard = (2.1 / 6 + 0.5) * 0.2 + (0.6 / 6 + 0.5) * g
    check(hard, (2.1 / 6 + 0.5) * np.tanh(hard), recurrent_activation="hard_sigmoid")
    updates = {
        round(lstm_forward(replace(inputs, update_dropout=0.25, noise_key=(k, 0))).c_last[0, 0], 9)
        for k in range(40)
    }
    kept = sigmoid(2.1) * 0.2 + sigmoid(0.6) * g / 0.75
    assert updates == {round(sigmoid(2.1) * 0.2, 9), round(kept, 9)}

    two = LSTMInputs(  # two units: one above the mean, one below
        [[[0.5]]], [[1.0, 2.0] * 4], np.zeros((2, 8)), np.zeros(8),
        norm_gains=[[1.0] * 8, [0.0] * 8], norm_cell=[[2.0, 2.0], [0.5, 0.5]],
    )  # fmt: skip
    z = np.array([-0.25, 0.25]) / np.sqrt(0.25**2 + 1e-5)
    cells = sigmoid(z) * np.tanh(z)
    normed = (cells - cells.mean()) / np.sqrt(cells.var() + 1e-5)
    expected = sigmoid(z) * np.tanh(2 * normed + 0.5)
    np.testing.assert_allclose(lstm_forward(two).h_last[0], expected)


@pytest.mark.parametrize("names", [(), ("zoneout", "update_dropout"), tuple(OPTIONS)[:4]])
def test_split_sequence_with_carried_state_is_one_run(names):
    rng = np.random.default_rng(1)
    inputs = random_inputs(rng, *(n for n in names if n != "zoneout"))
    if "zoneout" in names:
        inputs = replace(inputs, zoneout=(0.5, 0.5))
    whole = lstm_forward(inputs)
    first = lstm_forward(replace(inputs, x=inputs.x[:, :2], mask=inputs.mask[:, :2]))
    second = lstm_forward(
        replace(
            inputs,
            x=inputs.x[:, 2:],
            mask=inputs.mask[:, 2:],
            h0=first.h_last,
            c0=first.c_last,
            first_step=inputs.first_step + 2,
        )
    )
    np.testing.assert_allclose(np.concatenate([first.hs, second.hs], 1), whole.hs)
