"""LSTM networks for Python: Keras layers on fused kernels, and the jobs done with them."""

from longshort._backend import choose_backend

choose_backend()

from longshort import layers, ops  # noqa: E402  # Keras reads its backend when it is imported
from longshort.layers import accelerate, to_keras  # noqa: E402

__version__ = "0.1.0"
