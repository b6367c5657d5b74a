"""The kernel of a softmax's loss, on every instruction set, beside its definition in float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from longshort._errors import KernelError
from longshort.ops import _library as library
from longshort.ops._library_loss import token_loss
from test_kernels import EPS

pytestmark = [
    pytest.mark.skipif(library.load() is None, reason="installed without a compiler"),
    pytest.mark.usefixtures("isa"),
]

# Rows, values of a row, tokens: around lanes, tiles of 64 and portions of 512 rows.
SIZES = [
    (1, 1, 2),
    (3, 5, 7),
    (17, 16, 33),
    (40, 31, 64),
    (7, 65, 70),
    (33, 130, 129),
    (800, 20, 50),
    (5, 20, 600),
    (70, 33, 129),  # with floats in three pieces where that is faster, as
    (1001, 64, 1000),  # with several portions, slices and tiles of columns
]


def problem(n: int, E: int, V: int, padding: float = 0.0) -> dict[str, Any]:
    rng = np.random.default_rng(n + E + V)
    targets = rng.integers(1, V, n) * (rng.random(n) >= padding)
    arrays = {"y": (n, E), "weights": (V, E), "bias": (V,)}
    return {name: rng.normal(size=s).astype("f4") for name, s in arrays.items()} | {
        "targets": targets.astype("i4")
    }


def by_definition(
    y: np.ndarray, weights: np.ndarray, bias: np.ndarray, targets: np.ndarray, share: float
) -> tuple[np.ndarray, ...]:
    y, weights = y.astype(float), weights.astype(float)
    z = y @ weights.T + bias
    z -= z.max(-1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    label = (1 - share) * np.eye(len(bias))[targets] + share / len(bias)
    real = (targets != 0)[:, None] / max(1, np.count_nonzero(targets))
    slope = real * (np.exp(log_p) - label)
    return -(real * label * log_p).sum(), slope @ weights, slope.T @ y, slope.sum(0)


def assert_near(found: tuple[np.ndarray, ...], expected: Any, bound: float, given: Any) -> None:
    """Each sum of products to so many times what its terms sum up to at most."""
    largest = max(1.0, *(np.abs(given[name]).max() for name in ("y", "weights")))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.reshape(np.shape(b)), b, rtol=bound, atol=bound * largest)


@pytest.mark.parametrize(
    ("size", "share", "by_values"), list(itertools.product(SIZES, (0.0, 0.1), (False, True)))
)
def test_loss_and_gradients_are_those_of_the_definition(
    size: tuple[int, int, int], share: float, by_values: bool
) -> None:
    given = problem(*size, padding=0.3 if size[0] > 1 else 0.0)
    expected = by_definition(**given, share=share)
    turned = given | {"weights": given["weights"].T} if by_values else given
    found = list(token_loss(**turned, share=share, by_values=by_values))
    if by_values:
        found[2] = found[2].T
    assert_near(tuple(found), expected, 8 * EPS * (4 + size[1] ** 0.5), given)
    np.testing.assert_array_equal(found[1][given["targets"] == 0], 0)


@pytest.mark.parametrize("size", SIZES[1:])
def test_bfloat16_rounds_the_factors(size: tuple[int, int, int], isa: str) -> None:
    given = problem(*size, padding=0.3)
    found = token_loss(**given, bfloat16=True)
    assert_near(found, by_definition(**given, share=0.0), 2**-7 * (1 + size[1] ** 0.5), given)
    rounded = any((a != b).any() for a, b in zip(found, token_loss(**given), strict=True))
    assert rounded == (isa in ("amx", "avx512_bf16"))


def test_errors_are_those_of_float32() -> None:
    given = problem(601, 64, 1000)
    given["weights"] /= 8
    found, expected = token_loss(**given), by_definition(**given, share=0.0)
    for a, b in zip(found[1:], expected[1:], strict=True):
        assert np.sqrt(np.mean((a - b) ** 2)) < 2 * EPS * np.abs(b).max()


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("by_values", [False, True])
def test_results_do_not_depend_on_the_threads(bfloat16: bool, by_values: bool) -> None:
    given = problem(800, 48, 200, padding=0.2)  # two portions
    if by_values:
        given["weights"] = np.ascontiguousarray(given["weights"].T)
    before, results = library.num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            library.set_num_threads(threads)
            results.append(token_loss(**given, share=0.1, by_values=by_values, bfloat16=bfloat16))
    finally:
        library.set_num_threads(before)
    for others in results[1:]:
        for a, b in zip(others, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


def test_large_logits_and_padding_alone() -> None:
    given = problem(9, 4, 20)
    given["y"] *= 200
    found = token_loss(**given)
    expected = by_definition(**given, share=0.0)
    assert_near(found, expected, 1e-5, given)
    given["targets"][:] = 0
    for array in token_loss(**given):
        np.testing.assert_array_equal(array, 0)


def test_nan_is_not_hidden() -> None:
    given = problem(9, 4, 20)
    given["y"][3, 2] = np.nan
    loss, dy, *_ = token_loss(**given)
    assert np.isnan(loss).all() and np.isnan(dy[3]).all() and np.isfinite(dy[2]).all()


@pytest.mark.parametrize("target", [-1, 20])
def test_a_target_must_be_a_token(target: int) -> None:
    given = problem(9, 4, 20)
    given["targets"][5] = target
    with pytest.raises(KernelError, match="a target is no token"):
        token_loss(**given)
