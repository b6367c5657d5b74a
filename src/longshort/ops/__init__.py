"""The LSTM as a function, its paths, and the settings of the kernel library."""

from longshort.ops._info import info
from longshort.ops._library import isa, num_threads, set_isa, set_num_threads
from longshort.ops._lstm import Path, choose_path, lstm, lstm_both
from longshort.ops._step import LSTMStep

__all__ = [
    "LSTMStep",
    "Path",
    "choose_path",
    "info",
    "isa",
    "lstm",
    "lstm_both",
    "num_threads",
    "set_isa",
    "set_num_threads",
]
