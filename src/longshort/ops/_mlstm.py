"""The matrix memory of the xLSTM in `keras.ops`: step by step, or in chunks of steps at once."""

from __future__ import annotations

from typing import Any

from keras import ops

from longshort.ops._scan import scan_first

Tensor = Any
State = tuple[Tensor, Tensor, Tensor, Tensor]

# In the denominator, as in the authors' code; the paper has no such term.
EPSILON = 1e-6
# exp(-m) is limited to exp(60): beyond, what it divides is below any float's rounding, and its
# gradient would be infinity times zero.
_LARGEST = 60.0


def mlstm(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    i: Tensor,
    log_f: Tensor,
    o: Tensor,
    state: State,
    mask: Tensor | None = None,
    chunk_size: int = 64,
) -> tuple[Tensor, State]:
    """Run the matrix memory over a batch of sequences (Beck et al. 2024, sections 2.3 and A.3).

        m' = max(log f + m, i)                     the largest exponent so far
        C <- exp(log f + m - m') C + exp(i - m') k v^T
        n <- exp(log f + m - m') n + exp(i - m') k
        h <- o * C^T q / (max(|n q|, exp(-m')) + 1e-6)

    Steps inside a chunk are computed at once, as attention with these weights; chunks follow one
    another. `chunk_size=1` is the recurrent form; any other gives the same up to rounding. Work
    grows with T (chunk_size + K) rather than with T^2.

    Axes: B batch, T time, N heads, K units of a key, V units of a value.

    Args:
        q: Queries, shape (B, T, N, K).
        k: Keys, scaled, shape (B, T, N, K).
        v: Values, shape (B, T, N, V).
        i: Logarithms of the input gates, shape (B, T, N).
        log_f: Logarithms of the forget gates, shape (B, T, N).
        o: Output gates, shape (B, T, N, V).
        state: h (B, N, V), C (B, N, K, V), n (B, N, K) and m (B, N) before the first step.
        mask: Booleans, shape (B, T); a False step changes no state and repeats h.
        chunk_size: L, the number of steps in a chunk. Where T is not known (traced by TensorFlow
            for any length), it is 1.

    Returns:
        h of every step (B, T, N, V), and the state after the last.
    """
    steps = q.shape[1]
    length = 1 if steps is None else max(1, min(chunk_size, steps))
    if mask is not None:
        i = ops.where(mask[..., None], i, -float("inf"))  # exp(i) = 0, and f = 1
        log_f = ops.where(mask[..., None], log_f, 0.0)
    padded = 0 if steps is None else -steps % length
    if padded and mask is None:
        mask = ops.ones(ops.shape(q)[:2], "bool")

    def chunks(tensor: Tensor, fill: float = 0.0) -> Tensor:
        """(B, T, N, ...) -> (chunks, B, N, L, ...)."""
        if padded:
            widths = [(0, 0), (0, padded)] + [(0, 0)] * (len(tensor.shape) - 2)
            tensor = ops.pad(tensor, widths, constant_values=fill)
        shape = ops.shape(tensor)
        tensor = ops.reshape(tensor, (shape[0], -1, length, *shape[2:]))
        rest = range(4, len(tensor.shape))
        return ops.transpose(tensor, (1, 0, 3, 2, *rest))

    parts = [chunks(q), chunks(k), chunks(v), chunks(i, -float("inf")), chunks(log_f), chunks(o)]
    if mask is not None:
        # For each step the last step that is not masked, 0 for h before the chunk.
        real = chunks(ops.cast(mask, "int32")[..., None])
        real = real * ops.arange(1, length + 1, dtype="int32")
        before = ops.tril(ops.ones((length, length), "int32"))
        parts.append(ops.max(real[..., None, :] * before, axis=-1))
    causal = ops.tril(ops.ones((length, length), "bool"))

    def chunk(carried: State, now: list[Tensor]) -> State:
        (hs, C, n, m), (q, k, v, i, log_f, o) = carried, now[:6]
        total = ops.cumsum(log_f, axis=-1)  # (B, N, L)
        # The exponent of what step s (last axis) is worth at step t, and of the memory before.
        within = total[..., :, None] - total[..., None, :] + i[..., None, :]
        within = ops.where(causal, within, -float("inf"))
        across = total + m[..., None]
        highest = ops.maximum(ops.max(within, axis=-1), across)  # m of every step
        weights = ops.exp(within - highest[..., None])  # (B, N, L, L)
        old = ops.exp(across - highest)
        scores = ops.matmul(q, ops.swapaxes(k, -1, -2)) * weights
        values = ops.matmul(scores, v) + old[..., None] * ops.matmul(q, C)
        norm = ops.sum(scores, axis=-1) + old * ops.matmul(q, n[..., None])[..., 0]
        least = ops.exp(ops.minimum(-highest, _LARGEST))
        new = o * values / (ops.maximum(ops.abs(norm), least) + EPSILON)[..., None]
        if mask is not None:
            known = ops.concatenate([hs[:, :, -1:], new], axis=2)
            new = ops.take_along_axis(known, now[6][..., None], axis=2)
        weighted = k * weights[:, :, -1, :, None]
        C = old[:, :, -1, None, None] * C + ops.matmul(ops.swapaxes(weighted, -1, -2), v)
        n = old[:, :, -1, None] * n + ops.sum(weighted, axis=-2)
        return new, C, n, highest[:, :, -1]

    h, C, n, m = state
    first = ops.repeat(h[:, :, None], length, axis=2)
    hs, (last, C, n, m) = scan_first(chunk, (first, C, n, m), parts)
    hs = ops.transpose(hs, (1, 0, 3, 2, 4))  # (B, chunks, L, N, V)
    shape = ops.shape(hs)
    hs = ops.reshape(hs, (shape[0], -1, *shape[3:]))
    return (hs[:, :steps] if padded else hs), (last[:, :, -1], C, n, m)
