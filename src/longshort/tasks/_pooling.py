"""How the steps of a sequence become one vector."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

POOLINGS = ("max+mean", "max", "mean", "attention", "last")
_LOW = -1e9


@keras.saving.register_keras_serializable("longshort")
class Pooling(keras.layers.Layer):
    """Steps (B, T, H) and their mask (B, T) to one vector a sequence.

    "max": the largest value of each channel; "mean"; "max+mean": both, (B, 2H); "attention":
    the mean weighted by softmax_t(x_t w) (Yang et al. 2016, without their context layer). A
    sequence without a real step gives zeros.

    Args:
        kind: One of these.
        seed: Of w.
    """

    def __init__(self, kind: str, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.kind, self.seed = kind, seed
        self.score = None
        if kind == "attention":
            glorot = keras.initializers.GlorotUniform(seed)
            self.score = keras.layers.Dense(1, use_bias=False, kernel_initializer=glorot)

    def build(self, x_shape: Any, real_shape: Any = None) -> None:
        """Create the weights."""
        if self.score is not None:
            self.score.build(x_shape)

    def call(self, x: Any, real: Any) -> Any:
        """Return (B, H), or (B, 2H); `real` is True at real steps."""
        real = ops.expand_dims(real, -1)
        if self.score is not None:
            weights = ops.softmax(ops.where(real, self.score(x), _LOW), axis=1)
            return ops.sum(ops.where(real, weights * x, 0.0), axis=1)
        parts = []
        if "max" in self.kind:
            largest = ops.max(ops.where(real, x, _LOW), axis=1)
            parts.append(ops.where(ops.any(real, axis=1), largest, 0.0))
        if "mean" in self.kind:
            count = ops.maximum(ops.sum(ops.cast(real, x.dtype), axis=1), 1.0)
            parts.append(ops.sum(ops.where(real, x, 0.0), axis=1) / count)
        return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return None: there are no steps any more."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return super().get_config() | {"kind": self.kind, "seed": self.seed}
