"""`trace`: the gates and states of every step of an LSTM, to look at."""

from __future__ import annotations

from typing import Any

import keras

from longshort.ops import _keras
from longshort.ops._lstm import _Call

Tensor = Any


def trace(**arguments: Any) -> dict[str, Tensor]:
    """Gates `i`, `f`, `g`, `o` and states `c`, `h` of each step, in the order of processing.

    Args:
        **arguments: Those of `longshort.ops.lstm` by name, without those that say what is returned
            and how.

    Returns:
        Arrays (B, T, H), of `h` (B, T, P), in x's type; gates of a masked step are zeros.
    """
    inputs = _Call.of(**arguments).inputs
    names = (inputs.activation, inputs.recurrent_activation)
    return _keras.trace(inputs, *map(keras.activations.get, names))
