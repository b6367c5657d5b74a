"""What the benchmarks of whole training programs share: contenders, checks, turns, the command."""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from turns import Worker, agree, ratios, spread, take_turns

SECONDS, STEPS = 2.0, 3
# How far the losses of a contender with such a word in its name may be off, as a share.
BOUNDS = {"bfloat16": 1e-2, "sampled": 0.1}
PRECISION = os.environ.get("PRECISION", "float32")  # of products, in the worker's process


class Trained:
    """A contender whose task is training: it has the same losses as the others over three steps."""

    def step(self, number: int) -> float:
        """Train on batch `number` modulo STEPS and return the loss."""
        raise NotImplementedError

    @functools.cache  # noqa: B019  asked twice of the reference, and each step changes the weights
    def check(self) -> dict[str, np.ndarray]:
        return {"losses": np.array([self.step(number) for number in range(STEPS)])}

    def steps(self, task: str, count: int) -> None:
        for number in range(count):
            self.step(number)


class KerasTrained(Trained):
    """A compiled model, trained as the tasks do, or by `fit` as users of Keras do."""

    model: Any
    by_task: bool

    def adam(self, rate: float, **options: Any) -> Any:
        """Return the optimizer of ours, or of Keras where the contender is Keras'."""
        import keras

        from longshort.optimizers import Adam

        return (Adam if self.by_task else keras.optimizers.Adam)(rate, **options)

    def training_steps(self) -> Any:
        from longshort.ops._rounding import usable_precision
        from longshort.tasks._training_steps import training_steps

        if usable_precision(PRECISION) != PRECISION:
            raise SystemExit("this machine does not train in bfloat16")
        return training_steps(self.model, PRECISION)

    def batch(self, number: int) -> tuple[Any, Any]:
        """Return inputs and targets of batch `number` modulo STEPS."""
        raise NotImplementedError

    def step(self, number: int) -> float:
        if not self.by_task:
            return float(self.model.train_on_batch(*self.batch(number)))
        with self.training_steps() as step:
            return step(*self.batch(number))

    def steps(self, task: str, count: int) -> None:
        batches = (self.batch(number) for number in range(count))
        if not self.by_task:
            self.model.fit(batches, steps_per_epoch=count, shuffle=False, verbose=0)
            return
        with self.training_steps() as step:
            for each in batches:
                step(*each)


def use_keras_lstm(*modules: Any) -> None:
    """Have the networks that these modules of ours build consist of Keras' own layers."""
    import keras

    from longshort import layers
    from longshort.ops import _attention
    from longshort.ops._pooling import by_ops
    from longshort.tasks import _cross_attention, _pooling

    _pooling.pool, _cross_attention.attend = by_ops, _attention.by_ops
    for name in ("Bidirectional", "Conv1D", "Dense"):  # for those that import them when they build
        setattr(layers, name, getattr(keras.layers, name))
    for module in modules:
        if hasattr(module, "seeded_lstm"):
            ours = module.seeded_lstm

            def keras_lstm(*given: Any, ours: Any = ours, **options: Any) -> Any:
                return keras.layers.LSTM.from_config(ours(*given, **options).get_config())

            module.seeded_lstm = keras_lstm
        for name in ("LSTM", "Bidirectional", "Dense"):
            if hasattr(module, name):
                setattr(module, name, getattr(keras.layers, name))
        if hasattr(module, "JoinedDense"):
            module.JoinedDense = joined_dense


def joined_dense(*given: Any, **options: Any) -> Any:
    """Return Keras' dense layer behind its concatenation, as the tasks' `JoinedDense` is called."""
    import keras

    class Joined(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(*given, **options)

        def call(self, inputs: Any) -> Any:
            return self.dense(keras.ops.concatenate(inputs, axis=-1))

    return Joined()


class TorchTrained(Trained):
    """One that trains in torch: what is its loss, and what is to be trained, is up to it."""

    torch: Any
    parameters: list[Any]
    optimizer: Any
    clip: float  # most that the norm of all gradients may be

    def loss_of(self, number: int) -> Any:
        """Return the loss of batch `number` modulo STEPS, a tensor."""
        raise NotImplementedError

    def step(self, number: int) -> float:
        self.optimizer.zero_grad()
        rounded = PRECISION == "bfloat16"
        with self.torch.autocast("cpu", self.torch.bfloat16, enabled=rounded):
            loss = self.loss_of(number)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        return float(loss)


def bound_of(name: str) -> float:
    return max(BOUNDS.get(word, 1e-4) for word in name.split("-"))


def measure(program: str, shape: str, names: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds a step, a value for each round and contender."""
    workers = [Worker(program, name, shape) for name in names]
    for bound in (1e-4, *BOUNDS.values()):
        agree([w for w in workers if bound_of(w.name) == bound], workers[0], bound)
    seconds = take_turns(workers, "train", rounds, SECONDS) if rounds else {}
    for worker in workers:
        worker.close()
    return seconds


def compare(
    program: str,
    description: str,
    shapes: dict[str, Any],
    contenders: tuple[str, ...],
    unit: str,
    units_of: Callable[[Any], int],
    takes: Callable[[str, Any], bool] = lambda name, shape: True,
) -> None:
    """The command line of such a benchmark.

    Args:
        units_of: How many `unit`s a step of a shape has.
        takes: Whether a contender takes part with a shape.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("shapes", nargs="*", default=[], help=f"of {', '.join(shapes)}")
    parser.add_argument("--rounds", type=int, default=7, help="0: only check")
    parser.add_argument("--without-torch", action="store_true")
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--bfloat16", action="store_true", help="also ours and torch's in bfloat16")
    arguments = parser.parse_args()
    names = [n for n in contenders if not (arguments.without_torch and n.startswith("torch"))]
    if arguments.bfloat16:
        names += [f"{n}-bfloat16" for n in names if n.startswith((names[0], "torch"))]
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print(f"{unit} a second (median) and, beside each, its time over the first's: median (min-max)")
    results = {}
    for name in arguments.shapes or shapes:
        chosen = [each for each in names if takes(each, shapes[name])]
        seconds = results[name] = measure(program, name, chosen, arguments.rounds)
        print(f"{name:8} {tuple(shapes[name])} all have the same losses", end="")
        for who, taken in seconds.items():
            speed = units_of(shapes[name]) / statistics.median(taken)
            ratio = "" if who == names[0] else f" {spread(ratios(taken, seconds[names[0]]))}"
            print(f"  {who} {speed:,.0f}{ratio}", end="")
        print(flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=1))
