"""`scan_first`: a loop over time that keeps one tensor of each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Tensor = Any


def scan_first(
    step: Callable[[tuple[Tensor, ...], Any], tuple[Tensor, ...]],
    initial: tuple[Tensor, ...],
    steps: Any,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Carry a state through steps; the first tensor of each step's state, stacked, and the last.

    Args:
        step: The new state from the state and what belongs to the step.
        initial: The state before the first step.
        steps: Tensors, in any structure, whose first axis is the steps.

    >>> longshort.ops._scan.scan_first(lambda s, x: (s[0] + x,), (np.float32(0),), np.ones(3, "f4"))
    (Array([1., 2., 3.], dtype=float32), (Array(3., dtype=float32),))
    """
    if keras.backend.backend() == "tensorflow":
        # Keras' own loop there stacks only what is of the structure of the state.
        last, stacked = ops.scan(lambda s, x: (step(s, x),) * 2, initial, steps)
        return stacked[0], last

    def first(state: tuple[Tensor, ...], now: Any) -> tuple[tuple[Tensor, ...], Tensor]:
        state = step(state, now)
        return state, state[0]

    last, stacked = ops.scan(first, initial, steps)
    return stacked, last
