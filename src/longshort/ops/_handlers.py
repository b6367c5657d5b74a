"""The library's handlers as targets of XLA's foreign function interface."""

from __future__ import annotations

import functools

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
