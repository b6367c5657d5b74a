"""The arguments of one LSTM layer over a whole sequence, as every path takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
