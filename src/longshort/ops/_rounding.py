"""Round the factors of the kernels' products to bfloat16 within a `with`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from longshort._errors import PathWarning
from longshort.ops import _library
from longshort.ops._paths import machine_path

_rounded: ContextVar[bool] = ContextVar("longshort_rounded", default=False)


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Have layers and `token_loss` multiply in `precision` where they are traced inside.

    Inputs are float32, and so are sums, states and results. It is a matter of tracing alone: what
    was compiled outside stays as it is, and what was compiled inside stays so outside.

    Args:
        precision: float32, or bfloat16; from `usable_precision`.
    """
    token = _rounded.set(precision == "bfloat16")
    try:
        yield
    finally:
        _rounded.reset(token)


def usable_precision(precision: str) -> str:
    """Return `precision`, or float32 with a `PathWarning` where bfloat16 cannot be multiplied."""
    if precision == "float32":
        return precision
    path = machine_path()
    if path.name == "kernel" and _library.isa() in ("amx", "avx512_bf16"):
        return precision
    reason = path.reason
    if path.name == "kernel":
        reason = f"the instruction set is {_library.isa()}, not amx or avx512_bf16"
    warnings.warn(
        f"longshort: this trains in float32, not in bfloat16: {reason}.",
        PathWarning,
        stacklevel=3,
    )
    return "float32"


def rounds(dtype: str) -> bool:
    """Return whether products of inputs of this type have their factors rounded."""
    return dtype == "bfloat16" or (dtype == "float32" and _rounded.get())
