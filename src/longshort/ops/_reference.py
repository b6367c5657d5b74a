"""The LSTM in NumPy float64, forward and backward, step by step: what every kernel is held to.

Written for reading and for being right, not for speed. The backward pass is checked by central
differences in the tests. `longshort.ops.lstm` has the equations of all options.

Axes: B batch, T time, D input features, H units, P values of h (H without a projection). The G
gates with weights of their own lie in the order i, f, c, o; without i where they are coupled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longshort.ops import _noise
from longshort.ops._inputs import LSTMInputs

Array = NDArray[np.float64]

# Each function, and its derivative from its value.
ACTIVATIONS: dict[str, Any] = {
    "tanh": (np.tanh, lambda y: 1 - y**2),
    "relu": (lambda z: np.maximum(z, 0), lambda y: 1.0 * (y > 0)),
    "softsign": (lambda z: z / (1 + np.abs(z)), lambda y: (1 - np.abs(y)) ** 2),
    "linear": (lambda z: z, np.ones_like),
    "sigmoid": (lambda z: 0.5 * (1 + np.tanh(0.5 * z)), lambda y: y * (1 - y)),
    "hard_sigmoid": (lambda z: np.clip(z / 6 + 0.5, 0, 1), lambda y: ((0 < y) & (y < 1)) / 6),
}
_EPSILON = 1e-5  # of layer norm


class _Norm(NamedTuple):
    """Layer norm over the last axis (Ba et al. 2016): `gain` times `normed`."""

    normed: Array
    deviation: Array
    gain: Array

    @staticmethod
    def of(v: Array, gain: Array) -> _Norm:
        deviation = np.sqrt(v.var(-1, keepdims=True) + _EPSILON)
        return _Norm((v - v.mean(-1, keepdims=True)) / deviation, deviation, gain)

    @property
    def value(self) -> Array:
        return self.normed * self.gain

    def backward(self, d: Array) -> tuple[Array, Array]:
        """The gradients of what was normalised and of the gain."""
        dn = d * self.gain
        means = dn.mean(-1, keepdims=True) + self.normed * (dn * self.normed).mean(
            -1, keepdims=True
        )
        return (dn - means) / self.deviation, (d * self.normed).sum(0)


class _Layer:
    """Every argument in float64 and in the order of processing, defaults filled in."""

    def __init__(self, inputs: LSTMInputs) -> None:
        x = np.asarray(inputs.x, np.float64)
        (B, T, D), G, H = x.shape, inputs.gates, inputs.units
        P = np.shape(inputs.recurrent_kernel)[0]

        def filled(value: ArrayLike | None, shape: tuple[int, ...], fill: float) -> Array:
            return np.full(shape, fill) if value is None else np.asarray(value, np.float64)

        mask = filled(inputs.mask, (B, T), 1.0).astype(bool)
        self.G, self.H = G, H
        self.x = x[:, ::-1] if inputs.reverse else x
        self.mask = mask[:, ::-1] if inputs.reverse else mask
        self.kernel = np.asarray(inputs.kernel, np.float64).reshape(D, G, H)
        self.recurrent = np.asarray(inputs.recurrent_kernel, np.float64).reshape(P, G, H)
        self.bias = filled(inputs.bias, (G * H,), 0.0)
        self.h0, self.c0 = filled(inputs.h0, (B, P), 0.0), filled(inputs.c0, (B, H), 0.0)
        self.x_dropout = filled(inputs.x_dropout, (4, B, D), 1.0)[4 - G :]
        self.h_dropout = filled(inputs.h_dropout, (4, B, P), 1.0)[4 - G :]
        self.peephole = filled(inputs.peephole, (G - 1, H), 0.0)
        optional: list[Any] = [inputs.projection, inputs.norm_gains, inputs.norm_cell]
        optional = [None if value is None else np.asarray(value, np.float64) for value in optional]
        self.projection, self.gains, self.norm_cell = optional
        self.coupled = inputs.coupled
        self.clip = np.inf if inputs.cell_clip is None else inputs.cell_clip
        self.A, self.dA = ACTIVATIONS[inputs.activation]
        self.R, self.dR = ACTIVATIONS[inputs.recurrent_activation]
        self.inputs = inputs

    def noise(self, s: int) -> tuple[Any, Any, Any]:
        """Of a step: how much of h and of c stays what it was, and the factors on the update."""
        a, step = self.inputs, s + self.inputs.first_step
        if a.noise_key is None:
            return *a.zoneout, 1.0

        def dropped(stream: int, width: int, rate: float) -> Array:
            return 1.0 * _noise.dropped(a.noise_key, stream, step, (len(self.c0), width), rate)

        stays_h = dropped(_noise.ZONEOUT_H, self.h0.shape[1], a.zoneout[0])
        stays_c = dropped(_noise.ZONEOUT_C, self.H, a.zoneout[1])
        lost = dropped(_noise.UPDATE, self.H, a.update_dropout)
        return stays_h, stays_c, (1 - lost) / (1 - a.update_dropout)

    def product(self, left: Array, factors: Array, weights: Array) -> Array:
        """Left (B, K) with each gate's factors (G, B, K), times weights (K, G, H): (B, G H)."""
        return np.einsum("gbk,kgh->bgh", left * factors, weights).reshape(len(left), -1)

    def product_backward(
        self, dv: Array, left: Array, factors: Array, weights: Array
    ) -> tuple[Array, Array]:
        """The gradients of `left` and of `weights`."""
        d = dv.reshape(len(left), self.G, self.H)
        dleft = np.einsum("bgh,kgh,gbk->bk", d, weights, factors)
        return dleft, np.einsum("gbk,bgh->kgh", left * factors, d)


@dataclass
class _Step:
    """What the backward pass needs of a step; all (B, H) unless said."""

    keep: Array  # (B, 1), whether the step is real
    h_before: Array  # (B, P)
    c_before: Array
    stays: tuple[Any, Any, Any]  # `_Layer.noise`
    norms: Any  # (of x W, of h U, of c) or None
    i: Array
    f: Array
    g: Array  # before update dropout
    o: Array
    unclipped: Array
    c_new: Array  # before zoneout
    out: Array  # A(norm_c(c_new))


@dataclass(frozen=True)
class LSTMOutputs:
    """`hs` (B, T, P), the last h (B, P) and c (B, H), and what the backward pass needs."""

    hs: Array
    h_last: Array
    c_last: Array
    steps: list[_Step]


def lstm_forward(inputs: LSTMInputs) -> LSTMOutputs:
    """Run the layer; masked steps copy h and c."""
    a = _Layer(inputs)
    h, c = a.h0, a.c0
    hs, steps = [], []
    for s in range(a.x.shape[1]):
        keep = a.mask[:, s, None]
        zx = a.product(a.x[:, s], a.x_dropout, a.kernel)
        zh = a.product(h, a.h_dropout, a.recurrent)
        norms: Any = None
        if a.gains is not None:
            norms = _Norm.of(zx, a.gains[0]), _Norm.of(zh, a.gains[1])
            zx, zh = (norm.value for norm in norms)
        z = np.split(zx + zh + a.bias, a.G, axis=1)
        f, g = a.R(z[-3] + a.peephole[-2] * c), a.A(z[-2])
        i = 1 - f if a.coupled else a.R(z[0] + a.peephole[0] * c)
        stays = stays_h, stays_c, factors = a.noise(s)
        unclipped = f * c + i * (g * factors)
        c_new = np.clip(unclipped, -a.clip, a.clip)
        o = a.R(z[-1] + a.peephole[-1] * c_new)
        if norms is None:
            out = a.A(c_new)
        else:
            norms = *norms, _Norm.of(c_new, a.norm_cell[0])
            out = a.A(norms[2].value + a.norm_cell[1])
        steps.append(_Step(keep, h, c, stays, norms, i, f, g, o, unclipped, c_new, out))
        h_new = o * out if a.projection is None else (o * out) @ a.projection
        h = np.where(keep, stays_h * h + (1 - stays_h) * h_new, h)
        c = np.where(keep, stays_c * c + (1 - stays_c) * c_new, c)
        hs.append(np.where(keep, h, 0.0) if inputs.zero_masked else h)
    return LSTMOutputs(np.stack(hs, 1), h, c, steps)


def lstm_backward(
    inputs: LSTMInputs, outputs: LSTMOutputs, dhs: ArrayLike, dh_last: ArrayLike, dc_last: ArrayLike
) -> dict[str, Array]:
    """Gradients of sum(dhs hs) + sum(dh_last h_last) + sum(dc_last c_last).

    Returns:
        `x`, `kernel`, `recurrent_kernel`, `bias`, `h0`, `c0`, and those of `peephole`,
        `projection`, `norm_gains`, `norm_cell` that were given, each of its argument's shape.
    """
    a = _Layer(inputs)
    dhs = np.asarray(dhs, np.float64)
    dh, dc = np.asarray(dh_last, np.float64), np.asarray(dc_last, np.float64)
    dx, dW, dU = (np.zeros_like(v) for v in (a.x, a.kernel, a.recurrent))
    db = np.zeros_like(a.bias)
    own: dict[str, Any] = {}  # gradients of what only some variants have
    for name, value in (
        ("peephole", None if inputs.peephole is None else a.peephole),
        ("projection", a.projection),
        ("norm_gains", a.gains),
        ("norm_cell", a.norm_cell),
    ):
        if value is not None:
            own[name] = np.zeros_like(value)
    for s in reversed(range(len(outputs.steps))):
        step = outputs.steps[s]
        c_, (stays_h, stays_c, factors) = step.c_before, step.stays
        dh = dh + (np.where(step.keep, dhs[:, s], 0.0) if inputs.zero_masked else dhs[:, s])
        dh_now, dc_now = (np.where(step.keep, d, 0.0) for d in (dh, dc))
        dh, dc = dh - dh_now + dh_now * stays_h, dc - dc_now + dc_now * stays_c

        dm = dh_now = dh_now * (1 - stays_h)
        if a.projection is not None:
            own["projection"] += (step.o * step.out).T @ dh_now
            dm = dh_now @ a.projection.T
        dout = dm * step.o * a.dA(step.out)
        if step.norms is not None:
            dbias = dout.sum(0)
            dout, dgain = step.norms[2].backward(dout)
            own["norm_cell"] += dgain, dbias
        dz_o = dm * step.out * a.dR(step.o)
        dc_now = dc_now * (1 - stays_c) + dout + dz_o * a.peephole[-1]
        dc_now = dc_now * (np.abs(step.unclipped) <= a.clip)
        df, di = dc_now * c_, dc_now * step.g * factors
        dz_c = dc_now * step.i * factors * a.dA(step.g)
        dz_f = (df - di if a.coupled else df) * a.dR(step.f)
        dc = dc + dc_now * step.f + dz_f * a.peephole[-2]
        dz, peeped = [dz_f, dz_c, dz_o], [dz_f * c_, dz_o * step.c_new]
        if not a.coupled:
            dz_i = di * a.dR(step.i)
            dc = dc + dz_i * a.peephole[0]
            dz, peeped = [dz_i, *dz], [dz_i * c_, *peeped]
        if "peephole" in own:
            own["peephole"] += np.sum(peeped, 1)

        dzx = dzh = np.concatenate(dz, 1)
        db += dzx.sum(0)
        if step.norms is not None:
            dzx, dgain_x = step.norms[0].backward(dzx)
            dzh, dgain_h = step.norms[1].backward(dzh)
            own["norm_gains"] += dgain_x, dgain_h
        dx[:, s], more = a.product_backward(dzx, a.x[:, s], a.x_dropout, a.kernel)
        dW += more
        dh_before, more = a.product_backward(dzh, step.h_before, a.h_dropout, a.recurrent)
        dU += more
        dh = dh + dh_before
    return {
        "x": dx[:, ::-1] if inputs.reverse else dx,
        "kernel": dW.reshape(len(dW), -1),
        "recurrent_kernel": dU.reshape(len(dU), -1),
        "bias": db,
        "h0": dh,
        "c0": dc,
        **own,
    }
