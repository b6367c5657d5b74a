"""The other contenders of kernel.py: Keras' own layer on torch and TensorFlow, onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np

from problem import Problem
from turns import Array, Contender


class KerasTorch:
    """Keras' own layer on torch; eager, as Keras runs it there."""

    def __init__(self, problem: Problem) -> None:
        import keras
        import torch

        self.torch, self.problem = torch, problem
        self.model = problem.keras_model(keras.layers.LSTM)
        self.variables = [v.value for v in self.model.trainable_variables]
        self.x, self.cotangent = map(torch.from_numpy, (problem.x, problem.cotangent))

    def train(self) -> None:
        for variable in self.variables:
            variable.grad = None
        self.model(self.x, training=True).backward(self.cotangent)

    def check(self) -> dict[str, Array]:
        self.train()
        gradients = [v.grad.numpy() for v in self.variables]
        with self.torch.no_grad():
            return self.problem.results(self.model(self.x).numpy(), gradients)

    def steps(self, task: str, count: int) -> None:
        with self.torch.set_grad_enabled(task == "train"):
            for _ in range(count):
                self.train() if task == "train" else self.model(self.x)


class KerasTensorFlow:
    """Keras' own layer on TensorFlow; a tf.function, through XLA where `fit` would do so."""

    def __init__(self, problem: Problem) -> None:
        import keras
        import tensorflow as tf

        self.problem = problem
        model = problem.keras_model(keras.layers.LSTM)
        model.compile()  # decides on XLA
        x, cotangent = tf.constant(problem.x), tf.constant(problem.cotangent)
        variables = [v.value for v in model.trainable_variables]

        @tf.function(jit_compile=model.jit_compile)
        def train(x: Any, cotangent: Any) -> Any:
            with tf.GradientTape() as tape:
                out = model(x, training=True)
            return tape.gradient(out, variables, cotangent)

        @tf.function(jit_compile=model.jit_compile)
        def inference(x: Any) -> Any:
            return model(x)

        self.tasks = {"train": lambda: train(x, cotangent), "inference": lambda: inference(x)}

    def check(self) -> dict[str, Array]:
        gradients = [g.numpy() for g in self.tasks["train"]()]
        return self.problem.results(self.tasks["inference"]().numpy(), gradients)

    def steps(self, task: str, count: int) -> None:
        for _ in range(count):
            self.tasks[task]()


class Onnx:
    """onnxruntime, inference only; time comes first there, and the input is given so."""

    def __init__(self, problem: Problem) -> None:
        import onnxruntime

        model = lstm_model(problem).SerializeToString()
        providers = ["CPUExecutionProvider"]
        self.model = onnxruntime.InferenceSession(model, providers=providers)
        self.problem, self.x = problem, np.ascontiguousarray(problem.x.transpose(1, 0, 2))

    def run(self) -> Array:
        return self.model.run(None, {"x": self.x})[0]

    def check(self) -> dict[str, Array]:
        return self.problem.results(self.run().transpose(1, 0, 2), [])

    def steps(self, task: str, count: int) -> None:
        for _ in range(count):
            self.run()


def lstm_model(problem: Problem) -> Any:
    """The layers as an ONNX model: x (T, B, D) in, outputs (T, B, directions H) out."""
    from onnx import TensorProto, helper, numpy_helper

    B, T, D, H = problem.shape
    nodes, constants, value = [], [], "x"
    weights = iter(problem.weights)

    def constant(name: str, array: Array) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def in_iofc(w: Array) -> Array:  # Keras' columns i, f, c, o; ONNX' rows i, o, f, c
        i, f, c, o = np.split(w.T, 4)
        return np.concatenate([i, o, f, c])

    for layer, (_, directions) in enumerate(problem.layers):
        parts = [next(weights) for _ in range(directions)]
        biases = [np.concatenate([in_iofc(w["bias"]), np.zeros(4 * H, np.float32)]) for w in parts]
        inputs = [
            value,
            constant(f"W{layer}", np.stack([in_iofc(w["kernel"]) for w in parts])),
            constant(f"R{layer}", np.stack([in_iofc(w["recurrent_kernel"]) for w in parts])),
            constant(f"B{layer}", np.stack(biases)),
        ]
        direction = "bidirectional" if directions == 2 else "forward"
        outputs = [f"y{layer}"]
        nodes.append(helper.make_node("LSTM", inputs, outputs, hidden_size=H, direction=direction))
        # y is (T, directions, B, H)
        nodes.append(helper.make_node("Transpose", outputs, [f"t{layer}"], perm=[0, 2, 1, 3]))
        shape = constant(f"shape{layer}", np.array([T, B, directions * H]))
        value = f"hs{layer}"
        nodes.append(helper.make_node("Reshape", [f"t{layer}", shape], [value]))
    width = problem.layers[-1][1] * H
    graph = helper.make_graph(
        nodes,
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [T, B, D])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [T, B, width])],
        constants,
    )
    versions = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def build(name: str, problem: Problem) -> Contender:
    kinds = {"keras-torch": KerasTorch, "keras-tf": KerasTensorFlow, "onnxruntime": Onnx}
    return kinds[name](problem)
