"""The arguments of one LSTM layer over a whole sequence, as every path takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from longshort._errors import DataError


@dataclass(frozen=True)
class LSTMInputs:
    """Arguments of one LSTM layer over a whole sequence.

    Args:
        x: Inputs, shape (B, T, D).
        kernel: Input weights, shape (D, 4H).
        recurrent_kernel: Recurrent weights, shape (H, 4H).
        bias: Shape (4H,); None: zeros.
        mask: Booleans, shape (B, T), False = skip the step; None: no step is skipped.
        h0: Initial h, shape (B, H); None: zeros.
        c0: Initial c, shape (B, H); None: zeros.
        x_dropout: Factors on x for each gate, shape (4, B, D), the same at every step.
        h_dropout: Factors on h for each gate where it enters the gates, shape (4, B, H).
        reverse: Process the sequence from its end; outputs are in the order of processing.
        bfloat16: Round the factors of products to bfloat16 where the CPU can multiply them.
    """

    x: Any
    kernel: Any
    recurrent_kernel: Any
    bias: Any = None
    mask: Any = None
    h0: Any = None
    c0: Any = None
    x_dropout: Any = None
    h_dropout: Any = None
    reverse: bool = False
    bfloat16: bool = False

    def check(self) -> None:
        """Compare all shapes with one another; the kernels read memory by them.

        Raises:
            DataError: Shapes that do not fit, all in one message.
        """
        shapes = {
            name: tuple(getattr(value, "shape", np.shape(value)))
            for name, value in vars(self).items()
            if name not in ("reverse", "bfloat16") and value is not None
        }
        for name, rank in (("x", 3), ("kernel", 2), ("recurrent_kernel", 2)):
            if len(shapes.get(name, ())) != rank:
                axes = "(batch, time, features)" if rank == 3 else "two axes"
                got = shapes.get(name, "None")
                raise DataError(f"lstm: expected {name} of shape {axes}, got {got}.")
        (B, T, D), H = shapes["x"], shapes["recurrent_kernel"][0]
        if not (D and H):
            raise DataError(f"lstm: expected at least one feature and one unit, got {D} and {H}.")
        expected = {
            "kernel": (D, 4 * H),
            "recurrent_kernel": (H, 4 * H),
            "bias": (4 * H,),
            "mask": (B, T),
            "h0": (B, H),
            "c0": (B, H),
            "x_dropout": (4, B, D),
            "h_dropout": (4, B, H),
        }
        faults = [
            f"{name} of shape {wanted}, got {shapes[name]}"
            for name, wanted in expected.items()
            if name in shapes and not fits(shapes[name], wanted)
        ]
        if faults:
            raise DataError(f"lstm: for x of shape {shapes['x']} expected {'; '.join(faults)}.")


def fits(shape: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    """Whether two shapes agree where both are known (None: not known while tracing)."""
    return len(shape) == len(wanted) and all(
        a == b or a is None or b is None for a, b in zip(shape, wanted, strict=True)
    )
