"""Attention beside its definition, its gradients too, on every instruction set."""

from __future__ import annotations

from typing import Any

import longshort  # isort: skip  # before Keras: it chooses the backend
import keras
import numpy as np
import pytest

from longshort._errors import KernelError
from longshort.ops import _attention
from longshort.ops import _library as library
from longshort.ops._paths import Path, machine_path

needs_kernels = pytest.mark.skipif(machine_path().name != "kernel", reason="kernels not in use")

# B, T, S, A, D: around lanes, tiles of rows and tiles of 64 columns.
SIZES = [
    (1, 1, 1, 1, 1),
    (3, 5, 7, 3, 6),
    (4, 8, 70, 16, 5),
    (2, 13, 17, 70, 131),
    (3, 90, 3, 40, 64),
    (2, 4, 33, 64, 16),
    (3, 2, 19, 40, 70),
]
KINDS = ["product", "additive"]


def problem(kind: str, B: int, T: int, S: int, A: int, D: int) -> tuple[list[Any], list[Any]]:
    """What is given, v last or None, and what arrives; the mask has holes, in its last row all."""
    rng = np.random.default_rng(B + T + S + A + D)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype("f4")

    mask = rng.random((B, S)) < 0.7
    mask[0], mask[-1, 0], mask[-1, 1:] = True, B == 1, False
    given = [draw(B, T, A) * A**-0.25, draw(B, S, A) * A**-0.25, draw(B, S, D), mask]
    arriving = [draw(B, T, D), draw(B, T, S)]
    for each in arriving:
        each[0, (T + 1) // 2 :] = 0  # as behind the end of a target
    return [*given, draw(A) if kind == "additive" else None], arriving


def by_definition(given: list[Any], arriving: list[Any]) -> list[Any]:
    """Context, weights and the gradients of query, keys, values and v."""
    q, k, x, mask, v = (None if each is None else np.asarray(each, float) for each in given)
    dcontext, dweights = (np.asarray(each, float) for each in arriving)
    if v is None:
        scores = np.einsum("bta,bsa->bts", q, k)
    else:
        y = np.tanh(q[:, :, None] + k[:, None])
        scores = y @ v
    e = np.exp(scores - scores.max(-1, keepdims=True)) * mask[:, None]
    total = e.sum(-1, keepdims=True)
    weights = e / np.where(total, total, 1)
    da = np.einsum("btd,bsd->bts", dcontext, x) + dweights
    de = weights * (da - (weights * da).sum(-1, keepdims=True))
    if v is None:
        dq, dk, dv = np.einsum("bts,bsa->bta", de, k), np.einsum("bts,bta->bsa", de, q), None
    else:
        dz = de[..., None] * v * (1 - y * y)
        dq, dk, dv = dz.sum(2), dz.sum(1), np.einsum("bts,btsa->a", de, y)
    dx = np.einsum("bts,btd->bsd", weights, dcontext)
    return [np.einsum("bts,bsd->btd", weights, x), weights, dq, dk, dx, dv]


def found(given: list[Any], arriving: list[Any]) -> list[Any]:
    import jax

    *arrays, mask, v = (None if each is None else jax.numpy.asarray(each) for each in given)
    own = arrays if v is None else [*arrays, v]
    made, backward = jax.vjp(lambda q, k, x, *v: _attention.attend(q, k, x, mask, *v), *own)
    gradients = backward(tuple(map(jax.numpy.asarray, arriving)))
    return [*made, *gradients, *([None] if v is None else [])]


def agree_with_the_definition(kind: str, sizes: tuple[int, ...]) -> None:
    given, arriving = problem(kind, *sizes)
    for a, b in zip(found(given, arriving), by_definition(given, arriving), strict=True):
        if b is not None:
            np.testing.assert_allclose(a, b, rtol=0, atol=3e-6 * max(1.0, np.abs(b).max()))


@needs_kernels
@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_values_and_gradients(kind: str, sizes: tuple[int, ...]) -> None:
    agree_with_the_definition(kind, sizes)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="differentiates with JAX")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", SIZES[1:3], ids=str)
def test_without_the_kernel(
    kind: str, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_attention, "machine_path", lambda: Path("keras", "for this test"))
    agree_with_the_definition(kind, sizes)


@needs_kernels
@pytest.mark.parametrize("kind", KINDS)
def test_same_bits_alone_and_for_any_number_of_threads(kind: str) -> None:
    given, arriving = problem(kind, 12, 20, 24, 96, 80)
    before, results = library.num_threads(), []
    try:
        for threads in (1, 2, 3):
            longshort.set_num_threads(threads)
            results.append(found(given, arriving))
    finally:
        longshort.set_num_threads(before)
    alone = found([*(each[5:6] for each in given[:4]), given[4]], [each[5:6] for each in arriving])
    for one, *others in zip(*results, strict=True):
        for other in others:
            np.testing.assert_array_equal(one, other)
    for one, other in zip(results[0][:5], alone[:5], strict=True):
        np.testing.assert_array_equal(one[5:6], other)


@needs_kernels
@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_behind_a_source_is_not_read(kind: str) -> None:
    given, arriving = problem(kind, 3, 5, 9, 20, 8)
    given[3][:, 6:] = False
    expected = found(given, arriving)
    for each in given[1:3]:
        each[:, 6:] = np.nan
    for a, b in zip(found(given, arriving), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@needs_kernels
@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_any_size_and_what_is_no_number(kind: str) -> None:
    given, arriving = problem(kind, 3, 4, 6, 20, 8)
    given[0][:] *= 1e4
    context, weights, *gradients = found(given, arriving)
    np.testing.assert_allclose(weights[:-1].sum(-1), 1, rtol=1e-6)
    for each in (context, *gradients[:3]):
        assert np.isfinite(each).all()
    given[0][1, 2, 3] = np.nan
    context, weights, *_ = found(given, arriving)
    assert np.isnan(context[1, 2]).all()
    assert np.isnan(context).sum() == context.shape[-1]


@needs_kernels
def test_nothing_to_attend_or_to_ask() -> None:
    for B, T, S in ((0, 3, 4), (2, 0, 4), (2, 3, 0)):
        arrays = [np.ones((B, n, 5), "f4") for n in (T, S, S)]
        context, weights = _attention.attend(*arrays, np.ones((B, S), bool))
        np.testing.assert_array_equal(context, np.zeros((B, T, 5)))
        assert weights.shape == (B, T, S)


@needs_kernels
def test_shapes_that_do_not_fit_and_second_derivatives_are_refused() -> None:
    import jax

    given, _ = problem("additive", 2, 3, 4, 5, 6)
    query, keys, values, mask, v = given
    for wrong in (
        (query, keys[:1], values, mask, v),
        (query, keys, values[:, 1:], mask, v),
        (query, keys, values, mask[:, 1:], v),
        (query, keys, values, mask, v[1:]),
        (query[..., 1:], keys, values, mask, None),
    ):
        with pytest.raises(Exception, match="shapes of an attention that do not fit"):
            jax.block_until_ready(_attention.attend(*wrong))

    def total(query: Any) -> Any:
        return _attention.attend(query, *given[1:])[0].sum()

    with pytest.raises(KernelError, match="no second derivatives"):
        jax.grad(lambda query: jax.grad(total)(query).sum())(query)
