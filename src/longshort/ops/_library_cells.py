"""The kernels of the GRU and of the sLSTM called from NumPy, for tests and without a framework."""

from __future__ import annotations

from typing import Any

import numpy as np

from longshort.ops._gru_inputs import GRUInputs
from longshort.ops._inputs import LSTMInputs
from longshort.ops._library import call, call_layers, layer_of, saved_sizes
from longshort.ops._slstm_inputs import SLSTMInputs

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
    made = _backward(inputs.tile(np), outputs, dhs=dhs, dh_last=dh_last)
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


def _backward(layer: LSTMInputs, outputs: Arrays, **arriving: Any) -> Arrays:
    """Gradients of a layer as it lies in the tile."""
    (B, T, D), H = np.shape(layer.x), layer.units
    arriving["dhs"] = _turned(layer, arriving["dhs"])
    arriving = {name: np.ascontiguousarray(value, np.float32) for name, value in arriving.items()}
    saved = {name: outputs[name] for name in ("gates", "cells")}
    made = _empty(dz=outputs["gates"].shape, dh0=(B, H), dc0=outputs["c_last"].shape)
    call("backward", layer, "gru", **saved, **arriving, **made)
    dz = made["dz"]
    weights = _empty(dkernel=(D, 4 * H), drecurrent=(H, 4 * H), dbias=4 * H)
    call("weight_gradient", layer, "gru", hs=_turned(layer, outputs["hs"]), dz=dz, **weights)
    dx = _empty(dx=(B, T, D))["dx"]
    call("input_gradient", layer, "gru", dz=dz, dx=dx)
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


def slstm_forward(inputs: SLSTMInputs, *, training: bool = True) -> Arrays:
    """The forward pass: `hs`, `h_last` and `c_last` (c, n, m), each with a leading axis of heads.

    In training also what is saved.

    Raises:
        KernelError: The library is missing or refuses the call.
    """
    heads = _heads(inputs)
    (B, T, _), (N, size) = np.shape(inputs.x), np.shape(inputs.recurrent_kernel)[:2]
    out = _empty(hs=(N, B, T, size), h_last=(N, B, size), c_last=(N, 3, B, size))
    if training:
        gates, cells = saved_sizes(B, T, size, 3)
        out |= _empty(gates=(N, gates), cells=(N, cells))
    _call_heads("forward", inputs, heads, **out)
    return out


def slstm_backward(
    inputs: SLSTMInputs, outputs: Arrays, dhs: np.ndarray, dlast: tuple[np.ndarray, ...]
) -> Arrays:
    """The backward passes; names and shapes as in the reference. `dhs` is in the order of time."""
    heads = _heads(inputs)
    (B, T, D), (N, size) = np.shape(inputs.x), np.shape(inputs.recurrent_kernel)[:2]

    def apart(array: np.ndarray) -> np.ndarray:
        """(B, ..., H) -> (N, B, ..., H/N)."""
        array = np.asarray(array, np.float32)
        return np.ascontiguousarray(np.moveaxis(array.reshape(*array.shape[:-1], N, size), -2, 0))

    def joined(array: np.ndarray) -> np.ndarray:
        return np.moveaxis(array, 0, -2).reshape(*array.shape[1:-1], -1)

    arriving = {"dhs": apart(dhs), "dh_last": apart(dlast[0])}
    arriving["dc_last"] = np.stack([apart(d) for d in dlast[1:]], 1)
    saved = {name: outputs[name] for name in ("gates", "cells")}
    made = _empty(dz=outputs["gates"].shape, dh0=(N, B, size), dc0=(N, 3, B, size))
    _call_heads("backward", inputs, heads, **saved, **arriving, **made)
    dz = made["dz"]
    weights = _empty(dkernel=(N, D, 4 * size), drecurrent=(N, size, 4 * size), dbias=(N, 4 * size))
    _call_heads("weight_gradient", inputs, heads, hs=outputs["hs"], dz=dz, **weights)
    dx = _empty(dx=(N, B, T, D))["dx"]
    _call_heads("input_gradient", inputs, heads, dz=dz, dx=dx)
    of_columns = {
        name: joined(weights[f"d{name}"].reshape(N, -1, 4, size)).reshape(-1, 4 * N * size)
        for name in ("kernel", "bias")
    }
    return {
        "x": dx.sum(0),
        "kernel": of_columns["kernel"],
        "recurrent_kernel": weights["drecurrent"],
        "bias": of_columns["bias"][0],
        "h0": joined(made["dh0"]),
        **{f"{name}0": joined(made["dc0"][:, i]) for i, name in enumerate("cnm")},
    }


def _heads(inputs: SLSTMInputs) -> list[LSTMInputs]:
    arrays = inputs.heads(np)
    shared = {name: getattr(inputs, name) for name in ("x", "mask", "reverse", "bfloat16")}
    heads: list[dict[str, Any]] = [
        {name: None if value is None else value[n] for name, value in arrays.items()}
        for n in range(len(arrays["kernel"]))
    ]
    return [LSTMInputs(**shared, **head) for head in heads]


def _call_heads(
    function: str, inputs: SLSTMInputs, heads: list[LSTMInputs], **arrays: np.ndarray
) -> None:
    """Call one kernel for all heads; the arrays have a leading axis of heads."""
    exp_forget = inputs.forget_activation == "exp"
    call_layers(
        function,
        [
            layer_of(head, "slstm", exp_forget, **{k: v[n] for k, v in arrays.items()})
            for n, head in enumerate(heads)
        ],
    )
