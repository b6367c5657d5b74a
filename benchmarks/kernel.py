"""How near the kernels come to the limit of the machine, beside torch, Keras and onnxruntime.

The limit is the matrix product: the operations that an LSTM's products need, at the rate at which
the best library at hand (NumPy's or torch's, measured in the same rounds) multiplies matrices.
Forward and backward ("train", without the gradient of the input) and forward only ("inference"),
all contenders in turns, after their outputs and gradients have agreed.

    python benchmarks/kernel.py                                  # every shape, float32
    python benchmarks/kernel.py seed mid --bf16 --ragged --memory --json kernel.json --plot k.png
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contenders import build
from figures import FAULTS, FULL, LIMIT, RATIO, Figure, geometric_means
from problem import TASKS, operations
from turns import (
    KERAS_BACKENDS,
    SHAPES,
    Died,
    Worker,
    disagreements,
    machine,
    ratios,
    serve,
    take_turns,
    why_not_importable,
)

OURS = {"float32": "longshort", "bf16": "longshort-bf16", "ragged": "longshort-ragged"}
CONTENDERS = {
    "float32": ["longshort", "keras-jax", "torch", "torch-malloc"],
    "bf16": ["longshort-bf16", "longshort", "torch-bf16", "torch-bf16-malloc"],
    "ragged": ["longshort-ragged", "longshort", "torch-ragged", "torch-ragged-malloc"],
}
RAGGED_SHAPES = ("seed", "mid", "large")
MODULES = {"torch": "torch", "keras-torch": "torch", "keras-tf": "tensorflow"}
FAULT_STEPS = 20


class Run:
    """What is at hand, and everything measured so far."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.extra = list(arguments.also)
        self.torch = not arguments.without_torch and self.have("torch", "torch")
        if self.have("onnxruntime", "onnxruntime, onnx"):
            self.extra.append("onnxruntime")
        self.extra = [n for n in self.extra if n not in MODULES or self.have(n, MODULES[n])]
        self.seconds: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = {}
        self.figures: list[Figure] = []

    @staticmethod
    def have(name: str, modules: str) -> bool:
        if why := why_not_importable(modules):
            print(f"{name}: skipped, {why}")
        return not why

    def contenders(self, mode: str) -> list[str]:
        names = [n for n in CONTENDERS[mode] if self.torch or not n.startswith("torch")]
        return names + (self.extra if mode == "float32" else [])

    def peaks(self, mode: str) -> list[str]:
        names = ["peak-numpy", "peak-torch"] + (["peak-torch-bf16"] if mode == "bf16" else [])
        return [n for n in names if self.torch or "torch" not in n] if mode != "ragged" else []

    def reference(self, mode: str) -> str:
        """Another's float32, never ours."""
        ragged = "-ragged" if mode == "ragged" else ""
        return ("torch" if self.torch else "keras-jax") + ragged


def bound(name: str) -> float:
    """How much of the largest value a result may differ by."""
    return 3e-2 if "bf16" in name else 1e-4


@contextmanager
def started(names: list[str], shape_name: str) -> Iterator[dict[str, Worker]]:
    workers = {name: Worker(__file__, name, shape_name) for name in names}
    try:
        yield workers
    finally:
        for worker in workers.values():
            worker.close()


def check(run: Run, mode: str, shape_name: str, workers: dict[str, Worker]) -> None:
    """Whoever gets the same data must agree, bfloat16 within its own bound.

    torch refuses an LSTM in bfloat16 on processors without instructions for it; it is left out.
    How exact its bfloat16 is where it has one is its own affair: said, and timed all the same.
    """
    for name in [n for n in workers if n.startswith("torch-bf16")]:
        try:
            workers[name].results()
        except Died as error:
            print(f"{name}: skipped, {str(error).splitlines()[-1]}")
            workers.pop(name).close()
    reference = run.reference(mode)
    same = [w for n, w in workers.items() if ("ragged" in n) == (mode == "ragged")]
    with started([] if reference in workers else [reference], shape_name) as extra:
        found = disagreements(same, (workers | extra)[reference], bound)
    print(*found.values(), sep="\n", end="\n" if found else "")
    if any(not name.startswith("torch-bf16") for name in found):
        raise SystemExit("nothing is timed that does not agree")


def measure(run: Run, mode: str, shape_name: str) -> None:
    """Time the contenders of one mode on one shape and print the figures."""
    arguments = run.arguments
    print(f"{mode} {shape_name} {SHAPES[shape_name]}", flush=True)
    with (
        started(run.contenders(mode), shape_name) as workers,
        started(run.peaks(mode), shape_name) as peaks,
    ):
        check(run, mode, shape_name, workers)
        operations_of_peak = {n: int(w.results()["operations"]) for n, w in peaks.items()}
        for task in TASKS:
            others = [w for n, w in workers.items() if (n, task) != ("onnxruntime", "train")]
            turns = [*peaks.values(), *others]
            taken = take_turns(turns, task, arguments.rounds, arguments.seconds, warm=True)
            for name in peaks:  # a step is one product; what is kept is the time of an operation
                taken[name] = [s / operations_of_peak[name] for s in taken[name]]
            run.seconds.setdefault(mode, {}).setdefault(shape_name, {})[task] = taken
            report(run, mode, shape_name, task, taken)


def report(run: Run, mode: str, shape_name: str, task: str, taken: dict[str, list[float]]) -> None:
    peaks = [taken[name] for name in run.peaks(mode)]
    # The fastest library of each round; bfloat16 may use a float32 product where that is faster.
    fastest = [min(rates) for rates in zip(*peaks, strict=True)]  # seconds an operation
    limit = [operations(shape_name, task) * seconds for seconds in fastest]
    ours = taken[OURS[mode]]
    for name, seconds in taken.items():
        if name.startswith("peak"):
            continue
        figures = []
        if name != OURS[mode]:
            figures.append(Figure(mode, shape_name, task, name, RATIO, ratios(seconds, ours)))
        elif mode == "ragged":
            full = ratios(ours, taken["longshort"])
            figures.append(Figure(mode, shape_name, task, name, FULL, full))
        if limit:
            fraction = ratios(limit, seconds)
            figures.append(Figure(mode, shape_name, task, name, LIMIT, fraction))
        run.figures += figures
        milliseconds = statistics.median(seconds) * 1e3
        texts = ", ".join(map(str, figures))
        print(f"  {task:9} {name:19} {milliseconds:9.3f} ms  {texts}", flush=True)
    if fastest:
        print(f"  {task:9} limit: {1e-9 / statistics.median(fastest):.0f} Gflop/s")


def measure_faults(run: Run, shape_name: str) -> None:
    """Page faults of a training step, the pages kept by the library and not."""
    with started(["longshort-keep1", "longshort-keep0"], shape_name) as workers:
        for name, worker in workers.items():
            worker.seconds("train", 5)  # what is allocated once has been
            faults = [
                float(worker.ask("faults", "train", FAULT_STEPS))
                for _ in range(run.arguments.rounds)
            ]
            figure = Figure("memory", shape_name, "train", name, FAULTS, faults)
            run.figures.append(figure)
            print(f"memory {shape_name:6} {name:16} {figure}", flush=True)


def measure_all(run: Run) -> None:
    arguments = run.arguments
    shapes = arguments.shapes or list(SHAPES)
    for mode in ("float32", "bf16", "ragged"):
        if getattr(arguments, mode):
            for shape_name in shapes:
                if mode != "ragged" or shape_name in RAGGED_SHAPES:
                    measure(run, mode, shape_name)
    if arguments.memory:
        for shape_name in shapes:
            measure_faults(run, shape_name)
    for figure in geometric_means(run.figures):
        run.figures.append(figure)
        print(f"geometric mean  {figure.task:9} {figure.contender:19} {figure}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shapes", nargs="*", default=[], help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="of one turn, roughly")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 too, ours and autocast's")
    parser.add_argument("--ragged", action="store_true", help="sequences of all lengths too")
    parser.add_argument("--memory", action="store_true", help="page faults of training too")
    parser.add_argument("--no-float32", dest="float32", action="store_false")
    parser.add_argument("--without-torch", action="store_true")
    parser.add_argument(
        "--also", action="append", default=[], choices=list(KERAS_BACKENDS), help="slow contenders"
    )
    parser.add_argument("--json", help="write raw times, figures and machine facts to this file")
    parser.add_argument("--plot", help="draw the fractions of the limit into this file")
    arguments = parser.parse_args()
    if unknown := set(arguments.shapes) - set(SHAPES):
        parser.error(f"unknown shapes {sorted(unknown)}; there are {', '.join(SHAPES)}")
    facts = machine()
    print(f"{facts['cpu']}, {facts['cpus']} CPUs, load {facts['load']:.1f}; {facts['platform']}")
    print("longshort:", ", ".join(f"{k} {v}" for k, v in facts["longshort"].items()))
    print("versions:", ", ".join(f"{k} {v}" for k, v in facts["versions"].items() if v))
    print("each figure: median (min-max) of the rounds; the target is for the median")
    run = Run(arguments)
    measure_all(run)
    if arguments.json:
        content = {
            "machine": facts,
            "arguments": vars(arguments),
            "operations": {s: {t: operations(s, t) for t in TASKS} for s in SHAPES},
            "seconds": run.seconds,  # of a step; of an operation where the name is peak-...
            "figures": [figure.as_dict() for figure in run.figures],
        }
        Path(arguments.json).write_text(json.dumps(content, indent=1))
    if arguments.plot:
        from chart import draw

        draw(run.figures, f"{facts['cpu']}, {facts['cpus']} CPUs", arguments.plot)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        serve(lambda: build(*sys.argv[2:4]))
    else:
        main()
