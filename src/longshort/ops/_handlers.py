"""The library's handlers as targets of XLA's foreign function interface."""

from __future__ import annotations

import functools
from typing import Any

from longshort.ops import _library


@functools.cache
def register(*names: str) -> None:
    """Make the handlers `longshort_xla_<name>` known to XLA as `longshort_<name>`, once a process.

    Raises:
        KernelError: The library is missing.
    """
    import jax

    for name in names:
        handler = jax.ffi.pycapsule(getattr(_library.required(), f"longshort_xla_{name}"))
        jax.ffi.register_ffi_target(f"longshort_{name}", handler, platform="cpu")


def call(options: tuple[str, tuple[tuple[int, ...], ...]], *args: Any, **words: Any) -> Any:
    """Call a registered handler.

    Args:
        options: Its name, and the shapes of its results, of the type of the first of `args`.
        args: Arrays.
        words: Attributes, of NumPy's types.
    """
    import jax

    name, shapes = options
    results = [jax.ShapeDtypeStruct(shape, args[0].dtype) for shape in shapes]
    return jax.ffi.ffi_call(f"longshort_{name}", results, vmap_method="sequential")(*args, **words)
