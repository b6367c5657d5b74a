"""What is freed stays with the process: a training step takes the memory of the one before."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import longshort
import jax

@jax.jit
def step(x):  # two arrays of 80 MB, more than an arena of a thread holds
    return jax.numpy.dot(x, x.T).T.reshape(-1, 4)[::-1]

x = jax.numpy.ones((4_500, 8))
for count in map(int, sys.argv[1:]):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        jax.block_until_ready(step(x))
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // count)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is asked")
def test_pages_are_kept_and_left_alone() -> None:
    def faults(keep: str, *counts: str) -> int:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "GLIBC"))}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *counts],
            env=environment | {"LONGSHORT_KEEP_PAGES": keep},
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)

    assert faults("1", "20", "10") < 5_000  # it takes some steps until there is enough
    assert faults("0", "1", "3") > 10_000
