"""Tokens a second in training a language model: longshort, the same program on Keras' LSTM, torch.

A training step is the whole of it: vectors of the tokens, LSTM layers, a softmax over all tokens,
the gradients, their norm, Adam. Contenders live in processes of their own and take turns; before
any timing they get the same weights and text and must have the same losses over three steps (with a
sampled softmax, which estimates them, within a tenth).

    python benchmarks/language_speed.py                    # every shape, all contenders
    python benchmarks/language_speed.py chars --rounds 9 --json results.json
"""

from __future__ import annotations

import functools
import sys
from typing import Any, NamedTuple

import numpy as np

from training_turns import STEPS, KerasTrained, TorchTrained, compare
from turns import Contender, lstm_weights, serve


class Shape(NamedTuple):
    V: int  # tokens
    E: int  # values of a token's vector
    H: int
    layers: int
    B: int
    T: int


SHAPES = {
    "chars": Shape(69, 64, 512, 1, 16, 64),  # what LanguageModel trains by default
    "chars2": Shape(69, 64, 512, 2, 32, 64),
    "words": Shape(10_000, 256, 512, 1, 16, 64),
}
CONTENDERS = ("language-model", "longshort", "keras-jax", "torch-malloc", "language-model-sampled")
SAMPLED = 1_000  # tokens that stand for all in a step of that one, where there are more
RATE, CLIP = 2e-3, 1.0


def make_problem(shape: Shape) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    V, E, H, layers, B, T = shape
    return {
        "embedding": (rng.normal(size=(V, E)) * 0.5).astype(np.float32),
        "lstm": [lstm_weights(rng, H if i else E, H) for i in range(layers)],
        "head": (rng.normal(size=(H, V)) * H**-0.5).astype(np.float32),
        "ids": rng.integers(1, V, (STEPS, B, T + 1)).astype(np.int32),  # 0 is padding
    }


def weights_of(problem: dict[str, Any]) -> list[np.ndarray]:
    """In the order of the Keras model."""
    names = ("kernel", "recurrent_kernel", "bias")
    stack = [layer[name] for layer in problem["lstm"] for name in names]
    head = problem["head"]
    return [problem["embedding"], *stack, head, np.zeros(head.shape[1], np.float32)]


class KerasContender(KerasTrained):
    """The usual Keras program, with one LSTM or the other."""

    by_task = False

    def __init__(self, name: str, shape: Shape) -> None:
        import longshort  # noqa: F401, I001  before Keras
        import keras

        if name == "longshort":
            from longshort.layers import LSTM
        else:
            from keras.layers import LSTM
        self.keras = keras
        stack = [LSTM(shape.H, return_sequences=True) for _ in range(shape.layers)]
        self.model = keras.Sequential(
            [
                keras.Input((shape.T,), dtype="int32"),
                keras.layers.Embedding(shape.V, shape.E),
                *stack,
                keras.layers.Dense(shape.V),
            ]
        )
        self.compile(keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def compile(self, loss: Any) -> None:
        self.model.compile(
            loss=loss,
            optimizer=self.adam(RATE, epsilon=1e-8, global_clipnorm=CLIP),
        )

    def load(self, problem: dict[str, Any]) -> None:
        self.model.set_weights(weights_of(problem))
        self.ids = problem["ids"]

    def batch(self, number: int) -> tuple[Any, Any]:
        ids = self.ids[number % STEPS]
        return ids[:, :-1], ids[:, 1:]


class ModelContender(KerasContender):
    """What `LanguageModel.fit` runs, without dropout."""

    by_task = True

    def __init__(self, name: str, shape: Shape) -> None:
        import longshort  # noqa: F401, I001  before Keras
        import keras

        from longshort.tasks._language_net import LanguageNet, NetPlan
        from longshort.tasks._token_loss import as_it_is

        self.keras = keras
        self.net = LanguageNet(
            NetPlan(
                *(shape.V, shape.E, shape.H, shape.layers),
                tie_weights=False,
                dropout=0.0,
                input_dropout=0.0,
                embedding_dropout=0.0,
                weight_drop=0.0,
                seed=1,
            )
        )
        sampled = SAMPLED if "sampled" in name else None
        self.shape, self.model = shape, self.net.trainer(shape.B, shape.T, sampled)
        self.compile(as_it_is)

    def batch(self, number: int) -> tuple[Any, Any]:
        ids = self.ids[number % STEPS]
        return (ids[:, :-1], ids[:, 1:]), ids[:, 1:]

    @functools.cache  # noqa: B019
    def check(self) -> dict[str, np.ndarray]:
        losses = []
        for number in range(STEPS):
            self.net.stack.reset_state(self.shape.B)  # the others begin each step with zeros
            losses.append(self.step(number))
        return {"losses": np.array(losses)}


class TorchContender(TorchTrained):
    """The usual loop around torch.nn.LSTM."""

    clip = CLIP

    def __init__(self, name: str, shape: Shape) -> None:
        import torch

        self.torch = torch
        self.embedding = torch.nn.Embedding(shape.V, shape.E)
        self.lstm = torch.nn.LSTM(shape.E, shape.H, shape.layers, batch_first=True)
        self.head = torch.nn.Linear(shape.H, shape.V)
        self.modules = torch.nn.ModuleList([self.embedding, self.lstm, self.head])
        self.parameters = list(self.modules.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, RATE)

    def load(self, problem: dict[str, Any]) -> None:
        torch = self.torch
        with torch.no_grad():  # torch keeps the gates in Keras' order: i, f, g, o
            self.embedding.weight.copy_(torch.from_numpy(problem["embedding"]))
            for i, layer in enumerate(problem["lstm"]):
                named = {"weight_ih": "kernel", "weight_hh": "recurrent_kernel", "bias_ih": "bias"}
                for theirs, ours in named.items():
                    getattr(self.lstm, f"{theirs}_l{i}").copy_(torch.from_numpy(layer[ours].T))
                bias = getattr(self.lstm, f"bias_hh_l{i}")
                bias.zero_()
                bias.requires_grad_(False)  # the others have one bias
            self.head.weight.copy_(torch.from_numpy(problem["head"].T))
            self.head.bias.zero_()
        self.ids = torch.from_numpy(problem["ids"].astype(np.int64))

    def loss_of(self, number: int) -> Any:
        ids = self.ids[number % STEPS]
        logits = self.head(self.lstm(self.embedding(ids[:, :-1]))[0])
        return self.torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def build(name: str, shape_name: str) -> Contender:
    kinds = {"language": ModelContender, "torch": TorchContender}
    contender = kinds.get(name.split("-")[0], KerasContender)(name, SHAPES[shape_name])
    contender.load(make_problem(SHAPES[shape_name]))
    return contender


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        serve(lambda: build(*sys.argv[2:4]))
    else:
        compare(
            __file__,
            __doc__.split("\n")[0],
            SHAPES,
            CONTENDERS,
            "tokens",
            lambda shape: shape.B * shape.T,
            lambda name, shape: "sampled" not in name or shape.V > SAMPLED,
        )
