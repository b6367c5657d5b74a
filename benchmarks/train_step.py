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
import sys
from pathlib import Path

import numpy as np

from turns import SHAPES, Contender, Worker, agree, lstm_weights, ratios, serve, spread, take_turns

NAMES = ("tiny", "seed", "mid", "large", "lm650")
CONTENDERS = ("longshort", "keras-jax", "torch", "torch-malloc")
SECONDS = 0.6  # of one turn, roughly


def make_problem(shape: tuple[int, int, int, int], batches: int) -> dict[str, np.ndarray]:
    B, T, D, H = shape
    rng = np.random.default_rng(0)
    return lstm_weights(rng, D, H) | {
        "head": (rng.normal(size=(H, 1)) * H**-0.5).astype(np.float32),
        "x": rng.normal(size=(B * batches, T, D)).astype(np.float32),
        "y": rng.normal(size=(B * batches, 1)).astype(np.float32),
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

    def steps(self, task: str, epochs: int) -> None:
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

    def steps(self, task: str, epochs: int) -> None:
        for _ in range(epochs):
            for batch in range(len(self.x) // self.shape[0]):
                self.step(batch)
                self.optimizer.step()


def build(name: str, shape_name: str) -> Contender:
    shape = SHAPES[shape_name]
    contender = (TorchContender if name.startswith("torch") else KerasContender)(name, shape)
    contender.load(make_problem(shape, batches_of(shape)))
    return contender


def batches_of(shape: tuple[int, int, int, int]) -> int:
    B, T, D, _ = shape
    return int(np.clip(64e6 / (4 * B * T * D), 4, 50))


def measure(shape_name: str, names: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds a step, a value for each round and contender."""
    workers = {name: Worker(__file__, name, shape_name) for name in names}
    agree([*workers.values()], workers["keras-jax"], 1e-4)
    epochs = take_turns([*workers.values()], "train", rounds, SECONDS)
    for worker in workers.values():
        worker.close()
    batches = batches_of(SHAPES[shape_name])
    return {name: [s / batches for s in taken] for name, taken in epochs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shapes", nargs="*", default=[], help=f"of {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--without-torch", action="store_true")
    parser.add_argument("--json", help="also write the figures to this file")
    arguments = parser.parse_args()
    names = [n for n in CONTENDERS if not (arguments.without_torch and n.startswith("torch"))]
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print("milliseconds a step (median) and, beside each, its ratio to longshort: median (min-max)")
    results = {}
    for shape_name in arguments.shapes or NAMES:
        seconds = measure(shape_name, names, arguments.rounds)
        results[shape_name] = seconds
        print(f"{shape_name:6} {SHAPES[shape_name]}", end="")
        for name in names:
            median = statistics.median(seconds[name]) * 1e3
            ratio = spread(ratios(seconds[name], seconds["longshort"]))
            print(f"  {name} {median:.2f}" + ("" if name == "longshort" else f" {ratio}"), end="")
        print(flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        serve(lambda: build(*sys.argv[2:4]))
    else:
        main()
