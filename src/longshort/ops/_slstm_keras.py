"""The sLSTM over a whole sequence in `keras.ops`."""

from __future__ import annotations

from typing import Any

from keras import ops

from longshort.ops._scan import scan_first

Tensor = Any
State = tuple[Tensor, Tensor, Tensor, Tensor]


def slstm(
    x: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    state: State,
    mask: Tensor | None = None,
    forget_activation: str = "sigmoid",
) -> tuple[Tensor, State]:
    """Run an sLSTM over a batch of sequences; `longshort.ops.slstm` has the equations.

    Axes: B batch, T time, D features, H units, N heads.

    Args:
        x: Inputs, shape (B, T, D).
        kernel: W, shape (D, 4H).
        recurrent_kernel: U of each head, shape (N, H/N, 4H/N).
        bias: b, shape (4H,); None: zeros.
        state: h, c, n and m before the first step, each (B, H).
        mask: Booleans, shape (B, T); a False step changes no state and repeats h.
        forget_activation: `"sigmoid"` or `"exp"`.

    Returns:
        h of every step (B, T, H), and the state after the last.
    """
    N, size = recurrent_kernel.shape[:2]
    H = N * size
    z = ops.matmul(x, kernel)
    if bias is not None:
        z = z + bias
    shape = ops.shape(z)
    z = ops.transpose(ops.reshape(z, (*shape[:2], 4, N, size)), (1, 2, 3, 0, 4))  # (T, 4, N, B, .)
    recurrent = ops.transpose(ops.reshape(recurrent_kernel, (N, size, 4, size)), (2, 0, 1, 3))
    steps = [z]
    if mask is not None:
        steps.append(ops.transpose(mask)[:, None, :, None])  # (T, 1, B, 1)

    def step(before: State, now: list[Tensor]) -> State:
        h, c, n, m = before  # (N, B, H/N)
        z_i, z_f, z_c, z_o = ops.unstack(now[0] + ops.matmul(h, recurrent), 4)
        log_f = z_f if forget_activation == "exp" else ops.log_sigmoid(z_f)
        kept = ops.where(n == 0, z_i, log_f + m)
        highest = ops.maximum(kept, z_i)
        i, f = ops.exp(z_i - highest), ops.exp(kept - highest)
        c_new, n_new = f * c + i * ops.tanh(z_c), f * n + i
        after = (ops.sigmoid(z_o) * c_new / n_new, c_new, n_new, highest)
        if mask is not None:
            after = tuple(ops.where(now[1], a, b) for a, b in zip(after, before, strict=True))
        return after

    def split(tensor: Tensor) -> Tensor:
        """(B, H) -> (N, B, H/N)."""
        return ops.transpose(ops.reshape(tensor, (-1, N, size)), (1, 0, 2))

    def join(tensor: Tensor) -> Tensor:
        """(N, B, H/N) -> (B, H)."""
        return ops.reshape(ops.transpose(tensor, (1, 0, 2)), (-1, H))

    hs, last = scan_first(step, tuple(split(s) for s in state), steps)  # type: ignore[arg-type]
    hs = ops.reshape(ops.transpose(hs, (2, 0, 1, 3)), (shape[0], -1, H))
    h, c, n, m = (join(s) for s in last)
    return hs, (h, c, n, m)
