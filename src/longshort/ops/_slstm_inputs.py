"""The arguments of one sLSTM layer over a whole sequence, and how its heads lie in the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from longshort._errors import DataError
from longshort.ops._inputs import fits, shape_of

STATES = ("h0", "c0", "n0", "m0")
# What is an array (the rest are settings), in the order of the fields.
ARRAYS = ("x", "kernel", "recurrent_kernel", "bias", "mask", *STATES)


@dataclass(frozen=True)
class SLSTMInputs:
    """Arguments of one sLSTM layer over a whole sequence; `longshort.ops.slstm` has the equations.

    Axes: B batch, T time, D features, H units, N heads. Gates in the order i, f, c, o.

    Args:
        x: Inputs, shape (B, T, D).
        kernel: Input weights, shape (D, 4H).
        recurrent_kernel: Recurrent weights of each head, shape (N, H/N, 4H/N).
        bias: Shape (4H,); None: zeros.
        mask: Booleans, shape (B, T), False = skip the step; None: no step is skipped.
        h0: Initial h, shape (B, H); None: zeros. So c0, n0 and m0.
        forget_activation: `"sigmoid"` or `"exp"`.
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
    n0: Any = None
    m0: Any = None
    forget_activation: str = "sigmoid"
    reverse: bool = False
    bfloat16: bool = False

    def check(self) -> None:
        """Compare all shapes with one another; the kernels read memory by them.

        Raises:
            DataError: Shapes that do not fit, all in one message; another forget activation.
        """
        if self.forget_activation not in ("sigmoid", "exp"):
            raise DataError(
                "slstm: expected forget_activation 'sigmoid' or 'exp', got "
                f"{self.forget_activation!r}."
            )
        shapes = {
            name: shape_of(value) for name in ARRAYS if (value := getattr(self, name)) is not None
        }
        axes = {
            "x": "(batch, time, features)",
            "kernel": "(features, 4 units)",
            "recurrent_kernel": "(heads, units of a head, 4 units of a head)",
        }
        for name, wanted in axes.items():
            got = shapes.get(name, ())
            if len(got) != wanted.count(",") + 1:
                raise DataError(f"slstm: expected {name} of shape {wanted}, got {got or None}.")
        (B, T, D), (N, size, _) = shapes["x"], shapes["recurrent_kernel"]
        H = N * size
        if not (D and H):
            raise DataError(f"slstm: expected at least one feature and one unit, got {D} and {H}.")
        expected = {
            "kernel": (D, 4 * H),
            "recurrent_kernel": (N, size, 4 * size),
            "bias": (4 * H,),
            "mask": (B, T),
            **dict.fromkeys(STATES, (B, H)),
        }
        faults = [
            f"{name} of shape {wanted}, got {shapes[name]}"
            for name, wanted in expected.items()
            if name in shapes and not fits(shapes[name], wanted)
        ]
        if faults:
            given = f"x of shape {shapes['x']} and {N} heads"
            raise DataError(f"slstm: for {given} expected {'; '.join(faults)}.")

    def heads(self, xp: Any) -> dict[str, Any]:
        """The arrays of each head, which is a layer of its own over the same x.

        Args:
            xp: NumPy or `jax.numpy`.

        Returns:
            `kernel` (N, D, 4H/N), `recurrent_kernel` (N, H/N, 4H/N), `bias` (N, 4H/N), `h0` (N, B,
            H/N) and `c0` (N, 3, B, H/N), the states c, n and m; None where there is none.
        """
        N, size = shape_of(self.recurrent_kernel)[:2]
        B, _, D = shape_of(self.x)
        kernel = xp.asarray(self.kernel).reshape(D, 4, N, size)
        bias = None if self.bias is None else xp.asarray(self.bias).reshape(4, N, size)
        states: list[Any] = [
            None if (s := getattr(self, name)) is None else xp.asarray(s).reshape(B, N, size)
            for name in STATES
        ]
        c0 = None
        if any(state is not None for state in states[1:]):
            nothing = xp.zeros((B, N, size))
            c0 = xp.stack([nothing if state is None else state for state in states[1:]])
        return {
            "kernel": kernel.transpose(2, 0, 1, 3).reshape(N, D, 4 * size),
            "recurrent_kernel": xp.asarray(self.recurrent_kernel),
            "bias": None if bias is None else bias.transpose(1, 0, 2).reshape(N, 4 * size),
            "h0": None if states[0] is None else states[0].transpose(1, 0, 2),
            "c0": None if c0 is None else c0.transpose(2, 0, 1, 3),
        }
