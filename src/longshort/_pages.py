"""Memory that is freed stays with the process: the next training step takes it again."""

from __future__ import annotations

import ctypes
import os
import sys

MEBIBYTE = 2**20
# What glibc's malloc.h calls M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD and M_ARENA_MAX.
OPTIONS = {-3: 1024 * MEBIBYTE, -1: 2047 * MEBIBYTE, -2: 64 * MEBIBYTE, -8: 1}


def keep_pages() -> bool:
    """Have glibc keep freed pages instead of returning them to the system, for the whole process.

    XLA allocates the arrays of each step anew, and page faults would cost more than the arithmetic.
    All threads share one arena: those that threads have of their own end at 64 MB, and what is
    larger goes back to the system. A thread that has its own already keeps it, so this comes
    before JAX starts its threads. `LONGSHORT_KEEP_PAGES=0` leaves the allocator alone.

    Returns:
        Whether it took effect.
    """
    if os.environ.get("LONGSHORT_KEEP_PAGES") == "0" or sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return all(library.mallopt(option, value) for option, value in OPTIONS.items())
