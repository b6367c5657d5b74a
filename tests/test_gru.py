"""The GRU: its float64 reference by central differences, and every kernel against the reference."""

from dataclasses import replace

import numpy as np
import pytest

from longshort.ops import _library as library
from longshort.ops import _library_cells as kernels
from longshort.ops._gru_inputs import GRUInputs
from longshort.ops._gru_reference import gru_backward, gru_forward
from test_kernels import BFLOAT16, EPS, PIECES, RAGGED, SIZES, make_mask

needs_kernels = pytest.mark.skipif(library.load() is None, reason="installed without a compiler")


def make_inputs(
    rng, B, T, D, H, *, bias=True, mask="gaps", state=True, dropout=False, dtype="f4", **settings
):
    def normal(*shape):
        return rng.normal(size=shape).astype(dtype)

    def factors(size):
        return ((rng.random((3, B, size)) < 0.7) / 0.7).astype(dtype)

    after = settings.get("reset_after", True)
    return GRUInputs(
        normal(B, T, D),
        normal(D, 3 * H) / np.sqrt(D, dtype=dtype),
        normal(H, 3 * H) / np.sqrt(H, dtype=dtype),
        normal(*((2, 3 * H) if after else (3 * H,))) if bias else None,
        make_mask(rng, B, T, mask) if mask else None,
        normal(B, H) if state else None,
        factors(D) if dropout else None,
        factors(H) if dropout else None,
        **settings,
    )


def arriving(rng, inputs):
    (B, T, _), H = inputs.x.shape, len(inputs.recurrent_kernel)
    return rng.normal(size=(B, T, H)).astype("f4"), rng.normal(size=(B, H)).astype("f4")


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("activations", [("tanh", "sigmoid"), ("softsign", "sigmoid")])
def test_the_references_gradients_are_central_differences(reset_after, reverse, activations):
    rng = np.random.default_rng(1)
    settings = dict(reset_after=reset_after, reverse=reverse, dropout=reverse, dtype="f8")
    settings |= dict(zip(("activation", "recurrent_activation"), activations, strict=True))
    inputs = make_inputs(rng, 3, 4, 2, 3, **settings)
    dhs, dh_last = arriving(rng, inputs)

    def value(changed):
        out = gru_forward(changed)
        return np.sum(dhs * out.hs) + np.sum(dh_last * out.h_last)

    for name, gradient in gru_backward(inputs, gru_forward(inputs), dhs, dh_last).items():
        array = getattr(inputs, name)
        for index in np.ndindex(array.shape):
            step = np.zeros_like(array)
            step[index] = 1e-6
            ends = [value(replace(inputs, **{name: array + s})) for s in (step, -step)]
            assert gradient[index] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-7)


def assert_matches(inputs, gradients, slack=1.0):
    expected, actual = gru_forward(inputs), kernels.gru_forward(inputs)
    bound = 16 * EPS * (1 + np.sqrt(inputs.x.shape[2] + len(inputs.recurrent_kernel))) * slack
    for name in ("hs", "h_last"):
        reach = np.maximum(1.0, np.abs(getattr(expected, name)))
        assert np.max(np.abs(actual[name] - getattr(expected, name)) / reach) < bound, name
    wanted = gru_backward(inputs, expected, *gradients)
    got = kernels.gru_backward(inputs, actual, *gradients)
    for name, value in wanted.items():
        scale = max(1.0, np.max(np.abs(value)))
        assert np.max(np.abs(got[name] - value)) / scale < 4 * bound, name


@needs_kernels
@pytest.mark.parametrize("sizes", [*SIZES, *RAGGED, PIECES[1]])
@pytest.mark.parametrize("kind", ["right", "left", "gaps", None])
def test_kernels(isa, sizes, kind):
    rng = np.random.default_rng(sum(sizes))
    options = dict(mask=kind, state=kind != "left", bias=kind != "gaps", reverse=kind == "right")
    inputs = make_inputs(rng, *sizes, dropout=sizes in SIZES, **options)
    assert_matches(inputs, arriving(rng, inputs))


@needs_kernels
@pytest.mark.parametrize("activation", library.ACTIVATIONS)
@pytest.mark.parametrize("recurrent_activation", library.RECURRENT_ACTIVATIONS)
def test_activations(isa, activation, recurrent_activation):
    rng = np.random.default_rng(3)
    settings = dict(activation=activation, recurrent_activation=recurrent_activation)
    inputs = make_inputs(rng, 6, 5, 3, 21, **settings)
    assert_matches(inputs, arriving(rng, inputs))


@needs_kernels
@pytest.mark.parametrize("dropout", [True, False])
def test_bfloat16(isa, dropout):
    rng = np.random.default_rng(6)
    inputs = make_inputs(rng, 35, 3, 33, 40, mask="right", dropout=dropout, bfloat16=True)
    assert_matches(inputs, arriving(rng, inputs), slack=BFLOAT16 / 16)
