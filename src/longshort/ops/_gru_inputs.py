"""The arguments of one GRU layer over a whole sequence, and how they lie in the kernels' tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from longshort._errors import DataError
from longshort.ops._inputs import LSTMInputs, fits, shape_of

# What is an array (the rest are settings), in the order of the fields.
ARRAYS = "x kernel recurrent_kernel bias mask h0 x_dropout h_dropout".split()


@dataclass(frozen=True)
class GRUInputs:
    """Arguments of one GRU layer over a whole sequence; `longshort.ops.gru` has the equations.

    Axes: B batch, T time, D features, H units. The columns lie in Keras' order z, r, h.

    Args:
        x: Inputs, shape (B, T, D).
        kernel: Input weights, shape (D, 3H).
        recurrent_kernel: Recurrent weights, shape (H, 3H).
        bias: Shape (2, 3H), of x and of h, or (3H,) without `reset_after`; None: zeros.
        mask: Booleans, shape (B, T), False = skip the step; None: no step is skipped.
        h0: Initial h, shape (B, H); None: zeros.
        x_dropout: Factors on x for each of z, r, h, shape (3, B, D), the same at every step.
        h_dropout: Factors on h where it enters each of z, r, h, shape (3, B, H).
        reverse: Process the sequence from its end; outputs are in the order of processing.
        bfloat16: Round the factors of products to bfloat16 where the CPU can multiply them.
        reset_after: Whether r scales what h adds to the candidate, or h before the product.
        activation: Name of the function for the candidate.
        recurrent_activation: Name of the function for z and r.
    """

    x: Any
    kernel: Any
    recurrent_kernel: Any
    bias: Any = None
    mask: Any = None
    h0: Any = None
    x_dropout: Any = None
    h_dropout: Any = None
    reverse: bool = False
    bfloat16: bool = False
    reset_after: bool = True
    activation: Any = "tanh"
    recurrent_activation: Any = "sigmoid"

    def check(self) -> None:
        """Compare all shapes with one another; the kernels read memory by them.

        Raises:
            DataError: Shapes that do not fit, all in one message.
        """
        shapes = {
            name: shape_of(value) for name in ARRAYS if (value := getattr(self, name)) is not None
        }
        for name, rank in {"x": 3, "kernel": 2, "recurrent_kernel": 2}.items():
            if len(shapes.get(name, ())) != rank:
                axes = "(batch, time, features)" if rank == 3 else "two axes"
                got = shapes.get(name, "None")
                raise DataError(f"gru: expected {name} of shape {axes}, got {got}.")
        (B, T, D), H = shapes["x"], shapes["recurrent_kernel"][0]
        if not (D and H):
            raise DataError(f"gru: expected at least one feature and one unit, got {D} and {H}.")
        expected = {
            "kernel": (D, 3 * H),
            "recurrent_kernel": (H, 3 * H),
            "bias": (2, 3 * H) if self.reset_after else (3 * H,),
            "mask": (B, T),
            "h0": (B, H),
            "x_dropout": (3, B, D),
            "h_dropout": (3, B, H),
        }
        faults = [
            f"{name} of shape {wanted}, got {shapes[name]}"
            for name, wanted in expected.items()
            if name in shapes and not fits(shapes[name], wanted)
        ]
        if faults:
            given = f"x of shape {shapes['x']}" + (", reset_after" if self.reset_after else "")
            raise DataError(f"gru: for {given} expected {'; '.join(faults)}.")

    def tile(self, xp: Any) -> LSTMInputs:
        """With the four columns z, r, what x adds to the candidate, what h adds; and h as c.

        Args:
            xp: NumPy or `jax.numpy`.
        """
        H = shape_of(self.recurrent_kernel)[0]

        def apart(array: Any, of_x: bool, axis: int) -> Any:
            """Zeros where x, or h, adds nothing."""
            if array is None:
                return None
            gates, candidate = xp.split(xp.asarray(array), [2 * array.shape[axis] // 3], axis)
            nothing = xp.zeros_like(candidate)
            parts = (gates, candidate, nothing) if of_x else (gates, nothing, candidate)
            return xp.concatenate(parts, axis)

        bias = None
        if self.bias is not None:
            b = xp.asarray(self.bias)
            bias = xp.concatenate([b[0, : 2 * H] + b[1, : 2 * H], b[0, 2 * H :], b[1, 2 * H :]])
        return LSTMInputs(
            self.x,
            apart(self.kernel, True, 1),
            apart(self.recurrent_kernel, False, 1),
            bias,
            self.mask,
            self.h0,
            self.h0,
            apart(self.x_dropout, True, 0),
            apart(self.h_dropout, False, 0),
            self.reverse,
            self.bfloat16,
            activation=self.activation,
            recurrent_activation=self.recurrent_activation,
        )
