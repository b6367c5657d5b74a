"""A step of Adam on all weights at once: the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from longshort.ops._handlers import register

Tensor = Any


class AdamNumbers(NamedTuple):
    """What is the same at all steps; `clip`: the largest norm of all gradients, 0: any."""

    beta_1: float
    beta_2: float
    epsilon: float
    clip: float


def adam_step(
    rate: Tensor, arrays: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]], numbers: AdamNumbers
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return new weights, m and v for each array's gradient, weights, m and v, all float32.

    Args:
        rate: The learning rate with the step's correction of m and v, a number.
        arrays: Of a model, in any order.
        numbers: See there.
    """
    import jax
    import numpy as np

    register("adam")
    results = [jax.ShapeDtypeStruct(each.shape, each.dtype) for some in arrays for each in some[1:]]
    # In place: results lie where weights, m and v lay. The rate comes first.
    places = {1 + 4 * i + 1 + j: 3 * i + j for i in range(len(arrays)) for j in range(3)}
    call = jax.ffi.ffi_call(
        "longshort_adam", results, vmap_method="sequential", input_output_aliases=places
    )
    words = {name: np.float64(value) for name, value in numbers._asdict().items()}
    made = call(rate.reshape(1), *(each for some in arrays for each in some), **words)
    return [(made[i], made[i + 1], made[i + 2]) for i in range(0, len(made), 3)]
