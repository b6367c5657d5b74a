"""The contenders of kernel.py: one LSTM layer (bi2: two bidirectional ones), all steps returned.

A contender does two tasks. `train`: forward and the gradients of all weights for a given gradient
of the outputs; none for the input, which is data. `inference`: forward only. Words in its name,
joined by hyphens, say what it is: `bf16` computes in bfloat16, `ragged` gets sequences of
different lengths.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from problem import Problem
from turns import KERAS_BACKENDS, Array, Contender


class Peak:
    """The matrix product of a library, at the square size that it is fastest at."""

    def __init__(self, name: str) -> None:
        rng = np.random.default_rng(0)
        best = 0.0
        for n in (256, 512, 1024, 2048):
            a, b = (rng.normal(size=(n, n)).astype(np.float32) for _ in range(2))
            product = self.prepare(name, a, b)
            product()
            for _ in range(5):
                start = time.perf_counter()
                product()
                once = time.perf_counter() - start
                if 2 * n**3 / once > best:
                    best, self.product, self.operations = 2 * n**3 / once, product, 2 * n**3
            if once > 0.5:  # bfloat16 where it is only emulated: larger sizes are no faster
                break

    @staticmethod
    def prepare(name: str, a: Array, b: Array) -> Callable[[], Any]:
        if name == "peak-numpy":
            out = np.empty_like(a)
            return lambda: np.matmul(a, b, out=out)
        import torch

        dtype = torch.bfloat16 if "bf16" in name else torch.float32
        left, right = (torch.from_numpy(v).to(dtype) for v in (a, b))
        result = torch.empty_like(left)
        return lambda: torch.mm(left, right, out=result)

    def check(self) -> dict[str, Array]:
        return {"operations": np.array(self.operations)}  # of one step

    def steps(self, task: str, count: int) -> None:
        for _ in range(count):
            self.product()


class Jax:
    """longshort, or Keras' own layer on JAX; jitted, the result waited for."""

    def __init__(self, name: str, problem: Problem) -> None:
        import jax

        self.jax, self.problem = jax, problem
        ours = name.startswith("longshort")
        build = self.op if ours and len(problem.layers) == 1 else self.layers
        forward = build(ours, "bf16" in name)
        weights = [jax.numpy.asarray(v) for v in problem.arrays()]
        x, cotangent = jax.numpy.asarray(problem.x), jax.numpy.asarray(problem.cotangent)
        mask = None if problem.mask is None else jax.numpy.asarray(problem.mask)

        def gradients(weights: list[Any], x: Any, mask: Any, cotangent: Any) -> Any:
            hs, pull = jax.vjp(lambda w: forward(w, x, mask), weights)
            return pull(cotangent.astype(hs.dtype))[0]

        train, inference = jax.jit(gradients), jax.jit(forward)
        self.tasks = {
            "train": lambda: train(weights, x, mask, cotangent),
            "inference": lambda: inference(weights, x, mask),
        }

    def op(self, ours: bool, bf16: bool) -> Callable[..., Any]:
        """Weights and inputs are cast inside, as Keras' mixed_bfloat16 casts them."""
        from longshort.ops import lstm

        dtype = "bfloat16" if bf16 else "float32"

        def forward(weights: list[Any], x: Any, mask: Any) -> Any:
            weights = [w.astype(dtype) for w in weights]
            return lstm(x.astype(dtype), *weights, mask=mask, path="kernel")[0]

        return forward

    def layers(self, ours: bool, bf16: bool) -> Callable[..., Any]:
        if ours:
            from longshort.layers import LSTM
        else:
            from keras.layers import LSTM
        dtype = "mixed_bfloat16" if bf16 else "float32"
        model = self.problem.keras_model(LSTM, dtype)
        others = [v.value for v in model.non_trainable_variables]
        return lambda weights, x, mask: model.stateless_call(weights, others, x, mask=mask)[0]

    def check(self) -> dict[str, Array]:
        return self.problem.results(self.tasks["inference"](), self.tasks["train"]())

    def steps(self, task: str, count: int) -> None:
        run = self.tasks[task]
        for _ in range(count):
            self.jax.block_until_ready(run())


class Torch:
    """torch.nn.LSTM; sequences of different lengths packed, bfloat16 by autocast."""

    def __init__(self, name: str, problem: Problem) -> None:
        import torch

        self.torch, self.problem = torch, problem
        self.dtype = torch.bfloat16 if "bf16" in name else None
        _, self.time, D, H = problem.shape
        both = problem.layers[0][1] == 2
        layers = len(problem.layers)
        self.lstm = torch.nn.LSTM(D, H, layers, batch_first=True, bidirectional=both)
        with torch.no_grad():  # torch keeps the gates in Keras' order: i, f, g, o
            for suffix, weights in zip(self.suffixes(), problem.weights, strict=True):
                for name_here, value in (
                    ("weight_ih", weights["kernel"].T),
                    ("weight_hh", weights["recurrent_kernel"].T),
                    ("bias_ih", weights["bias"]),
                    ("bias_hh", np.zeros_like(weights["bias"])),
                ):
                    parameter = getattr(self.lstm, f"{name_here}_{suffix}")
                    parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
        self.x, self.cotangent = map(torch.from_numpy, (problem.x, problem.cotangent))
        self.lengths = None if problem.lengths is None else torch.from_numpy(problem.lengths)

    def suffixes(self) -> list[str]:
        return [
            f"l{layer}{'_reverse' if direction else ''}"
            for layer, (_, directions) in enumerate(self.problem.layers)
            for direction in range(directions)
        ]

    def forward(self) -> Any:
        with self.torch.autocast("cpu", dtype=self.dtype, enabled=self.dtype is not None):
            if self.lengths is None:
                return self.lstm(self.x)[0]
            rnn = self.torch.nn.utils.rnn
            packed = rnn.pack_padded_sequence(
                self.x, self.lengths, batch_first=True, enforce_sorted=False
            )
            out, _ = self.lstm(packed)
            return rnn.pad_packed_sequence(out, batch_first=True, total_length=self.time)[0]

    def train(self) -> Any:
        self.lstm.zero_grad()
        out = self.forward()
        out.backward(self.cotangent.to(out.dtype))
        return out

    def check(self) -> dict[str, Array]:
        self.train()
        gradients = []
        for suffix in self.suffixes():
            for part in ("weight_ih", "weight_hh", "bias_ih"):
                gradients.append(getattr(self.lstm, f"{part}_{suffix}").grad.numpy().T)
        with self.torch.no_grad():
            return self.problem.results(self.forward().float().numpy(), gradients)

    def steps(self, task: str, count: int) -> None:
        if task == "train":
            for _ in range(count):
                self.train()
        else:
            with self.torch.no_grad():
                for _ in range(count):
                    self.forward()


def build(name: str, shape_name: str) -> Contender:
    if name.startswith("peak"):
        return Peak(name)
    problem = Problem(shape_name, "ragged" in name)
    if name in ("onnxruntime", *KERAS_BACKENDS):
        import other_contenders

        return other_contenders.build(name, problem)
    return (Torch if name.startswith("torch") else Jax)(name, problem)
