"""The kernels of the GRU called from NumPy, for tests and without a framework."""

from __future__ import annotations

from typing import Any

import numpy as np

from longshort.ops._gru_inputs import GRUInputs
from longshort.ops._inputs import LSTMInputs
from longshort.ops._library import call, saved_sizes

Arrays = dict[str, np.ndarray]


def gru_forward(inputs: GRUInputs, *, training: bool = True) -> Arrays:
    """The forward pass: `hs`, `h_last`; in training also what is saved.

    Raises:
        KernelError: The library is missing or refuses the call.
    """
    layer = inputs.tile(np)
    (B, T, _), H = np.shape(layer.x), layer.units
    out = _empty(hs=(B, T, H), h_last=(B, H), c_last=(B, H))
    if training:
        gates, cells = saved_sizes(B, T, H)
        out |= _empty(gates=gates, cells=cells)
    call("forward", layer, "gru", **out)
    return out | {"hs": _turned(layer, out["hs"])}


def gru_backward(
    inputs: GRUInputs, outputs: Arrays, dhs: np.ndarray, dh_last: np.ndarray
) -> Arrays:
    """The backward passes; names and shapes as in the reference."""
    made = _backward(inputs.tile(np), "gru", outputs, dhs=dhs, dh_last=dh_last)
    H = outputs["h_last"].shape[1]
    dU, db = made["recurrent_kernel"], made["bias"]
    of_x, of_h = db[: 3 * H], np.concatenate([db[: 2 * H], db[3 * H :]])
    return {
        "x": made["x"],
        "kernel": made["kernel"][:, : 3 * H],
        "recurrent_kernel": np.concatenate([dU[:, : 2 * H], dU[:, 3 * H :]], 1),
        "bias": np.stack([of_x, of_h]),
        "h0": made["h0"] + made["c0"],
    }


def _backward(
    layer: LSTMInputs, cell: str, outputs: Arrays, exp_forget: bool = False, **arriving: Any
) -> Arrays:
    """Gradients of a layer as it lies in the tile."""
    (B, T, D), H = np.shape(layer.x), layer.units
    arriving["dhs"] = _turned(layer, arriving["dhs"])
    arriving = {name: np.ascontiguousarray(value, np.float32) for name, value in arriving.items()}
    saved = {name: outputs[name] for name in ("gates", "cells")}
    made = _empty(dz=outputs["gates"].shape, dh0=(B, H), dc0=outputs["c_last"].shape)
    how = {"cell": cell, "exp_forget": exp_forget}
    call("backward", layer, **how, **saved, **arriving, **made)
    dz = made["dz"]
    weights = _empty(dkernel=(D, 4 * H), drecurrent=(H, 4 * H), dbias=4 * H)
    call("weight_gradient", layer, **how, hs=_turned(layer, outputs["hs"]), dz=dz, **weights)
    dx = _empty(dx=(B, T, D))["dx"]
    call("input_gradient", layer, **how, dz=dz, dx=dx)
    return {
        "x": dx,
        "kernel": weights["dkernel"],
        "recurrent_kernel": weights["drecurrent"],
        "bias": weights["dbias"],
        "h0": made["dh0"],
        "c0": made["dc0"],
    }


def _turned(layer: LSTMInputs, array: Any) -> Any:
    """From the order of processing to that of time, which the kernels keep, or back."""
    array = np.asarray(array, np.float32)
    return np.ascontiguousarray(array[:, ::-1]) if layer.reverse else array


def _empty(**shapes: Any) -> Arrays:
    return {name: np.empty(shape, np.float32) for name, shape in shapes.items()}
