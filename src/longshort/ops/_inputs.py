"""The arguments of one LSTM layer over a whole sequence, as every path takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from longshort._errors import DataError

# What is an array (the rest are settings), in the order of the fields.
ARRAYS = (
    "x kernel recurrent_kernel bias mask h0 c0 x_dropout h_dropout "
    "peephole projection norm_gains norm_cell noise_key"
).split()


@dataclass(frozen=True)
class LSTMInputs:
    """Arguments of one LSTM layer over a whole sequence; `longshort.ops.lstm` has the equations.

    Axes: B batch, T time, D features, H units; h has P values, H without a projection. There are
    G = 4 gates i, f, c, o with weights of their own, or 3 (f, c, o) where they are coupled.

    Args:
        x: Inputs, shape (B, T, D).
        kernel: Input weights, shape (D, G H).
        recurrent_kernel: Recurrent weights, shape (P, G H).
        bias: Shape (G H,); None: zeros.
        mask: Booleans, shape (B, T), False = skip the step; None: no step is skipped.
        h0: Initial h, shape (B, P); None: zeros.
        c0: Initial c, shape (B, H); None: zeros.
        x_dropout: Factors on x for each of i, f, c, o, shape (4, B, D), the same at every step.
        h_dropout: Factors on h where it enters each of i, f, c, o, shape (4, B, P).
        reverse: Process the sequence from its end; outputs are in the order of processing.
        bfloat16: Round the factors of products to bfloat16 where the CPU can multiply them.
        peephole: Weights from c to the gates i, f, o, shape (3, H); f, o if coupled, (2, H).
        coupled: i = 1 - f. The factors of i in `x_dropout` and `h_dropout` are then not used.
        projection: Weights from the cell to h, shape (H, P).
        norm_gains: Layer norm's gains of x W and of h U, shape (2, G H).
        norm_cell: Layer norm's gain and bias of c on its way to h, shape (2, H).
        activation: Name of the function for g and for c on its way to h.
        recurrent_activation: Name of the function for i, f and o.
        cell_clip: c is kept within [-cell_clip, cell_clip].
        zoneout: Rates at which a value of h, of c keeps that of the step before.
        update_dropout: Rate at which a value of g is dropped at a step.
        noise_key: Two uint32, the key of this call's noise; None: zoneout by expectation, no
            update dropout, as outside training.
        first_step: Steps processed before this call, of a sequence that is cut into several.
        zero_masked: h of a masked step is 0 in the output, and not that of the step before; of two
            directions together, which the kernels alone run.
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
    peephole: Any = None
    coupled: bool = False
    projection: Any = None
    norm_gains: Any = None
    norm_cell: Any = None
    activation: Any = "tanh"
    recurrent_activation: Any = "sigmoid"
    cell_clip: float | None = None
    zoneout: tuple[float, float] = (0.0, 0.0)
    update_dropout: float = 0.0
    noise_key: Any = None
    first_step: Any = 0
    zero_masked: bool = False

    @property
    def units(self) -> int:
        """H, the values of c."""
        return shape_of(self.recurrent_kernel if self.projection is None else self.projection)[0]

    @property
    def gates(self) -> int:
        """G, the gates with weights of their own."""
        return 3 if self.coupled else 4

    def check(self) -> None:
        """Compare all shapes with one another (the kernels read memory by them), and the rates.

        Raises:
            DataError: Shapes that do not fit, all in one message; a rate out of its range.
        """
        self._check_settings()
        shapes = {
            name: shape_of(value) for name in ARRAYS if (value := getattr(self, name)) is not None
        }
        ranks = {"x": 3, "kernel": 2, "recurrent_kernel": 2}
        if self.projection is not None:
            ranks["projection"] = 2
        for name, rank in ranks.items():
            if len(shapes.get(name, ())) != rank:
                axes = "(batch, time, features)" if rank == 3 else "two axes"
                got = shapes.get(name, "None")
                raise DataError(f"lstm: expected {name} of shape {axes}, got {got}.")
        (B, T, D), P, H, G = shapes["x"], shapes["recurrent_kernel"][0], self.units, self.gates
        if not (D and H and P):
            raise DataError(f"lstm: expected at least one feature and one unit, got {D} and {H}.")
        expected = {
            "kernel": (D, G * H),
            "recurrent_kernel": (P, G * H),
            "bias": (G * H,),
            "mask": (B, T),
            "h0": (B, P),
            "c0": (B, H),
            "x_dropout": (4, B, D),
            "h_dropout": (4, B, P),
            "peephole": (G - 1, H),
            "projection": (H, P),
            "norm_gains": (2, G * H),
            "norm_cell": (2, H),
            "noise_key": (2,),
        }
        faults = [
            f"{name} of shape {wanted}, got {shapes[name]}"
            for name, wanted in expected.items()
            if name in shapes and not fits(shapes[name], wanted)
        ]
        if faults:
            given = f"x of shape {shapes['x']}" + (" and coupled gates" if self.coupled else "")
            raise DataError(f"lstm: for {given} expected {'; '.join(faults)}.")

    def _check_settings(self) -> None:
        if (self.norm_gains is None) != (self.norm_cell is None):
            raise DataError("lstm: expected norm_gains and norm_cell both, or neither.")
        if self.cell_clip is not None and not self.cell_clip > 0:
            raise DataError(f"lstm: expected a cell_clip above 0 or None, got {self.cell_clip}.")
        if len(self.zoneout) != 2 or not all(0 <= rate <= 1 for rate in self.zoneout):
            raise DataError(
                "lstm: expected zoneout as two rates from 0 to 1, of h and of c, got "
                f"{self.zoneout}."
            )
        if not 0 <= self.update_dropout < 1:
            raise DataError(
                f"lstm: expected an update_dropout from 0 to below 1, got {self.update_dropout}."
            )


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of an array of any framework, or of nested lists."""
    return tuple(value.shape if hasattr(value, "shape") else np.shape(value))


def fits(shape: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    """Whether two shapes agree where both are known (None: not known while tracing)."""
    return len(shape) == len(wanted) and all(
        a == b or a is None or b is None for a, b in zip(shape, wanted, strict=True)
    )


def check_directions(function: str, forward: Any, backward: Any, arrays: list[str]) -> None:
    """Compare what two directions that run side by side must have in common.

    Args:
        function: Its name, for messages.
        forward: The arguments of one direction, a dataclass.
        backward: Those of the other.
        arrays: Names of those that are arrays, of which both or neither must be given.

    Raises:
        DataError: Settings that differ, other than `reverse` and `first_step`, or absent arrays.
    """
    pairs = [(name, value, getattr(backward, name)) for name, value in vars(forward).items()]
    different = [
        name
        for name, a, b in pairs
        if name not in ("reverse", "first_step")
        and ((a is None) != (b is None) or (name not in arrays and a != b))
    ]
    if different:
        raise DataError(
            f"{function}: expected the same settings in both directions, and the same arrays "
            f"given, got others for {', '.join(different)}."
        )
