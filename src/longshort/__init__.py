"""LSTM networks for Python: Keras layers on fused kernels, and the jobs done with them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from longshort._backend import choose_backend
from longshort._errors import (
    DataError,
    FileFormatError,
    KernelError,
    LongshortError,
    NotFittedError,
    PathWarning,
    SaveError,
)
from longshort._pages import keep_pages

choose_backend()  # before anything imports Keras
keep_pages()  # before JAX starts its threads

if TYPE_CHECKING:
    from longshort import data, layers, ops, optimizers, tasks
    from longshort.layers import accelerate, to_keras
    from longshort.ops import num_threads, set_num_threads
    from longshort.tasks import load

__version__ = "0.1.0"

__all__ = [
    "DataError",
    "FileFormatError",
    "KernelError",
    "LongshortError",
    "NotFittedError",
    "PathWarning",
    "SaveError",
    "accelerate",
    "data",
    "layers",
    "load",
    "num_threads",
    "ops",
    "optimizers",
    "set_num_threads",
    "tasks",
    "to_keras",
]

# Imported when first used: Keras and JAX take a second that `longshort --help` need not wait for.
_HOMES = {
    "accelerate": "layers",
    "load": "tasks",
    "num_threads": "ops",
    "set_num_threads": "ops",
    "to_keras": "layers",
}
_PACKAGES = ("data", "layers", "ops", "optimizers", "tasks")


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"longshort.{name}")
    if name in _HOMES:
        return getattr(import_module(f"longshort.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'longshort' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
