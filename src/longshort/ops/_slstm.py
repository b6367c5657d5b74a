"""`slstm`: one sLSTM layer over a whole sequence, on the fastest path that can take the call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from longshort._errors import DataError
from longshort.ops import _slstm_keras
from longshort.ops._paths import checked_path, checked_sequences, choose_path
from longshort.ops._rounding import rounds
from longshort.ops._slstm_inputs import STATES, SLSTMInputs

Tensor = Any
State = tuple[Tensor, Tensor, Tensor, Tensor]


def slstm(
    x: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    initial_state: Sequence[Tensor] | None = None,
    forget_activation: str = "sigmoid",
    reverse: bool = False,
    return_sequences: bool = True,
    path: str = "auto",
) -> tuple[Tensor | None, State]:
    """Run an sLSTM layer over a batch of sequences (Beck et al. 2024, sections 2.2 and A.2).

        z  = x W + h U + b        columns i, f, c, o; U within each head
        k  = log f(z_f) + m, or z_i where n = 0: nothing is kept yet
        m  <- max(k, z_i)         the largest exponent so far, so that exp stays within range
        c  <- exp(k - m) c + exp(z_i - m) tanh(z_c)
        n  <- exp(k - m) n + exp(z_i - m)
        h  <- sigmoid(z_o) c / n

    The kernels have all of it: both forget activations, masks, states, gradients of all arguments
    and states. h depends on m by rounding alone, so on the kernels no gradient passes through m
    unless the last c, n or m are themselves what is differentiated.

    Axes: B batch, T time, D features, H units, N heads. Types and bfloat16 as in
    `longshort.ops.lstm`, but that states are in float32 at least.

    Args:
        x: Inputs, shape (B, T, D).
        kernel: W, shape (D, 4H).
        recurrent_kernel: U of each head, shape (N, H/N, 4H/N).
        bias: b, shape (4H,). Default: zeros.
        mask: Booleans, shape (B, T); a False step changes no state and repeats h. Default: all
            True.
        initial_state: h, c, n and m before the first step, each (B, H). Default: zeros.
        forget_activation: `"sigmoid"` or `"exp"`.
        reverse: Process the sequences from the end; outputs are in the order of processing.
        return_sequences: Whether h of every step is wanted.
        path: As in `longshort.ops.lstm`.

    Returns:
        h of every step (B, T, H) in x's type, or None, and the state after the last: h, c, n, m.

    Raises:
        DataError: Shapes that do not fit one another, another forget activation, a mask that is not
            boolean, or a `path` that cannot take the call.
        KernelError: Differentiating twice on the kernel path.

    >>> x, W, U = np.ones((2, 5, 3), "float32"), np.ones((3, 16)), np.zeros((2, 2, 8))
    >>> hs, (h, c, n, m) = longshort.ops.slstm(x, W, U)
    >>> hs.shape, n.shape
    ((2, 5, 4), (2, 4))
    """
    x, mask, dtype = checked_sequences(x, mask, "SLSTM")
    state = (None,) * 4 if initial_state is None else tuple(initial_state)
    if len(state) != 4:
        raise DataError(f"slstm: expected initial_state as h, c, n, m, got {len(state)} tensors.")
    inputs = SLSTMInputs(
        x,
        kernel,
        recurrent_kernel,
        bias,
        mask,
        **dict(zip(STATES, state, strict=True)),
        forget_activation=forget_activation,
        reverse=reverse,
        bfloat16=rounds(dtype),
    )
    inputs.check()
    if checked_path("SLSTM", path, choose_path(dtype=dtype)) == "kernel":
        from longshort.ops import _jax

        hs, last = _jax.run_slstm(inputs, return_sequences)
    else:
        hs, last = _in_keras(inputs, "float64" if dtype == "float64" else "float32")
    return ops.cast(hs, dtype) if return_sequences else None, last


def _in_keras(a: SLSTMInputs, dtype: str) -> tuple[Tensor, State]:
    N, size = a.recurrent_kernel.shape[:2]
    zeros = ops.zeros((ops.shape(a.x)[0], N * size), dtype)
    state = [getattr(a, name) for name in STATES]
    x, mask = ops.cast(a.x, dtype), a.mask
    if a.reverse:
        x, mask = ops.flip(x, axis=1), None if mask is None else ops.flip(mask, axis=1)
    h, c, n, m = (zeros if s is None else ops.cast(s, dtype) for s in state)
    return _slstm_keras.slstm(
        x,
        ops.cast(a.kernel, dtype),
        ops.cast(a.recurrent_kernel, dtype),
        None if a.bias is None else ops.cast(a.bias, dtype),
        (h, c, n, m),
        mask,
        a.forget_activation,
    )
