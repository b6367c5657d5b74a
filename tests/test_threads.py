"""Threads of the kernels: same results for any number, calls at once, forks, CPUs that may be used.

What could hang or needs a fork runs alone, in a process that imports neither Keras nor JAX:
`alone("name")` runs the function `name` of this file.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import longshort
import test_gru
import test_slstm_kernels
from longshort._errors import KernelError
from longshort.ops import _library as library
from longshort.ops import _library_cells as library_cells
from longshort.ops._gru_inputs import GRUInputs
from longshort.ops._inputs import LSTMInputs
from longshort.ops._slstm_inputs import SLSTMInputs
from variants import variant_arguments

needs_kernels = pytest.mark.skipif(library.load() is None, reason="installed without a compiler")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")

# B, T, D, H: weights that fit a core's cache with many rows, and weights that do not with few. Big
# enough that seven threads are worth waking for each of the four functions.
BY_ROWS = (66, 40, 64, 64)
BY_UNITS = (3, 25, 400, 300)
IN_PIECES = (16, 17, 257, 50)  # products of floats from three bfloat16s each, with AMX
SMALL = (5, 4, 3, 17)  # one thread; many calls in little time
SECONDS = 300  # nothing here takes so long, under a sanitizer either


def alone(name, **environment):
    kept = {k: v for k, v in os.environ.items() if k != "LONGSHORT_NUM_THREADS"}
    result = subprocess.run(
        # Python warns of forks beside threads; the kernels are made for them.
        [sys.executable, "-W", "ignore::DeprecationWarning", __file__, name],
        env={**kept, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * SECONDS,
    )
    assert result.returncode == 0, result.stdout


VARIANTS = (  # that have numbers of their own for each row, or sums over the rows
    dict(peephole=True, coupled=True, zoneout=(0.2, 0.3), training=True),
    dict(peephole=True, cell_clip=0.5, update_dropout=0.3, training=True),
    dict(projection=True, zoneout=(0.2, 0.3), training=True),
    dict(layer_norm=True, projection=True, peephole=True, coupled=True),
)


def problem(sizes, seed=0, options=False, **variant):
    B, T, D, H = sizes
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    inputs = normal(B, T, D), normal(D, 4 * H) / np.sqrt(D), normal(H, 4 * H) / np.sqrt(H)
    if not options:
        return LSTMInputs(*inputs)
    mask = rng.random((B, T)) < 0.8
    if variant:
        return LSTMInputs(inputs[0], mask=mask, **variant_arguments(rng, B, T, D, H, **variant))
    return LSTMInputs(
        *inputs,
        normal(4 * H),
        mask,
        normal(B, H),
        normal(B, H),
        normal(4, B, D),
        normal(4, B, H),
        reverse=True,
    )


def other_cells(sizes):
    """A GRU, and sLSTMs with heads in groups that are even and that are not."""
    B, T, D, H = sizes
    rng = np.random.default_rng(1)
    yield test_gru.make_inputs(rng, B, T, D, H, dropout=True)
    for heads in (1, 3, 4):
        yield test_slstm_kernels.make_inputs(rng, B, T, D, heads, H // heads)


def everything(inputs):
    """All results of all four functions."""
    if isinstance(inputs, GRUInputs):
        out = library_cells.gru_forward(inputs)
        gradients = library_cells.gru_backward(inputs, out, out["hs"], out["h_last"])
        return [out["hs"], out["h_last"], *gradients.values()]
    if isinstance(inputs, SLSTMInputs):
        out = library_cells.slstm_forward(inputs)
        arriving = test_slstm_kernels.arriving(np.random.default_rng(2), inputs)
        gradients = library_cells.slstm_backward(inputs, out, *arriving)
        return [out["hs"], out["h_last"], out["c_last"], *gradients.values()]
    out = library.lstm_forward(inputs)
    gradients = library.lstm_backward(inputs, out, out["hs"], out["h_last"], out["c_last"])
    # Without the saved values, whose padding is not the same in each call.
    return [out["hs"], out["h_last"], out["c_last"], *gradients.values()]


def assert_same(results, expected):
    assert all(np.array_equal(a, b) for a, b in zip(results, expected, strict=True))


def count_threads():
    return len(os.listdir("/proc/self/task"))


def any_number_of_threads():
    before = count_threads()
    problems = [
        problem(sizes, options=options) for sizes in (BY_ROWS, BY_UNITS) for options in (0, 1)
    ]
    problems += [
        problem(sizes, options=True, **variant)
        for sizes in (BY_ROWS, BY_UNITS)
        for variant in VARIANTS
    ]
    problems += [inputs for sizes in (BY_ROWS, BY_UNITS) for inputs in other_cells(sizes)]
    problems += [replace(inputs, bfloat16=True) for inputs in problems[::3]]
    problems += [problem(IN_PIECES, options=options) for options in (0, 1)]
    library.set_num_threads(1)
    expected = [everything(inputs) for inputs in problems]
    for n in (2, 3, 4, 7):
        library.set_num_threads(n)
        for inputs, results in zip(problems, expected, strict=True):
            assert_same(everything(inputs), results)
        assert count_threads() - before >= n - 1  # they were used; a sanitizer has one of its own


def calls_at_once():
    """Of all sizes, while the number of threads changes."""
    problems = [
        problem(sizes, seed) for seed, sizes in enumerate([BY_ROWS, BY_UNITS, SMALL, SMALL])
    ]
    library.set_num_threads(1)
    expected = [everything(inputs) for inputs in problems]

    def work(i):
        library.set_num_threads(i % 5 + 1)
        assert_same(everything(problems[i % 4]), expected[i % 4])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(40)))
    library.set_num_threads(5)
    assert_same(everything(problems[0]), expected[0])


def in_child(work):
    """Fork; the child does the work. It must end well, and soon."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(SECONDS)
        try:
            work()
        except BaseException as error:
            print("in the child:", repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def forked_child():
    library.set_num_threads(3)
    inputs = problem(BY_ROWS)
    expected = everything(inputs)

    def work():
        before = count_threads()
        assert_same(everything(inputs), expected)
        assert count_threads() >= before + 2  # a team of its own

    def work_and_fork():
        work()
        in_child(work)

    in_child(work_and_fork)
    assert_same(everything(inputs), expected)


def fork_during_calls():
    library.set_num_threads(2)
    problems = [problem(BY_UNITS), problem(SMALL), problem(SMALL, 1)]
    expected = [everything(inputs) for inputs in problems]
    stop = threading.Event()

    def call(i):
        while not stop.is_set():
            assert_same(everything(problems[i]), expected[i])

    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(call, i) for i in range(3)]
        try:
            for _ in range(10):
                in_child(lambda: assert_same(everything(problems[0]), expected[0]))
        finally:
            stop.set()
        for each in calls:
            each.result()


def multiprocessing_by_fork():
    library.set_num_threads(2)
    inputs = problem(BY_ROWS)
    expected = everything(inputs)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for results in pool.map_async(everything, [inputs] * 4).get(SECONDS):
            assert_same(results, expected)


def one_cpu():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    alone("on_one_cpu")  # which inherits it


def on_one_cpu():
    before = count_threads()
    assert longshort.num_threads() == 1
    everything(problem(BY_ROWS))
    assert count_threads() == before


def workers_may_move():
    """One that was woken on another CPU than its caller's is bound to nothing afterwards."""
    longshort.set_num_threads(2)
    everything(problem(BY_ROWS))
    allowed = os.sched_getaffinity(0)
    others = [t for t in map(int, os.listdir("/proc/self/task")) if t != os.getpid()]
    for _ in range(5):
        while any(") S " not in Path(f"/proc/{t}/stat").read_text() for t in others):
            os.sched_yield()  # until it spins no more
        everything(problem(BY_ROWS))
        assert all(os.sched_getaffinity(t) == allowed for t in others)


def control_group():
    library.cgroup_limit = lambda: 1
    library._configure(library.load())
    expected = os.environ.get("LONGSHORT_NUM_THREADS", "1")
    assert str(longshort.num_threads()) == expected


def no_framework():
    longshort.set_num_threads(2)
    assert longshort.num_threads() == longshort.ops.num_threads() == 2
    assert longshort.ops.isa()
    assert not {"keras", "jax"} & set(sys.modules)


@needs_kernels
@needs_linux
@pytest.mark.parametrize(
    "function",
    [
        calls_at_once,
        forked_child,
        fork_during_calls,
        multiprocessing_by_fork,
        one_cpu,
        workers_may_move,
        control_group,
        no_framework,
    ],
)
def test(function):
    alone(function.__name__)


@needs_kernels
@needs_linux
@pytest.mark.parametrize("isa", ["portable", "neon", "avx2", "avx512", "avx512_bf16", "amx"])
def test_any_number_of_threads(isa):
    try:
        library.set_isa(isa)
    except KernelError as error:
        pytest.skip(str(error))
    finally:
        library.set_isa(None)
    alone("any_number_of_threads", LONGSHORT_ISA=isa)


@needs_kernels
def test_the_environment_overrules_the_control_group():
    alone("control_group", LONGSHORT_NUM_THREADS="3")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
