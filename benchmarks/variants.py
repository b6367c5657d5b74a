"""What each variant of the LSTM costs: a training step beside the plain layer's, Keras', torch's.

    python benchmarks/variants.py                       # every variant, shapes seed and mid
    python benchmarks/variants.py mid --only zoneout projection --json variants.json

A step is the layer's call in training (masks and noise are drawn in it), and the gradients of all
its weights for a given gradient of the outputs. Before it is timed, a variant's outputs must agree
with those of the `keras.ops` path, and Keras' and torch's with ours. All take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

import contenders
from turns import (
    SHAPES,
    Array,
    Contender,
    Worker,
    agree,
    machine,
    ratios,
    serve,
    spread,
    take_turns,
    why_not_importable,
)

PLAIN = "plain"
VARIANTS: dict[str, dict[str, Any]] = {  # arguments of the layer
    PLAIN: {},
    "peephole": {"peephole": True},
    "coupled": {"coupled": True},
    "cell_clip": {"cell_clip": 3.0},
    "hard_sigmoid": {"recurrent_activation": "hard_sigmoid"},
    "softsign": {"activation": "softsign"},
    "zoneout": {"zoneout": (0.1, 0.1)},
    "recurrent_dropout": {"recurrent_dropout": 0.2},
    "update_dropout": {"recurrent_dropout": 0.2, "recurrent_dropout_on": "update"},
    "weight_drop": {"weight_drop": 0.3},
    "layer_norm": {"layer_norm": True},
    "projection": {"projection": 0.5},  # of the units
    "gru": {"layer": "GRU"},
    "slstm": {"layer": "SLSTM", "num_heads": 4},
}
TARGETS = {PLAIN: 1.0, "layer_norm": 1.4, "projection": 1.0}  # times plain; others 1.15
OTHERS = {  # who can do it, and the variant of ours that does the same
    "keras:plain": PLAIN,
    "keras:recurrent_dropout": "recurrent_dropout",
    "keras:hard_sigmoid": "hard_sigmoid",
    "keras:gru": "gru",
    "ops:slstm": "slstm",
    "torch:projection": "projection",
    "torch:packed": "longshort-ragged",
}
FASTER = 5.0  # target for the others' time over ours


class Layer:
    """A layer of ours, of Keras (`keras:`), or ours in `keras.ops` (`ops:`).

    In `keras.ops` only the sLSTM takes a step; the others, which Keras' layers stand for, do not.
    """

    def __init__(self, name: str, shape_name: str) -> None:
        import jax
        import keras

        import longshort

        kind, _, variant = name.rpartition(":")
        B, T, D, H = SHAPES[shape_name]
        arguments = dict(VARIANTS[variant])
        if "projection" in arguments:
            arguments["projection"] = int(arguments["projection"] * H)
        keras.utils.set_random_seed(0)  # the same weights in each process
        base = keras.layers if kind == "keras" else longshort.layers
        layer = getattr(base, arguments.pop("layer", "LSTM"))(H, return_sequences=True, **arguments)
        self.function = {"GRU": "gru", "SLSTM": "slstm"}.get(type(layer).__name__, "lstm")
        layer.build((B, T, D))
        rng = np.random.default_rng(0)
        # Scaled by the number of a unit's inputs, lest rounding grows from step to step.
        weights = layer.get_weights()
        layer.set_weights([rng.normal(0, w.shape[-2:][0] ** -0.5, w.shape) for w in weights])
        x = jax.numpy.asarray(rng.normal(size=(B, T, D)), "float32")
        cotangent = jax.numpy.asarray(rng.normal(size=(B, T, H)), "float32")
        self.layer, self.x, self.in_ops, self.jax = layer, x, kind == "ops", jax
        trainable = [v.value for v in layer.trainable_variables]
        others = [v.value for v in layer.non_trainable_variables]

        def gradients(weights: list[Any], others: list[Any], x: Any, cotangent: Any) -> Any:
            def forward(weights: list[Any]) -> Any:
                if kind == "ops":
                    from longshort.ops import slstm

                    return slstm(x, *weights, path="keras")[0], others
                return layer.stateless_call(weights, others, x, training=True)

            hs, pull, others = jax.vjp(forward, weights, has_aux=True)
            return pull(cotangent[:, :, : hs.shape[2]]), others

        step = jax.jit(gradients)
        self.step = lambda: step(trainable, others, x, cotangent)

    def check(self) -> dict[str, Array]:
        if not self.in_ops:
            return {"outputs": np.asarray(self.layer(self.x, training=False))}
        from longshort import ops

        if self.function == "slstm":
            outputs = ops.slstm(self.x, *self.layer.get_weights(), path="keras")
        else:
            state = self.layer.get_initial_state(self.x.shape[0])
            arguments = self.layer.op_arguments(self.x, state, None, training=False)
            outputs = getattr(ops, self.function)(**arguments, path="keras")
        return {"outputs": np.asarray(outputs[0])}

    def steps(self, task: str, count: int) -> None:
        for _ in range(count):
            self.jax.block_until_ready(self.step())


class TorchProjection:
    """torch.nn.LSTM with `proj_size`; its weights are those of ours in torch's layout."""

    def __init__(self, shape_name: str) -> None:
        import torch

        ours = Layer("projection", shape_name)
        B, T, D, H = SHAPES[shape_name]
        self.lstm = torch.nn.LSTM(D, H, batch_first=True, proj_size=H // 2)
        kernel, recurrent, bias, projection = (w.copy() for w in ours.layer.get_weights())
        values = [kernel.T, recurrent.T, bias, np.zeros_like(bias), projection.T]  # i, f, g, o too
        with torch.no_grad():
            for parameter, value in zip(self.lstm.parameters(), values, strict=True):
                parameter.copy_(torch.from_numpy(value))
        self.x = torch.from_numpy(np.array(ours.x))
        rng = np.random.default_rng(0)
        self.cotangent = torch.from_numpy(rng.normal(size=(B, T, H // 2)).astype(np.float32))

    def check(self) -> dict[str, Array]:
        return {"outputs": self.lstm(self.x)[0].detach().numpy()}

    def steps(self, task: str, count: int) -> None:
        for _ in range(count):
            self.lstm.zero_grad()
            self.lstm(self.x)[0].backward(self.cotangent)


def build(name: str, shape_name: str) -> Contender:
    if name == "torch:projection":
        return TorchProjection(shape_name)
    if name in ("torch:packed", "longshort-ragged"):
        return contenders.build(name.replace("torch:packed", "torch-ragged"), shape_name)
    return Layer(name, shape_name)


def measure(shape_name: str, names: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Check, time and print the variants and their rivals on one shape."""
    print(f"{shape_name} {SHAPES[shape_name]}", flush=True)
    rivals = {other: ours for other, ours in OTHERS.items() if ours in (*names, "longshort-ragged")}
    if arguments.only or why_not_importable("torch"):
        keep = names if not why_not_importable("torch") else []
        rivals = {o: v for o, v in rivals.items() if v in keep or (o[:5] != "torch" and v in names)}
    ours = [*names, *(v for v in dict.fromkeys(rivals.values()) if v not in names)]
    workers = {n: Worker(__file__, n, shape_name) for n in [*ours, *rivals]}
    try:
        for name in names:
            reference = Worker(__file__, f"ops:{name}", shape_name)
            agree([workers[name]], reference, 1e-4)
            reference.close()
        for other, own in rivals.items():
            agree([workers[other]], workers[own], 1e-4)
        taken = take_turns(
            list(workers.values()), "train", arguments.rounds, arguments.seconds, warm=True
        )
    finally:
        for worker in workers.values():
            worker.close()
    figures = {}
    for name in names:
        values = ratios(taken[name], taken[PLAIN])
        report(figures, name, "times plain", values, "<=", TARGETS.get(name, 1.15))
    for other, own in rivals.items():
        values = ratios(taken[other], taken[own])
        report(figures, other, f"times {own}", values, ">=", FASTER)
    return {"seconds": taken, "figures": figures}


def report(
    figures: dict[str, Any], name: str, what: str, values: list[float], sign: str, target: float
) -> None:
    median = statistics.median(values)
    met = median <= target if sign == "<=" else median >= target
    figures[name] = {"what": what, "values": values, "target": f"{sign} {target:g}", "met": met}
    words = "met" if met else "missed"
    print(f"  {name:24} {spread(values)} {what} [target {sign} {target:g}: {words}]", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shapes", nargs="*", default=[], help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--only", nargs="+", default=[], choices=list(VARIANTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one turn, roughly")
    parser.add_argument("--json", help="write raw times, figures and machine facts to this file")
    arguments = parser.parse_args()
    shapes = arguments.shapes or ["seed", "mid"]
    if unknown := set(shapes) - set(SHAPES):
        parser.error(f"unknown shapes {sorted(unknown)}; there are {', '.join(SHAPES)}")
    facts = machine()
    print(f"{facts['cpu']}, {facts['cpus']} CPUs, load {facts['load']:.1f}; {facts['platform']}")
    print("each figure: median (min-max) of the rounds; the target is for the median")
    names = list(dict.fromkeys([PLAIN, *(arguments.only or VARIANTS)]))
    results = {shape: measure(shape, names, arguments) for shape in shapes}
    if arguments.json:
        content = {"machine": facts, "arguments": vars(arguments), "results": results}
        Path(arguments.json).write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        serve(lambda: build(*sys.argv[2:4]))
    else:
        main()
