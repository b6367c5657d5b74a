"""What is freed stays with the process: a training step takes the memory of the one before."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys, threading
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages: they need few faults
import longshort
import numpy as np

def steps():  # in a thread, as XLA has it: 80 MB are more than an arena of a thread holds
    for count in map(int, sys.argv[1:]):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(count):
            np.ones(20_000_000, np.float32)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // count)

thread = threading.Thread(target=steps)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is asked")
def test_pages_are_kept_and_left_alone() -> None:
    others = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "GLIBC", "LD_"))}

    def faults(counts: list[str], **environment: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *counts],
            env=others | {"JAX_PLATFORMS": "cpu"} | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split()[-1])

    assert faults(["20", "10"]) < 5_000
    assert faults(["1", "3"], LONGSHORT_KEEP_PAGES="0") > 10_000
    assert faults(["1", "3"], MALLOC_ARENA_MAX="8", MALLOC_MMAP_THRESHOLD_="131072") > 10_000
