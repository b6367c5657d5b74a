"""What the benchmarks share: shapes, contenders in processes of their own that take turns, ratios.

A machine's speed drifts, so nothing is timed once and compared later: each contender waits in its
own process for its turn, the turns alternate (A B C D, A B C D, ...), and the ratio of two
contenders is taken within a round.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Protocol

import numpy as np

Array = np.ndarray

SHAPES = {  # B, T, D, H
    "tiny": (32, 24, 1, 32),
    "seed": (32, 50, 10, 128),
    "mid": (64, 100, 64, 256),
    "large": (64, 50, 512, 512),
    "lm650": (20, 35, 650, 650),
    "long": (8, 2000, 16, 64),
    "wide": (128, 30, 256, 1024),
    "bi2": (32, 50, 64, 128),  # two bidirectional layers, one on the other
    "b1": (1, 50, 10, 128),
    "b1big": (1, 100, 512, 512),
}
MALLOC = (
    "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592:"
    "glibc.malloc.top_pad=268435456:glibc.malloc.arena_max=1"
)
KERAS_BACKENDS = {"keras-tf": "tensorflow", "keras-torch": "torch"}
PAUSE = 0.05  # seconds between turns: the thread pool of the one before stops spinning


class Contender(Protocol):
    """What a worker process holds."""

    def check(self) -> dict[str, Array]:
        """Results by name, the same names for all contenders."""

    def steps(self, task: str, count: int) -> None:
        """Do the task `count` times and wait for the last result."""


def lstm_weights(rng: np.random.Generator, features: int, units: int) -> dict[str, Array]:
    """Random weights of one direction of one layer, as Keras lays them out."""

    def normal(*size: int, scale: float) -> Array:
        return (rng.normal(size=size) * scale).astype(np.float32)

    return {
        "kernel": normal(features, 4 * units, scale=features**-0.5),
        "recurrent_kernel": normal(units, 4 * units, scale=units**-0.5),
        "bias": normal(4 * units, scale=0.1),
    }


def serve(build: Callable[[], Contender]) -> None:
    """The worker's side: a command a line in, an answer a line out, until the input ends."""
    answers = os.fdopen(os.dup(1), "w")  # what libraries print goes elsewhere
    os.dup2(2, 1)
    contender = build()

    def check(file: str) -> str:
        np.savez(file, **contender.check())
        return "done"

    def seconds(task: str, count: str) -> float:
        start = time.perf_counter()
        contender.steps(task, int(count))
        return time.perf_counter() - start

    def faults(task: str, count: str) -> float:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        contender.steps(task, int(count))
        return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / int(count)

    commands: dict[str, Callable[..., object]] = {"check": check, "time": seconds, "faults": faults}
    for line in sys.stdin:
        command, *arguments = line.split()
        print(commands[command](*arguments), file=answers, flush=True)


class Died(SystemExit):
    """A contender's process ended before it answered."""


class Worker:
    """The parent's side of one contender's process; words in the name set its environment.

    `malloc`: glibc told to keep its pages; `keep0`, `keep1`: LONGSHORT_KEEP_PAGES; `bfloat16`:
    PRECISION, for benchmarks that have it. Others have glibc as it is, also where they import what
    we build their networks with.
    """

    def __init__(self, program: str, name: str, shape_name: str) -> None:
        environment = dict(os.environ, KERAS_BACKEND=KERAS_BACKENDS.get(name, "jax"))
        environment.pop("GLIBC_TUNABLES", None)
        if name.startswith(("keras", "torch", "onnxruntime", "peak")):
            environment["LONGSHORT_KEEP_PAGES"] = "0"
        for word in name.split("-"):
            if word == "malloc":
                environment["GLIBC_TUNABLES"] = MALLOC
            elif word in ("keep0", "keep1"):
                environment["LONGSHORT_KEEP_PAGES"] = word[-1]
            elif word == "bfloat16":
                environment["PRECISION"] = word
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, program, "--work", name, shape_name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment,
        )

    def ask(self, *words: object) -> str:
        answer = ""
        try:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            pass
        if not answer:
            self.errors.seek(0)
            raise Died(f"{self.name} died:\n{self.errors.read()[-3000:].strip()}")
        return answer

    def seconds(self, task: str, count: int) -> float:
        return float(self.ask("time", task, count))

    def results(self) -> dict[str, Array]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "results.npz")
            self.ask("check", file)
            return dict(np.load(file))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


def disagreements(
    workers: list[Worker], reference: Worker, bound: Callable[[str], float]
) -> dict[str, str]:
    """By worker, what differs from the reference by more than its bound of the largest value.

    A worker need not have all results (one that only does inference has no gradients), but some.
    """
    found = {}
    expected = reference.results()
    for worker in workers:
        got = worker.results()
        if not got or not got.keys() <= expected.keys():
            found[worker.name] = f"{worker.name} has {list(got)}, not of {list(expected)}"
        for key in got.keys() & expected.keys():
            value, wanted = got[key], expected[key]
            same = value.shape == wanted.shape
            error = np.abs(value - wanted).max() / np.abs(wanted).max() if same else np.inf
            if not error < bound(worker.name):
                what = f"{worker.name} differs from {reference.name} in {key} by {error:.1e}"
                found[worker.name] = what
    return found


def agree(workers: list[Worker], reference: Worker, bound: float) -> None:
    """Stop unless all results are the reference's."""
    if found := disagreements(workers, reference, lambda name: bound):
        raise SystemExit("\n".join(found.values()))


def take_turns(
    workers: list[Worker], task: str, rounds: int, seconds: float, warm: bool = False
) -> dict[str, list[float]]:
    """Seconds of one step, a value for each contender and round.

    Args:
        seconds: Of one turn, roughly; a step that takes longer is a turn.
        warm: Take one step before the clock starts, with the caches and threads of the last turn.
    """
    counts = {}
    for worker in workers:
        worker.seconds(task, 1)  # compiles
        # A single step has all that a call costs by itself, such as Keras' `fit`.
        few = max(1, round(seconds / 5 / worker.seconds(task, 1)))
        counts[worker.name] = max(1, round(seconds * few / worker.seconds(task, few)))
    taken: dict[str, list[float]] = {worker.name: [] for worker in workers}
    for _ in range(rounds):
        for worker in workers:
            time.sleep(PAUSE)
            if warm:
                worker.seconds(task, 1)
            count = counts[worker.name]
            taken[worker.name].append(worker.seconds(task, count) / count)
    return taken


def ratios(theirs: list[float], ours: list[float]) -> list[float]:
    """Of each round, so that drift does not count."""
    return [a / b for a, b in zip(theirs, ours, strict=True)]


def number(value: float) -> str:
    return f"{value:.3f}" if value < 0.095 else f"{value:.2f}"


def spread(values: list[float]) -> str:
    """Median (smallest-largest)."""
    return f"{number(statistics.median(values))} ({number(min(values))}-{number(max(values))})"


def why_not_importable(modules: str) -> str | None:
    """Why modules cannot be imported, tried in another process; None where they can."""
    command = [sys.executable, "-c", f"import {modules}"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = tried.stderr.strip().splitlines() or ["no reason given"]
    return None if tried.returncode == 0 else lines[-1]


def machine() -> dict[str, object]:
    """What the figures depend on; asked in another process, which leaves no threads behind."""
    code = "import json, longshort; print(json.dumps(longshort.ops.info()))"
    environment = dict(os.environ, KERAS_BACKEND="jax")
    info = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor()
    names = "longshort keras jax jaxlib numpy torch onnxruntime tensorflow".split()
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "platform": platform.platform(),
        "cpu": cpu,
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": os.getloadavg()[0],
        "longshort": json.loads(info.stdout),
        "versions": versions,
    }
