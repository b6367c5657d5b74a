"""`lstm`: one LSTM layer over a whole sequence, on the fastest path that can take the call."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import keras
from keras import ops

from longshort._errors import DataError, PathWarning
from longshort.ops import _keras, _library
from longshort.ops._inputs import LSTMInputs, fits

Tensor = Any


class Path(NamedTuple):
    """The path of a call: `kernel` (fused) or `keras` (keras.ops), and why."""

    name: str
    reason: str


def choose_path(
    activation: Any = "tanh", recurrent_activation: Any = "sigmoid", dtype: str = "float32"
) -> Path:
    """Which path `lstm` takes for these options, and why.

    Args:
        activation: As in `lstm`.
        recurrent_activation: As in `lstm`.
        dtype: Type of the inputs.

    >>> longshort.ops.choose_path(activation="relu")
    Path(name='keras', reason="activation 'relu' is not 'tanh'")
    """
    for word, given, fused in (
        ("activation", activation, "tanh"),
        ("recurrent_activation", recurrent_activation, "sigmoid"),
    ):
        if keras.activations.get(given) is not keras.activations.get(fused):
            name = given if isinstance(given, str) else getattr(given, "__name__", repr(given))
            return Path("keras", f"{word} {name!r} is not {fused!r}")
    if dtype not in ("float32", "bfloat16", "float16"):
        return Path("keras", f"the kernels compute in float32, not in {dtype}")
    return _machine_path()


def _machine_path() -> Path:
    """The path for a call that the kernels can take: what backend, device and install allow."""
    if (backend := keras.backend.backend()) != "jax":
        return Path("keras", f"the Keras backend is {backend}; set KERAS_BACKEND=jax")
    import jax

    if (device := jax.default_backend()) != "cpu":
        return Path("keras", f"JAX runs on {device}; the kernels are for the CPU")
    if _library.load() is None:
        return Path("keras", "longshort was installed without a C++ compiler")
    return Path("kernel", f"XLA FFI, {_library.isa()}, {_library.num_threads()} threads")


_warned: set[str] = set()


def warn_once(reason: str) -> None:
    """Say, once a process for each reason, that a call leaves the fused path."""
    if reason not in _warned:
        _warned.add(reason)
        warnings.warn(
            f"longshort: this LSTM runs on the keras.ops path, not on the fused kernels: {reason}.",
            PathWarning,
            stacklevel=3,
        )


def _checked_mask(mask: Tensor, x: Tensor) -> Tensor:
    shape, dtype = tuple(mask.shape), keras.backend.standardize_dtype(mask.dtype)
    expected = tuple(x.shape[:2])
    if not fits(shape, expected):
        raise DataError(
            f"LSTM: expected a mask of shape (batch, time) = {expected}, got {shape}. "
            "Give one boolean a step: True where the step is real."
        )
    if dtype != "bool" and "int" not in dtype:
        raise DataError(
            f"LSTM: expected a boolean mask, got {dtype}. Convert it: mask.astype(bool)."
        )
    return ops.cast(mask, "bool")


def _checked_state(initial_state: Any) -> tuple[Tensor | None, Tensor | None]:
    if initial_state is None:
        return None, None
    if not isinstance(initial_state, (tuple, list)) or len(initial_state) != 2:
        got = (
            len(initial_state) if isinstance(initial_state, (tuple, list)) else type(initial_state)
        )
        raise DataError(f"lstm: expected initial_state as a pair (h, c), got {got}.")
    return initial_state[0], initial_state[1]


def lstm(
    x: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    initial_state: Sequence[Tensor] | None = None,
    x_dropout: Tensor | None = None,
    h_dropout: Tensor | None = None,
    reverse: bool = False,
    return_sequences: bool = True,
    activation: Any = "tanh",
    recurrent_activation: Any = "sigmoid",
    recompute: bool = False,
    path: str = "auto",
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Run an LSTM layer over a batch of sequences (Hochreiter and Schmidhuber 1997; Gers 2000).

        i, f, o = sigmoid(x W + h U + b)    g = tanh(x W + h U + b)    (columns i, f, g, o)
        c <- f c + i g                      h <- o tanh(c)

    Axes: B batch, T time, D features, H units. With x in bfloat16 the kernels round the factors of
    all products to bfloat16 where the CPU can multiply them (AMX, AVX-512 BF16); sums, states and
    gradients, and everything on other CPUs or with x in float16, are in float32.

    Args:
        x: Inputs, shape (B, T, D).
        kernel: W, shape (D, 4H).
        recurrent_kernel: U, shape (H, 4H).
        bias: b, shape (4H,). Default: zeros.
        mask: Booleans, shape (B, T). A False step is skipped: h and c stay as they were, so any
            padding (left, right, gaps; even NaN) gives what each sequence gives alone. Default:
            all True.
        initial_state: h and c before the first step, each (B, H). Default: zeros.
        x_dropout: Factors on x for each gate, shape (4, B, D), the same at every step. Constants:
            no gradient flows to them. Default: ones.
        h_dropout: Factors on h where it enters the gates, shape (4, B, H). Default: ones.
        reverse: Process the sequences from the end; outputs are in the order of processing.
        return_sequences: Whether h of every step is wanted.
        activation: Name or function for g and for c on its way to h.
        recurrent_activation: Name or function for i, f and o.
        recompute: Keep for the backward pass only h and c of about sqrt(T) steps, and run the steps
            between them forward once more: a third more time, for memory that hardly grows with
            T (Chen et al. 2016). On the kernel path only.
        path: `kernel` or `keras` insists on one path; `auto` takes the kernels where they can
            take the call, else the keras.ops path with one `PathWarning` that names the reason.

    Returns:
        h of every step (B, T, H) or None, the last h (B, H), the last c (B, H), in x's type.

    Raises:
        DataError: Shapes that do not fit one another, a mask that is not boolean, an unknown
            `path`, or `path="kernel"` or `recompute` for a call that the kernels cannot take.
        KernelError: Differentiating twice on the kernel path.

    >>> x, W, U = np.ones((2, 5, 3)), np.ones((3, 16)), np.zeros((4, 16))
    >>> hs, h, c = longshort.ops.lstm(x.astype("float32"), W, U)
    >>> hs.shape, h.shape
    ((2, 5, 4), (2, 4))
    """
    call = _Call.of(
        x,
        kernel,
        recurrent_kernel,
        bias,
        mask=mask,
        initial_state=initial_state,
        x_dropout=x_dropout,
        h_dropout=h_dropout,
        reverse=reverse,
    )
    taken = _checked_path(path, choose_path(activation, recurrent_activation, call.dtype))
    if taken == "kernel":
        from longshort.ops import _jax

        results = _jax.run(call.inputs, sequences=return_sequences, recompute=recompute)[0]
    else:
        if recompute:
            raise DataError(
                "lstm: recompute=True works on the kernel path only; longshort.ops.choose_path() "
                "says why this call leaves it."
            )
        activations = [keras.activations.get(a) for a in (activation, recurrent_activation)]
        results = _keras.lstm(call.inputs, *activations)
    return call.outputs(results, return_sequences)


def lstm_both(
    forward: dict[str, Any], backward: dict[str, Any], return_sequences: bool
) -> list[tuple[Tensor | None, Tensor, Tensor]]:
    """The two directions of a bidirectional layer side by side, on the kernel path.

    Args:
        forward: Arguments of `lstm` from `x` to `reverse`, by name.
        backward: The same for the reverse direction; same sizes and the same `mask`.
        return_sequences: As in `lstm`.

    Returns:
        What `lstm` returns, for each direction.
    """
    from longshort.ops import _jax

    calls = [_Call.of(**forward), _Call.of(**backward)]
    if forward["x"] is backward["x"]:  # then the kernels read one array
        calls[1] = calls[1]._replace(inputs=replace(calls[1].inputs, x=calls[0].inputs.x))
    results = _jax.run(*(call.inputs for call in calls), sequences=return_sequences)
    return [call.outputs(r, return_sequences) for call, r in zip(calls, results, strict=True)]


class _Call(NamedTuple):
    """Checked arguments, and the type that goes in and comes out."""

    inputs: LSTMInputs
    dtype: str

    @staticmethod
    def of(
        x: Tensor,
        kernel: Tensor,
        recurrent_kernel: Tensor,
        bias: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        initial_state: Sequence[Tensor] | None = None,
        x_dropout: Tensor | None = None,
        h_dropout: Tensor | None = None,
        reverse: bool = False,
    ) -> _Call:
        x = ops.convert_to_tensor(x)
        dtype = keras.backend.standardize_dtype(x.dtype)
        if "float" not in dtype:  # integers and booleans, as Keras takes them
            dtype = keras.backend.floatx()
            x = ops.cast(x, dtype)
        if mask is not None:
            mask = _checked_mask(ops.convert_to_tensor(mask), x)
            x = ops.where(mask[..., None], x, ops.zeros_like(x))  # 0 * NaN reaches the gradients
        h0, c0 = _checked_state(initial_state)
        inputs = LSTMInputs(
            x,
            kernel,
            recurrent_kernel,
            bias,
            mask,
            h0,
            c0,
            x_dropout,
            h_dropout,
            reverse,
            bfloat16=dtype == "bfloat16",
        )
        inputs.check()
        return _Call(inputs, dtype)

    def outputs(
        self, results: tuple[Tensor, Tensor, Tensor], return_sequences: bool
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """`hs`, h and c in the type of x."""
        hs, h, c = results
        hs = ops.cast(hs, self.dtype) if return_sequences else None
        return hs, ops.cast(h, self.dtype), ops.cast(c, self.dtype)


def _checked_path(wanted: str, possible: Path) -> str:
    if wanted not in ("auto", "kernel", "keras"):
        raise DataError(f"lstm: expected path 'auto', 'kernel' or 'keras', got {wanted!r}.")
    if wanted == "kernel" and possible.name != "kernel":
        raise DataError(f"lstm: path='kernel' cannot take this call: {possible.reason}.")
    if wanted == "auto" and possible.name == "keras":
        warn_once(possible.reason)
    return "keras" if wanted == "keras" else possible.name
