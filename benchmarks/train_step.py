"""Time of one training step: longshort's LSTM against Keras' own on JAX and torch.nn.LSTM.

Each contender lives in a process of its own and waits for its turn; the turns alternate
(A B C D, A B C D, ...), so that a machine whose speed drifts drifts for all. Before any timing,
all contenders get the same weights and data and must agree on output and gradients.

    python benchmarks/train_step.py                      # every shape, all contenders
    python benchmarks/train_step.py seed mid --rounds 9 --json results.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHAPES = {  # B, T, D, H
    "tiny": (32, 24, 1, 32),
    "seed": (32, 50, 10, 128),
    "mid": (64, 100, 64, 256),
    "large": (64, 50, 512, 512),
    "lm650": (20, 35, 650, 650),
}
MALLOC = (
    "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592:"
    "glibc.malloc.top_pad=268435456"
)
CONTENDERS = ("longshort", "keras-jax", "torch", "torch-malloc")
SECONDS = 0.6  # of one turn, roughly


def make_problem(shape: tuple[int, int, int, int], batches: int) -> dict[str, np.ndarray]:
    B, T, D, H = shape
    rng = np.random.default_rng(0)

    def normal(*size: int, scale: float = 1.0) -> np.ndarray:
        return (rng.normal(size=size) * scale).astype(np.float32)

    return {
        "kernel": normal(D, 4 * H, scale=D**-0.5),
        "recurrent_kernel": normal(H, 4 * H, scale=H**-0.5),
        "bias": normal(4 * H, scale=0.1),
        "head": normal(H, 1, scale=H**-0.5),
        "x": normal(B * batches, T, D),
        "y": normal(B * batches, 1),
    }


class KerasContender:
    """The program that everyone learns: Sequential, LSTM, Dense, compile, fit."""

    def __init__(self, name: str, shape: tuple[int, int, int, int]) -> None:
        import keras

        if name == "longshort":
            from longshort.layers import LSTM
        else:
            from keras.layers import LSTM
        B, T, D, H = self.shape = shape
        self.keras = keras
        self.model = keras.Sequential([keras.Input((T, D)), LSTM(H), keras.layers.Dense(1)])
        self.model.compile(loss="mse", optimizer="adam")

    def load(self, problem: dict[str, np.ndarray]) -> None:
        self.problem = problem
        weights = [problem[k] for k in ("kernel", "recurrent_kernel", "bias", "head")]
        self.model.set_weights([*weights, np.zeros(1, np.float32)])

    def check(self) -> dict[str, np.ndarray]:
        import jax

        B = self.shape[0]
        x, y = self.problem["x"][:B], self.problem["y"][:B]
        variables = [v.value for v in self.model.trainable_variables]

        def loss(variables):
            out, _ = self.model.stateless_call(variables, self.model.non_trainable_variables, x)
            return ((out - y) ** 2).mean(), out

        gradients, out = jax.grad(loss, has_aux=True)(variables)
        names = ("kernel", "recurrent_kernel", "bias")
        return {"out": np.asarray(out)} | {
            n: np.asarray(g) for n, g in zip(names, gradients[:3], strict=True)
        }

    def steps(self, epochs: int) -> None:
        self.model.fit(
            self.problem["x"],
            self.problem["y"],
            batch_size=self.shape[0],
            epochs=epochs,
            shuffle=False,
            verbose=0,
        )


class TorchContender:
    """The usual loop around torch.nn.LSTM."""

    def __init__(self, name: str, shape: tuple[int, int, int, int]) -> None:
        import torch

        self.torch, self.shape = torch, shape
        B, T, D, H = shape
        self.lstm = torch.nn.LSTM(D, H, batch_first=True)
        self.head = torch.nn.Linear(H, 1)
        parameters = [*self.lstm.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.Adam(parameters)

    def load(self, problem: dict[str, np.ndarray]) -> None:
        torch = self.torch
        with torch.no_grad():  # torch keeps the gates in Keras' order: i, f, g, o
            self.lstm.weight_ih_l0.copy_(torch.from_numpy(problem["kernel"].T.copy()))
            self.lstm.weight_hh_l0.copy_(torch.from_numpy(problem["recurrent_kernel"].T.copy()))
            self.lstm.bias_ih_l0.copy_(torch.from_numpy(problem["bias"]))
            self.lstm.bias_hh_l0.zero_()
            self.head.weight.copy_(torch.from_numpy(problem["head"].T.copy()))
            self.head.bias.zero_()
        self.x, self.y = torch.from_numpy(problem["x"]), torch.from_numpy(problem["y"])

    def step(self, batch: int):
        B = self.shape[0]
        rows = slice(batch * B, (batch + 1) * B)
        self.optimizer.zero_grad()
        out = self.head(self.lstm(self.x[rows])[0][:, -1])
        loss = self.torch.nn.functional.mse_loss(out, self.y[rows])
        loss.backward()
        return out

    def check(self) -> dict[str, np.ndarray]:
        out = self.step(0)
        return {
            "out": out.detach().numpy(),
            "kernel": self.lstm.weight_ih_l0.grad.numpy().T,
            "recurrent_kernel": self.lstm.weight_hh_l0.grad.numpy().T,
            "bias": self.lstm.bias_ih_l0.grad.numpy(),
        }

    def steps(self, epochs: int) -> None:
        for _ in range(epochs):
            for batch in range(len(self.x) // self.shape[0]):
                self.step(batch)
                self.optimizer.step()


def work(name: str, shape_name: str) -> None:
    """One contender: `check FILE` or `time EPOCHS` a line in, a line out."""
    answers = os.fdopen(os.dup(1), "w")  # what libraries print goes elsewhere
    os.dup2(2, 1)
    shape = SHAPES[shape_name]
    contender = (TorchContender if name.startswith("torch") else KerasContender)(name, shape)
    contender.load(make_problem(shape, batches_of(shape)))
    for line in sys.stdin:
        command, argument = line.split()
        if command == "check":
            np.savez(argument, **contender.check())
            print("done", file=answers, flush=True)
        else:
            start = time.perf_counter()
            contender.steps(int(argument))
            print(time.perf_counter() - start, file=answers, flush=True)


def batches_of(shape: tuple[int, int, int, int]) -> int:
    B, T, D, _ = shape
    return int(np.clip(64e6 / (4 * B * T * D), 4, 50))


class Worker:
    def __init__(self, name: str, shape_name: str) -> None:
        environment = dict(os.environ, KERAS_BACKEND="jax")
        if name == "torch-malloc":
            environment["GLIBC_TUNABLES"] = MALLOC
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--work", name, shape_name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def ask(self, command: str, argument: object) -> str:
        self.process.stdin.write(f"{command} {argument}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"a contender died: {self.process.args[-2:]}")
        return answer

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def agree(workers: dict[str, Worker]) -> None:
    """Outputs and gradients of all contenders, against Keras', relative to the largest value."""
    with tempfile.TemporaryDirectory() as folder:
        answers = {}
        for name, worker in workers.items():
            file = Path(folder, f"{name}.npz")
            worker.ask("check", file)
            answers[name] = dict(np.load(file))
    for name, answer in answers.items():
        for key, value in answers["keras-jax"].items():
            error = np.abs(answer[key] - value).max() / np.abs(value).max()
            if not error < 1e-4:
                raise SystemExit(f"{name} differs from Keras in {key} by {error:.1e}")


def measure(shape_name: str, names: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds a step, a value for each round and contender."""
    batches = batches_of(SHAPES[shape_name])
    workers = {name: Worker(name, shape_name) for name in names}
    agree(workers)
    epochs = {}
    for name, worker in workers.items():
        worker.ask("time", 1)  # compiles
        once = float(worker.ask("time", 1))
        epochs[name] = max(1, round(SECONDS / once))
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, worker in workers.items():
            total = float(worker.ask("time", epochs[name]))
            seconds[name].append(total / (epochs[name] * batches))
    for worker in workers.values():
        worker.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shapes", nargs="*", default=[], help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--without-torch", action="store_true")
    parser.add_argument("--json", help="also write the figures to this file")
    arguments = parser.parse_args()
    names = [n for n in CONTENDERS if not (arguments.without_torch and n.startswith("torch"))]
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print("milliseconds a step (median) and, beside each, its ratio to longshort: median (min-max)")
    results = {}
    for shape_name in arguments.shapes or SHAPES:
        seconds = measure(shape_name, names, arguments.rounds)
        results[shape_name] = seconds
        print(f"{shape_name:6} {SHAPES[shape_name]}", end="")
        for name in names:
            median = statistics.median(seconds[name]) * 1e3
            ratios = [s / ours for s, ours in zip(seconds[name], seconds["longshort"], strict=True)]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            print(f"  {name} {median:.2f}" + ("" if name == "longshort" else f" {spread}"), end="")
        print(flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:4])
    else:
        main()
