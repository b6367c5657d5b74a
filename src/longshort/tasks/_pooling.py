"""How the steps of a sequence become one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from longshort.ops._pooling import pool

POOLINGS = ("max+mean", "max", "mean", "attention", "last")
_LOW = -1e9


@keras.saving.register_keras_serializable("longshort")
class Pooling(keras.layers.Layer):
    """Steps (B, T, H), or several side by side, and their mask (B, T) to one vector a sequence.

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
            shapes = x_shape if isinstance(x_shape[0], list | tuple) else [x_shape]
            self.score.build((*shapes[0][:2], sum(shape[2] for shape in shapes)))

    def call(self, x: Any, real: Any) -> Any:
        """Return (B, H), or (B, 2H); `real` is True at real steps."""
        inputs = x if isinstance(x, list | tuple) else [x]
        if self.score is not None:
            x, real = _side_by_side(inputs), ops.expand_dims(real, -1)
            weights = ops.softmax(ops.where(real, self.score(x), _LOW), axis=1)
            return ops.sum(ops.where(real, weights * x, 0.0), axis=1)
        # Each input by itself, which spares an array of all.
        largest, means = zip(*(pool(each, real) for each in inputs), strict=True)
        parts = [*(largest if "max" in self.kind else ()), *(means if "mean" in self.kind else ())]
        return _side_by_side(parts)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return None: there are no steps any more."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return super().get_config() | {"kind": self.kind, "seed": self.seed}


def _side_by_side(arrays: Sequence[Any]) -> Any:
    return ops.concatenate(arrays, axis=-1) if len(arrays) > 1 else arrays[0]
