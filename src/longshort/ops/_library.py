"""The kernel library: found, loaded and set up with ctypes. No framework is needed here.

Environment variables, read once at load:
    LONGSHORT_ISA: `amx`, `avx512_bf16`, `avx512`, `avx2`, `neon` or `portable` instead of the best
        that the CPU has.
    LONGSHORT_NUM_THREADS: threads of a call, instead of the CPUs the process may use: those that
        its affinity and its control group (a container's limit, rounded up) allow.
    LONGSHORT_LIBRARY: a library file instead of the installed one, to test another build.

`LONGSHORT_KEEP_PAGES` is read at `import longshort` (`_pages.py`).
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from longshort._errors import KernelError
from longshort.ops._cpus import cgroup_limit
from longshort.ops._inputs import LSTMInputs

UNIT_BLOCK = 16  # `gates` and `cells` are for units rounded up to this; kernels/lstm.h

_NAMES = ("liblongshort_kernels.so", "liblongshort_kernels.dylib")
_DIMENSIONS = ("batch", "time", "features", "units", "outputs")
_POINTERS = (
    "x kernel recurrent bias mask h0 c0 x_dropout h_dropout peephole projection "
    "norm_gain norm_cell noise hs h_last c_last gates cells products statistics outs "
    "trace_i trace_f trace_g trace_o trace_c dhs dh_last dc_last dz dprojected dh0 dc0 dpeephole "
    "dz_x dnorm_gain dnorm_cell dkernel drecurrent dbias dx"
).split()

# What the kernels take, by their numbers in kernels/lstm.h.
ACTIVATIONS = ("tanh", "relu", "softsign", "linear")
RECURRENT_ACTIVATIONS = ("sigmoid", "hard_sigmoid")
CELLS = ("lstm", "gru", "slstm")
STATES = (1, 1, 3)  # of each, beside h


class _Call(ctypes.Structure):
    """`struct longshort_lstm` of kernels/lstm.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in (*_DIMENSIONS, "hs_stride")),
        ("reverse", ctypes.c_int32),
        *((name, ctypes.c_int32) for name in ("bfloat16", "zero_masked")),
        *((name, ctypes.c_int32) for name in ("cell", "exp_forget")),
        *((name, ctypes.c_int32) for name in ("coupled", "activation", "recurrent_activation")),
        ("cell_clip", ctypes.c_float),
        *((name, ctypes.c_double) for name in ("zoneout_h", "zoneout_c", "update_dropout")),
        *((name, ctypes.c_void_p) for name in _POINTERS),
    ]


@functools.cache
def load() -> ctypes.CDLL | None:
    """The library, or None where the package was installed without a C++ compiler.

    Raises:
        KernelError: An environment variable asks for what is not there.
    """
    found = _file()
    if found is None:
        return None
    library = ctypes.CDLL(str(found))
    for name in ("forward", "backward", "weight_gradient", "input_gradient"):
        function = getattr(library, f"longshort_lstm_{name}")
        function.restype, function.argtypes = ctypes.c_char_p, [ctypes.POINTER(_Call), ctypes.c_int]
    for name, argument in (("isa", ctypes.c_char_p), ("num_threads", ctypes.c_int)):
        setter = getattr(library, f"longshort_set_{name}")
        setter.restype, setter.argtypes = ctypes.c_char_p, [argument]
    library.longshort_isa.restype = ctypes.c_char_p
    for name in ("pack", "run"):
        function = getattr(library, f"longshort_step_{name}")
        function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    library.longshort_step_size.restype = ctypes.c_int64
    library.longshort_step_size.argtypes = [ctypes.c_void_p]
    _configure(library)
    return library


def _file() -> Path | None:
    if named := os.environ.get("LONGSHORT_LIBRARY"):
        if not Path(named).is_file():
            raise KernelError(f"LONGSHORT_LIBRARY={named}: no such file.")
        return Path(named)
    package = sys.modules["longshort"]
    files = [Path(folder) / name for folder in package.__path__ for name in _NAMES]
    return next((file for file in files if file.exists()), None)


def _configure(library: ctypes.CDLL) -> None:
    isa, threads = os.environ.get("LONGSHORT_ISA"), os.environ.get("LONGSHORT_NUM_THREADS")
    if isa and (error := library.longshort_set_isa(isa.encode())):
        raise KernelError(
            f"LONGSHORT_ISA={isa}: {error.decode()}. Choose amx, avx512_bf16, avx512, "
            "avx2, neon or portable, or unset it."
        )
    if threads:
        number = int(threads) if threads.isdecimal() else 0
        if error := library.longshort_set_num_threads(number):
            raise KernelError(f"LONGSHORT_NUM_THREADS={threads}: {error.decode()}.")
    elif limit := cgroup_limit():
        library.longshort_set_num_threads(min(library.longshort_num_threads(), limit))


def required() -> ctypes.CDLL:
    """The library.

    Raises:
        KernelError: It is missing.
    """
    library = load()
    if library is None:
        raise KernelError(
            "The kernel library is missing: longshort was installed without a C++ compiler. "
            "Install GCC or Clang and run pip install again."
        )
    return library


def isa() -> str:
    """The instruction set in use: `amx`, `avx512_bf16`, `avx512`, `avx2`, `neon`, `portable`."""
    return required().longshort_isa().decode()


def set_isa(name: str | None) -> None:
    """Choose an instruction set by name; None goes back to the best.

    Raises:
        KernelError: The name is unknown or the CPU lacks it.
    """
    if error := required().longshort_set_isa(None if name is None else name.encode()):
        raise KernelError(f"Instruction set {name!r}: {error.decode()}.")


def num_threads() -> int:
    """Threads that a kernel call uses at most.

    At first the CPUs that the process may use, or `LONGSHORT_NUM_THREADS`.
    """
    return required().longshort_num_threads()


def set_num_threads(n: int) -> None:
    """Set the threads that a kernel call uses at most; results do not depend on it.

    Calls at the same time, from several threads, share them. Calls under way keep theirs.

    >>> before = longshort.num_threads()
    >>> longshort.set_num_threads(3)
    >>> longshort.num_threads()
    3
    >>> longshort.set_num_threads(before)

    Raises:
        KernelError: `n` is not from 1 to 256.
    """
    if error := required().longshort_set_num_threads(int(n)):
        raise KernelError(f"set_num_threads({n}): {error.decode()}.")


def settings(inputs: LSTMInputs, cell: str = "lstm", exp_forget: bool = False) -> dict[str, Any]:
    """The settings of a layer, and which cell it is, as the kernels take them."""
    zoneout_h, zoneout_c = inputs.zoneout
    return {
        "zero_masked": bool(inputs.zero_masked),
        "cell": CELLS.index(cell),
        "exp_forget": bool(exp_forget),
        "coupled": bool(inputs.coupled),
        "activation": ACTIVATIONS.index(inputs.activation),
        "recurrent_activation": RECURRENT_ACTIVATIONS.index(inputs.recurrent_activation),
        "cell_clip": float(inputs.cell_clip or 0.0),
        "zoneout_h": float(zoneout_h),
        "zoneout_c": float(zoneout_c),
        "update_dropout": float(inputs.update_dropout),
    }


def call(
    function: str,
    inputs: LSTMInputs,
    cell: str = "lstm",
    exp_forget: bool = False,
    /,
    **arrays: Any,
) -> None:
    """Call one kernel; inputs as float32, `arrays` as they are (outputs are written in place).

    Raises:
        KernelError: The library is missing or refuses the call.
    """
    call_layers(function, [layer_of(inputs, cell, exp_forget, **arrays)])


def call_layers(function: str, layers: list[tuple[_Call, Any]]) -> None:
    """Call one kernel for several layers, side by side; see `layer_of`.

    Raises:
        KernelError: The library is missing or refuses the call.
    """
    calls = (_Call * len(layers))(*(layer for layer, _ in layers))
    if error := getattr(required(), f"longshort_lstm_{function}")(calls, len(layers)):
        raise KernelError(error.decode())


def layer_of(
    inputs: LSTMInputs, cell: str, exp_forget: bool = False, /, **arrays: Any
) -> tuple[_Call, Any]:
    """A layer of a call, and the arrays that must live as long; arguments as in `call`."""
    names = "x kernel bias h0 c0 x_dropout h_dropout peephole projection norm_cell".split()
    given: dict[str, Any] = {name: getattr(inputs, name) for name in names}
    given |= {"recurrent": inputs.recurrent_kernel, "norm_gain": inputs.norm_gains}
    B, T, D = np.shape(inputs.x)
    kept = {k: np.ascontiguousarray(v, np.float32) for k, v in given.items() if v is not None}
    if inputs.mask is not None:
        kept["mask"] = np.ascontiguousarray(inputs.mask, np.bool_)
    if inputs.noise_key is not None:
        kept["noise"] = np.array([*inputs.noise_key, inputs.first_step], np.uint32)
    kept.update({k: v for k, v in arrays.items() if v is not None})
    outputs, units = kept["recurrent"].shape[0], inputs.units
    layer = _Call(B, T, D, units, outputs, outputs, inputs.reverse, inputs.bfloat16)
    for name, value in settings(inputs, cell, exp_forget).items():
        setattr(layer, name, value)
    for name, array in kept.items():
        setattr(layer, name, array.ctypes.data)
    return layer, kept


def saved_sizes(batch: int, time: int, units: int, states: int = 1) -> tuple[int, int]:
    """Elements of `gates` (and `dz`) and of `cells`, which the forward pass saves."""
    cells = -(-units // UNIT_BLOCK) * UNIT_BLOCK * time * batch
    return 4 * cells, states * cells


def _with_gate_i(inputs: LSTMInputs) -> LSTMInputs:
    """With columns of zeros for the gate i where it is coupled: the kernels lay out four gates."""
    if not inputs.coupled:
        return inputs

    def padded(array: Any, blocks: int) -> Any:
        if array is None:
            return None
        parts = np.asarray(array, np.float32).reshape(*np.shape(array)[:-1], blocks, inputs.units)
        zeros = np.zeros_like(parts[..., :1, :])
        return np.concatenate([zeros, parts], -2).reshape(*np.shape(array)[:-1], -1)

    peephole = inputs.peephole
    return replace(
        inputs,
        kernel=padded(inputs.kernel, 3),
        recurrent_kernel=padded(inputs.recurrent_kernel, 3),
        bias=padded(inputs.bias, 3),
        norm_gains=padded(inputs.norm_gains, 3),
        peephole=None
        if peephole is None
        else np.concatenate([np.zeros_like(peephole[:1]), peephole]),
    )


def _turned(inputs: LSTMInputs, array: Any) -> Any:
    """From the order of processing to that of time, which the kernels keep, or back."""
    if array is None or not inputs.reverse:
        return array
    return np.ascontiguousarray(np.asarray(array, np.float32)[:, ::-1])


def _empty(**shapes: Any) -> dict[str, Any]:
    return {name: np.empty(shape, np.float32) for name, shape in shapes.items()}


def lstm_forward(
    inputs: LSTMInputs, *, training: bool = True, trace: bool = False
) -> dict[str, np.ndarray]:
    """The kernel's forward pass in NumPy: `hs`, `h_last`, `c_last`, and what it is asked for.

    With `training` what the backward pass reads, else with `trace` the gates `i`, `f`, `g`, `o` and
    `c` of each step, (B, T, H) in the order of processing, zeros at masked steps (but for `c`).

    Raises:
        KernelError: The library is missing or refuses the call.
    """
    inputs = _with_gate_i(inputs)
    (B, T, _), P, H = np.shape(inputs.x), np.shape(inputs.recurrent_kernel)[0], inputs.units
    shapes: dict[str, Any] = {"hs": (B, T, P), "h_last": (B, P), "c_last": (B, H)}
    if training:
        shapes["gates"], shapes["cells"] = saved_sizes(B, T, H)
        if inputs.projection is not None:
            shapes["outs"] = (B, T, H)
        if inputs.norm_gains is not None:
            shapes |= {"products": 2 * shapes["gates"], "statistics": (T, B, 6)}
    elif trace:
        shapes |= {f"trace_{name}": (B, T, H) for name in "ifgoc"}
    out = _empty(**shapes)
    call("forward", inputs, **out)
    turned = ("hs", *(name for name in out if name.startswith("trace_")))
    out |= {name: _turned(inputs, out[name]) for name in turned}
    return {name.removeprefix("trace_"): value for name, value in out.items()}


def lstm_backward(
    inputs: LSTMInputs,
    outputs: dict[str, np.ndarray],
    dhs: np.ndarray | None = None,
    dh_last: np.ndarray | None = None,
    dc_last: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The kernels' backward passes in NumPy; names and shapes as in the reference."""
    inputs = _with_gate_i(inputs)
    (B, T, D), P, H = np.shape(inputs.x), np.shape(inputs.recurrent_kernel)[0], inputs.units
    given = {"dhs": _turned(inputs, dhs), "dh_last": dh_last, "dc_last": dc_last}
    arriving = {
        name: None if value is None else np.ascontiguousarray(value, np.float32)
        for name, value in given.items()
    }
    shapes: dict[str, Any] = {"dz": outputs["gates"].shape, "dh0": (B, P), "dc0": (B, H)}
    if inputs.peephole is not None:
        shapes["dpeephole"] = (3, H)
    if inputs.projection is not None:
        shapes["dprojected"] = (B, T, P)
    normed = inputs.norm_gains is not None
    if normed:
        shapes |= {"dz_x": shapes["dz"], "dnorm_gain": (2, 4 * H), "dnorm_cell": (2, H)}
        shapes["dbias"] = 4 * H
    names = ("gates", "cells", "products", "statistics")
    saved = {name: outputs[name] for name in names if name in outputs}
    made = _empty(**shapes)
    call("backward", inputs, **saved, **arriving, **made)
    dz = {name: made[name] for name in ("dz", "dz_x") if name in made}
    weights, dx = _empty(dkernel=(D, 4 * H), drecurrent=(P, 4 * H)), np.empty((B, T, D), np.float32)
    if not normed:
        weights["dbias"] = made["dbias"] = np.empty(4 * H, np.float32)
    call("weight_gradient", inputs, hs=_turned(inputs, outputs["hs"]), **dz, **weights)
    call("input_gradient", inputs, dz=dz["dz_x" if normed else "dz"], dx=dx)
    first = H if inputs.coupled else 0  # the columns of the gate i are not the caller's
    gradients = {"x": dx, "h0": made["dh0"], "c0": made["dc0"], "bias": made["dbias"][first:]}
    gradients["kernel"] = weights["dkernel"][:, first:]
    gradients["recurrent_kernel"] = weights["drecurrent"][:, first:]
    if normed:
        gradients["norm_gains"] = made["dnorm_gain"][:, first:]
        gradients["norm_cell"] = made["dnorm_cell"]
    if "dpeephole" in made:
        gradients["peephole"] = made["dpeephole"][1 if inputs.coupled else 0 :]
    if "dprojected" in made:
        gradients["projection"] = np.einsum("bth,btp->hp", outputs["outs"], made["dprojected"])
    return gradients
