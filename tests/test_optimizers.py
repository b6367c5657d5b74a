"""`Adam` beside Keras': weights, states, bounds on gradients, on every instruction set."""

from __future__ import annotations

import zipfile
from typing import Any

import longshort  # isort: skip  # before Keras: it chooses the backend
import keras
import numpy as np
import pytest

from longshort.ops import _library as library
from longshort.ops._adam import AdamNumbers, adam_step
from longshort.ops._paths import machine_path
from longshort.optimizers import Adam

needs_kernels = pytest.mark.skipif(machine_path().name != "kernel", reason="kernels not in use")

SHAPES = [(1,), (3, 5), (17,), (64, 64), (4097,), (3, 50, 60)]  # around lanes and stretches
OPTIONS: list[dict[str, Any]] = [
    {},
    {"global_clipnorm": 1.0},
    {"global_clipnorm": 1e6},
    {"clipnorm": 0.5, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3},
    {"clipvalue": 0.1, "weight_decay": 0.01},
    {"use_ema": True, "ema_momentum": 0.5, "global_clipnorm": 2.0},
    {"gradient_accumulation_steps": 2, "global_clipnorm": 1.0},
    {"amsgrad": True, "global_clipnorm": 1.0},
]


def steps_of(
    cls: type, options: dict[str, Any], count: int = 3, gradients: Any = None
) -> list[np.ndarray]:
    """All weights and all variables of the optimizer after some steps from the same beginning."""
    rng = np.random.default_rng(0)
    weights = [keras.Variable(rng.normal(size=shape).astype("f4")) for shape in SHAPES]
    optimizer = cls(keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5), **options)
    optimizer.build(weights)
    for _ in range(count):
        given = [rng.normal(size=shape).astype("f4") for shape in SHAPES]
        if gradients is not None:
            given = gradients(given)
        optimizer.apply([keras.ops.convert_to_tensor(each) for each in given], weights)
    return [np.asarray(each.value) for each in (*weights, *optimizer.variables)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_as_in_keras(options: dict[str, Any]) -> None:
    agrees_with_keras(options)


@needs_kernels
@pytest.mark.usefixtures("isa")
def test_on_every_instruction_set() -> None:
    agrees_with_keras(OPTIONS[1])


def agrees_with_keras(options: dict[str, Any]) -> None:
    found, expected = (steps_of(cls, options) for cls in (Adam, keras.optimizers.Adam))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_a_norm_that_is_no_number_spoils_the_weights_as_in_keras() -> None:
    def spoiled(given: list[np.ndarray]) -> list[np.ndarray]:
        given[2][3] = np.inf
        return given

    for cls in (Adam, keras.optimizers.Adam):
        found = steps_of(cls, {"global_clipnorm": 1.0}, 1, spoiled)
        assert all(np.isnan(each).all() for each in found[: len(SHAPES)])


def test_gradients_of_zero() -> None:
    def zeros(given: list[np.ndarray]) -> list[np.ndarray]:
        return [0 * each for each in given]

    options = {"global_clipnorm": 1.0}
    found, expected = (steps_of(cls, options, 2, zeros) for cls in (Adam, keras.optimizers.Adam))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@needs_kernels
def test_same_bits_for_any_number_of_threads() -> None:
    before, results = library.num_threads(), []
    large = [(300, 1000), (5,)]
    try:
        for threads in (1, 2, 3):
            longshort.set_num_threads(threads)
            rng = np.random.default_rng(0)
            weights = [keras.Variable(rng.normal(size=shape).astype("f4")) for shape in large]
            optimizer = Adam(0.1, global_clipnorm=1.0)
            gradients = [rng.normal(size=shape).astype("f4") for shape in large]
            optimizer.apply([keras.ops.convert_to_tensor(each) for each in gradients], weights)
            results.append([np.asarray(each.value) for each in weights])
    finally:
        longshort.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


def test_values_that_somebody_holds_stay() -> None:
    weight = keras.Variable(np.ones(5, "f4"))
    held, gradient = weight.value, keras.ops.convert_to_tensor(np.ones(5, "f4"))
    Adam(0.1, global_clipnorm=1.0).apply([gradient], [weight])
    np.testing.assert_array_equal(held, np.ones(5))
    np.testing.assert_array_equal(gradient, np.ones(5))
    np.testing.assert_allclose(weight.value, np.full(5, 0.9), rtol=1e-5)


@needs_kernels
def test_a_gradient_may_be_another_array_that_is_written() -> None:
    import jax

    shape, numbers = (3, 5), AdamNumbers(0.9, 0.999, 1e-7, 1.0)
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=shape).astype("f4") for _ in "12")
    zeros = np.zeros(shape, "f4")

    def step(a: Any, b: Any, m: Any) -> Any:  # the loss is the sum of a b; m stands for all four
        return adam_step(jax.numpy.float32(0.1), [(b, a, m, m), (a, b, m, m)], numbers)

    expected = jax.tree.map(np.asarray, step(*map(jax.numpy.asarray, (first, second, zeros))))
    given = map(jax.numpy.asarray, (first, second, zeros))
    found = jax.jit(step, donate_argnums=(0, 1))(*given)
    norm = np.sqrt((first**2).sum() + (second**2).sum())
    m = 0.1 * second / max(1.0, norm)
    np.testing.assert_allclose(expected[0][1], m, rtol=1e-4)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def test_plain_keras_loads_what_to_keras_leaves(tmp_path: Any) -> None:
    layers = [keras.Input((7, 3)), longshort.layers.LSTM(5), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    inner = Adam(1e-2)
    model.compile(keras.optimizers.LossScaleOptimizer(inner), "mse")
    model.fit(np.ones((4, 7, 3)), np.ones((4, 1)), verbose=0)
    longshort.to_keras(model)
    assert type(inner) is keras.optimizers.Adam
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert "longshort" not in file.read("config.json").decode()


def test_paths() -> None:
    assert "amsgrad" in Adam(amsgrad=True).kernel_path.reason
    assert "gathered over steps" in Adam(gradient_accumulation_steps=2).kernel_path.reason
    mixed = Adam()
    mixed.build([keras.Variable(np.ones(3), dtype="float16")])
    assert "not in float16" in mixed.kernel_path.reason
    assert Adam().kernel_path == machine_path()


def test_a_program_of_keras(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 7, 3)).astype("f4"), rng.normal(size=(32, 1)).astype("f4")

    def losses(cls: type) -> tuple[Any, list[float]]:
        keras.utils.set_random_seed(1)
        layers = [keras.Input((7, 3)), longshort.layers.LSTM(5), keras.layers.Dense(1)]
        model = keras.Sequential(layers)
        model.compile(cls(1e-2, global_clipnorm=1.0), "mse")
        return model, model.fit(x, y, epochs=3, verbose=0, shuffle=False).history["loss"]

    (model, ours), (_, theirs) = losses(Adam), losses(keras.optimizers.Adam)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is Adam
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    more = [each.fit(x, y, verbose=0, shuffle=False).history["loss"] for each in (model, loaded)]
    np.testing.assert_array_equal(*more)
