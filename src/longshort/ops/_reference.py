"""The LSTM in NumPy float64, forward and backward, step by step: what every kernel is held to.

Written for reading and for being right, not for speed. The backward pass is checked by central
differences in the tests.

Axes: B batch, T time, D input features, H units. Gates lie in the order i, f, c, o.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longshort.ops._inputs import LSTMInputs

Array = NDArray[np.float64]


def _sigmoid(z: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def _arrays(inputs: LSTMInputs) -> dict[str, Any]:
    """Every argument in float64 and in the order of processing, defaults filled in."""
    x = np.asarray(inputs.x, np.float64)
    recurrent = np.asarray(inputs.recurrent_kernel, np.float64)
    (B, T, D), H = x.shape, recurrent.shape[0]

    def filled(value: ArrayLike | None, shape: tuple[int, ...], fill: float) -> Array:
        return np.full(shape, fill) if value is None else np.asarray(value, np.float64)

    mask = np.ones((B, T), bool) if inputs.mask is None else np.asarray(inputs.mask, bool)
    return {
        "x": x[:, ::-1] if inputs.reverse else x,
        "kernel": np.asarray(inputs.kernel, np.float64).reshape(D, 4, H),
        "recurrent": recurrent.reshape(H, 4, H),
        "bias": filled(inputs.bias, (4 * H,), 0.0).reshape(4, H),
        "mask": mask[:, ::-1] if inputs.reverse else mask,
        "h0": filled(inputs.h0, (B, H), 0.0),
        "c0": filled(inputs.c0, (B, H), 0.0),
        "x_dropout": filled(inputs.x_dropout, (4, B, D), 1.0),
        "h_dropout": filled(inputs.h_dropout, (4, B, H), 1.0),
    }


@dataclass(frozen=True)
class LSTMOutputs:
    """What the forward pass returns: `hs` (B, T, H), last states (B, H), each step's saved values.

    `gates` is (T, 4, B, H) with i, f, tanh(z_c), o; `cells` is (T + 1, B, H) from c0 on.
    """

    hs: Array
    h_last: Array
    c_last: Array
    gates: Array
    cells: Array


def lstm_forward(inputs: LSTMInputs) -> LSTMOutputs:
    """Run the layer: z = x W + h U + b, c = f c + i g, h = o tanh(c); masked steps copy h and c."""
    a = _arrays(inputs)
    h, c = a["h0"], a["c0"]
    hs, gates, cells = [], [], [c]
    for t in range(a["x"].shape[1]):
        z = np.einsum("gbd,dgh->gbh", a["x"][:, t] * a["x_dropout"], a["kernel"])
        z += np.einsum("gbk,kgh->gbh", h * a["h_dropout"], a["recurrent"])
        z += a["bias"][:, None]
        i, f, g, o = _sigmoid(z[0]), _sigmoid(z[1]), np.tanh(z[2]), _sigmoid(z[3])
        keep = a["mask"][:, t, None]
        c_new = f * c + i * g
        h = np.where(keep, o * np.tanh(c_new), h)
        c = np.where(keep, c_new, c)
        hs.append(h)
        gates.append(np.stack([i, f, g, o]))
        cells.append(c)
    return LSTMOutputs(np.stack(hs, 1), h, c, np.stack(gates), np.stack(cells))


def lstm_backward(
    inputs: LSTMInputs, outputs: LSTMOutputs, dhs: ArrayLike, dh_last: ArrayLike, dc_last: ArrayLike
) -> dict[str, Array]:
    """Gradients of sum(dhs hs) + sum(dh_last h_last) + sum(dc_last c_last).

    Returns:
        `x`, `kernel`, `recurrent_kernel`, `bias`, `h0`, `c0`, each of its argument's shape.
    """
    a = _arrays(inputs)
    T, H = a["x"].shape[1], a["recurrent"].shape[0]
    dhs = np.asarray(dhs, np.float64)
    dh, dc = np.asarray(dh_last, np.float64), np.asarray(dc_last, np.float64)
    dx, dW = np.zeros_like(a["x"]), np.zeros_like(a["kernel"])
    dU, db = np.zeros_like(a["recurrent"]), np.zeros_like(a["bias"])
    for t in reversed(range(T)):
        keep = a["mask"][:, t, None]
        i, f, g, o = outputs.gates[t]
        c_prev, tanh_c = outputs.cells[t], np.tanh(outputs.cells[t + 1])
        h_prev = outputs.hs[:, t - 1] if t else a["h0"]
        dh = dh + dhs[:, t]
        dc_step = dc + dh * o * (1 - tanh_c**2)
        dz = np.stack(
            [
                dc_step * g * i * (1 - i),
                dc_step * c_prev * f * (1 - f),
                dc_step * i * (1 - g**2),
                dh * tanh_c * o * (1 - o),
            ]
        )
        dz = np.where(keep, dz, 0.0)
        dx[:, t] = np.einsum("gbh,dgh,gbd->bd", dz, a["kernel"], a["x_dropout"])
        dW += np.einsum("gbd,gbh->dgh", a["x"][:, t] * a["x_dropout"], dz)
        dU += np.einsum("gbk,gbh->kgh", h_prev * a["h_dropout"], dz)
        db += dz.sum(1)
        dh_prev = np.einsum("gbh,kgh,gbk->bk", dz, a["recurrent"], a["h_dropout"])
        dh = np.where(keep, dh_prev, dh)
        dc = np.where(keep, dc_step * f, dc)
    return {
        "x": dx[:, ::-1] if inputs.reverse else dx,
        "kernel": dW.reshape(-1, 4 * H),
        "recurrent_kernel": dU.reshape(H, 4 * H),
        "bias": db.reshape(4 * H),
        "h0": dh,
        "c0": dc,
    }
