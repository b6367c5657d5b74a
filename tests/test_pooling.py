"""Pooling over time beside its definition, its gradients too, on every instruction set."""

from __future__ import annotations

from typing import Any

import longshort  # isort: skip  # noqa: F401  before Keras: it chooses the backend
import keras
import numpy as np
import pytest

from longshort.ops import _pooling
from longshort.ops._paths import Path, machine_path
from longshort.tasks._pooling import Pooling

needs_kernels = pytest.mark.skipif(machine_path().name != "kernel", reason="kernels not in use")

SIZES = [(1, 1, 1), (3, 5, 7), (2, 9, 64), (4, 6, 70), (2, 40, 131)]  # around lanes and tiles


def problem(B: int, T: int, D: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of which many are the same, and a mask with holes; the last row has no step."""
    rng = np.random.default_rng(B + T + D)
    x = rng.integers(-3, 4, (B, T, D)).astype("f4") / 4
    real = rng.random((B, T)) < 0.7
    real[0, 0], real[-1] = True, B == 1
    return x, real


def by_definition(
    x: np.ndarray, real: np.ndarray, dlargest: np.ndarray, dmean: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    largest, mean, dx = np.zeros_like(dlargest), np.zeros_like(dmean), np.zeros_like(x)
    for b in np.flatnonzero(real.any(axis=1)):
        steps = x[b, real[b]].astype(float)
        largest[b], mean[b] = steps.max(axis=0), steps.mean(axis=0)
        wins = steps == steps.max(axis=0)
        dx[b, real[b]] = wins / wins.sum(axis=0) * dlargest[b] + dmean[b] / len(steps)
    return largest, mean, dx


def found(x: np.ndarray, real: np.ndarray, *arriving: np.ndarray) -> Any:
    import jax

    pooled, backward = jax.vjp(lambda x: _pooling.pool(x, real), keras.ops.convert_to_tensor(x))
    return *pooled, backward(arriving)[0]


@needs_kernels
@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_values_and_gradients(sizes: tuple[int, int, int]) -> None:
    agree_with_the_definition(*sizes)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="differentiates with JAX")
@pytest.mark.parametrize("sizes", SIZES[1:3], ids=str)
def test_without_the_kernel(sizes: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pooling, "machine_path", lambda: Path("keras", "for this test"))
    agree_with_the_definition(*sizes)


def agree_with_the_definition(*sizes: int) -> None:
    x, real = problem(*sizes)
    rng = np.random.default_rng(0)
    arriving = [rng.normal(size=(sizes[0], sizes[2])).astype("f4") for _ in range(2)]
    for a, b in zip(found(x, real, *arriving), by_definition(x, real, *arriving), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


@needs_kernels
def test_what_is_no_number_is_seen_unless_masked() -> None:
    x, real = problem(3, 5, 7)
    x[0, 0, 2], x[1, :, 3] = np.nan, np.where(real[1], 0, np.nan)
    largest, mean = map(np.asarray, _pooling.pool(keras.ops.convert_to_tensor(x), real))
    for each in (largest, mean):
        assert np.isnan(each[0, 2])
        assert np.isnan(each).sum() == 1


@needs_kernels
def test_infinite_values_numbers_for_a_mask_and_no_steps() -> None:
    x = np.array([[[np.inf], [-np.inf], [1.0]]], "f4")
    largest, _ = _pooling.pool(keras.ops.convert_to_tensor(x), np.ones((1, 3), "i4"))
    assert np.asarray(largest)[0, 0] == np.inf
    nothing = keras.ops.zeros((2, 0, 3))
    for each in _pooling.pool(nothing, np.ones((2, 0), bool)):
        np.testing.assert_array_equal(each, np.zeros((2, 3)))


@pytest.mark.parametrize("kind", ["max+mean", "max", "mean", "attention"])
def test_several_inputs_are_as_if_side_by_side(kind: str) -> None:
    x, real = problem(3, 5, 7)
    layer = Pooling(kind, seed=1)
    together = layer(x, real)
    again = Pooling(kind, seed=1)
    parts = again([x[..., :3], x[..., 3:]], real)
    np.testing.assert_allclose(parts, together, atol=1e-6)


@needs_kernels
def test_shapes_that_do_not_fit_are_named() -> None:
    x, real = problem(3, 5, 7)
    with pytest.raises(Exception, match="shapes of a pooling that do not fit"):
        np.asarray(_pooling.pool(keras.ops.convert_to_tensor(x), real[:2])[0])
