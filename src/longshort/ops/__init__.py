"""LSTM, GRU and sLSTM as functions, their paths, and the settings of the kernel library."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longshort.ops._gru import gru, gru_both
    from longshort.ops._info import info
    from longshort.ops._library import isa, num_threads, set_isa, set_num_threads
    from longshort.ops._lstm import lstm, lstm_both
    from longshort.ops._paths import Path, choose_path
    from longshort.ops._slstm import slstm
    from longshort.ops._step import LSTMStep

__all__ = [
    "LSTMStep",
    "Path",
    "choose_path",
    "gru",
    "gru_both",
    "info",
    "isa",
    "lstm",
    "lstm_both",
    "num_threads",
    "set_isa",
    "set_num_threads",
    "slstm",
]

# Imported when first used: the kernel library and its settings need neither Keras nor JAX.
_HOMES = {
    "LSTMStep": "_step",
    "info": "_info",
    "slstm": "_slstm",
    **dict.fromkeys(("isa", "num_threads", "set_isa", "set_num_threads"), "_library"),
    **dict.fromkeys(("gru", "gru_both"), "_gru"),
    **dict.fromkeys(("lstm", "lstm_both"), "_lstm"),
    **dict.fromkeys(("Path", "choose_path"), "_paths"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"longshort.ops.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'longshort.ops' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
