"""How long recurrent networks remember: the adding problem and copying, LSTM beside other cells.

    python examples/long_memory.py                                  # all of it, with a table
    python examples/long_memory.py --tasks adding --lengths 200     # a part
    python examples/long_memory.py --plot gradients.png             # and how gradients fade

Both tasks cannot be solved by anything that forgets (Hochreiter and Schmidhuber 1997):

- adding: (T, 2) numbers, of which the second are two marks, one in each half; the answer is the sum
  of the two first numbers that are marked, each from [0, 1]. Who forgets answers 1: a mean squared
  error of 1/6.
- copy: SYMBOLS symbols of an alphabet of LETTERS, T steps of silence, then as many steps as symbols
  in which to say them again. Who forgets guesses: a cross-entropy of log(LETTERS) a symbol.

Every cell has the same units, data, optimizer, gradient clipping and number of steps, and ends
early when the task is solved: when the loss on sequences that are not trained on is below a tenth
of the baseline's. "LSTM, chrono" and "GRU, chrono" begin with gates that remember for 1 to T steps
(Tallec and Ollivier 2018): forget bias log(u), u uniform in [1, T - 1], input bias the negative;
"LSTM" begins with Keras' forget bias of 1.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import longshort  # isort: skip  # before Keras: it chooses the backend
import keras
import numpy as np
from keras import ops

SYMBOLS, LETTERS = 3, 4
UNITS, BATCH, CHECK_EVERY, TEST = 32, 32, 50, 512
SOLVED = 0.1  # of the baseline's loss

Batch = tuple[np.ndarray, np.ndarray]


class Task(NamedTuple):
    """One problem: batches of any size, the loss, and the loss of what has no memory."""

    batch: Callable[[np.random.Generator, int, int], Batch]
    features: int
    outputs: int
    loss: str
    baseline: float
    learning_rate: float
    steps: int


def adding(rng: np.random.Generator, size: int, length: int) -> Batch:
    """Numbers and marks (size, length, 2), sums (size, 1)."""
    numbers, marks = rng.random((size, length)), np.zeros((size, length))
    half, rows = length // 2, np.arange(size)
    for first, last in ((0, half), (half, length)):
        marks[rows, rng.integers(first, last, size)] = 1
    x, sums = np.stack([numbers, marks], -1), (numbers * marks).sum(1, keepdims=True)
    return x.astype("f4"), sums.astype("f4")


def copy(rng: np.random.Generator, size: int, length: int) -> Batch:
    """One-hot symbols, silence, signal (size, length + 2 SYMBOLS, LETTERS + 2), symbols again."""
    symbols = rng.integers(0, LETTERS, (size, SYMBOLS))
    silence = np.full((size, length), LETTERS)
    signal = np.full((size, SYMBOLS), LETTERS + 1)
    codes = np.concatenate([symbols, silence, signal], 1)
    return np.eye(LETTERS + 2, dtype="f4")[codes], symbols


TASKS = {
    "adding": Task(adding, 2, 1, "mse", 1 / 6, 0.01, 1000),
    "copy": Task(
        copy, LETTERS + 2, LETTERS, "sparse_categorical_crossentropy", math.log(LETTERS), 0.01, 3000
    ),
}


class Chrono(keras.initializers.Initializer):
    """Biases of gates that remember for 1 to `length` steps (Tallec and Ollivier 2018, eq. 16).

    Args:
        length: The longest time.
        gates: What each block of H biases gets: 1 the bias, -1 its negative, 0 zeros.
        seed: Seed of the times.
    """

    def __init__(self, length: int, gates: tuple[int, ...], seed: int) -> None:
        self.length, self.gates, self.seed = length, gates, seed

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """Biases (blocks H,), or (2, blocks H) for a GRU, of which the second are 0."""
        units = shape[-1] // len(self.gates)
        remember = np.log(np.random.default_rng(self.seed).uniform(1, self.length - 1, units))
        bias = np.zeros(shape, "f4")
        bias.reshape(-1, shape[-1])[0] = np.concatenate([sign * remember for sign in self.gates])
        return ops.convert_to_tensor(bias, dtype)


def layers(length: int, seed: int) -> dict[str, Callable[..., keras.layers.Layer]]:
    """The cells, by the name that the table shows."""
    lstm = dict(unit_forget_bias=False, bias_initializer=Chrono(length, (-1, 1, 0, 0), seed))
    gru = dict(bias_initializer=Chrono(length, (1, 0, 0), seed))  # its z is what it keeps
    return {
        "SimpleRNN": keras.layers.SimpleRNN,
        "GRU, chrono": lambda units, **kwargs: longshort.layers.GRU(units, **gru, **kwargs),
        "LSTM": longshort.layers.LSTM,
        "LSTM, chrono": lambda units, **kwargs: longshort.layers.LSTM(units, **lstm, **kwargs),
    }


def model_of(name: str, cell: str, length: int, seed: int) -> keras.Model:
    """A cell, and what reads the answer from its last outputs."""
    keras.utils.set_random_seed(seed)
    task = TASKS[name]
    inputs = keras.Input((None, task.features))
    x = layers(length, seed)[cell](UNITS, return_sequences=name == "copy")(inputs)
    if name == "copy":
        x = x[:, -SYMBOLS:]
    activation = "softmax" if name == "copy" else None
    model = keras.Model(inputs, keras.layers.Dense(task.outputs, activation=activation)(x))
    model.compile(
        loss=task.loss,
        optimizer=keras.optimizers.Adam(task.learning_rate, global_clipnorm=1.0),
    )
    return model


def train(model: keras.Model, name: str, length: int, seed: int, steps: int) -> tuple[float, int]:
    """Train on batches that are never seen twice; the loss on others and the number of steps."""
    task, rng = TASKS[name], np.random.default_rng(seed)
    test = task.batch(np.random.default_rng(seed + 1), TEST, length)

    def batches() -> Iterator[Batch]:
        while True:
            yield task.batch(rng, BATCH, length)

    done, loss, source = 0, math.inf, batches()
    while done < steps:
        part = min(CHECK_EVERY, steps - done)
        model.fit(source, steps_per_epoch=part, shuffle=False, verbose=0)
        done += part
        loss = model.evaluate(*test, batch_size=128, verbose=0)
        if loss < SOLVED * task.baseline:
            break
    return loss, done


def gradient_norms(model: keras.Model, name: str, length: int, seed: int) -> np.ndarray:
    """Norm of the gradient of the last h with respect to the input of each step, latest first.

    Of one random direction of h, the mean over 16 sequences; JAX differentiates.
    """
    import jax

    layer = next(one for one in model.layers if isinstance(one, keras.layers.RNN))
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=UNITS).astype("f4") / math.sqrt(UNITS)
    x, _ = TASKS[name].batch(rng, 16, length)

    def value(x: Any) -> Any:
        h = layer(x)
        h = h[:, -1] if layer.return_sequences else h
        return ops.sum(h * direction)

    norms = np.linalg.norm(jax.jit(jax.grad(value))(x), axis=-1)
    return norms.mean(0)[::-1]


def draw(path: Path, curves: dict[str, list[np.ndarray]], length: int) -> None:
    """Two panels, before and after training, one curve a cell."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, title, index in zip(axes, ("before training", "after training"), (0, 1), strict=True):
        for cell, norms in curves.items():
            axis.semilogy(np.maximum(norms[index], 1e-12), label=cell)
        axis.set(title=title, xlabel="time lag (steps)", ylim=(1e-12, None))
    axes[0].set_ylabel("norm of the gradient of the last h")
    axes[0].legend()
    figure.suptitle(f"Adding problem, T = {length}")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the command line; the rows of the table."""
    cells = list(layers(10, 0))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--lengths", nargs="+", type=int, default=[200, 1000], metavar="T")
    parser.add_argument("--cells", nargs="+", choices=cells, default=cells)
    parser.add_argument("--steps", type=int, help="training steps at most (default: the task's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, help="draw gradient norms (adding, first length)")
    given = parser.parse_args(arguments)
    if min(given.lengths) < 4:
        parser.error(f"--lengths: expected at least 4 steps, got {min(given.lengths)}")

    rows, curves = [], {}
    print("task    T     cell          baseline  loss      loss/base  steps  seconds  solved")
    for name in given.tasks:
        for length in given.lengths:
            for cell in given.cells:
                model = model_of(name, cell, length, given.seed)
                drawn = given.plot and name == given.tasks[0] and length == given.lengths[0]
                if drawn:
                    curves[cell] = [gradient_norms(model, name, length, given.seed)]
                start = time.perf_counter()
                steps = given.steps or TASKS[name].steps
                loss, done = train(model, name, length, given.seed, steps)
                seconds, baseline = time.perf_counter() - start, TASKS[name].baseline
                if drawn:
                    curves[cell].append(gradient_norms(model, name, length, given.seed))
                solved = "yes" if loss < SOLVED * baseline else "no"
                print(
                    f"{name:7} {length:<5} {cell:13} {baseline:<9.4f} {loss:<9.4f} "
                    f"{loss / baseline:<10.3f} {done:<6} {seconds:<8.0f} {solved}",
                    flush=True,
                )
                rows.append({"task": name, "T": length, "cell": cell, "loss": loss, "steps": done})
    if given.plot:
        draw(given.plot, curves, given.lengths[0])
    return rows


if __name__ == "__main__":
    main()
