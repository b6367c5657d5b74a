"""A trained network one token at a time, without a framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from longshort._errors import KernelError
from longshort.tasks._language_net import LanguageNet

# From the number of the last token to the logits (V,) of the next.
Step = Callable[[int], np.ndarray]


def stepper(net: LanguageNet, states: list[np.ndarray]) -> Step:
    """Return the function that takes a step, from the states (1, H) on.

    A step costs the same however long the text is: the state is carried along. With the kernels it
    runs on `longshort.ops.LSTMStep`, tens of microseconds for a small network; without them each
    is a call of the Keras model, which says so by its PathWarning.
    """
    try:
        steps = [layer.stream() for layer in net.stack.layers]
    except KernelError:
        return _keras_stepper(net, states)
    for step, h, c in zip(steps, states[::2], states[1::2], strict=True):
        step.h[...], step.c[...] = h, c
    vectors = _array(net.embedding.embeddings)
    layers = []  # from the output of the last LSTM layer to the logits
    if net.head is not None:
        layers.append((_array(net.head.kernel), _array(net.head.bias)))
    else:
        if net.projection is not None:
            layers.append((_array(net.projection.kernel), _array(net.projection.bias)))
        layers.append((np.ascontiguousarray(vectors.T), _array(net.embedding.bias)))

    def advance(token: int) -> np.ndarray:
        y = vectors[token][None]
        for step in steps:
            y = step(y)
        for kernel, bias in layers:
            y = y @ kernel + bias
        return y[0]

    return advance


def _keras_stepper(net: LanguageNet, states: list[np.ndarray]) -> Step:
    kept = [*states]

    def advance(token: int) -> np.ndarray:
        logits, *kept[:] = net.model.predict_on_batch([np.array([[token]], np.int32), *kept])
        return np.asarray(logits)[0, 0]

    return advance


def _array(variable: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable.value))
