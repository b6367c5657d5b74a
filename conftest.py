"""For the whole test run: what must be set before JAX and Keras are imported, and fixtures.

XLA compiles anew for each shape that a test makes up, which is most of what the tests take: code
that runs once need not be fast, and a program that many tests need is compiled once a process.
"""

import os
import tempfile

_programs = tempfile.TemporaryDirectory(prefix="longshort-tests-")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _programs.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import longshort  # noqa: E402, F401, I001  before Keras, so that it chooses the backend
import pytest  # noqa: E402

from longshort._errors import KernelError  # noqa: E402
from longshort.ops import _library  # noqa: E402

ISAS = ("portable", "neon", "avx2", "avx512", "avx512_bf16", "amx")


@pytest.fixture(params=ISAS)
def isa(request):
    """Each instruction set; a test skips those that the build or the CPU lacks."""
    try:
        _library.set_isa(request.param)
    except KernelError as error:
        pytest.skip(str(error))
    yield request.param
    _library.set_isa(None)
