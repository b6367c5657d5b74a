"""Attention of a target over a source: the kernel, or `keras.ops`.

a_ts = softmax over s of e_ts    context_t = sum over s of a_ts value_s
e_ts = q_t k_s, or with v: v' tanh(q_t + k_s)
"""

from __future__ import annotations

import functools
from typing import Any

from keras import ops

from longshort.ops._handlers import call, register
from longshort.ops._paths import machine_path

Tensor = Any


def attend(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, v: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return context (B, T, D) and weights (B, T, S), 0 where the mask is False.

    A row of the batch whose source has no real step has zeros.

    Args:
        query: (B, T, A).
        keys: (B, S, A).
        values: (B, S, D).
        mask: (B, S) of booleans.
        v: (A,), of additive scores (Bahdanau et al. 2015); None: products (Luong et al. 2015).

    Raises:
        KernelError: A second derivative is asked for, which the kernel does not have.
    """
    if machine_path().name == "kernel" and str(query.dtype) == "float32":
        v = ops.zeros((0,), query.dtype) if v is None else ops.convert_to_tensor(v)
        return _by_kernel()(query, keys, values, ops.cast(mask, "bool"), v)
    return by_ops(query, keys, values, mask, v)


def by_ops(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, v: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return what `attend` does, in `keras.ops`."""
    if v is None:
        scores = ops.matmul(query, ops.transpose(keys, (0, 2, 1)))
    else:
        # A sum, and no product with v, for which XLA would copy all tanhs.
        both = ops.expand_dims(query, 2) + ops.expand_dims(keys, 1)
        scores = ops.sum(ops.tanh(both) * v, axis=-1)
    real = ops.expand_dims(ops.cast(mask, "bool"), 1)
    # Finite, so that a row of padding, all masked, has no NaN.
    scores = ops.where(real, scores, -1e9)
    # Keras' softmax warns of sources of a single token.
    weights = ops.exp(scores - ops.logsumexp(scores, axis=-1, keepdims=True))
    weights = ops.where(real, weights, ops.zeros_like(weights))
    return ops.matmul(weights, values), weights


@functools.cache
def _by_kernel() -> Any:
    import jax

    from longshort.ops._jax import no_derivative

    register("attention", "attention_gradient")

    gradient = no_derivative(call, "The kernel of attention has no second derivatives.")

    @jax.custom_vjp
    def attention(*given: Tensor) -> Any:
        query, keys, values, *_ = given
        B, T, _ = query.shape
        shapes = ((B, T, values.shape[2]), (B, T, keys.shape[1]))
        return tuple(call(("attention", shapes), *given))

    def forward(*given: Tensor) -> Any:
        context, weights = attention(*given)
        return (context, weights), (*given, weights)

    def backward(saved: Any, arriving: Any) -> Any:
        query, keys, values, _, v, _ = saved
        rows = (query.shape[0], *v.shape) if v.size else (0,)
        shapes = (query.shape, keys.shape, values.shape, v.shape, rows)
        *found, dv, _ = gradient(("attention_gradient", shapes), *saved, *arriving)
        return *found, None, dv

    attention.defvjp(forward, backward)
    return attention
