"""The GRU in NumPy float64, forward and backward, step by step: what every kernel is held to.

Written for reading and for being right, not for speed. The backward pass is checked by central
differences in the tests. `longshort.ops.gru` has the equations.

Axes: B batch, T time, D input features, H units. The columns lie in the order z, r, h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from longshort.ops._gru_inputs import GRUInputs
from longshort.ops._reference import ACTIVATIONS, Array


class _Layer:
    """Every argument in float64 and in the order of processing, defaults filled in."""

    def __init__(self, inputs: GRUInputs) -> None:
        x = np.asarray(inputs.x, np.float64)
        (B, T, D), H = x.shape, np.shape(inputs.recurrent_kernel)[0]

        def filled(value: ArrayLike | None, shape: tuple[int, ...], fill: float) -> Array:
            return np.full(shape, fill) if value is None else np.asarray(value, np.float64)

        mask = filled(inputs.mask, (B, T), 1.0).astype(bool)
        self.x = x[:, ::-1] if inputs.reverse else x
        self.mask = mask[:, ::-1] if inputs.reverse else mask
        self.kernel = np.asarray(inputs.kernel, np.float64).reshape(D, 3, H)
        self.recurrent = np.asarray(inputs.recurrent_kernel, np.float64).reshape(H, 3, H)
        bias = filled(inputs.bias, (2, 3 * H) if inputs.reset_after else (3 * H,), 0.0)
        bias = bias if inputs.reset_after else np.stack([bias, np.zeros_like(bias)])
        self.bias = bias.reshape(2, 3, 1, H)
        self.h0 = filled(inputs.h0, (B, H), 0.0)
        self.x_dropout = filled(inputs.x_dropout, (3, B, D), 1.0)
        self.h_dropout = filled(inputs.h_dropout, (3, B, H), 1.0)
        self.after = inputs.reset_after
        self.A, self.dA = ACTIVATIONS[inputs.activation]
        self.R, self.dR = ACTIVATIONS[inputs.recurrent_activation]


@dataclass
class _Step:
    """What the backward pass needs of a step; all (B, H) unless said."""

    keep: Array  # (B, 1), whether the step is real
    h_before: Array
    z: Array
    r: Array
    scaled: Array  # what r scales: h U + b, or h
    g: Array  # the candidate


@dataclass(frozen=True)
class GRUOutputs:
    """`hs` (B, T, H), the last h (B, H), and what the backward pass needs."""

    hs: Array
    h_last: Array
    steps: list[_Step]


def gru_forward(inputs: GRUInputs) -> GRUOutputs:
    """Run the layer; masked steps copy h."""
    a = _Layer(inputs)
    h, hs, steps = a.h0, [], []
    for s in range(a.x.shape[1]):
        keep = a.mask[:, s, None]
        of_x = np.einsum("gbd,dgh->gbh", a.x[:, s] * a.x_dropout, a.kernel) + a.bias[0]
        left = h * a.h_dropout
        of_h = np.einsum("gbk,kgh->gbh", left[:2], a.recurrent[:, :2]) + a.bias[1, :2]
        z, r = a.R(of_x[:2] + of_h)
        if a.after:
            scaled = left[2] @ a.recurrent[:, 2] + a.bias[1, 2]
            g = a.A(of_x[2] + r * scaled)
        else:
            scaled = left[2]
            g = a.A(of_x[2] + (r * scaled) @ a.recurrent[:, 2])
        steps.append(_Step(keep, h, z, r, scaled, g))
        h = np.where(keep, z * h + (1 - z) * g, h)
        hs.append(h)
    return GRUOutputs(np.stack(hs, 1), h, steps)


def gru_backward(
    inputs: GRUInputs, outputs: GRUOutputs, dhs: ArrayLike, dh_last: ArrayLike
) -> dict[str, Array]:
    """Gradients of sum(dhs hs) + sum(dh_last h_last).

    Returns:
        `x`, `kernel`, `recurrent_kernel`, `bias`, `h0`, each of its argument's shape.
    """
    a = _Layer(inputs)
    dhs, dh = np.asarray(dhs, np.float64), np.asarray(dh_last, np.float64)
    dx, dW, dU, db = (np.zeros_like(v) for v in (a.x, a.kernel, a.recurrent, a.bias))
    for s in reversed(range(len(outputs.steps))):
        step = outputs.steps[s]
        h_, z, r, g = step.h_before, step.z, step.r, step.g
        left = h_ * a.h_dropout
        dh = dh + dhs[:, s]
        now = np.where(step.keep, dh, 0.0)
        dh = dh - now + now * z
        dz = now * (h_ - g) * a.dR(z)
        dg = now * (1 - z) * a.dA(g)
        if a.after:
            dscaled = dg * r
            dr = dg * step.scaled * a.dR(r)
            dU[:, 2] += left[2].T @ dscaled
            db[1, 2] += dscaled.sum(0)
            dleft = dscaled @ a.recurrent[:, 2].T
        else:
            dproduct = dg @ a.recurrent[:, 2].T
            dU[:, 2] += (r * step.scaled).T @ dg
            dr = dproduct * step.scaled * a.dR(r)
            dleft = dproduct * r
        dgates = np.stack([dz, dr])
        dU[:, :2] += np.einsum("gbk,gbh->kgh", left[:2], dgates)
        db[1, :2] += dgates.sum(1, keepdims=True)
        dh = dh + dleft * a.h_dropout[2]
        dh = dh + np.einsum("gbh,kgh,gbk->bk", dgates, a.recurrent[:, :2], a.h_dropout[:2])
        dcolumns = np.stack([dz, dr, dg])
        dW += np.einsum("gbd,gbh->dgh", a.x[:, s] * a.x_dropout, dcolumns)
        db[0] += dcolumns.sum(1, keepdims=True)
        dx[:, s] = np.einsum("gbh,dgh,gbd->bd", dcolumns, a.kernel, a.x_dropout)
    dbias = db.reshape(2, -1)
    return {
        "x": dx[:, ::-1] if inputs.reverse else dx,
        "kernel": dW.reshape(len(dW), -1),
        "recurrent_kernel": dU.reshape(len(dU), -1),
        "bias": dbias if a.after else dbias[0],
        "h0": dh,
    }
