"""`Dense`: the Keras layer, over many rows on a kernel of its own."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from longshort.ops import Path
from longshort.ops._dense import dense
from longshort.ops._library import ACTIVATIONS
from longshort.ops._paths import fused_name, machine_path

Tensor = Any

ROWS, VALUES = 32, 64  # from which on forward and backward together are faster than in XLA


@keras.saving.register_keras_serializable("longshort")
class Dense(keras.layers.Dense):
    """Linear map of each row: `keras.layers.Dense`, over many rows on a kernel of its own.

        y = activation(x W + b)

    Takes every argument of `keras.layers.Dense`, has the same weights (`kernel` (D, C), `bias`
    (C,)), the same config and, up to float rounding, the same results; see there for them. The
    kernel takes inputs of 32 rows and more (all axes but the last together) with D and C of 64 and
    more, as a layer between LSTMs has; Keras itself is faster for the rest, and has what the kernel
    has not (float64, sparse inputs, a backend other than JAX, a device other than the CPU, rows of
    unknown number). Of activations the kernel computes tanh, relu and softsign; others are Keras',
    of what it returns. Rows whose gradient is zero, as those of padding, cost nothing in gradients.
    Products are in float32 always; with AMX an input or weight that is infinite, or above 3.39e38,
    gives NaN. The kernel has no derivatives in forward mode (`jax.jvp`).

    Shapes:
        Inputs (..., D), outputs (..., C).

    Raises:
        ValueError: From Keras: arguments or inputs that it refuses.

    >>> longshort.layers.Dense(64)(np.zeros((8, 20, 64), "float32")).shape
    (8, 20, 64)
    """

    @property
    def kernel_path(self) -> Path:
        """The path that calls with many rows and values take, and why."""
        if self.compute_dtype not in ("float32", "bfloat16", "float16"):
            return Path("keras", f"the kernels compute in float32, not in {self.compute_dtype}")
        return machine_path()

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Map the rows, in the kernel where it is faster."""
        if not self._for_kernel(inputs, inputs.shape[-1]):
            return super().call(inputs, training=training)
        return self._by_kernel(inputs)

    def _by_kernel(self, *parts: Tensor) -> Tensor:
        """Map rows whose features are those of one part, or of two, side by side."""
        x, *more = (ops.reshape(ops.cast(each, "float32"), (-1, each.shape[-1])) for each in parts)
        fused = fused_name(self.activation, ACTIVATIONS)
        y = dense(
            x,
            ops.cast(self.kernel, "float32"),
            ops.cast(self.bias, "float32") if self.use_bias else None,
            fused or "linear",
            *more,
        )
        y = ops.cast(ops.reshape(y, (*parts[0].shape[:-1], self.units)), self.compute_dtype)
        return y if fused else self.activation(y)

    def quantize(
        self, mode: str | None = None, type_check: bool = True, config: Any = None
    ) -> None:
        """Quantize the weights, as Keras does; what is quantized runs in Keras."""
        # Keras refuses subclasses, unless told that they are no other layer.
        super().quantize(mode, type_check=type_check and type(self) is not Dense, config=config)

    def _for_kernel(self, inputs: Tensor, features: int) -> bool:
        shape = inputs.shape
        return (
            all(isinstance(size, int) for size in shape)
            and not hasattr(inputs, "todense")
            and math.prod(shape[:-1]) >= ROWS
            and min(features, self.units) >= VALUES
            and self.kernel_path.name == "kernel"
        )
