"""The sLSTM in NumPy float64, forward and backward, step by step: what every kernel is held to.

Written for reading and for being right. The backward pass is checked by central differences in the
tests. Axes: B batch, T time, D input features, H units, N heads. Gates in the order i, f, c, o.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longshort.ops._slstm_inputs import SLSTMInputs

Array = NDArray[np.float64]
State = tuple[Array, Array, Array, Array]


@dataclass(frozen=True)
class SLSTMOutputs:
    """What the forward pass returns: `hs` (B, T, H), states and each step's saved values.

    `states` are h, c, n and m from before the first step on, each (T + 1, B, H); `gates` is
    (T, 4, B, H) with z_i, z_f, tanh(z_c), o.
    """

    hs: Array
    states: State
    gates: Array

    @property
    def last(self) -> State:
        """h, c, n and m after the last step, each (B, H)."""
        h, c, n, m = (state[-1] for state in self.states)
        return h, c, n, m


def _sigmoid(z: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def _log_forget(z: Array, activation: str) -> Array:
    return z if activation == "exp" else -np.logaddexp(0.0, -z)


def _exponents(z_i: Array, z_f: Array, n: Array, m: Array, activation: str) -> tuple[Array, Array]:
    """Of the memory that is kept, and m after the step. An empty memory (n = 0) weighs nothing."""
    kept = np.where(n == 0.0, z_i, _log_forget(z_f, activation) + m)
    return kept, np.maximum(kept, z_i)


def _arrays(a: SLSTMInputs) -> dict[str, Any]:
    x, recurrent = np.asarray(a.x, np.float64), np.asarray(a.recurrent_kernel, np.float64)
    (B, T, _), (N, size, _) = x.shape, recurrent.shape
    H = N * size

    def filled(value: ArrayLike | None, shape: tuple[int, ...]) -> Array:
        return np.zeros(shape) if value is None else np.asarray(value, np.float64)

    mask = np.ones((B, T), bool) if a.mask is None else np.asarray(a.mask, bool)
    return {
        "x": x[:, ::-1] if a.reverse else x,
        "kernel": np.asarray(a.kernel, np.float64).reshape(-1, 4, H),
        "recurrent": recurrent.reshape(N, size, 4, size),
        "bias": filled(a.bias, (4 * H,)).reshape(4, H),
        "mask": mask[:, ::-1] if a.reverse else mask,
        "state": tuple(filled(s, (B, H)) for s in (a.h0, a.c0, a.n0, a.m0)),
    }


def slstm_forward(inputs: SLSTMInputs) -> SLSTMOutputs:
    """Run the layer; masked steps copy the states."""
    a = _arrays(inputs)
    N, size = a["recurrent"].shape[:2]
    h, c, n, m = a["state"]
    states, gates = [a["state"]], []
    for t in range(a["x"].shape[1]):
        z = np.einsum("bd,dgh->gbh", a["x"][:, t], a["kernel"]) + a["bias"][:, None]
        heads = h.reshape(-1, N, size)
        z += np.einsum("bnk,nkgj->gbnj", heads, a["recurrent"]).reshape(z.shape)
        kept, m_new = _exponents(z[0], z[1], n, m, inputs.forget_activation)
        i, f = np.exp(z[0] - m_new), np.exp(kept - m_new)
        g, o = np.tanh(z[2]), _sigmoid(z[3])
        c_new, n_new = f * c + i * g, f * n + i
        real = a["mask"][:, t, None]
        new = (o * c_new / n_new, c_new, n_new, m_new)
        h, c, n, m = (np.where(real, a, b) for a, b in zip(new, (h, c, n, m), strict=True))
        states.append((h, c, n, m))
        gates.append(np.stack([z[0], z[1], g, o]))
    stacked = tuple(np.stack(s) for s in zip(*states, strict=True))
    return SLSTMOutputs(stacked[0][1:].swapaxes(0, 1), stacked, np.stack(gates))  # type: ignore[arg-type]


def slstm_backward(
    inputs: SLSTMInputs, outputs: SLSTMOutputs, dhs: ArrayLike, dlast: State
) -> dict[str, Array]:
    """Gradients of sum(dhs hs) + the sums of `dlast` times h, c, n and m after the last step.

    Where the two exponents of m are equal, its gradient goes to the input gate's.

    Returns:
        `x`, `kernel`, `recurrent_kernel`, `bias`, `h0`, `c0`, `n0`, `m0`, each of its argument's
        shape.
    """
    a = _arrays(inputs)
    (N, size), T = a["recurrent"].shape[:2], a["x"].shape[1]
    dhs = np.asarray(dhs, np.float64)
    dh, dc, dn, dm = (np.asarray(d, np.float64) for d in dlast)
    dx, dW = np.zeros_like(a["x"]), np.zeros_like(a["kernel"])
    dU, db = np.zeros_like(a["recurrent"]), np.zeros_like(a["bias"])
    for t in reversed(range(T)):
        real = a["mask"][:, t, None]
        z_i, z_f, g, o = outputs.gates[t]
        h_, c_, n_, m_ = (s[t] for s in outputs.states)
        kept, m = _exponents(z_i, z_f, n_, m_, inputs.forget_activation)
        i, f = np.exp(z_i - m), np.exp(kept - m)
        c, n = f * c_ + i * g, f * n_ + i
        dh = dh + dhs[:, t]
        dc_now, dn_now = dc + dh * o / n, dn - dh * o * c / n**2
        di, df = (dc_now * g + dn_now) * i, (dc_now * c_ + dn_now * n_) * f  # of the exponents
        dm_now = dm - di - df
        from_kept = (n_ != 0.0) & (kept > z_i)
        dkept = np.where(n_ == 0.0, 0.0, df + np.where(from_kept, dm_now, 0.0))
        dlog_f = 1.0 if inputs.forget_activation == "exp" else _sigmoid(-z_f)
        dz = np.stack(
            [
                di + np.where(n_ == 0.0, df, 0.0) + np.where(from_kept, 0.0, dm_now),
                dkept * dlog_f,
                dc_now * i * (1 - g**2),
                dh * c / n * o * (1 - o),
            ]
        )
        dz = np.where(real, dz, 0.0)
        dx[:, t] = np.einsum("gbh,dgh->bd", dz, a["kernel"])
        dW += np.einsum("bd,gbh->dgh", a["x"][:, t], dz)
        heads = dz.reshape(4, -1, N, size)
        dU += np.einsum("bnk,gbnj->nkgj", h_.reshape(-1, N, size), heads)
        db += dz.sum(1)
        dh_ = np.einsum("gbnj,nkgj->bnk", heads, a["recurrent"]).reshape(dh.shape)
        before = (dh_, dc_now * f, dn_now * f, dkept)
        dh, dc, dn, dm = (
            np.where(real, b, d) for b, d in zip(before, (dh, dc, dn, dm), strict=True)
        )
    return {
        "x": dx[:, ::-1] if inputs.reverse else dx,
        "kernel": dW.reshape(dW.shape[0], -1),
        "recurrent_kernel": dU.reshape(N, size, -1),
        "bias": db.reshape(-1),
        "h0": dh,
        "c0": dc,
        "n0": dn,
        "m0": dm,
    }
