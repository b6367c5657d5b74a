"""The LSTM in `keras.ops`: any backend, any activation, any float type; slower than the kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from keras import backend, ops

from longshort.ops._inputs import ARRAYS, LSTMInputs
from longshort.ops._keras_noise import dropped

Tensor = Any
Function = Callable[[Tensor], Tensor]
EPSILON = 1e-5  # of layer normalisation


def lstm(
    inputs: LSTMInputs, activation: Function, recurrent_activation: Function
) -> tuple[Tensor, Tensor, Tensor]:
    """`hs` (B, T, P) in the order of processing, the last h (B, P) and c (B, H), in x's type.

    P is H without projection. The products with the inputs of all steps are one; the loop is
    `keras.ops.scan`.
    """
    layer = _Layer(inputs, activation, recurrent_activation)

    def step(state: tuple[Tensor, Tensor], now: dict[str, Tensor]) -> tuple[Any, Any]:
        h, c, _ = layer.step(*state, now)
        # Keras on TensorFlow wants what is stacked to be of the carried state's structure.
        return (h, c), (h, c)

    (h, c), (hs, _) = ops.scan(step, layer.initial(), layer.steps())
    return ops.transpose(hs, (1, 0, 2)), h, c


def trace(
    inputs: LSTMInputs, activation: Function, recurrent_activation: Function
) -> dict[str, Tensor]:
    """Gates i, f, g, o and states c, h of each step, (B, T, H) and h (B, T, P), as processed.

    Gates of a masked step are zeros.
    """
    layer = _Layer(inputs, activation, recurrent_activation)

    def step(state: list[Tensor], now: dict[str, Tensor]) -> tuple[Any, Any]:
        h, c, gates = layer.step(state[-1], state[-2], now)
        if "keep" in now:
            gates = [ops.where(now["keep"], gate, 0.0) for gate in gates]
        return [*gates, c, h], [*gates, c, h]  # of one structure: as in `lstm`

    h, c = layer.initial()
    _, steps = ops.scan(step, [*[ops.zeros_like(c)] * 4, c, h], layer.steps())
    arrays = [ops.transpose(array, (1, 0, 2)) for array in steps]
    return dict(zip(("i", "f", "g", "o", "c", "h"), arrays, strict=True))


class _Layer:
    """A layer at one batch: what all steps share, and the step itself.

    G is the number of gates that are computed: 4 (i, f, c, o), or 3 (f, c, o) where coupled.
    """

    def __init__(
        self, inputs: LSTMInputs, activation: Function, recurrent_activation: Function
    ) -> None:
        x, mask = inputs.x, inputs.mask
        floats = {n: getattr(inputs, n) for n in ARRAYS if n not in ("x", "mask", "noise_key")}
        self.inputs = inputs = replace(
            inputs,
            x=ops.flip(x, axis=1) if inputs.reverse else x,
            mask=ops.flip(mask, axis=1) if inputs.reverse and mask is not None else mask,
            **{n: ops.cast(a, x.dtype) for n, a in floats.items() if a is not None},
        )
        self.activation, self.recurrent_activation = activation, recurrent_activation
        self.gates, self.units = inputs.gates, inputs.units
        self.outputs = inputs.recurrent_kernel.shape[0]
        self.batch = ops.shape(x)[0]
        shape = (self.outputs, self.gates, self.units)
        self.recurrent = ops.transpose(ops.reshape(inputs.recurrent_kernel, shape), (1, 0, 2))
        self.x_dropout, self.h_dropout = (  # without those of i where it has no weights
            None if factors is None else factors[4 - self.gates :]
            for factors in (inputs.x_dropout, inputs.h_dropout)
        )
        self.gains = self.cell_norm = None
        if inputs.norm_gains is not None:
            self.gains = ops.reshape(inputs.norm_gains, (2, self.gates, 1, self.units))
            self.cell_norm = inputs.norm_cell

    def initial(self) -> tuple[Tensor, Tensor]:
        """The h (B, P) and c (B, H) before the first step."""
        states = ((self.inputs.h0, self.outputs), (self.inputs.c0, self.units))
        h, c = (
            ops.zeros((self.batch, size), self.inputs.x.dtype) if state is None else state
            for state, size in states
        )
        return h, c

    def steps(self) -> dict[str, Tensor]:
        """What each step gets, time first: `z` (T, G, B, H), `keep` (T, B, 1), `number` (T, 1)."""
        x, kernel, factors = self.inputs.x, self.inputs.kernel, self.x_dropout
        if factors is None:
            zx = ops.split(ops.matmul(x, kernel), self.gates, axis=-1)
        else:
            columns = ops.split(kernel, self.gates, axis=-1)
            zx = [ops.matmul(x * factors[g][:, None], columns[g]) for g in range(self.gates)]
        z = ops.transpose(ops.stack(zx, axis=0), (2, 0, 1, 3))
        if self.gains is not None:
            z = _normed(z, (1, 3)) * self.gains[0]
        if self.inputs.bias is not None:
            z = z + ops.reshape(self.inputs.bias, (self.gates, 1, self.units))
        steps = {"z": z}
        if self.inputs.mask is not None:
            steps["keep"] = ops.transpose(self.inputs.mask)[..., None]
        if self.inputs.noise_key is not None:
            numbers = ops.arange(ops.shape(x)[1], dtype="int32") + self.inputs.first_step
            steps["number"] = numbers[:, None]
        return steps

    def step(self, h: Tensor, c: Tensor, now: dict[str, Tensor]) -> tuple[Any, Any, list[Tensor]]:
        """The h and c after a step, and its gates i, f, g, o, each (B, H)."""
        left = h if self.h_dropout is None else h * self.h_dropout
        zh = ops.matmul(left, self.recurrent)  # (G, B, H)
        if self.gains is not None:
            zh = _normed(zh, (0, 2)) * self.gains[1]
        z = now["z"] + zh
        z_f, z_c, z_o = z[-3], z[-2], z[-1]
        peephole = self.inputs.peephole
        f = self.recurrent_activation(z_f if peephole is None else z_f + peephole[-2] * c)
        if self.inputs.coupled:
            i = 1.0 - f
        else:
            i = self.recurrent_activation(z[0] if peephole is None else z[0] + peephole[0] * c)
        g = self.activation(z_c)
        rate = self.inputs.update_dropout
        if rate and self.inputs.noise_key is not None:
            g = ops.where(self._dropped(2, rate, now), 0.0, g / (1.0 - rate))
        c_new = f * c + i * g
        if self.inputs.cell_clip is not None:
            c_new = ops.clip(c_new, -self.inputs.cell_clip, self.inputs.cell_clip)
        o = self.recurrent_activation(z_o if peephole is None else z_o + peephole[-1] * c_new)
        seen = c_new
        if self.cell_norm is not None:
            seen = _normed(c_new, (1,)) * self.cell_norm[0] + self.cell_norm[1]
        h_new = o * self.activation(seen)
        if self.inputs.projection is not None:
            h_new = ops.matmul(h_new, self.inputs.projection)
        h_new = self._zoneout(0, h, h_new, now)
        c_new = self._zoneout(1, c, c_new, now)
        if "keep" in now:
            h_new, c_new = ops.where(now["keep"], h_new, h), ops.where(now["keep"], c_new, c)
        return h_new, c_new, [i, f, g, o]

    def _zoneout(self, which: int, old: Tensor, new: Tensor, now: dict[str, Tensor]) -> Tensor:
        rate = self.inputs.zoneout[which]
        if not rate:
            return new
        if self.inputs.noise_key is None:
            return rate * old + (1.0 - rate) * new
        return ops.where(self._dropped(which, rate, now), old, new)

    def _dropped(self, stream: int, rate: float, now: dict[str, Tensor]) -> Tensor:
        units = self.units if stream else self.outputs
        key = self.inputs.noise_key
        return dropped(key, stream, now["number"], self.batch, units, rate)


def _normed(v: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Mean 0 and variance 1 over `axes` (Ba et al. 2016); 16-bit floats are summed in float32."""
    dtype = v.dtype
    if backend.standardize_dtype(dtype) in ("float16", "bfloat16"):
        v = ops.cast(v, "float32")
    mean = ops.mean(v, axis=axes, keepdims=True)
    centred = v - mean
    variance = ops.mean(ops.square(centred), axis=axes, keepdims=True)
    return ops.cast(centred * ops.rsqrt(variance + EPSILON), dtype)
