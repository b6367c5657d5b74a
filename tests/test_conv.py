"""`Conv1D` beside Keras' layer, its gradients too, on every instruction set."""

from __future__ import annotations

from typing import Any

import longshort  # isort: skip  # before Keras: it chooses the backend
import keras
import numpy as np
import pytest

from longshort.layers import LSTM, Conv1D
from longshort.ops import _library as library
from longshort.ops import _paths
from longshort.ops._convolution import convolve
from longshort.ops._paths import machine_path

needs_kernels = pytest.mark.skipif(machine_path().name != "kernel", reason="kernels not in use")

# B, T, D, C, width, stride: around lanes, tiles of 64 columns and portions of 48 windows.
SIZES = [
    (1, 1, 1, 1, 1, 1),
    (2, 7, 3, 5, 3, 2),
    (3, 20, 40, 64, 5, 2),
    (2, 9, 6, 70, 4, 3),
    (2, 60, 17, 130, 5, 1),
    (2, 3, 2, 3, 7, 1),
    (4, 33, 5, 16, 2, 5),
]
# A sum of products is right to so many times what its terms sum up to at most.
EPS = 1e-6


def pair(
    C: int, width: int, given: np.ndarray, **options: Any
) -> tuple[Any, Any, list[np.ndarray]]:
    """Our layer and Keras', of the same random weights."""
    layers = [cls(C, width, **options) for cls in (Conv1D, keras.layers.Conv1D)]
    rng = np.random.default_rng(C)
    for layer in layers:
        layer.build(given.shape)
    weights = [rng.normal(size=w.shape).astype("f4") for w in layers[0].get_weights()]
    for layer in layers:
        layer.set_weights(weights)
    return *layers, weights


def with_gradients(layer: Any, x: np.ndarray, weights: list[np.ndarray], dy: Any) -> list[Any]:
    """Output, and gradients of x and the weights for those of the output that `dy` makes."""
    import jax

    def run(x: Any, *weights: Any) -> Any:
        return layer.stateless_call(list(weights), [], x)[0]

    y, backward = jax.vjp(run, x, *weights)
    return [np.asarray(each) for each in (y, *backward(dy(y)))]


def assert_near(found: list[Any], expected: list[Any]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=EPS * max(1.0, np.abs(b).max(initial=0)) * 4)


@needs_kernels
@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    ("sizes", "padding"),
    [
        *((sizes, "causal") for sizes in SIZES),
        *((sizes, "same") for sizes in SIZES[1::2]),
        *((sizes, "valid") for sizes in SIZES[2:5]),
    ],
    ids=str,
)
def test_as_in_keras(sizes: tuple[int, ...], padding: str) -> None:
    B, T, D, C, width, stride = sizes
    rng = np.random.default_rng(T)
    x = rng.normal(size=(B, T, D)).astype("f4")
    ours, theirs, weights = pair(C, width, x, strides=stride, padding=padding)
    assert ours.kernel_path.name == "kernel"

    def dy(y: Any) -> np.ndarray:
        gradient = np.random.default_rng(1).normal(size=y.shape).astype("f4")
        gradient[0, y.shape[1] // 2 :] = 0  # as behind the end of a row
        return gradient

    assert_near(*(with_gradients(layer, x, weights, dy) for layer in (ours, theirs)))


@needs_kernels
def test_steps_without_a_gradient_are_left_out() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 12, 3)).astype("f4")
    ours, _, weights = pair(4, 3, x, padding="causal")

    def dy(y: Any) -> np.ndarray:
        gradient = np.ones(y.shape, "f4")
        gradient[:, 8:] = 0
        return gradient

    expected = with_gradients(ours, x, weights, dy)[1:]
    x[:, 8:] = np.nan
    found = with_gradients(ours, x, weights, dy)[1:]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@needs_kernels
def test_same_bits_alone_and_for_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 70, 40)).astype("f4")
    ours, _, weights = pair(64, 5, x, strides=2, padding="causal")
    before, results = library.num_threads(), []
    try:
        for threads in (1, 2, 3):
            longshort.set_num_threads(threads)
            results.append(with_gradients(ours, x, weights, np.cos))
        alone = np.asarray(ours(x[5:6]))
    finally:
        longshort.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(alone, results[0][0][5:6])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"data_format": "channels_first"}, "data_format is 'channels_first'"),
        ({"dilation_rate": 2}, "dilation_rate is 2"),
        ({"groups": 2}, "groups is 2"),
    ],
)
def test_what_the_kernel_lacks_runs_in_keras(options: Any, reason: str) -> None:
    assert "not in float64" in Conv1D(4, 3, dtype="float64").kernel_path.reason
    x = np.random.default_rng(0).normal(size=(2, 8, 8)).astype("f4")
    ours, theirs, _ = pair(4, 3, x, **options)
    assert ours.kernel_path.name == "keras"
    assert reason in ours.kernel_path.reason
    with pytest.warns(longshort.PathWarning, match="this Conv1D runs on the keras.ops path"):
        _paths._warned.clear()
        y = ours(x)
    np.testing.assert_array_equal(y, theirs(x))


@needs_kernels
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 20, 8)).astype("f4")
    ours, theirs, _ = pair(4, 3, x, dtype=dtype, activation="relu")
    y = ours(x)
    assert keras.backend.standardize_dtype(y.dtype) == ours.compute_dtype
    found, expected = (np.asarray(keras.ops.cast(v, "float32")) for v in (y, theirs(x)))
    np.testing.assert_allclose(found, expected, atol=0.05, rtol=0.01)


def test_without_a_bias_with_an_activation() -> None:
    x = np.random.default_rng(0).normal(size=(2, 20, 8)).astype("f4")
    ours, theirs, _ = pair(4, 3, x, use_bias=False, activation="tanh")
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-6)


def test_a_program_of_keras(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 20, 4)).astype("f4"), rng.normal(size=(32, 1)).astype("f4")

    def program(convolution: type, lstm: type) -> Any:
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((None, 4)),
                convolution(8, 5, strides=2, padding="causal", activation="relu"),
                lstm(6),
                keras.layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        return model

    ours = program(Conv1D, LSTM)
    theirs = program(keras.layers.Conv1D, keras.layers.LSTM)
    losses = [
        m.fit(x, y, epochs=3, verbose=0, shuffle=False).history["loss"] for m in (ours, theirs)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    ours.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0]) is Conv1D
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), ours.predict(x, verbose=0))
    expected = theirs.predict(x, verbose=0)
    assert type(longshort.accelerate(theirs).layers[0]) is Conv1D
    np.testing.assert_allclose(theirs.predict(x, verbose=0), expected, atol=1e-5)
    assert type(longshort.to_keras(theirs).layers[0]) is keras.layers.Conv1D


@needs_kernels
def test_no_window_and_no_second_derivative_are_said() -> None:
    import jax

    x = np.ones((2, 3, 3), "f4")
    for padding, steps in (("valid", 3), ("causal", 0)):
        layer = Conv1D(4, 5, strides=2, padding=padding)
        layer.build((None, None, 3))
        with pytest.raises(ValueError, match=f"at least 5 steps, got {steps}"):
            layer(x[:, :steps])

    def slope(x: Any) -> Any:
        return jax.grad(lambda x: (Conv1D(4, 2)(x) ** 2).sum())(x).sum()

    with pytest.raises(longshort.KernelError, match="Conv1D has no second derivatives"):
        jax.grad(slope)(keras.ops.convert_to_tensor(x))


@needs_kernels
def test_shapes_that_do_not_fit_are_named() -> None:
    arrays = [np.zeros(shape, "f4") for shape in ((2, 8, 3), (3, 4, 5), (5,))]
    with pytest.raises(Exception, match="shapes of a convolution that do not fit"):
        np.asarray(convolve(*map(keras.ops.convert_to_tensor, arrays), 1, "causal"))
