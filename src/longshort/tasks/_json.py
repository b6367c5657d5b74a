"""Python values as JSON and back, without loss and without pickle.

JSON has no tuples, no NaN and only strings as keys, so a value that plain JSON would change is
written as an object with the one key "!": `{"!": ["tuple", [1, 2]]}`.
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any

import numpy as np

_TAG = "!"
_MAX_DEPTH = 64


def encode(value: Any, *, where: str = "value") -> Any:
    """Turn `value` into what the json module keeps exactly.

    Args:
        value: None, bool, int, float, str, tuple, list, dict with keys of these kinds, NumPy
            scalars (kept as Python's) and NumPy arrays of numbers, booleans, strings or times.
        where: Name of the value, for the error message.

    Returns:
        A value made of None, bool, int, finite float, str, list and dict.

    Raises:
        TypeError: If a value is of another kind; the message names where it is.

    Example:
        >>> decode(encode({"level": (80, 95), 3: float("inf")}))
        {'level': (80, 95), 3: inf}
    """
    if isinstance(value, np.generic):
        value = value.item() if value.dtype.kind in "biufU" else np.asarray(value)
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {_TAG: ["float", repr(value)]}
    if kind is list:
        return [encode(v, where=f"{where}[{i}]") for i, v in enumerate(value)]
    if kind is tuple:
        return {_TAG: ["tuple", [encode(v, where=f"{where}[{i}]") for i, v in enumerate(value)]]}
    if kind is dict:
        if all(type(k) is str for k in value) and _TAG not in value:
            return {k: encode(v, where=f"{where}[{k!r}]") for k, v in value.items()}
        pairs = [
            [encode(k, where=f"a key of {where}"), encode(v, where=f"{where}[{k!r}]")]
            for k, v in value.items()
        ]
        return {_TAG: ["dict", pairs]}
    if kind is np.ndarray:
        return {_TAG: ["array", *_encode_array(value, where)]}
    raise TypeError(
        f"{where} is a {kind.__module__}.{kind.__qualname__}, which a file cannot keep; "
        "use str, int, float, bool, None or tuples of these"
    )


def decode(value: Any, *, _depth: int = 0) -> Any:
    """Undo `encode`.

    Raises:
        ValueError: If `value` is not what `encode` writes.
    """
    if _depth > _MAX_DEPTH:
        raise ValueError("values are nested too deeply")
    _depth += 1
    if isinstance(value, list):
        return [decode(v, _depth=_depth) for v in value]
    if not isinstance(value, dict):
        return value
    if _TAG not in value:
        return {k: decode(v, _depth=_depth) for k, v in value.items()}
    match value[_TAG]:
        case ["float", "nan" | "inf" | "-inf" as text]:
            return float(text)
        case ["tuple", list(items)]:
            return tuple(decode(v, _depth=_depth) for v in items)
        case ["dict", list(pairs)]:
            try:
                return {decode(k, _depth=_depth): decode(v, _depth=_depth) for k, v in pairs}
            except TypeError as error:
                raise ValueError(f"broken dict: {error}") from None
        case ["array", str(dtype), list(shape), content]:
            return _decode_array(dtype, shape, content)
    raise ValueError(f"unknown value {str(value)[:80]}")


def _encode_array(array: np.ndarray, where: str) -> tuple[str, list[int], Any]:
    shape = list(array.shape)
    if array.dtype.kind == "U":
        return "str", shape, array.ravel().tolist()
    if array.dtype.kind not in "biufMm":
        raise TypeError(f"{where} is an array of {array.dtype}, which a file cannot keep")
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return little.dtype.str, shape, base64.b64encode(little.tobytes()).decode("ascii")


def _decode_array(dtype: str, shape: list[Any], content: Any) -> np.ndarray:
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"broken array shape {shape}")
    if dtype == "str":
        if not isinstance(content, list) or not all(isinstance(text, str) for text in content):
            raise ValueError("broken array of strings")
        return np.array(content, dtype=str).reshape(shape)
    try:
        kind = np.dtype(dtype)
        if kind.kind not in "biufMm" or kind.fields is not None or kind.subdtype is not None:
            raise ValueError(f"array of {dtype}")
        raw = base64.b64decode(content, validate=True)
        return np.frombuffer(raw, dtype=kind).astype(kind.newbyteorder("=")).reshape(shape)
    except (TypeError, binascii.Error) as error:
        raise ValueError(f"broken array: {error}") from None
