"""The loss of connectionist temporal classification: the kernel, or `keras.ops`."""

from __future__ import annotations

import functools
from typing import Any

from keras import ops

from longshort.ops._handlers import call, register
from longshort.ops._paths import machine_path

Tensor = Any


def ctc_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log of the probability of each row's labels, (B,), nats (Graves et al. 2006).

    Infinite, with gradient 0 on the kernel path, where a row has fewer frames than its labels need.

    Args:
        logits: (B, T, K + 1), the blank in column 0.
        targets: (B, 1 + L) int32: the number of frames that count, labels from 1 to K, zeros.
    """
    if machine_path().name == "kernel" and str(logits.dtype) == "float32":
        return _by_kernel()(logits, targets)
    labels = targets[:, 1:]
    lengths = ops.sum(ops.cast(labels > 0, "int32"), axis=1)
    return ops.ctc_loss(labels, logits, lengths, targets[:, 0], mask_index=0)


@functools.cache
def _by_kernel() -> Any:
    import jax

    register("ctc")

    @jax.custom_vjp
    def losses(logits: Tensor, targets: Tensor) -> Tensor:
        return with_gradient(logits, targets)[0]

    def with_gradient(logits: Tensor, targets: Tensor) -> Any:
        return call(("ctc", (logits.shape[:1], logits.shape)), logits, targets)

    def backward(gradient: Tensor, arriving: Tensor) -> Any:
        return gradient * arriving[:, None, None], None

    losses.defvjp(with_gradient, backward)
    return losses
