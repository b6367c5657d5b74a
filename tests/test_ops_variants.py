"""The variants through `longshort.ops.lstm`: transformations, chunks, both directions, errors."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from longshort import ops
from longshort._errors import DataError
from longshort.ops import _library
from longshort.ops._inputs import LSTMInputs
from longshort.ops._reference import lstm_backward, lstm_forward
from variants import OPTIONS, settings, variant_arguments

needs_kernels = pytest.mark.skipif(_library.load() is None, reason="installed without a compiler")
B, T, D, H = 4, 7, 3, 18
SEVERAL = [
    ("peephole", "cell_clip", "softsign", "hard_sigmoid", "zoneout", "update_dropout"),
    ("peephole", "coupled", "cell_clip", "relu", "expected_zoneout"),
    ("coupled", "zoneout", "update_dropout"),
    ("projection", "peephole", "coupled", "cell_clip", "zoneout"),
    ("layer_norm", "update_dropout"),
    ("layer_norm", "projection", "peephole", "coupled", "zoneout"),
]


def problem(names, seed=0, T=T, **more):
    """Arguments of LSTMInputs."""
    rng = np.random.default_rng(seed)
    arguments = variant_arguments(rng, B, T, D, H, **settings(*names)) | more
    arguments["x"] = rng.normal(size=(B, T, D)).astype("f4")
    arguments["mask"] = rng.random((B, T)) < 0.7
    return arguments


def called(arguments, **how):
    """`ops.lstm` with the arguments of LSTMInputs."""
    arguments = {name: value for name, value in arguments.items() if name not in ("h0", "c0")} | {
        "initial_state": (arguments["h0"], arguments["c0"])
    }
    return ops.lstm(**arguments, **how)


def split(arguments):
    """What has a gradient, and the rest."""
    names = "x kernel recurrent_kernel bias h0 c0 peephole projection norm_gains norm_cell".split()
    given = {name: value for name, value in arguments.items() if name in names}
    return given, {name: value for name, value in arguments.items() if name not in names}


def gradients(arguments, arriving, **how):
    given, rest = split(arguments)

    def value(given):
        results = called(given | rest, **how)
        return sum(jnp.vdot(a, r) for a, r in zip(arriving, results, strict=True))

    return jax.grad(value)(given)


def close(actual, expected, bound=2e-5):
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert np.abs(a - e).max() <= bound * max(1.0, np.abs(e).max())


def arriving_at(results, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=r.shape).astype("f4") for r in results]


@needs_kernels
@pytest.mark.parametrize("names", SEVERAL, ids="-".join)
@pytest.mark.parametrize("reverse", [False, True])
def test_the_kernel_path_is_the_reference(names, reverse):
    arguments = problem(names, reverse=reverse)
    if reverse:
        rng = np.random.default_rng(2)
        for name, width in (("x_dropout", D), ("h_dropout", arguments["h0"].shape[1])):
            arguments[name] = rng.random((4, B, width)).astype("f4")
    inputs = LSTMInputs(**arguments)
    expected = lstm_forward(inputs)
    outputs = expected.hs, expected.h_last, expected.c_last
    arriving = arriving_at(outputs)
    given, rest = split(arguments)
    results = jax.jit(lambda given: called(given | rest, path="kernel"))(given)
    close(results, outputs)
    actual = jax.jit(lambda given: gradients(given | rest, arriving, path="kernel"))(given)
    wanted = lstm_backward(inputs, expected, *arriving)
    assert actual.keys() == wanted.keys()
    close([actual[name] for name in wanted], list(wanted.values()))


@needs_kernels
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("T", "names"),
    [(50, SEVERAL[0]), pytest.param(48, SEVERAL[-1], marks=pytest.mark.slow)],
)
def test_recompute_makes_the_same_noise(reverse, T, names):
    arguments = problem(names, T=T, reverse=reverse)
    plain = called(arguments)
    close(called(arguments, recompute=True), plain, 1e-6)
    arriving = arriving_at(plain)
    close(gradients(arguments, arriving, recompute=True), gradients(arguments, arriving))


@needs_kernels
def test_a_sequence_cut_into_two_calls():
    arguments = problem(SEVERAL[0])
    whole, _, last = called(arguments)
    first = arguments | {name: arguments[name][:, :3] for name in ("x", "mask")}
    hs, h, c = called(first)
    rest = arguments | {name: arguments[name][:, 3:] for name in ("x", "mask")}
    for first_step in (arguments["first_step"] + 3, jnp.int32(arguments["first_step"] + 3)):
        more, _, c_last = called(rest | {"h0": h, "c0": c, "first_step": first_step})
        close([jnp.concatenate([hs, more], 1), c_last], [whole, last], 1e-6)


@needs_kernels
def test_vmap_over_the_key():
    arguments = problem(("peephole", "zoneout"))
    keys = np.arange(6, dtype="u4").reshape(3, 2)

    def last(key):
        return called(arguments | {"noise_key": key})[1]

    mapped = jax.vmap(last)(keys)
    close(mapped, jnp.stack([last(key) for key in keys]), 1e-6)
    assert not np.array_equal(mapped[0], mapped[1])


@needs_kernels
def test_a_new_key_does_not_compile_anew():
    compiled = jax.jit(lambda key, step: called(given | {"noise_key": key, "first_step": step})[1])
    given = problem(("zoneout",))
    results = [compiled(np.array([1, n], "u4"), n) for n in range(3)]
    assert compiled._cache_size() == 1
    assert not np.array_equal(results[0], results[1])


@needs_kernels
@pytest.mark.parametrize("names", SEVERAL, ids="-".join)
def test_both_directions(names):
    pair = [problem(names, seed, reverse=seed == 1) for seed in range(2)]
    pair[1] |= {name: pair[0][name] for name in ("x", "mask")}
    expected = [called(arguments) for arguments in pair]
    calls = [
        {name: value for name, value in arguments.items() if name not in ("h0", "c0")}
        | {"initial_state": (arguments["h0"], arguments["c0"])}
        for arguments in pair
    ]
    close(ops.lstm_both(*calls, return_sequences=True), expected, 1e-6)
    calls[1]["cell_clip"] = 0.123
    with pytest.raises(DataError, match="same settings in both directions.*cell_clip"):
        ops.lstm_both(*calls, return_sequences=True)


@needs_kernels
@pytest.mark.parametrize("name", OPTIONS)
def test_both_paths_are_the_same(name):
    arguments = problem((name,))
    close(called(arguments, path="kernel"), called(arguments, path="keras"))


@needs_kernels
def test_without_a_key_nothing_is_dropped():
    arguments = problem(("update_dropout",)) | {"noise_key": None}
    close(called(arguments), called(arguments | {"update_dropout": 0.0}), 0)


@pytest.mark.parametrize(
    ("names", "changed", "message"),
    [
        ((), {"cell_clip": 0.0}, "cell_clip above 0 or None, got 0.0"),
        ((), {"cell_clip": float("nan")}, "cell_clip above 0 or None, got nan"),
        ((), {"zoneout": (0.1, 1.1)}, r"two rates from 0 to 1, of h and of c, got \(0.1, 1.1\)"),
        ((), {"zoneout": (0.1,)}, "zoneout as two rates"),
        ((), {"update_dropout": 1.0}, "update_dropout from 0 to below 1, got 1.0"),
        ((), {"noise_key": np.zeros(3, "u4")}, r"noise_key of shape \(2,\), got \(3,\)"),
        (("peephole",), {"peephole": np.zeros((2, H))}, r"peephole of shape \(3, 18\), got \(2"),
        (("coupled",), {"kernel": np.zeros((D, 4 * H))}, r"coupled gates expected kernel of shape"),
        (("coupled", "peephole"), {"peephole": np.zeros((3, H))}, r"peephole of shape \(2, 18\)"),
        (("projection",), {"h0": np.zeros((B, H))}, r"h0 of shape \(4, 9\), got \(4, 18\)"),
        (("projection",), {"projection": np.zeros(H)}, "projection of shape two axes"),
        (("layer_norm",), {"norm_cell": None}, "norm_gains and norm_cell both, or neither"),
        (("layer_norm",), {"norm_gains": np.zeros((2, H))}, r"norm_gains of shape \(2, 72\)"),
    ],
)
def test_bad_arguments(names, changed, message):
    with pytest.raises(DataError, match=message):
        called(problem(names) | changed)
    with pytest.raises(DataError, match=message):
        replace(LSTMInputs(**problem(names)), **changed).check()


def test_an_unknown_argument():
    with pytest.raises(TypeError, match="unexpected keyword argument 'peepholes'"):
        called(problem(()) | {"peepholes": None})
