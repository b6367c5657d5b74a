"""`Adam`: Keras' optimizer as one call of a kernel."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from longshort.ops import Path
from longshort.ops._adam import AdamNumbers, adam_step
from longshort.ops._paths import machine_path

Tensor = Any


@keras.saving.register_keras_serializable("longshort")
class Adam(keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015): `keras.optimizers.Adam`, all weights in one call of a kernel.

        m <- m + (1 - b1) (g - m)    v <- v + (1 - b2) (g^2 - v)
        w <- w - rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)

    Takes every argument of `keras.optimizers.Adam`, has the same variables, the same config and, up
    to float rounding, the same results; see there for the arguments. A step reads and writes each
    weight once, and finds the norm of all gradients (`global_clipnorm`) in the same call.
    `amsgrad`, gradients that are gathered over several steps, weights that are not float32, a
    backend other than JAX and a device other than the CPU are left to Keras; `path` says which of
    the two it is.

    >>> model = keras.Sequential([keras.Input((5, 3)), longshort.layers.LSTM(4)])
    >>> model.compile(longshort.optimizers.Adam(1e-2, global_clipnorm=1.0), "mse")
    >>> model.optimizer.kernel_path.name
    'kernel'
    """

    @property
    def kernel_path(self) -> Path:
        """The path that this optimizer's steps take, and why."""
        if self.amsgrad:
            return Path("keras", "amsgrad is Keras' own")
        if self.gradient_accumulation_steps:
            return Path("keras", "gradients that are gathered over steps are Keras' own")
        kinds = {str(each.dtype) for each in getattr(self, "_trainable_variables", ())}
        if other := kinds - {"float32"}:
            return Path("keras", f"the kernel computes in float32, not in {min(other)}")
        return machine_path()

    def _clip_gradients(self, grads: list[Tensor]) -> list[Tensor]:
        # The norm of all gradients is the kernel's to find; of a single one, or of a value, Keras'.
        if self.global_clipnorm and self.kernel_path.name == "kernel":
            return grads
        return super()._clip_gradients(grads)

    def _backend_update_step(
        self, grads: Any, trainable_variables: Any, learning_rate: Any
    ) -> None:
        if self.kernel_path.name != "kernel":
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        step = ops.cast(self.iterations + 1, "float32")
        powers = [ops.power(ops.cast(beta, "float32"), step) for beta in (self.beta_1, self.beta_2)]
        rate = ops.cast(learning_rate, "float32") * ops.sqrt(1 - powers[1]) / (1 - powers[0])
        places = [self._get_variable_index(each) for each in trainable_variables]
        states = [(self._momentums[i], self._velocities[i]) for i in places]
        kept = [(w, *state) for w, state in zip(trainable_variables, states, strict=True)]
        arrays = [
            (ops.cast(g, "float32"), *(each.value for each in some))
            for g, some in zip(grads, kept, strict=True)
        ]
        numbers = AdamNumbers(self.beta_1, self.beta_2, self.epsilon, self.global_clipnorm or 0.0)
        made = adam_step(ops.convert_to_tensor(rate), arrays, numbers)
        for some, values in zip(kept, made, strict=True):
            for variable, value in zip(some, values, strict=True):
                variable.assign(value)
