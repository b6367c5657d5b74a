"""The JAX door: the kernels as XLA FFI calls with gradients of their own.

The backward pass is three calls (through time, weights, input), so that XLA drops the ones whose
result nobody uses: a first layer never computes the gradient of its input.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from longshort._errors import KernelError
from longshort.ops import _library
from longshort.ops._handlers import register
from longshort.ops._inputs import LSTMInputs
from longshort.ops._slstm_inputs import SLSTMInputs

Array = jax.Array
Shape = tuple[int, ...]

_HANDLERS = ("forward", "backward", "weight_gradient", "input_gradient")


class Arguments(NamedTuple):
    """What the kernels take, float32 (mask: bool); an absent array has zero elements.

    N layers over the same mask run side by side: 1, 2 directions of which the second is the
    reverse, or the heads of an sLSTM. Of 2 directions the weights are arrays of their own, (1, ..)
    each, as XLA would copy what joins them.
    """

    x: Array  # (B, T, D), or (N, B, T, D)
    kernel: Array  # (N, D, 4H)
    recurrent_kernel: Array  # (N, P, 4H); P is H without a projection
    bias: Array  # (N, 4H)
    mask: Array  # (B, T)
    h0: Array  # (N, B, P)
    c0: Array  # (N, B, H); of the sLSTM c, n, m: (N, 3, B, H)
    x_dropout: Array  # (N, 4, B, D)
    h_dropout: Array  # (N, 4, B, P)
    peephole: Array  # (N, 3, H)
    projection: Array  # (N, H, P)
    norm_gain: Array  # (N, 2, 4H), of x W and of h U
    norm_cell: Array  # (N, 2, H)
    noise: Array  # (N, 3) uint32: the key's two words, and the steps before this call
    second_kernel: Array  # of the second direction
    second_recurrent: Array

    def sizes(self) -> tuple[int, int, int, int, int]:
        """N, B, T, H, P."""
        N, P, columns = self.recurrent_kernel.shape
        N += self.second_recurrent.shape[0]
        B, T = self.x.shape[-3], self.x.shape[-2]
        return N, B, T, columns // 4, P


class Saved(NamedTuple):
    """What the forward call keeps for the backward one, in the order of its results.

    The kernels' own layouts; what a layer does not have has zero elements.
    """

    gates: Any  # (N, 4 H' B T)
    cells: Any  # (N, H' B T), of the sLSTM three times that
    products: Any  # (N, 8 H' B T)
    statistics: Any  # (N, B T, 6)
    outs: Any  # (N, B, T, H)


NOTHING_SAVED = Saved(*((0,) for _ in Saved._fields))


class Options(NamedTuple):
    """What is the same for all calls that share compiled code."""

    reverse: bool  # of a single direction
    sequences: bool  # whether h of every step is wanted
    bfloat16: bool  # whether the factors of all products are rounded
    variant: tuple[tuple[str, Any], ...]  # `_library.settings`

    def cell_state(self, N: int, B: int, H: int) -> Shape:
        """The shape of c, and of what the cell has beside it."""
        states = _library.STATES[dict(self.variant)["cell"]]
        return (N, B, H) if states == 1 else (N, states, B, H)


def _float32(*shapes: Shape) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]


def _ffi_call(
    name: str, results: list[jax.ShapeDtypeStruct], options: Options, *args: Array
) -> Any:
    call = jax.ffi.ffi_call(f"longshort_{name}", results, vmap_method="sequential")
    # XLA's attributes have a type: Python's int and float would not say which.
    types = {int: np.int64, float: np.float64, bool: bool}
    variant = {word: types[type(value)](value) for word, value in options.variant}
    words = {name: getattr(options, name) for name in ("reverse", "bfloat16")}
    return call(*args, **words, **variant)


_PATH = "Use path='keras' of the function of longshort.ops where you need them."
_SECOND = f"The fused layers have no second derivatives. {_PATH}"


def no_derivative(function: Any, why: str = _SECOND) -> Any:
    """Refuse to differentiate `function(options, *arrays)`, in a sentence, not with XLA's name."""
    guarded = jax.custom_vjp(function, nondiff_argnums=(0,))

    def forward(options: Options, *args: Any) -> Any:
        raise KernelError(why)

    def backward(options: Options, saved: Any, arriving: Any) -> Any:
        raise AssertionError("unreachable: the forward rule refuses")

    guarded.defvjp(forward, backward)
    return guarded


@no_derivative
def _backward(options: Options, args: Arguments, saved: Saved, *arriving: Array) -> Any:
    N, B, T, H, P = args.sizes()
    results = _float32(
        saved.gates.shape,
        (N, B, T, P) if args.projection.size else (0,),
        (N, B, P),
        options.cell_state(N, B, H),
        args.peephole.shape,
        saved.gates.shape if args.norm_gain.size else (0,),
        args.norm_gain.shape,
        args.norm_cell.shape,
        (N, 4 * H) if args.norm_gain.size else (0,),
    )
    own = (args.peephole, args.projection, args.norm_gain, args.norm_cell, args.noise)
    kept = (saved.gates, saved.cells, saved.products, saved.statistics)
    weights = (args.recurrent_kernel, args.second_recurrent)
    given = (args.x, *weights, args.mask, args.c0, args.h_dropout)
    return _ffi_call("backward", results, options, *given, *own, *kept, *arriving)


@no_derivative
def _weight_gradient(options: Options, args: Arguments, hs: Array, dz: Array, dz_x: Array) -> Any:
    N, _, _, H, _ = args.sizes()
    bias = (0,) if dz_x.size else (N, 4 * H)
    second = (args.second_kernel.shape, args.second_recurrent.shape)
    results = _float32(args.kernel.shape, args.recurrent_kernel.shape, bias, *second)
    given = (args.x, args.mask, args.h0, args.x_dropout, args.h_dropout)
    return _ffi_call("weight_gradient", results, options, *given, hs, dz, dz_x)


@no_derivative
def _input_gradient(options: Options, args: Arguments, dz: Array) -> Any:
    results = _float32((args.sizes()[0], *args.x.shape[-3:]))
    weights = (args.kernel, args.recurrent_kernel, args.second_kernel, args.second_recurrent)
    given = (*weights, args.mask, args.x_dropout)
    dx = _ffi_call("input_gradient", results, options, *given, dz)[0]
    if args.x.ndim == 4:
        return dx
    # Not dx.sum(0): XLA's reduction takes several times as long as an addition.
    return dx[0] + dx[1] if len(dx) == 2 else dx[0]


def _run(args: Arguments, options: Options, hs: Shape, saved: Saved, traced: Shape = (0,)) -> Any:
    """The forward call with results of the given shapes; zero elements: not wanted."""
    N, B, _, H, P = args.sizes()
    results = _float32(hs, (N, B, P), options.cell_state(N, B, H), *saved, *(traced,) * 5)
    return _ffi_call("forward", results, options, *args)


@no_derivative
def _forward_saving(options: Options, args: Arguments) -> Any:
    N, B, T, H, P = args.sizes()
    states = _library.STATES[dict(options.variant)["cell"]]
    gates, cells = ((N, size) for size in _library.saved_sizes(B, T, H, states))
    saved = Saved(gates, cells, *NOTHING_SAVED[2:])
    if args.norm_gain.size:
        saved = saved._replace(products=(N, 2 * gates[1]), statistics=(N, B * T, 6))
    if args.projection.size:
        saved = saved._replace(outs=(N, B, T, H))
    return _run(args, options, (B, T, N, P), saved)[:-5]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def lstm(args: Arguments, options: Options) -> tuple[Array, Array, Array]:
    """`hs` (B, T, N, P) in the order of time, empty unless wanted; the last h and c (N, B, .)."""
    N, B, T, _, P = args.sizes()
    hs = (B, T, N, P) if options.sequences else (0,) * 4
    return tuple(_run(args, options, hs, NOTHING_SAVED)[:3])


def _lstm_forward(args: Arguments, options: Options) -> tuple[Any, Any]:
    hs, h, c, *saved = _forward_saving(options, args)
    returned = hs if options.sequences else jnp.zeros((0,) * 4, jnp.float32)
    return (returned, h, c), (args, hs, Saved(*saved))


def _lstm_backward(options: Options, kept: Any, arriving: Any) -> tuple[Arguments]:
    args, hs, saved = kept
    dz, dprojected, dh0, dc0, dpeephole, dz_x, dnorm_gain, dnorm_cell, of_norm = _backward(
        options, args, saved, *arriving
    )
    dkernel, drecurrent, dbias, *of_second = _weight_gradient(options, args, hs, dz, dz_x)
    if args.norm_gain.size:
        dbias = of_norm
    dprojection = args.projection  # none
    if dprojection.size:
        dprojection = jnp.einsum("nbth,nbtp->nhp", saved.outs, dprojected)
    gradients = Arguments(
        _input_gradient(options, args, dz_x if args.norm_gain.size else dz),
        dkernel,
        drecurrent,
        dbias if args.bias.size else jnp.zeros_like(args.bias),
        None,  # type: ignore[arg-type]  # JAX's word for: no gradient
        dh0 if args.h0.size else jnp.zeros_like(args.h0),
        dc0 if args.c0.size else jnp.zeros_like(args.c0),
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        dpeephole,
        dprojection,
        dnorm_gain,
        dnorm_cell,
        None,  # type: ignore[arg-type]
        *of_second,
    )
    return (gradients,)


lstm.defvjp(_lstm_forward, _lstm_backward)


def _in_chunks(args: Arguments, options: Options) -> tuple[Array, Array, Array]:
    """`lstm`, keeping for the backward pass only h and c between chunks of steps (Chen 2016).

    The backward pass runs each chunk forward once more. Chunks of about sqrt(T) steps make what is
    kept and what one chunk needs about equal; below 16 steps the calls themselves would cost.
    """
    _, B, T, H, P = args.sizes()
    count = max(1, T // max(16, round(np.sqrt(T))))
    length = -(-T // count)
    whole = T - T % length

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def chunk(state: tuple[Array, Array], steps: tuple[Array, Array, Array]) -> Any:
        x, mask, before = steps
        noise = args.noise
        if noise.size:
            noise = noise.at[:, 2].add(before)
        own = args._replace(x=x, mask=mask, h0=state[0], c0=state[1], noise=noise)
        hs, h, c = lstm(own, options)
        return (h, c), hs

    def split(array: Array) -> Array:
        """(B, whole, ...) -> (chunks, B, length, ...)."""
        parts = array[:, :whole].reshape(array.shape[0], -1, length, *array.shape[2:])
        return jnp.moveaxis(parts, 1, 0)

    def chunks(state: Any) -> tuple[Any, Array]:
        mask = split(args.mask) if args.mask.size else jnp.zeros((whole // length, 0, 0), bool)
        before = jnp.arange(0, whole, length, jnp.uint32)
        if options.reverse:
            before = jnp.uint32(T - length) - before
        steps = (split(args.x), mask, before)
        state, hs = jax.lax.scan(chunk, state, steps, reverse=options.reverse)
        shape = (B, whole, 1, P) if options.sequences else (0,) * 4
        return state, jnp.moveaxis(hs, 0, 1).reshape(shape)

    def rest(state: Any) -> tuple[Any, Array]:
        before = jnp.uint32(0 if options.reverse else whole)
        return chunk(state, (args.x[:, whole:], args.mask[:, whole:], before))

    h0, c0 = (jnp.zeros((1, B, size), jnp.float32) for size in (P, H))
    state = (args.h0 if args.h0.size else h0, args.c0 if args.c0.size else c0)
    parts = [chunks] if whole == T else [chunks, rest]
    pieces: dict[Any, Array] = {}
    for part in reversed(parts) if options.reverse else parts:
        state, pieces[part] = part(state)
    hs = jnp.concatenate([pieces[part] for part in parts], 1 if options.sequences else 0)
    return hs, *state


def _prepare(
    directions: tuple[LSTMInputs, ...], sequences: bool, cell: str = "lstm"
) -> tuple[Arguments, Options]:
    """What the kernels take for one direction, or for two with the same mask."""
    register(*_HANDLERS)
    alone = directions[0] if len(directions) == 1 else None
    first = directions[0]
    variant = tuple(_library.settings(first, cell).items())
    options = Options(
        reverse=bool(alone and alone.reverse),
        sequences=sequences,
        bfloat16=first.bfloat16,
        variant=variant,
    )

    def given(name: str, rank: int, dtype: Any = jnp.float32) -> Array:
        values = [getattr(inputs, name) for inputs in directions]
        if values[0] is None:
            return jnp.zeros((0,) * rank, dtype)
        if name == "mask" or (name == "x" and all(value is values[0] for value in values)):
            return jnp.asarray(values[0], dtype)
        return jnp.stack([jnp.asarray(value, dtype) for value in values])

    def with_gate_i(array: Array, axis: int = -1, blocks: int = 3) -> Array:
        """Zeros for the gate i where it is coupled: the kernels lay out four gates."""
        if not (first.coupled and array.shape[axis]):
            return array
        width = [(0, 0)] * array.ndim
        width[axis] = (array.shape[axis] // blocks, 0)
        return jnp.pad(array, width)

    def own(name: str) -> list[Array]:
        """Weights of the first direction, and of the second where there is one."""
        arrays = [jnp.asarray(getattr(each, name), jnp.float32)[None] for each in directions]
        return [with_gate_i(each) for each in (*arrays, jnp.zeros((0, 0, 0), jnp.float32))[:2]]

    kernels, recurrent_kernels = own("kernel"), own("recurrent_kernel")
    noise = given("noise_key", 2, jnp.uint32)
    if noise.size:
        before = [jnp.asarray(inputs.first_step, jnp.uint32) for inputs in directions]
        noise = jnp.concatenate([noise, jnp.stack(before)[:, None]], 1)
    args = Arguments(
        given("x", 3),
        kernels[0],
        recurrent_kernels[0],
        with_gate_i(given("bias", 2)),
        given("mask", 2, jnp.bool_),
        given("h0", 3),
        given("c0", 3),
        given("x_dropout", 4),
        given("h_dropout", 4),
        with_gate_i(given("peephole", 3), axis=1, blocks=2),
        given("projection", 3),
        with_gate_i(given("norm_gains", 3)),
        given("norm_cell", 3),
        noise,
        kernels[1],
        recurrent_kernels[1],
    )
    return args, options


def run(
    *directions: LSTMInputs, sequences: bool, recompute: bool = False, cell: str = "lstm"
) -> list[Any]:
    """For each direction `hs` in its order of processing (empty unless `sequences`), h and c.

    Two directions, a forward and a reverse one with the same mask, run side by side. Of another
    cell than the LSTM, `directions` are the layers as they lie in the kernels' tile.
    """
    args, options = _prepare(directions, sequences, cell)
    hs, h, c = _in_chunks(args, options) if recompute else lstm(args, options)
    parts = _parts(hs) if sequences else [hs] * len(directions)
    return [
        (jnp.flip(part, 1) if inputs.reverse else part, h[n], c[n])
        for n, (inputs, part) in enumerate(zip(directions, parts, strict=True))
    ]


@jax.custom_vjp
def _parts(hs: Array) -> list[Array]:
    """Split (B, T, N, P) into N times (B, T, P).

    Who puts them side by side again then has the array as it was, without a copy, since XLA joins
    neighbouring parts of one axis; likewise the gradient, which is no sum of padded parts here.
    """
    B, T, N, P = hs.shape
    flat = hs.reshape(B, T, N * P)
    return [flat[:, :, n * P : (n + 1) * P] for n in range(N)]


def _join(shape: Array, parts: list[Array]) -> tuple[Array]:
    return (jnp.concatenate(parts, -1).reshape(shape.shape),)


_parts.defvjp(lambda hs: (_parts(hs), hs), _join)


def trace(inputs: LSTMInputs) -> dict[str, Array]:
    """Gates `i`, `f`, `g`, `o` and states `c`, `h` of each step in the order of processing."""
    args, options = _prepare((inputs,), True)
    hs, *inside = _traced(options, args)
    arrays = dict(zip("ifgoch", (*(array[0] for array in inside), hs[:, :, 0]), strict=True))
    return {n: jnp.flip(a, 1) for n, a in arrays.items()} if inputs.reverse else arrays


@functools.partial(no_derivative, why=f"A trace has no derivatives on the kernels. {_PATH}")
def _traced(options: Options, args: Arguments) -> Any:
    N, B, T, H, P = args.sizes()
    results = _run(args, options, (B, T, N, P), NOTHING_SAVED, (N, B, T, H))
    return results[0], *results[-5:]


def run_slstm(inputs: SLSTMInputs, sequences: bool) -> tuple[Array, tuple[Any, ...]]:
    """`hs` (B, T, H) in its order of processing (empty unless `sequences`), and h, c, n, m (B, H).

    The heads are layers over the same x that run side by side.
    """
    register(*_HANDLERS)
    heads = inputs.heads(jnp)
    plain = LSTMInputs(inputs.x, heads["kernel"], heads["recurrent_kernel"])
    exp_forget = inputs.forget_activation == "exp"
    options = Options(
        reverse=inputs.reverse,
        sequences=sequences,
        bfloat16=inputs.bfloat16,
        variant=tuple(_library.settings(plain, "slstm", exp_forget).items()),
    )

    def given(value: Any, rank: int, dtype: Any = jnp.float32) -> Array:
        return jnp.zeros((0,) * rank, dtype) if value is None else jnp.asarray(value, dtype)

    args = Arguments(
        x=given(inputs.x, 3),
        kernel=given(heads["kernel"], 3),
        recurrent_kernel=given(heads["recurrent_kernel"], 3),
        bias=given(heads["bias"], 2),
        mask=given(inputs.mask, 2, jnp.bool_),
        h0=given(heads["h0"], 3),
        c0=given(heads["c0"], 4),
        x_dropout=given(None, 4),
        h_dropout=given(None, 4),
        peephole=given(None, 3),
        projection=given(None, 3),
        norm_gain=given(None, 2),
        norm_cell=given(None, 3),
        noise=given(None, 2, jnp.uint32),
        second_kernel=given(None, 3),
        second_recurrent=given(None, 3),
    )
    hs, h, states = lstm(args, options)

    def joined(state: Array) -> Array:
        """(N, B, H/N) -> (B, H)."""
        return jnp.moveaxis(state, 0, 1).reshape(state.shape[1], -1)

    if sequences:
        hs = hs.reshape(*hs.shape[:2], -1)
        hs = jnp.flip(hs, 1) if inputs.reverse else hs
    return hs, tuple(joined(state) for state in (h, *jnp.moveaxis(states, 1, 0)))
