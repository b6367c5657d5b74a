"""Memory that is freed stays with the process: the next training step takes it again."""

from __future__ import annotations

import ctypes
import os
import sys

MEBIBYTE = 2**20
# glibc's malloc.h: environment variable, number and values to try. Older ones (before 2.35 or so)
# take no threshold above 32 MB. It comes first: the other sizes would freeze it where it is.
OPTIONS = (
    ("MALLOC_MMAP_THRESHOLD_", -3, (1024 * MEBIBYTE, 32 * MEBIBYTE)),
    ("MALLOC_TRIM_THRESHOLD_", -1, (2047 * MEBIBYTE,)),
    ("MALLOC_TOP_PAD_", -2, (64 * MEBIBYTE,)),
    ("MALLOC_ARENA_MAX", -8, (1,)),
)


def keep_pages() -> None:
    """Have glibc keep freed pages instead of returning them to the system, for the whole process.

    XLA allocates the arrays of each step anew, and page faults would cost more than the arithmetic.
    All threads share one arena: those that threads have of their own end at 64 MB, and what is
    larger goes back to the system. A thread that has its own already keeps it, so this comes
    before JAX starts its threads. What the environment sets stays as it is set, and
    `LONGSHORT_KEEP_PAGES=0` leaves the allocator alone.
    """
    if os.environ.get("LONGSHORT_KEEP_PAGES") == "0" or sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "mallopt"):
        return
    for variable, option, values in OPTIONS:
        if variable not in os.environ:
            any(library.mallopt(option, value) for value in values)  # the first that it takes
