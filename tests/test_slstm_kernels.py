"""The sLSTM's kernels, on every instruction set of the build, against the float64 reference."""

import numpy as np
import pytest

from longshort._errors import KernelError
from longshort.ops import _library as library
from longshort.ops import _library_cells as kernels
from longshort.ops._slstm_inputs import SLSTMInputs
from longshort.ops._slstm_reference import slstm_backward, slstm_forward
from test_kernels import BFLOAT16, EPS, make_mask

pytestmark = pytest.mark.skipif(library.load() is None, reason="installed without a compiler")

# B, T, D, heads, units of a head: around the kernels' widths; by rows and by units.
SIZES = [
    (1, 1, 1, 1, 1),
    (3, 5, 2, 3, 5),
    (7, 6, 17, 2, 17),
    (13, 4, 3, 1, 33),
    (40, 9, 3, 5, 24),
    (3, 30, 200, 2, 160),
]


def make_inputs(
    rng, B, T, D, N, S, *, mask="gaps", state=True, bias=True, scale=1.0, dtype="f4", **settings
):
    def normal(*shape):
        return rng.normal(size=shape).astype(dtype)

    H = N * S
    states = normal(4, B, H) if state else [None] * 4
    if state:
        states[2] = 1 + states[2] ** 2
        states[2, 0] = states[1, 0, ::2] = 0.0  # a memory that is empty yet
    return SLSTMInputs(
        normal(B, T, D),
        normal(D, 4 * H) * scale / np.sqrt(D, dtype=dtype),
        normal(N, S, 4 * S) / np.sqrt(S, dtype=dtype),
        normal(4 * H) if bias else None,
        make_mask(rng, B, T, mask) if mask else None,
        *states,
        **settings,
    )


def arriving(rng, inputs, last=True):
    (B, T, _), (N, S) = inputs.x.shape, inputs.recurrent_kernel.shape[:2]
    dlast = rng.normal(size=(4, B, N * S)) * np.reshape([1, last, last, last], (4, 1, 1))
    return rng.normal(size=(B, T, N * S)).astype("f4"), tuple(dlast.astype("f4"))


def assert_matches(inputs, gradients, slack=1.0):
    expected, actual = slstm_forward(inputs), kernels.slstm_forward(inputs)
    (N, S), D = inputs.recurrent_kernel.shape[:2], inputs.x.shape[2]
    bound = 32 * EPS * (1 + np.sqrt(D + S)) * slack

    def joined(array):
        return np.moveaxis(array, 0, -2).reshape(*array.shape[1:-1], N * S)

    hs = joined(actual["hs"])
    results = [hs[:, ::-1] if inputs.reverse else hs, joined(actual["h_last"])]
    results += [joined(actual["c_last"][:, i]) for i in range(3)]
    for got, wanted in zip(results, (expected.hs, *expected.last), strict=True):
        assert np.max(np.abs(got - wanted) / np.maximum(1.0, np.abs(wanted))) < bound
    dhs, dlast = gradients
    wanted = slstm_backward(inputs, expected, dhs, dlast)
    got = kernels.slstm_backward(inputs, actual, dhs[:, ::-1] if inputs.reverse else dhs, dlast)
    for name, value in wanted.items():
        if getattr(inputs, name) is None:
            continue
        scale = max(1.0, np.max(np.abs(value)))
        assert np.max(np.abs(got[name] - value)) / scale < 4 * bound, name


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kind", ["right", "left", "gaps", None])
@pytest.mark.parametrize("forget", ["sigmoid", "exp"])
def test_kernels(isa, sizes, kind, forget):
    rng = np.random.default_rng(sum(sizes))
    options = dict(mask=kind, state=kind != "left", bias=kind != "gaps", reverse=kind == "right")
    inputs = make_inputs(rng, *sizes, forget_activation=forget, **options)
    assert_matches(inputs, arriving(rng, inputs))


@pytest.mark.parametrize("forget", ["sigmoid", "exp"])
def test_bfloat16(isa, forget):
    rng = np.random.default_rng(6)
    inputs = make_inputs(rng, 35, 3, 33, 2, 40, forget_activation=forget, bfloat16=True)
    # Of h alone: a rounded factor can turn which exponent m is, and with it where its gradient
    # goes.
    assert_matches(inputs, arriving(rng, inputs, last=False), slack=BFLOAT16 / 16)


@pytest.mark.parametrize("forget", ["sigmoid", "exp"])
def test_gates_far_out_of_the_range_of_exp(isa, forget):
    rng = np.random.default_rng(1)
    inputs = make_inputs(rng, 5, 9, 3, 2, 7, scale=60.0, forget_activation=forget)
    actual = kernels.slstm_forward(inputs)
    expected = slstm_forward(inputs)
    hs = np.moveaxis(actual["hs"], 0, 2).reshape(expected.hs.shape)
    np.testing.assert_allclose(hs, expected.hs, atol=1e-3)
    gradients = kernels.slstm_backward(inputs, actual, *arriving(rng, inputs))
    assert all(np.isfinite(g).all() for g in gradients.values())


def test_no_gradient_passes_through_m_where_only_h_is_used(isa):
    rng = np.random.default_rng(2)
    inputs = make_inputs(rng, 5, 9, 3, 2, 7)
    actual = kernels.slstm_forward(inputs)
    gradients = kernels.slstm_backward(inputs, actual, *arriving(rng, inputs, last=False))
    # What is left is that c and n are divided by exp(m).
    exact = inputs.c0 * gradients["c0"] + inputs.n0 * gradients["n0"]
    np.testing.assert_allclose(gradients["m0"], exact, rtol=1e-5, atol=1e-6)


def test_what_other_cells_do_not_have_is_refused():
    rng = np.random.default_rng(2)
    (head,) = kernels._heads(make_inputs(rng, 2, 3, 2, 1, 4))
    B, T, S = 2, 3, 4
    out = dict(hs=np.empty((B, T, S), "f4"), h_last=np.empty((B, S), "f4"))
    out["c_last"] = np.empty((3, B, S), "f4")
    for cell in ("gru", "slstm"):
        for name, value in (("peephole", np.zeros((3, S), "f4")), ("projection", np.eye(S))):
            array = np.ascontiguousarray(value, np.float32)
            with pytest.raises(KernelError, match="another cell has none of them"):
                library.call("forward", head, cell, **out, **{name: array})
    with pytest.raises(KernelError, match="exp_forget is the sLSTM's"):
        library.call("forward", head, "gru", True, **out)
