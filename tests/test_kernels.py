"""Every kernel, on every instruction set of this CPU, against the NumPy float64 reference."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from longshort.ops import _library as library
from longshort.ops import _reference as reference
from variants import ALONE, PAIRS, settings, variant_arguments

pytestmark = pytest.mark.skipif(library.load() is None, reason="installed without a compiler")

# Around the widths that the kernels are cut into: lanes (4, 8, 16), blocks (16), tiles (64), rows.
SIZES = [  # B, T, D, H
    (1, 1, 1, 1),
    (2, 3, 1, 15),
    (3, 5, 2, 16),
    (5, 4, 17, 17),
    (7, 6, 5, 31),
    (6, 3, 16, 33),
    (13, 4, 3, 63),
    (12, 2, 65, 64),
    (4, 7, 10, 100),
]
EPS = float(np.finfo(np.float32).eps)


def make_mask(rng, B, T, kind):
    if kind == "gaps":
        mask = rng.random((B, T)) < 0.6
        mask[0] = False  # a row that is masked throughout
        return mask
    lengths = rng.integers(0, T + 1, size=B)[:, None]
    padded = np.arange(T)[None] < lengths
    return padded if kind == "right" else padded[:, ::-1]


def make_inputs(
    rng, B, T, D, H, *, bias=True, mask=True, states=True, dropout="none", reverse=False, variant=()
):
    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    def factors(size):
        return ((rng.random((4, B, size)) < 0.7) / 0.7).astype(np.float32)

    masks = make_mask(rng, B, T, "gaps" if mask is True else mask) if mask else None
    x, weights = normal(B, T, D), variant_arguments(rng, B, T, D, H, **settings(*variant))
    absent = {"bias": bias, "h0": states, "c0": states}
    return reference.LSTMInputs(
        x,
        mask=masks,
        x_dropout=factors(D) if dropout in ("x", "both") else None,
        h_dropout=factors(len(weights["recurrent_kernel"])) if dropout in ("h", "both") else None,
        reverse=reverse,
        **{name: value for name, value in weights.items() if absent.get(name, True)},
    )


def arriving(rng, inputs):
    (B, T, _), P, H = inputs.x.shape, inputs.recurrent_kernel.shape[0], inputs.units
    return tuple(rng.normal(size=s).astype(np.float32) for s in ((B, T, P), (B, P), (B, H)))


def assert_matches(inputs, gradients, slack=1.0):
    expected = reference.lstm_forward(inputs)
    actual = library.lstm_forward(inputs)
    # Rounding is carried over T steps; each step's products add about sqrt(D + H) roundings.
    depth = sum(inputs.x.shape[2:]) + inputs.recurrent_kernel.shape[0]
    bound = 16 * EPS * (1 + np.sqrt(depth)) * slack
    for name in ("hs", "h_last", "c_last"):
        reach = np.maximum(1.0, np.abs(getattr(expected, name)))
        assert np.max(np.abs(actual[name] - getattr(expected, name)) / reach) < bound, name
    traced = library.lstm_forward(inputs, training=False, trace=True)
    assert np.array_equal(traced["hs"], actual["hs"])
    cells = [*(step.c_before for step in expected.steps[1:]), expected.c_last]
    for s, (step, c) in enumerate(zip(expected.steps, cells, strict=True)):
        gates = [np.where(step.keep, gate, 0.0) for gate in (step.i, step.f, step.g, step.o)]
        for name, value in zip("ifgoc", (*gates, c), strict=True):
            reach = np.maximum(1.0, np.abs(value))
            # Nothing damps g as a gate damps it on its way to c.
            assert np.max(np.abs(traced[name][:, s] - value) / reach) < 4 * bound, name
    wanted = reference.lstm_backward(inputs, expected, *gradients)
    got = library.lstm_backward(inputs, actual, *gradients)
    for name, value in wanted.items():
        scale = max(1.0, np.max(np.abs(value)))
        assert np.max(np.abs(got[name] - value)) / scale < 4 * bound, name


# Enough entries and units, and features for the gradient of x, for products whose floats are in
# three pieces, on the sets that multiply bfloat16 fastest.
PIECES = [(30, 20, 257, 49), (16, 17, 256, 64)]


@pytest.mark.parametrize("sizes", [*SIZES, *PIECES])
@pytest.mark.parametrize("dropout", ["none", "x", "h", "both"])
def test_sizes(isa, sizes, dropout):
    rng = np.random.default_rng(sum(sizes))
    inputs = make_inputs(rng, *sizes, dropout=dropout)
    assert_matches(inputs, arriving(rng, inputs))


BOTH = (False, True)
OPTIONS = list(itertools.product(BOTH, BOTH, BOTH, ("none", "x", "h", "both"), BOTH))


@pytest.mark.parametrize(("bias", "mask", "states", "dropout", "reverse"), OPTIONS)
def test_options(isa, bias, mask, states, dropout, reverse):
    rng = np.random.default_rng(3)
    options = dict(bias=bias, mask=mask, states=states, dropout=dropout, reverse=reverse)
    inputs = make_inputs(rng, 5, 6, 3, 20, **options)
    assert_matches(inputs, arriving(rng, inputs))


# Padding that is skipped, in both directions; large enough for several threads, by rows and by
# units, for tiles of every height, and for x W computed ahead (few rows, many features).
RAGGED = [(40, 9, 3, 24), (11, 12, 5, 130), (3, 40, 200, 300), (1, 30, 40, 40)]


@pytest.mark.parametrize("sizes", [*RAGGED, *PIECES])
@pytest.mark.parametrize("kind", ["right", "left", None])
@pytest.mark.parametrize("reverse", BOTH)
def test_padding(isa, sizes, kind, reverse):
    rng = np.random.default_rng(sum(sizes))
    inputs = make_inputs(rng, *sizes, mask=kind, states=kind != "left", reverse=reverse)
    assert_matches(inputs, arriving(rng, inputs))


@pytest.mark.parametrize("sizes", [(7, 6, 5, 31), RAGGED[1], PIECES[0]])
@pytest.mark.parametrize("kind", ["right", "left", "gaps"])
@pytest.mark.parametrize("reverse", BOTH)
@pytest.mark.parametrize("variant", [(), ("projection", "peephole"), ("layer_norm", "zoneout")])
def test_zeros_where_masked(isa, sizes, kind, reverse, variant):
    rng = np.random.default_rng(sum(sizes))
    options = dict(mask=kind, states=kind != "left", reverse=reverse, variant=variant)
    if not (reverse or variant):
        options["dropout"] = "both"
    inputs = replace(make_inputs(rng, *sizes, **options), zero_masked=True)
    mask = inputs.mask[:, ::-1] if reverse else inputs.mask
    assert not library.lstm_forward(inputs)["hs"][~mask].any()
    assert_matches(inputs, arriving(rng, inputs))


@pytest.mark.parametrize("kind", ["right", "left"])
@pytest.mark.parametrize("sizes", [(9, 8, 5, 20), (3, 600, 2, 3)])  # 600: more steps than one panel
def test_padding_with_dropout(isa, kind, sizes):
    rng = np.random.default_rng(5)
    inputs = make_inputs(rng, *sizes, mask=kind, dropout="both")
    assert_matches(inputs, arriving(rng, inputs))


LANES = {"portable": 4, "neon": 4, "avx2": 8}  # of a vector, else 16


def gradients_of_dz(rng, inputs, isa):
    """Some dz, (B, T, 4H), and the gradients of the kernel and of x that follow from it."""
    B, T, D = inputs.x.shape
    H, outputs = inputs.units, library.lstm_forward(inputs)
    saved = rng.normal(size=outputs["gates"].shape).astype(np.float32)
    dkernel, drecurrent = np.empty((D, 4 * H), np.float32), np.empty((H, 4 * H), np.float32)
    dx = np.empty((B, T, D), np.float32)
    written = dict(dkernel=dkernel, drecurrent=drecurrent)
    library.call("weight_gradient", inputs, hs=outputs["hs"], dz=saved, **written)
    library.call("input_gradient", inputs, dz=saved, dx=dx)
    by_blocks = saved.reshape(-1, T, B, 4, LANES.get(isa, 16))
    dz = by_blocks.transpose(2, 1, 3, 0, 4).reshape(B, T, 4, -1)[..., :H]
    return dz.reshape(B, T, 4 * H).astype(float), dkernel, dx


@pytest.mark.parametrize("sizes", PIECES)
def test_factors_keep_all_bits_of_a_float(isa, sizes):
    rng = np.random.default_rng(7)
    (B, T, D, H), every = sizes, np.arange(sizes[2])
    inputs = make_inputs(rng, *sizes, mask=None)
    # One entry of x and one weight for each feature: each element of both gradients is one product.
    b, t, column = (rng.integers(0, n, D) for n in (B, T, 4 * H))
    x, kernel = np.zeros_like(inputs.x), np.zeros_like(inputs.kernel)
    x[b, t, every], kernel[every, column] = inputs.x[b, t, every], inputs.kernel[every, column]
    dz, dkernel, dx = gradients_of_dz(rng, replace(inputs, x=x, kernel=kernel), isa)
    np.testing.assert_allclose(dkernel, x[b, t, every][:, None] * dz[b, t], rtol=4 * EPS)
    np.testing.assert_allclose(dx, dz[..., column] * kernel[every, column], rtol=4 * EPS)


def test_what_is_not_a_number_stays_so(isa):
    rng = np.random.default_rng(8)
    inputs = make_inputs(rng, *PIECES[0], mask=None)
    bits = np.array([0x7FC00000, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32)  # kinds of NaN
    inputs.x[3, 5, : len(bits)] = bits.view(np.float32)
    _, dkernel, _ = gradients_of_dz(rng, inputs, isa)
    assert np.isnan(dkernel[: len(bits)]).all()
    assert np.isfinite(dkernel[len(bits) :]).all()


# The variants: each option alone and all pairs, with all the rest.
@pytest.mark.parametrize("variant", [*ALONE, *PAIRS], ids="-".join)
def test_variants(isa, variant):
    rng = np.random.default_rng(4)
    inputs = make_inputs(
        rng, 6, 5, 3, 21, dropout="both", variant=variant, reverse=len(variant) == 2
    )
    assert_matches(inputs, arriving(rng, inputs))


# All options at once, as many as there are.
EVERYTHING = [
    ("peephole", "cell_clip", "softsign", "hard_sigmoid", "zoneout", "update_dropout"),
    ("peephole", "coupled", "cell_clip", "relu", "expected_zoneout"),
    ("coupled", "zoneout", "update_dropout"),
    ("projection",),
    ("projection", "peephole", "coupled", "cell_clip", "softsign", "zoneout", "update_dropout"),
    ("layer_norm",),
    ("layer_norm", "projection", "peephole", "coupled", "zoneout", "update_dropout"),
]


@pytest.mark.parametrize("variant", EVERYTHING, ids="-".join)
@pytest.mark.parametrize("sizes", [*SIZES[::4], *RAGGED[:3], (16, 16, 20, 50)])
@pytest.mark.parametrize("kind", ["right", "left", "gaps", None])
def test_variants_with_padding(isa, variant, sizes, kind):
    rng = np.random.default_rng(sum(sizes))
    options = dict(mask=kind, states=kind != "left", bias=kind != "gaps", reverse=kind == "right")
    inputs = make_inputs(rng, *sizes, variant=variant, **options)
    assert_matches(inputs, arriving(rng, inputs))


# Without kinks, at which a rounded factor can turn a derivative from 0 to 1.
SMOOTH = [
    ("peephole", "coupled", "softsign", "expected_zoneout"),
    ("zoneout", "update_dropout"),
    ("projection", "zoneout"),
    ("layer_norm", "coupled", "zoneout"),
]


@pytest.mark.parametrize("variant", SMOOTH, ids="-".join)
@pytest.mark.parametrize("dropout", ["none", "both"])
def test_variants_in_bfloat16(isa, variant, dropout):
    rng = np.random.default_rng(6)
    inputs = make_inputs(rng, 35, 3, 33, 40, variant=variant, dropout=dropout)
    assert_matches(replace(inputs, bfloat16=True), arriving(rng, inputs), slack=BFLOAT16 / 16)


# Rounding a factor to bfloat16 changes it by up to 2^-9 of itself.
BFLOAT16 = 2.0**-9 / EPS


@pytest.mark.parametrize("sizes", [*SIZES, *RAGGED, (35, 3, 33, 40)])
@pytest.mark.parametrize("dropout", ["none", "x", "h", "both"])
def test_bfloat16(isa, sizes, dropout):
    rng = np.random.default_rng(sum(sizes))
    inputs = make_inputs(rng, *sizes, dropout=dropout, mask="right" if sizes[0] > 2 else None)
    # Errors of independent roundings: about as for float32, whose bound has a wide margin.
    assert_matches(replace(inputs, bfloat16=True), arriving(rng, inputs), slack=BFLOAT16 / 16)


def test_bfloat16_rounds_only_the_factors(isa):
    rng = np.random.default_rng(0)
    inputs = make_inputs(rng, 37, 1, 35, 50, mask=None)
    exact = {
        name: np.round(getattr(inputs, name) * 16) / 16
        for name in ("x", "kernel", "recurrent_kernel", "h0")
    }
    inputs = replace(inputs, **exact)
    expected, actual = (
        library.lstm_forward(replace(inputs, bfloat16=rounds)) for rounds in (False, True)
    )
    for name in ("hs", "c_last"):
        assert np.max(np.abs(actual[name] - expected[name])) < 100 * EPS, name


def test_bfloat16_rounds_where_the_cpu_can(isa):
    rng = np.random.default_rng(0)
    inputs = make_inputs(rng, 5, 3, 35, 50)
    same = np.array_equal(
        library.lstm_forward(inputs)["hs"],
        library.lstm_forward(replace(inputs, bfloat16=True))["hs"],
    )
    assert same == (isa not in ("avx512_bf16", "amx"))
