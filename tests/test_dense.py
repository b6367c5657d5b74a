"""`Dense` beside Keras' layer, its gradients too, on every instruction set."""

from __future__ import annotations

from typing import Any

import longshort  # isort: skip  # before Keras: it chooses the backend
import keras
import numpy as np
import pytest

from longshort.layers import LSTM, Dense
from longshort.layers import _dense as layer_module
from longshort.ops import _library as library
from longshort.ops._dense import dense
from longshort.ops._paths import machine_path
from longshort.ops._reference import ACTIVATIONS
from longshort.tasks._joined_dense import JoinedDense

needs_kernels = pytest.mark.skipif(machine_path().name != "kernel", reason="kernels not in use")

# n, D, C: around lanes, tiles of rows and of 64 columns, portions of 96 and 512 rows, and above and
# below what is cut into pieces.
SIZES = [
    (1, 1, 1),
    (7, 3, 5),
    (63, 40, 64),
    (64, 32, 32),
    (130, 70, 131),
    (900, 33, 48),
    (97, 64, 16),
]


def problem(n: int, D: int, C: int) -> list[np.ndarray]:
    """Inputs, weights and gradient of the outputs, zero for some rows, as those of padding."""
    rng = np.random.default_rng(n + D + C)
    x, W, b, dy = (rng.normal(size=size).astype("f4") for size in ((n, D), (D, C), (C,), (n, C)))
    dy[rng.random(n) < 0.3] = 0
    return [x, W, b, dy]


def found(
    x: Any, W: Any, b: Any, dy: Any, activation: str = "linear", behind: int = 0
) -> list[np.ndarray]:
    """Outputs and gradients; the last `behind` features of a row come as an array of their own."""
    import jax

    split = x.shape[1] - behind

    def layer(x: Any, more: Any, W: Any, *b: Any) -> Any:
        return dense(x, W, *b or (None,), activation, more if behind else None)

    own = [
        jax.numpy.asarray(each) for each in (x[:, :split], x[:, split:], W, b) if each is not None
    ]
    y, backward = jax.vjp(layer, *own)
    dx, dmore, *others = (np.asarray(each) for each in backward(jax.numpy.asarray(dy)))
    return [np.asarray(y), np.concatenate([dx, dmore], axis=1), *others]


def expected(x: Any, W: Any, b: Any, dy: Any, activation: str = "linear") -> list[np.ndarray]:
    x, W, dy = (each.astype(float) for each in (x, W, dy))
    function, slope = ACTIVATIONS[activation]
    y = function(x @ W if b is None else x @ W + b)
    dz = dy * slope(y)
    return [y, dz @ W.T, x.T @ dz, *([] if b is None else [dz.sum(0)])]


@needs_kernels
@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("with_bias", [True, False])
def test_products(sizes: tuple[int, int, int], with_bias: bool) -> None:
    x, W, b, dy = problem(*sizes)
    given = (x, W, b if with_bias else None, dy)
    for a, e in zip(found(*given), expected(*given), strict=True):
        assert a.shape == e.shape
        np.testing.assert_allclose(a, e, rtol=0, atol=3e-6 * max(1.0, np.abs(e).max()))


@needs_kernels
@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("sizes", SIZES[1:], ids=str)
@pytest.mark.parametrize(
    ("activation", "behind"),
    [("linear", 1), ("tanh", 0), ("tanh", 2), ("relu", 2), ("softsign", 1)],
)
def test_activations_and_rows_in_two_parts(
    sizes: tuple[int, int, int], activation: str, behind: int
) -> None:
    x, W, b, dy = problem(*sizes)
    W /= sizes[1] ** 0.5
    behind = (0, 1, sizes[1] // 2 + 1)[behind]
    wanted = expected(x, W, b, dy, activation)
    for a, e in zip(found(x, W, b, dy, activation, behind), wanted, strict=True):
        assert a.shape == e.shape
        np.testing.assert_allclose(a, e, rtol=0, atol=3e-6 * max(1.0, np.abs(e).max()))
    # Parts side by side are the same numbers in the same order.
    for a, e in zip(
        found(x, W, b, dy, activation, behind), found(x, W, b, dy, activation), strict=True
    ):
        np.testing.assert_array_equal(a, e)


@needs_kernels
def test_rows_without_a_gradient_are_left_out() -> None:
    for n in (70, 300):
        x, W, b, dy = problem(n, 64, 64)
        expected = found(x, W, b, dy)[1:]
        x[(dy == 0).all(axis=1)] = np.nan
        for a, e in zip(found(x, W, b, dy)[1:], expected, strict=True):
            np.testing.assert_array_equal(a, e)
        for a in found(x, W, b, 0 * dy)[1:]:
            np.testing.assert_array_equal(a, 0 * a)


@needs_kernels
def test_what_is_no_number_stays() -> None:
    x, W, b, dy = problem(130, 64, 64)
    x[5, 7], dy[-1] = np.nan, 1
    dy[-1, 3] = np.nan
    y, dx, dW, db = found(x, W, b, dy)
    assert np.isnan(y[5]).all()
    assert np.isnan(dx[-1]).all()
    assert np.isnan(dW[:, 3]).all()
    assert np.isnan([y.sum(1), dx.sum(1)]).sum() == 2
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(db)), [3])


@needs_kernels
@pytest.mark.parametrize("options", [(), ("tanh", 60)])
def test_same_bits_alone_and_for_any_number_of_threads(options: tuple[Any, ...]) -> None:
    before, results = library.num_threads(), []
    x, W, b, dy = problem(400, 96, 160)
    W /= 10
    try:
        for threads in (1, 2, 3):
            longshort.set_num_threads(threads)
            results.append(found(x, W, b, dy, *options))
    finally:
        longshort.set_num_threads(before)
    for one, *others in zip(*results, strict=True):
        for other in others:
            np.testing.assert_array_equal(one, other)
    alone = found(x[100:300], W, b, dy[100:300], *options)[0]
    np.testing.assert_array_equal(alone, results[0][0][100:300])


def pair(units: int, x: np.ndarray, **options: Any) -> tuple[Any, Any]:
    """Our layer and Keras', of the same random weights."""
    layers = [cls(units, **options) for cls in (Dense, keras.layers.Dense)]
    rng = np.random.default_rng(units)
    for layer in layers:
        layer.build(x.shape)
    weights = [rng.normal(size=w.shape).astype("f4") for w in layers[0].get_weights()]
    for layer in layers:
        layer.set_weights(weights)
    return layers[0], layers[1]


@pytest.mark.parametrize("shape", [(4, 40, 64), (2, 3, 30, 70), (150, 64), (4, 64)])
@pytest.mark.parametrize("options", [{}, {"use_bias": False, "activation": "tanh"}])
def test_as_in_keras(shape: tuple[int, ...], options: Any) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype("f4")
    ours, theirs = pair(80, x, **options)
    np.testing.assert_allclose(ours(x), theirs(x), atol=3e-5)


@needs_kernels
def test_when_the_kernel_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(
        layer_module, "dense", lambda x, *weights: calls.append(x.shape) or dense(x, *weights)
    )
    for units, shape, many in (
        (64, (32, 64), True),
        (64, (2, 64, 64), True),
        (64, (31, 64), False),
        (63, (128, 64), False),
        (64, (128, 63), False),
    ):
        x = np.ones(shape, "f4")
        layer, _ = pair(units, x)
        assert layer.kernel_path.name == "kernel"
        layer(x)
        assert bool(calls) is many, (units, shape)
        calls.clear()
    assert "not in float64" in Dense(64, dtype="float64").kernel_path.reason


@needs_kernels
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 70, 64)).astype("f4")
    ours, theirs = pair(64, x, dtype=dtype)
    y = ours(x)
    assert keras.backend.standardize_dtype(y.dtype) == ours.compute_dtype
    found, expected = (np.asarray(keras.ops.cast(v, "float32")) for v in (y, theirs(x)))
    np.testing.assert_allclose(found, expected, atol=0.2, rtol=0.02)


def test_two_inputs_side_by_side() -> None:
    rng = np.random.default_rng(0)
    for rows in (2, 40):
        x, more = (rng.normal(size=(rows, 3, size)).astype("f4") for size in (40, 50))
        layer = JoinedDense(70, "tanh")
        y = layer([x, more])
        expected = np.tanh(np.concatenate([x, more], -1) @ layer.get_weights()[0])
        np.testing.assert_allclose(y, expected, atol=3e-5)
        with pytest.raises((TypeError, ValueError), match="concatenate"):
            layer([x, more.transpose(1, 0, 2)])  # as many rows, but others
    assert JoinedDense.__name__ == "Dense"  # by which Keras finds weights in files


def test_a_program_of_keras(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 6, 4)).astype("f4"), rng.normal(size=(32, 6, 64)).astype("f4")

    def program(dense: type, lstm: type) -> Any:
        keras.utils.set_random_seed(1)
        layers = [keras.Input((None, 4)), lstm(64, return_sequences=True), dense(64, "tanh")]
        model = keras.Sequential(layers)
        model.compile("adam", "mse")
        return model

    ours = program(Dense, LSTM)
    theirs = program(keras.layers.Dense, keras.layers.LSTM)
    losses = [
        m.fit(x, y, epochs=3, verbose=0, shuffle=False).history["loss"] for m in (ours, theirs)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    ours.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is Dense
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), ours.predict(x, verbose=0))
    expected = theirs.predict(x, verbose=0)
    assert type(longshort.accelerate(theirs).layers[-1]) is Dense
    np.testing.assert_allclose(theirs.predict(x, verbose=0), expected, atol=1e-5)
    assert type(longshort.to_keras(theirs).layers[-1]) is keras.layers.Dense


@needs_kernels
@pytest.mark.parametrize("activation", ["linear", "tanh", "softsign", "relu"])
def test_second_derivatives(activation: str) -> None:
    import jax

    x, W, b, _ = map(jax.numpy.asarray, problem(7, 5, 6))
    functions = {"tanh": jax.numpy.tanh, "softsign": jax.nn.soft_sign, "relu": jax.nn.relu}
    function = functions.get(activation, lambda z: z)

    def penalty(layer: Any) -> Any:
        def slopes(x: Any, W: Any) -> Any:
            return jax.grad(lambda x, W: (layer(x, W, b) ** 3).sum(), (0, 1))(x, W)

        return jax.grad(lambda *own: sum((s**2).sum() for s in slopes(*own)), (0, 1))(x, W)

    def ours(x: Any, W: Any, b: Any) -> Any:
        return dense(x[:, :3], W, b, activation, x[:, 3:])

    for a, e in zip(penalty(ours), penalty(lambda x, W, b: function(x @ W + b)), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4)


@needs_kernels
def test_sparse_inputs_and_quantized_weights_run_in_keras() -> None:
    from jax.experimental.sparse import BCOO

    x = np.random.default_rng(0).normal(size=(130, 64)).astype("f4")
    ours, theirs = pair(64, x)
    np.testing.assert_allclose(ours(BCOO.fromdense(x)), theirs(x), atol=3e-5)
    for layer in (ours, theirs):
        layer.quantize("int8")
    np.testing.assert_allclose(ours(x), theirs(x), atol=3e-5)


@needs_kernels
def test_shapes_that_do_not_fit_are_named() -> None:
    import jax

    x, W, b, _ = map(jax.numpy.asarray, problem(4, 5, 6))
    for wrong in ((x[:, 1:], W, b), (x, W, b[1:]), (x[0], W, b)):
        with pytest.raises(Exception, match="shapes of a dense layer that do not fit"):
            jax.block_until_ready(dense(*wrong))
