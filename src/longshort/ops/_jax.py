"""The JAX door: the kernels as XLA FFI calls with gradients of their own.

The backward pass is three calls (through time, weights, input), so that XLA drops the ones whose
result nobody uses: a first layer never computes the gradient of its input.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from longshort._errors import KernelError
from longshort.ops import _library
from longshort.ops._inputs import LSTMInputs

Array = jax.Array
Shape = tuple[int, ...]


class Arguments(NamedTuple):
    """What the kernels take, float32 (mask: bool); an absent array has zero elements."""

    x: Array  # (B, T, D)
    kernel: Array  # (D, 4H)
    recurrent_kernel: Array  # (H, 4H)
    bias: Array  # (4H,)
    mask: Array  # (B, T)
    h0: Array  # (B, H)
    c0: Array  # (B, H)
    x_dropout: Array  # (4, B, D)
    h_dropout: Array  # (4, B, H)


@functools.cache
def register() -> None:
    """Make the handlers known to XLA, once a process."""
    library = _library.load()
    assert library is not None, "the path is chosen before the door is opened"
    for name in ("forward", "backward", "weight_gradient", "input_gradient"):
        handler = jax.ffi.pycapsule(getattr(library, f"longshort_xla_{name}"))
        jax.ffi.register_ffi_target(f"longshort_{name}", handler, platform="cpu")


def _float32(*shapes: Shape) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]


def _ffi_call(name: str, results: list[jax.ShapeDtypeStruct], reverse: bool, *args: Array) -> Any:
    call = jax.ffi.ffi_call(f"longshort_{name}", results, vmap_method="sequential")
    return call(*args, reverse=reverse)


def _no_second_derivative(function: Any) -> Any:
    """Refuse to differentiate a gradient, with a sentence instead of XLA's target name."""
    guarded = jax.custom_vjp(function, nondiff_argnums=(0,))

    def forward(reverse: bool, *args: Array) -> Any:
        raise KernelError(
            "The fused LSTM has no second derivatives. Use longshort.ops.lstm(..., path='keras') "
            "where you need them."
        )

    def backward(reverse: bool, saved: Any, arriving: Any) -> Any:
        raise AssertionError("unreachable: the forward rule refuses")

    guarded.defvjp(forward, backward)
    return guarded


@_no_second_derivative
def _backward(reverse: bool, x: Array, recurrent_kernel: Array, *rest: Array) -> Any:
    batch, time, _ = x.shape
    units = recurrent_kernel.shape[0]
    gates, _ = _library.saved_shapes(batch, time, units)
    results = _float32(gates, (batch, units), (batch, units))
    return _ffi_call("backward", results, reverse, x, recurrent_kernel, *rest)


@_no_second_derivative
def _weight_gradient(reverse: bool, x: Array, recurrent_kernel: Array, *rest: Array) -> Any:
    units = recurrent_kernel.shape[0]
    results = _float32((x.shape[2], 4 * units), (units, 4 * units), (4 * units,))
    return _ffi_call("weight_gradient", results, reverse, x, *rest)


@_no_second_derivative
def _input_gradient(reverse: bool, x: Array, *rest: Array) -> Any:
    return _ffi_call("input_gradient", _float32(x.shape), reverse, *rest)[0]


def _run(args: Arguments, hs: Shape, gates: Shape, cells: Shape, reverse: bool) -> Any:
    """The forward call with results of the given shapes; zero elements: not wanted."""
    state = (args.x.shape[0], args.recurrent_kernel.shape[0])
    return _ffi_call("forward", _float32(hs, state, state, gates, cells), reverse, *args)


@_no_second_derivative
def _forward_saving(reverse: bool, args: Arguments) -> Any:
    batch, time, _ = args.x.shape
    units = args.recurrent_kernel.shape[0]
    gates, cells = _library.saved_shapes(batch, time, units)
    return _run(args, (batch, time, units), gates, cells, reverse)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def lstm(args: Arguments, reverse: bool, sequences: bool) -> tuple[Array, Array, Array]:
    """`hs` (B, T, H), empty unless `sequences`; the last h and c (B, H)."""
    batch, time, _ = args.x.shape
    hs = (batch, time, args.recurrent_kernel.shape[0]) if sequences else (0, 0, 0)
    return tuple(_run(args, hs, (0,) * 4, (0,) * 3, reverse)[:3])


def _lstm_forward(args: Arguments, reverse: bool, sequences: bool) -> tuple[Any, Any]:
    hs, h, c, gates, cells = _forward_saving(reverse, args)
    returned = hs if sequences else jnp.zeros((0, 0, 0), jnp.float32)
    return (returned, h, c), (args, hs, gates, cells)


def _lstm_backward(reverse: bool, sequences: bool, saved: Any, arriving: Any) -> tuple[Arguments]:
    args, hs, gates, cells = saved
    dz, dh0, dc0 = _backward(
        reverse,
        args.x,
        args.recurrent_kernel,
        args.mask,
        args.c0,
        args.h_dropout,
        gates,
        cells,
        *arriving,
    )
    dkernel, drecurrent, dbias = _weight_gradient(
        reverse, args.x, args.recurrent_kernel, args.h0, args.x_dropout, args.h_dropout, hs, dz
    )
    dx = _input_gradient(reverse, args.x, args.kernel, args.x_dropout, dz)
    gradients = Arguments(
        dx,
        dkernel,
        drecurrent,
        dbias if args.bias.size else jnp.zeros_like(args.bias),
        None,  # type: ignore[arg-type]  # JAX's word for: no gradient
        dh0 if args.h0.size else jnp.zeros_like(args.h0),
        dc0 if args.c0.size else jnp.zeros_like(args.c0),
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
    )
    return (gradients,)


lstm.defvjp(_lstm_forward, _lstm_backward)


def run(inputs: LSTMInputs, sequences: bool) -> tuple[Array, Array, Array]:
    """`hs` (empty unless `sequences`), the last h and c, in float32."""
    register()

    def given(value: Any, rank: int, dtype: Any = jnp.float32) -> Array:
        return jnp.zeros((0,) * rank, dtype) if value is None else jnp.asarray(value, dtype)

    args = Arguments(
        given(inputs.x, 3),
        given(inputs.kernel, 2),
        given(inputs.recurrent_kernel, 2),
        given(inputs.bias, 1),
        given(inputs.mask, 2, jnp.bool_),
        given(inputs.h0, 2),
        given(inputs.c0, 2),
        given(inputs.x_dropout, 3),
        given(inputs.h_dropout, 3),
    )
    return lstm(args, inputs.reverse, sequences)
