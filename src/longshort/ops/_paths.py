"""The path of a call: the kernels where they can take it, else `keras.ops`; common checks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from longshort._errors import DataError, PathWarning
from longshort.ops import _library
from longshort.ops._inputs import fits

Tensor = Any


class Path(NamedTuple):
    """The path of a call: `kernel` (fused) or `keras` (keras.ops), and why."""

    name: str
    reason: str


def choose_path(
    activation: Any = "tanh",
    recurrent_activation: Any = "sigmoid",
    dtype: str = "float32",
) -> Path:
    """Which path `lstm` takes for these options, and why.

    Args:
        activation: As in `lstm`.
        recurrent_activation: As in `lstm`.
        dtype: Type of the inputs.

    >>> longshort.ops.choose_path(activation="gelu").reason
    "activation 'gelu' is none of tanh, relu, softsign, linear"
    """
    for word, given, fused in (
        ("activation", activation, _library.ACTIVATIONS),
        ("recurrent_activation", recurrent_activation, _library.RECURRENT_ACTIVATIONS),
    ):
        if fused_name(given, fused) is None:
            name = given if isinstance(given, str) else getattr(given, "__name__", repr(given))
            return Path("keras", f"{word} {name!r} is none of {', '.join(fused)}")
    if dtype not in ("float32", "bfloat16", "float16"):
        return Path("keras", f"the kernels compute in float32, not in {dtype}")
    return machine_path()


def fused_name(activation: Any, names: Sequence[str]) -> str | None:
    """Which of the kernels' functions Keras takes an activation for; None: none."""
    function = keras.activations.get(activation)
    return next((name for name in names if function is keras.activations.get(name)), None)


def machine_path() -> Path:
    """The path for a call that the kernels can take: what backend, device and install allow."""
    if (backend := keras.backend.backend()) != "jax":
        return Path("keras", f"the Keras backend is {backend}; set KERAS_BACKEND=jax")
    import jax

    if (device := jax.default_backend()) != "cpu":
        return Path("keras", f"JAX runs on {device}; the kernels are for the CPU")
    if _library.load() is None:
        return Path("keras", "longshort was installed without a C++ compiler")
    return Path("kernel", f"XLA FFI, {_library.isa()}, {_library.num_threads()} threads")


_warned: set[tuple[str, str]] = set()


def warn_once(layer: str, reason: str) -> None:
    """Say, once a process for each reason, that a call leaves the fused path."""
    if (layer, reason) not in _warned:
        _warned.add((layer, reason))
        warnings.warn(
            f"longshort: this {layer} runs on the keras.ops path, not on the fused kernels: "
            f"{reason}.",
            PathWarning,
            stacklevel=3,
        )


def checked_path(layer: str, wanted: str, possible: Path) -> str:
    """The name of the path to take.

    Args:
        layer: `LSTM` and such, for messages; the function is the same in small letters.
        wanted: `auto`, `kernel` or `keras`.
        possible: The path that the call can take.
    """
    function = layer.lower()
    if wanted not in ("auto", "kernel", "keras"):
        raise DataError(f"{function}: expected path 'auto', 'kernel' or 'keras', got {wanted!r}.")
    if wanted == "kernel" and possible.name != "kernel":
        raise DataError(f"{function}: path='kernel' cannot take this call: {possible.reason}.")
    if wanted == "auto" and possible.name == "keras":
        warn_once(layer, possible.reason)
    return "keras" if wanted == "keras" else possible.name


def checked_sequences(x: Tensor, mask: Tensor | None, layer: str) -> tuple[Tensor, Any, str]:
    """Inputs and mask as tensors, and the type of the inputs; what is masked is zeros.

    Args:
        x: Inputs, shape (B, T, D).
        mask: Booleans, shape (B, T), or None.
        layer: `LSTM` and such, for messages.

    Raises:
        DataError: A mask of another shape or type.
    """
    x = ops.convert_to_tensor(x)
    dtype = keras.backend.standardize_dtype(x.dtype)
    if "float" not in dtype:  # integers and booleans, as Keras takes them
        dtype = keras.backend.floatx()
        x = ops.cast(x, dtype)
    if mask is None:
        return x, None, dtype
    mask = ops.convert_to_tensor(mask)
    shape, kind = tuple(mask.shape), keras.backend.standardize_dtype(mask.dtype)
    expected = tuple(x.shape[:2])
    if not fits(shape, expected):
        raise DataError(
            f"{layer}: expected a mask of shape (batch, time) = {expected}, got {shape}. "
            "Give one boolean a step: True where the step is real."
        )
    if kind != "bool" and "int" not in kind:
        raise DataError(
            f"{layer}: expected a boolean mask, got {kind}. Convert it: mask.astype(bool)."
        )
    mask = ops.cast(mask, "bool")
    return ops.where(mask[..., None], x, ops.zeros_like(x)), mask, dtype  # 0 * NaN has gradients
