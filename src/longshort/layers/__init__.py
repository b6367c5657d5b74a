"""Keras layers on the fused kernels, and the Keras names that every model needs."""

from keras import Sequential

from longshort.layers._accelerate import accelerate, to_keras
from longshort.layers._bidirectional import Bidirectional
from longshort.layers._cell import LSTMCell
from longshort.layers._conv import Conv1D
from longshort.layers._crf import CRF
from longshort.layers._ctc import CTCLoss
from longshort.layers._dense import Dense
from longshort.layers._dropout import EmbeddingDropout
from longshort.layers._gru import GRU
from longshort.layers._lstm import LSTM
from longshort.layers._mlstm import MLSTM
from longshort.layers._slstm import SLSTM
from longshort.layers._stack import StackedRNN

__all__ = [
    "CRF",
    "CTCLoss",
    "GRU",
    "LSTM",
    "Bidirectional",
    "Conv1D",
    "Dense",
    "EmbeddingDropout",
    "LSTMCell",
    "MLSTM",
    "SLSTM",
    "Sequential",
    "StackedRNN",
    "accelerate",
    "to_keras",
]
