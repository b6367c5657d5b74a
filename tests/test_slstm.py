"""The sLSTM: the float64 reference by central differences, `SLSTM` against it; states, files."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from longshort import DataError
from longshort import ops as longshort_ops
from longshort.layers import SLSTM, Bidirectional, StackedRNN
from longshort.ops import slstm
from longshort.ops._paths import machine_path
from longshort.ops._slstm_inputs import SLSTMInputs
from longshort.ops._slstm_reference import slstm_backward, slstm_forward

B, T, D, N, H = 3, 6, 4, 2, 6
STATES = ("h0", "c0", "n0", "m0")


def random_inputs(*, mask, state, forget, seed=0):
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(4, B, H)) if state else [None] * 4
    if state:
        states[2] = 1 + states[2] ** 2
        states[1:3, 0] = 0.0  # a memory that is empty yet
    masks = rng.random((B, T)) < 0.6
    masks[1] = np.arange(T) >= 2
    return SLSTMInputs(
        rng.normal(size=(B, T, D)),
        rng.normal(size=(D, 4 * H)),
        rng.normal(size=(N, H // N, 4 * H // N)),
        rng.normal(size=4 * H),
        masks if mask else None,
        *states,
        forget_activation=forget,
    )


def arriving(seed=7):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(B, T, H)), tuple(rng.normal(size=(4, B, H)))


@pytest.mark.parametrize("forget", ["sigmoid", "exp"])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("state", [False, True])
def test_the_references_gradients_are_central_differences(mask, state, forget):
    inputs = random_inputs(mask=mask, state=state, forget=forget)
    dhs, dlast = arriving()

    def value(changed):
        out = slstm_forward(changed)
        last = zip(dlast, out.last, strict=True)
        return np.sum(dhs * out.hs) + sum(np.sum(d * v) for d, v in last)

    gradients = slstm_backward(inputs, slstm_forward(inputs), dhs, dlast)
    for name, gradient in gradients.items():
        array = getattr(inputs, name)
        if array is None:
            continue
        for index in np.ndindex(array.shape):
            if name == "n0" and array[index] == 0.0:
                continue  # what is empty stays empty
            step = np.zeros_like(array)
            step[index] = 1e-6
            ends = [value(replace(inputs, **{name: array + s})) for s in (step, -step)]
            difference = (ends[0] - ends[1]) / 2e-6
            assert gradient[index] == pytest.approx(difference, rel=1e-5, abs=1e-7), name


def test_one_step_and_a_second_by_hand():
    # H = D = 1: c and n as the paper has them, not divided by exp(m).
    inputs = SLSTMInputs([[[0.5], [-1.0]]], [[1.0, 2.0, 3.0, 4.0]], [[[0.5, 1.0, -1.0, 2.0]]])
    i, g, o = np.exp(0.5), np.tanh(1.5), 1 / (1 + np.exp(-2.0))
    c, n = i * g, i
    h = o * c / n
    out = slstm_forward(inputs)
    assert out.hs[0, 0, 0] == pytest.approx(h)
    i, f = np.exp(-1 + 0.5 * h), 1 / (1 + np.exp(2 - h))
    g, o = np.tanh(-3 - h), 1 / (1 + np.exp(4 - 2 * h))
    c, n = f * c + i * g, f * n + i
    assert out.hs[0, 1, 0] == pytest.approx(o * c / n)
    scale = np.exp(out.last[3][0, 0])
    assert out.last[1][0, 0] * scale == pytest.approx(c)
    assert out.last[2][0, 0] * scale == pytest.approx(n)


def as_float32(value):
    return None if value is None else jnp.asarray(value, jnp.float32)


def close(actual, expected, tolerance=1e-5):
    actual, expected = jax.tree.leaves(actual), jax.tree.leaves(expected)
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape
        assert np.abs(a - e).max() <= tolerance * max(1.0, np.abs(e).max())


needs_kernels = pytest.mark.skipif(
    machine_path().name != "kernel", reason="installed without a compiler"
)
PATHS = [pytest.param("kernel", marks=needs_kernels), "keras"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("forget", ["sigmoid", "exp"])
@pytest.mark.parametrize("mask", [False, True])
def test_both_paths_are_the_reference(path, mask, forget):
    inputs = replace(random_inputs(mask=mask, state=True, forget=forget), reverse=mask)
    outputs = slstm_forward(inputs)
    dhs, dlast = arriving()
    names = ("x", "kernel", "recurrent_kernel", "bias", *STATES)

    @jax.jit
    def value(arrays):
        x, kernel, recurrent, bias, *state = arrays
        how = dict(mask=inputs.mask, forget_activation=forget, reverse=inputs.reverse, path=path)
        hs, last = slstm(x, kernel, recurrent, bias, initial_state=state, **how)
        leaves = zip((hs, *last), (dhs, *dlast), strict=True)
        return sum(jnp.sum(a * b) for a, b in leaves), (hs, *last)

    arrays = [as_float32(getattr(inputs, name)) for name in names]
    (_, results), gradients = jax.value_and_grad(value, has_aux=True)(arrays)
    close(results, (outputs.hs, *outputs.last))
    expected = slstm_backward(inputs, outputs, dhs, dlast)
    for name, gradient in zip(names, gradients, strict=True):
        close(gradient, expected[name], 1e-4)


@pytest.mark.parametrize("path", PATHS)
def test_gates_far_out_of_the_range_of_exp(path):
    inputs = random_inputs(mask=False, state=False, forget="exp")

    @jax.jit
    def value(x):
        arrays = (inputs.kernel, inputs.recurrent_kernel, inputs.bias)
        arrays = [as_float32(a) for a in arrays]
        hs, _ = slstm(x, *arrays, forget_activation="exp", path=path)
        return jnp.sum(hs**2)

    for size in (-300.0, 300.0):
        result, gradient = jax.value_and_grad(value)(as_float32(inputs.x * size))
        assert np.isfinite(result) and np.isfinite(gradient).all()


def random_layer(mask=True, **options):
    inputs = random_inputs(mask=mask, state=False, forget=options.get("forget_activation", "exp"))
    layer = SLSTM(H, num_heads=N, **options)
    layer.build((B, T, D))
    layer.set_weights([inputs.kernel, inputs.recurrent_kernel, inputs.bias])
    return layer, inputs.x.astype("f4"), inputs


@pytest.mark.parametrize("forget", ["sigmoid", "exp"])
def test_the_layer_is_the_reference(forget):
    layer, x, inputs = random_layer(
        forget_activation=forget, return_sequences=True, return_state=True
    )
    padded = np.where(inputs.mask[..., None], x, np.nan).astype("f4")
    y, *state = layer(padded, mask=inputs.mask)
    expected = slstm_forward(inputs)
    close([y, state], [expected.hs, list(expected.last)])
    first, *state = layer(padded[:, :2], mask=inputs.mask[:, :2])
    second, *state = layer(padded[:, 2:], mask=inputs.mask[:, 2:], initial_state=state)
    close([np.concatenate([first, second], 1), state], [expected.hs, list(expected.last)])
    shapes = [s[1:] for s in layer.compute_output_shape((None, T, D))]
    assert shapes == [tuple(r.shape[1:]) for r in (y, *state)]
    for b in range(B):
        alone, *_ = layer(x[b : b + 1, inputs.mask[b]])
        close(alone[:, -1], expected.hs[b : b + 1, -1])


def test_streams_and_direction():
    layer, x, _ = random_layer()
    whole = layer(x)
    _, state = layer.step(x[:, 0])
    layer.set_state(state)
    close(layer(x[:, 1:], stateful=True), whole)
    layer.reset_state(1)
    layer(x[:1, :4], stateful=True)
    close(layer(x[:1, 4:], stateful=True), whole[:1])
    backward, _, inputs = random_layer(go_backwards=True)
    close(backward(x, mask=inputs.mask), layer(x[:, ::-1], mask=inputs.mask[:, ::-1]))


def test_initial_weights():
    layer = SLSTM(8, num_heads=4)
    layer.build((None, None, 3))
    recurrent, bias = np.array(layer.recurrent_kernel), np.array(layer.bias)
    for head in recurrent:
        np.testing.assert_allclose(head @ head.T, np.eye(2), atol=1e-6)
    assert len({head.tobytes() for head in recurrent}) == 4
    assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16
    plain = SLSTM(8, use_bias=False, recurrent_initializer="zeros")
    plain.build((None, None, 3))
    assert len(plain.weights) == 2 and not np.any(plain.recurrent_kernel)
    zero = SLSTM(8, unit_forget_bias=False)
    zero.build((None, None, 3))
    assert not np.any(zero.bias)


@pytest.mark.slow
def test_as_a_cell_of_other_layers():
    x = np.random.default_rng(0).normal(size=(B, T, D)).astype("f4")
    stack = StackedRNN(H, 2, cell=SLSTM, num_heads=N, skip="highway", return_state=True)
    y, *states = stack(x)
    assert y.shape == (B, H) and [len(s) for s in states] == [4, 4]
    both = Bidirectional(SLSTM(H, return_sequences=True))
    y = both(x)
    close(y[..., H:], both.backward_layer(x)[:, ::-1])


def test_learns_with_fit_and_is_saved(tmp_path):
    x = np.random.default_rng(0).normal(size=(16, T, D)).astype("f4")
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((None, D)),
            SLSTM(8, num_heads=2, forget_activation="exp", return_sequences=True),
            SLSTM(8, recurrent_regularizer="l2", kernel_regularizer="l2"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(loss="mse", optimizer=keras.optimizers.Adam(0.02))
    losses = model.fit(x, x[:, 0, :1], epochs=40, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded(x), model(x))
    for a, b in zip(loaded.layers, model.layers, strict=True):
        assert a.get_config() == b.get_config()


def test_types_and_paths():
    x = np.random.default_rng(0).normal(size=(B, T, D)).astype("f4")
    layer = SLSTM(H, num_heads=N, dtype="mixed_bfloat16", return_state=True)
    y, *state = layer(x)
    assert layer.kernel_path == longshort_ops.choose_path(dtype="bfloat16")
    assert [str(a.dtype) for a in (y, *state)] == ["bfloat16"] + ["float32"] * 4
    exact = SLSTM(H, num_heads=N)
    exact.build(x.shape)
    exact.set_weights(layer.get_weights())
    assert np.abs(exact(x) - y.astype("f4")).max() < 0.03
    assert SLSTM(H, dtype="float64").kernel_path.name == "keras"


def test_bad_arguments_of_the_function():
    x, W, U = (np.zeros(shape, "f4") for shape in ((B, T, D), (D, 4 * H), (N, H // N, 4 * H // N)))
    with pytest.raises(
        DataError, match=r"2 heads expected kernel of shape \(4, 24\), got \(4, 23\)"
    ):
        slstm(x, W[:, 1:], U)
    with pytest.raises(DataError, match="expected recurrent_kernel of shape .heads, units of a he"):
        slstm(x, W, U[0])
    with pytest.raises(DataError, match="forget_activation 'sigmoid' or 'exp', got 'tanh'"):
        slstm(x, W, U, forget_activation="tanh")
    with pytest.raises(DataError, match="initial_state as h, c, n, m, got 2 tensors"):
        slstm(x, W, U, initial_state=[np.zeros((B, H))] * 2)


def test_bad_arguments_and_inputs():
    with pytest.raises(DataError, match="3 heads and 8 units"):
        SLSTM(8, num_heads=3)
    with pytest.raises(DataError, match=r"units as a positive integer, got 2\.5"):
        SLSTM(2.5)
    layer, x, _ = random_layer()
    with pytest.raises(DataError, match=r"\(batch, time, 4\), got \(3, 6, 3\)"):
        layer(x[..., :3])
    with pytest.raises(DataError, match=r"tensor 1 of shape \(3, 6\), got \(3, 5\)"):
        layer(x, initial_state=[x[:, 0, :1].repeat(6, 1), x[:, 0, :1].repeat(5, 1)] * 2)
