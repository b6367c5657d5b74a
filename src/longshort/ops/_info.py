"""What this installation is and does, in one dictionary."""

from __future__ import annotations

import platform
from typing import Any

import keras

from longshort.ops import _library
from longshort.ops._paths import choose_path


def info() -> dict[str, Any]:
    """Backend, the path that an LSTM takes by default and why, instruction set and threads.

    `instruction_set` and `num_threads` are None where the kernel library is missing.

    >>> sorted(longshort.ops.info())[:3]
    ['backend', 'instruction_set', 'keras']
    """
    installed = _library.load() is not None
    path = choose_path()
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "path": path.name,
        "reason": path.reason,
        "instruction_set": _library.isa() if installed else None,
        "num_threads": _library.num_threads() if installed else None,
    }
