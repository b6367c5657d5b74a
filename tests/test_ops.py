"""`longshort.ops.lstm`: paths, JAX transformations, masks, bad input."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from longshort import ops
from longshort._errors import DataError, KernelError, PathWarning
from longshort.ops import _library, _paths
from longshort.ops._inputs import LSTMInputs
from longshort.ops._reference import lstm_forward
from longshort.ops._trace import trace

needs_kernels = pytest.mark.skipif(_library.load() is None, reason="installed without a compiler")
B, T, D, H = 4, 6, 3, 18


def problem(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        "x": (B, T, D),
        "kernel": (D, 4 * H),
        "recurrent_kernel": (H, 4 * H),
        "bias": (4 * H,),
    }
    return {k: jnp.asarray(rng.normal(size=s) * 0.5, jnp.float32) for k, s in shapes.items()}


def loss(path="kernel", **options):
    def value(x, kernel, recurrent_kernel, bias, *state):
        hs, h, c = ops.lstm(
            x, kernel, recurrent_kernel, bias, initial_state=state or None, path=path, **options
        )
        return jnp.sum(hs**2) + jnp.sum(h * c)

    return value


def assert_close(actual, expected, bound=1e-5):
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        scale = max(1e-3, float(jnp.abs(e).max()))
        assert float(jnp.abs(a - e).max()) / scale < bound


@pytest.mark.parametrize("path", [pytest.param("kernel", marks=needs_kernels), "keras"])
@pytest.mark.parametrize("reverse", [False, True])
def test_paths_match_the_reference(path, reverse):
    rng = np.random.default_rng(2)
    p = problem()
    mask = rng.random((B, T)) < 0.5
    mask[0] = False
    state = tuple(rng.normal(size=(B, H)).astype("f4") for _ in range(2))
    factors = {
        "x_dropout": rng.random((4, B, D)).astype("f4"),
        "h_dropout": rng.random((4, B, H)).astype("f4"),
    }
    out = ops.lstm(
        *p.values(), mask=mask, initial_state=state, reverse=reverse, path=path, **factors
    )
    inputs = LSTMInputs(*p.values(), mask, *state, *factors.values(), reverse)
    expected = lstm_forward(inputs)
    assert_close(out, (expected.hs, expected.h_last, expected.c_last))


@needs_kernels
@pytest.mark.parametrize(
    "transform",
    [jax.grad, lambda f, n: jax.jit(jax.grad(f, n)), lambda f, n: jax.grad(jax.checkpoint(f), n)],
    ids=["grad", "jit", "remat"],
)
def test_gradients_agree_between_paths(transform):
    rng = np.random.default_rng(3)
    state = [rng.normal(size=(B, H)).astype("f4") for _ in range(2)]
    arguments = (*problem().values(), *state)
    everything = tuple(range(6))
    options = {
        "mask": rng.random((B, T)) < 0.7,
        "x_dropout": rng.random((4, B, D)).astype("f4"),
        "h_dropout": rng.random((4, B, H)).astype("f4"),
        "reverse": True,
    }
    for given in ({}, options):
        expected = jax.grad(loss("keras", **given), everything)(*arguments)
        assert_close(transform(loss(**given), everything)(*arguments), expected)


@needs_kernels
def test_vmap_is_a_loop():
    p = problem()
    xs = jnp.stack([p["x"], 2 * p["x"], -p["x"]])
    rest = (p["kernel"], p["recurrent_kernel"], p["bias"])
    mapped = jax.vmap(jax.grad(loss()), (0, None, None, None))(xs, *rest)
    assert_close(mapped, jnp.stack([jax.grad(loss())(x, *rest) for x in xs]))


@needs_kernels
def test_second_derivatives_are_refused_clearly():
    p = problem()
    value = loss()

    def slope(kernel):
        return jnp.sum(jax.grad(value, 1)(p["x"], kernel, p["recurrent_kernel"], p["bias"]))

    with pytest.raises(KernelError, match=r"no second derivatives.*path='keras'"):
        jax.grad(slope)(p["kernel"])
    with pytest.raises(KernelError, match="no second derivatives"):
        jax.jit(jax.grad(slope))(p["kernel"])
    with pytest.raises(KernelError, match=r"trace has no derivatives.*path='keras'"):
        jax.grad(lambda kernel: jnp.sum(trace(**p | {"kernel": kernel})["f"]))(p["kernel"])
    slopes = jax.grad(lambda k: jnp.sum(trace(path="keras", **p | {"kernel": k})["f"]))(p["kernel"])
    assert np.any(slopes)


@needs_kernels
def test_unwanted_input_gradient_is_not_computed():
    p = problem()
    text = jax.jit(jax.grad(loss(), (1, 2, 3))).lower(*p.values()).compile().as_text()
    assert "longshort_weight_gradient" in text
    assert "longshort_input_gradient" not in text


@needs_kernels
def test_inference_keeps_nothing_for_a_backward_pass():
    p = problem()
    shapes = jax.make_jaxpr(lambda *a: ops.lstm(*a, return_sequences=False)[1])(*p.values())
    call = next(e for e in shapes.jaxpr.eqns if "custom_vjp" in e.primitive.name)
    assert call.outvars[0].aval.size == 0


@needs_kernels
@pytest.mark.parametrize("path", ["kernel", "keras"])
@pytest.mark.parametrize("padding", ["left", "right", "gaps"])
def test_any_padding_equals_each_sequence_alone(padding, path):
    rng = np.random.default_rng(7)
    p = problem()
    lengths = [6, 3, 1, 0]
    mask = np.zeros((B, T), bool)
    x = np.full((B, T, D), np.nan, "f4")  # what lies under the mask must not matter
    sequences = [rng.normal(size=(n, D)).astype("f4") for n in lengths]
    for row, sequence in enumerate(sequences):
        n = len(sequence)
        steps = {
            "left": range(T - n, T),
            "right": range(n),
            "gaps": sorted(rng.permutation(T)[:n]),
        }[padding]
        mask[row, list(steps)] = True
        x[row, mask[row]] = sequence
    weights = (p["kernel"], p["recurrent_kernel"], p["bias"])

    def last(x, mask, weights):
        _, h, c = ops.lstm(x, *weights, mask=mask, path=path)
        return jnp.sum(h * jnp.arange(H)) + jnp.sum(c), (h, c)

    gradient = jax.value_and_grad(last, (0, 2), has_aux=True)
    (_, (h, c)), (dx, dweights) = gradient(jnp.asarray(x), jnp.asarray(mask), weights)
    assert not np.any(np.asarray(dx)[~mask])
    total = jax.tree.map(jnp.zeros_like, weights)
    for row, sequence in enumerate(sequences):
        if not len(sequence):
            assert not np.any(h[row]) and not np.any(c[row])
            continue
        alone = sequence[None]
        (_, (h1, c1)), (dx1, dw1) = gradient(alone, np.ones((1, len(sequence)), bool), weights)
        assert_close((h[row], c[row]), (h1[0], c1[0]))
        assert_close(np.asarray(dx)[row, mask[row]], dx1[0])
        total = jax.tree.map(jnp.add, total, dw1)
    assert_close(dweights, total)


def test_path_names_the_reason():
    reason = "activation 'gelu' is none of tanh, relu, softsign, linear"
    assert ops.choose_path(activation="gelu").reason == reason
    assert "float64" in ops.choose_path(dtype="float64").reason
    assert ops.choose_path(recurrent_activation=keras.activations.tanh).name == "keras"


def test_leaving_the_fused_path_warns_once(monkeypatch):
    monkeypatch.setattr(_paths, "_warned", set())
    p = problem()
    with pytest.warns(PathWarning, match="activation 'gelu'"):
        ops.lstm(*p.values(), activation="gelu")
    ops.lstm(*p.values(), activation="gelu")  # warnings are errors: a second one would raise


def test_asking_for_a_path_that_cannot_take_the_call():
    with pytest.raises(DataError, match="cannot take this call: activation 'gelu'"):
        ops.lstm(*problem().values(), activation="gelu", path="kernel")
    with pytest.raises(DataError, match="expected path 'auto', 'kernel' or 'keras', got 'gpu'"):
        ops.lstm(*problem().values(), path="gpu")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((B, T + 1), bool), r"shape \(batch, time\) = \(4, 6\), got \(4, 7\)"),
        (np.ones((B, T, 1), bool), r"got \(4, 6, 1\)"),
        (np.ones((B, T), "f4"), r"expected a boolean mask, got float32.*mask.astype\(bool\)"),
    ],
)
def test_bad_masks(mask, message):
    with pytest.raises(DataError, match=message):
        ops.lstm(*problem().values(), mask=mask)


@pytest.mark.parametrize("path", ["auto", "keras"])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": np.zeros((B, T), "f4")}, r"expected x of shape \(batch, time, features\), got"),
        ({"kernel": np.zeros((D - 1, 4 * H), "f4")}, r"kernel of shape \(3, 72\), got \(2, 72\)"),
        ({"kernel": np.zeros((D, 3 * H), "f4")}, r"kernel of shape \(3, 72\), got \(3, 54\)"),
        ({"recurrent_kernel": np.zeros((H, 3 * H), "f4")}, r"recurrent_kernel of shape \(18, 72\)"),
        ({"bias": np.zeros(0, "f4")}, r"bias of shape \(72,\), got \(0,\)"),
        ({"kernel": None}, "expected kernel of shape two axes, got None"),
        ({"initial_state": [np.zeros((1, H), "f4")] * 2}, r"h0 of shape \(4, 18\), got \(1, 18\)"),
        ({"initial_state": [np.zeros((B, H), "f4")]}, r"as a pair \(h, c\), got 1"),
        ({"x_dropout": np.ones((4, 1, D), "f4")}, r"x_dropout of shape \(4, 4, 3\), got"),
        ({"h_dropout": np.ones((B, H), "f4")}, r"h_dropout of shape \(4, 4, 18\), got \(4, 18\)"),
    ],
)
def test_shapes_that_do_not_fit(changed, message, path):
    with pytest.raises(DataError, match=message):
        ops.lstm(**(problem() | changed), path=path)


@needs_kernels
def test_the_handlers_refuse_arrays_of_the_wrong_size():
    from longshort.ops import _jax

    p = problem()
    inputs = LSTMInputs(p["x"], p["kernel"][:2], p["recurrent_kernel"])  # not checked
    with pytest.raises(jax.errors.JaxRuntimeError, match="wrong number of elements"):
        jax.block_until_ready(_jax.run(inputs, sequences=True))


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integers_are_taken_as_numbers(dtype):
    p = problem()
    x = np.random.default_rng(0).integers(0, 2, (B, T, D)).astype(dtype)
    weights = (p["kernel"], p["recurrent_kernel"], p["bias"])
    assert_close(ops.lstm(x, *weights), ops.lstm(x.astype("f4"), *weights))


@needs_kernels
def test_kernel_settings_refuse_nonsense():
    with pytest.raises(KernelError, match="unknown instruction set"):
        ops.set_isa("mmx")
    with pytest.raises(KernelError, match="from 1 to 256"):
        ops.set_num_threads(0)


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@needs_kernels
def test_environment_variables():
    code = "from longshort.ops import _library as l; print(l.isa(), l.num_threads())"
    out = run_python(code, LONGSHORT_ISA="portable", LONGSHORT_NUM_THREADS="1").stdout
    assert out == "portable 1\n"
    failed = run_python(code, LONGSHORT_ISA="mmx").stderr
    assert "LONGSHORT_ISA=mmx: unknown instruction set. Choose amx" in failed
    failed = run_python(code, LONGSHORT_NUM_THREADS="many").stderr
    assert "LONGSHORT_NUM_THREADS=many: the number of threads must be" in failed


@needs_kernels
def test_nan_and_extreme_inputs():
    p = problem()
    x = np.zeros((B, T, D), "f4")
    x[0, 0, 0] = np.nan
    x[1], x[2] = 1e30, -1e30
    hs, _, _ = ops.lstm(x, p["kernel"], p["recurrent_kernel"], p["bias"])
    assert np.isnan(hs[0]).any() and np.isfinite(hs[1:]).all()
    assert np.abs(hs[1:]).max() <= 1.0


@needs_kernels
@pytest.mark.parametrize("batch,time", [(0, 5), (3, 0), (1, 1)])
def test_empty_and_single(batch, time):
    p = problem()
    x = jnp.zeros((batch, time, D))
    hs, h, c = ops.lstm(x, p["kernel"], p["recurrent_kernel"], p["bias"], path="kernel")
    assert hs.shape == (batch, time, H) and h.shape == c.shape == (batch, H)
    gradient = jax.grad(loss(), (0, 1, 2, 3))(x, p["kernel"], p["recurrent_kernel"], p["bias"])
    if batch * time == 0:
        assert not any(np.any(g) for g in gradient)
