"""For the whole test run: what must be set before JAX is imported, and by whom Keras is.

XLA compiles anew for each shape that a test makes up, which is most of what the tests take; code
that runs once need not be fast.
"""

import os

os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import longshort  # noqa: E402, F401  before Keras, so that it chooses the backend
