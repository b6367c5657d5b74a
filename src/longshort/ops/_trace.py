"""`trace`: the gates and states of every step of an LSTM, to look at."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from longshort.ops import _keras
from longshort.ops._lstm import _Call
from longshort.ops._paths import checked_path

Tensor = Any


def trace(*, path: str = "auto", **arguments: Any) -> dict[str, Tensor]:
    """Gates `i`, `f`, `g`, `o` and states `c`, `h` of each step, in the order of processing.

    Args:
        path: As in `longshort.ops.lstm`. Only `keras` has derivatives.
        **arguments: Those of `longshort.ops.lstm` by name, without those that say what is returned
            and how.

    Returns:
        Arrays (B, T, H), of `h` (B, T, P), in x's type; gates of a masked step are zeros.
    """
    call = _Call.of(**arguments)
    inputs = call.inputs
    if checked_path("LSTM", path, call.path()) == "keras":
        names = (inputs.activation, inputs.recurrent_activation)
        return _keras.trace(inputs, *map(keras.activations.get, names))
    from longshort.ops import _jax

    return {name: ops.cast(value, call.dtype) for name, value in _jax.trace(inputs).items()}
