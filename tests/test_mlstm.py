"""`MLSTM` against the paper's equations in float64; chunks, masks, states, files."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from longshort import DataError
from longshort.layers import MLSTM, Bidirectional, StackedRNN
from longshort.ops._mlstm import EPSILON, mlstm

B, T, D, N, K, V = 3, 11, 5, 2, 3, 4


def sigmoid(z):
    return 0.5 * (1 + np.tanh(0.5 * z))


def reference(q, k, v, i, log_f, o, state, mask):
    """Step by step in float64, with the paper's C and n, not divided by exp(m)."""
    h, C, n, m = (np.array(s, np.float64) for s in state)
    C, n = C * np.exp(m)[..., None, None], n * np.exp(m)[..., None]
    hs = []
    for t in range(q.shape[1]):
        real = np.ones(len(q), bool) if mask is None else mask[:, t]
        f, gate = np.exp(log_f[:, t]), np.exp(i[:, t])
        C_new = f[..., None, None] * C + np.einsum("bn,bnk,bnv->bnkv", gate, k[:, t], v[:, t])
        n_new = f[..., None] * n + gate[..., None] * k[:, t]
        m_new = np.maximum(log_f[:, t] + m, i[:, t])
        norm = np.maximum(np.abs(np.einsum("bnk,bnk->bn", n_new, q[:, t])), 1)
        read = np.einsum("bnkv,bnk->bnv", C_new, q[:, t])
        h_new = o[:, t] * read / (norm + EPSILON * np.exp(m_new))[..., None]
        row = real[:, None]
        h = np.where(row[..., None], h_new, h)
        C, n = np.where(row[..., None, None], C_new, C), np.where(row[..., None], n_new, n)
        m = np.where(row, m_new, m)
        hs.append(h)
    return np.stack(hs, 1), (h, C / np.exp(m)[..., None, None], n / np.exp(m)[..., None], m)


def arguments(seed=0, forget="sigmoid", steps=T):
    rng = np.random.default_rng(seed)
    q, k = rng.normal(size=(2, B, steps, N, K))
    v, o = rng.normal(size=(2, B, steps, N, V))
    i, f = 2 * rng.normal(size=(2, B, steps, N))
    log_f = f if forget == "exp" else np.log(sigmoid(f))
    state = tuple(rng.normal(size=s) for s in ((B, N, V), (B, N, K, V), (B, N, K), (B, N)))
    return (q, k, v, i, log_f, sigmoid(o)), state


def masks():
    rng = np.random.default_rng(5)
    mask = rng.random((B, T)) < 0.5
    mask[0] = np.arange(T) >= 7
    mask[1] = np.arange(T) < 3
    return mask


compiled = jax.jit(mlstm, static_argnums=8)


def as_float32(tree):
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), tree)


def close(actual, expected, tolerance=2e-5):
    actual, expected = jax.tree.leaves(actual), jax.tree.leaves(expected)
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape
        assert np.abs(a - e).max() <= tolerance * max(1.0, np.abs(e).max())


@pytest.mark.parametrize("forget", ["sigmoid", "exp"])
@pytest.mark.parametrize("masked", [False, True])
def test_every_chunk_size_is_the_reference(forget, masked):
    given, state = arguments(forget=forget)
    mask = masks() if masked else None
    expected = reference(*given, state, mask)
    for chunk_size in (1, 4, 64):
        close(compiled(*as_float32(given), as_float32(state), mask, chunk_size), expected)


@pytest.mark.parametrize("masked", [pytest.param(False, marks=pytest.mark.slow), True])
def test_gradients_are_the_same_for_every_chunk_size_and_right(masked):
    given, state = arguments()
    mask = masks() if masked else None

    def value(arrays, state, chunk_size):
        hs, last = mlstm(*arrays, state, mask, chunk_size)
        leaves = [hs, *last]
        return sum(jnp.sum(jnp.cos(jnp.arange(v.size).reshape(v.shape)) * v) for v in leaves)

    gradients = [
        jax.jit(jax.grad(value, (0, 1)), static_argnums=2)(as_float32(given), as_float32(state), c)
        for c in (1, 4, T)
    ]
    for gradient in gradients[1:]:
        close(gradient, gradients[0], 1e-4)

    def exact(given, state):
        hs, last = reference(*given, state, mask)
        return sum(np.sum(np.cos(np.arange(v.size).reshape(v.shape)) * v) for v in (hs, *last))

    rng, flat = np.random.default_rng(3), [*given, *state]
    for index, gradient in enumerate(jax.tree.leaves(gradients[0])):
        for _ in range(5):
            at = tuple(rng.integers(0, s) for s in gradient.shape)
            ends = []
            for step in (1e-6, -1e-6):
                changed = [a.copy() for a in flat]
                changed[index][at] += step
                ends.append(exact(tuple(changed[:6]), tuple(changed[6:])))
            difference = (ends[0] - ends[1]) / 2e-6
            assert gradient[at] == pytest.approx(difference, rel=3e-4, abs=3e-4)


@pytest.mark.slow
def test_gates_far_out_of_the_range_of_exp():
    (q, k, v, i, log_f, o), state = arguments()
    zeros = tuple(np.zeros_like(s) for s in state)
    for size in (-300.0, 300.0):
        for chunk_size in (1, 4):
            given = as_float32((q, k, v, i + size, log_f * 40, o))

            def value(given, chunk_size=chunk_size):
                return jnp.sum(mlstm(*given, as_float32(zeros), None, chunk_size)[0] ** 2)

            result, gradients = jax.jit(jax.value_and_grad(value))(given)
            assert np.isfinite(result)
            assert all(np.isfinite(g).all() for g in gradients)


def layer_data():
    return np.random.default_rng(0).normal(size=(B, T, D)).astype("f4"), masks()


def with_random_gates(layer):
    layer.build((B, T, D))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) * 0.7 for w in layer.get_weights()])
    return layer


def test_the_layer_is_the_papers_equations():
    x, mask = layer_data()
    layer = with_random_gates(
        MLSTM(N * V, num_heads=N, key_units=N * K, return_sequences=True, return_state=True)
    )
    kernel, gate_kernel, bias, gate_bias = layer.get_weights()

    def heads(first, width):
        columns = slice(first, first + N * width)
        return (x @ kernel[:, columns]).reshape(B, T, N, width), bias[columns].reshape(N, width)

    (q, bq), (k, bk) = heads(0, K), heads(N * K, K)
    (v, bv), (o, bo) = heads(2 * N * K, V), heads(2 * N * K + N * V, V)
    gates = x @ gate_kernel + gate_bias
    zeros = [np.zeros(s) for s in ((B, N, V), (B, N, K, V), (B, N, K), (B, N))]
    expected, (h, C, n, m) = reference(
        q + bq,
        k / np.sqrt(K) + bk,
        v + bv,
        gates[..., :N],
        np.log(sigmoid(gates[..., N:])),
        sigmoid(o + bo),
        zeros,
        mask,
    )
    y, *state = layer(x, mask=mask)
    close([y, state], [expected.reshape(B, T, -1), [h.reshape(B, -1), C, n, m]])
    shapes = [s[1:] for s in layer.compute_output_shape((None, T, D))]
    assert shapes == [tuple(r.shape[1:]) for r in (y, *state)]


@pytest.mark.parametrize("chunk_size", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_split_sequences_padding_and_direction(chunk_size):
    x, mask = layer_data()
    options = dict(num_heads=N, chunk_size=chunk_size, forget_activation="exp")
    layer = with_random_gates(MLSTM(N * V, return_sequences=True, return_state=True, **options))
    whole, *last = layer(np.where(mask[..., None], x, np.nan).astype("f4"), mask=mask)
    first, *state = layer(x[:, :6], mask=mask[:, :6])
    second, *state = layer(x[:, 6:], mask=mask[:, 6:], initial_state=state)
    close([np.concatenate([first, second], 1), state], [whole, last])
    for b in range(B):
        alone, *state = layer(x[b : b + 1, mask[b]])
        close([alone[:, -1], state], [whole[b : b + 1, -1], [s[b : b + 1] for s in last]])
    backward = MLSTM(N * V, return_sequences=True, go_backwards=True, **options)
    backward.build((B, T, D))
    backward.set_weights(layer.get_weights())
    close(backward(x, mask=mask), layer(x[:, ::-1], mask=mask[:, ::-1])[0])


def test_streams():
    x, _ = layer_data()
    layer = with_random_gates(MLSTM(N * V, num_heads=N))
    whole = layer(x)
    _, state = layer.step(x[:, 0])
    layer.set_state(state)
    close(layer(x[:, 1:], stateful=True), whole)
    _, *state = layer.get_state()
    for batch in (2, 1):
        layer.reset_state(batch)
        layer(x[:batch, :5], stateful=True)
        close(layer(x[:batch, 5:], stateful=True), whole[:batch])
    close(layer.get_state()[1:], [s[:1] for s in state])


@pytest.mark.slow
def test_as_a_cell_of_other_layers():
    x, mask = layer_data()
    stack = StackedRNN(N * V, 2, cell=MLSTM, num_heads=N, skip="residual", return_state=True)
    y, *states = stack(x, mask=mask)
    below = stack.layers[0](x, mask=mask)[0]
    close(y, below[:, -1] + stack.layers[1](below, mask=mask)[0])
    assert [len(s) for s in states] == [4, 4]
    both = Bidirectional(MLSTM(N * V, num_heads=N, return_sequences=True))
    backward = both.backward_layer(both(x) is not None and x)
    close(both(x)[..., N * V :], backward[:, ::-1])


def test_learns_with_fit_and_is_saved(tmp_path):
    x, _ = layer_data()
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((None, D)),
            MLSTM(8, num_heads=2, chunk_size=4, kernel_regularizer="l2", return_sequences=True),
            MLSTM(8, key_units=4, forget_activation="exp", use_bias=False),
            keras.layers.Dense(1),
        ]
    )
    model.compile(loss="mse", optimizer=keras.optimizers.Adam(0.02))
    losses = model.fit(x, x[:, 0, :1], epochs=40, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded(x), model(x))
    for a, b in zip(loaded.layers, model.layers, strict=True):
        assert a.get_config() == b.get_config()


def test_half_precision_keeps_the_state_in_float32():
    x, _ = layer_data()
    layer = with_random_gates(MLSTM(8, num_heads=2, dtype="mixed_bfloat16"))
    plain = with_random_gates(MLSTM(8, num_heads=2))
    y = layer(x, stateful=True)
    assert y.dtype == "bfloat16" and {s.dtype.name for s in layer.get_state()} == {"float32"}
    assert np.abs(np.asarray(y, "f4") - plain(x)).max() < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(units=0), "units as a positive integer, got 0"),
        (dict(units=6), "num_heads to divide units, got 4 heads and 6 units"),
        (dict(units=8, num_heads=True), "num_heads as a positive integer, got True"),
        (dict(units=8, key_units=6), "num_heads to divide key_units"),
        (dict(units=8, chunk_size=0), "chunk_size as a positive integer, got 0"),
        (dict(units=8, forget_activation="tanh"), "'sigmoid' or 'exp', got 'tanh'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(DataError, match=message):
        MLSTM(**arguments)


def test_bad_inputs():
    x, _ = layer_data()
    layer = MLSTM(8)
    layer(x)
    with pytest.raises(DataError, match=r"\(batch, time, 5\), got \(3, 11, 2\)"):
        layer(x[..., :2])
    with pytest.raises(DataError, match="a list of 4, got 1"):
        layer(x, initial_state=[np.zeros((B, 8))])
