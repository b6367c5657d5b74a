"""Run a Keras model many times in a row."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


class Runner:
    """Runs a model as `predict_on_batch` does, and on JAX without what Keras does around it.

    There each `predict_on_batch` collects all variables of all layers and puts them back, some 2 of
    13 ms of a step of a search.

    Args:
        model: Without state of its own, several outputs.

    Example:
        >>> x, y = keras.Input((2,)), keras.Input((2,))
        >>> runner = Runner(keras.Model([x, y], [x + y, x * 3.0]))
        >>> [each.tolist() for each in runner([np.ones((1, 2), "float32")] * 2)]
        [[[2.0, 2.0]], [[3.0, 3.0]]]
    """

    def __init__(self, model: keras.Model) -> None:
        self.model, self._run = model, None
        if keras.backend.backend() == "jax":
            import jax

            def run(trainable: Any, others: Any, inputs: Any) -> Any:
                outputs, _ = model.stateless_call(trainable, others, inputs, training=False)
                return outputs

            self._run = jax.jit(run)
        self.read_weights()

    def read_weights(self) -> None:
        """Use the weights that the model has now.

        Needed after whatever else ran with these variables: Keras gives their memory away and
        puts others in its place, in predictions too.
        """
        model = self.model
        self._weights = [
            [variable.value for variable in some]
            for some in (model.trainable_variables, model.non_trainable_variables)
        ]

    def __call__(self, inputs: list[Any]) -> list[np.ndarray]:
        """Return the outputs for arrays of a batch."""
        if self._run is None:
            return list(self.model.predict_on_batch(inputs))
        return [np.asarray(each) for each in self._run(*self._weights, inputs)]
