"""Recordings a second in training a transcriber: longshort, the same network on Keras' LSTM, torch.

A training step is the whole of it: convolutions, a bidirectional LSTM of true lengths, labels, the
CTC loss, the gradients, their norm, Adam; features are there. Contenders live in processes of their
own and take turns; before any timing they get the same weights and recordings of uneven lengths
and must have the same losses over three steps. No dropout.

    python benchmarks/speech_speed.py                      # every shape, all contenders
    python benchmarks/speech_speed.py strings --rounds 9 --json results.json
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from training_turns import STEPS, KerasTrained, TorchTrained, compare, use_keras_lstm
from turns import Contender, serve


class Shape(NamedTuple):
    B: int
    T: int  # frames that recordings are padded to
    D: int
    channels: int
    reduction: int  # frames to a step of the LSTM
    H: int
    K: int  # labels, without the blank
    L: int  # labels of a recording, at most


SHAPES = {
    "digits": Shape(16, 64, 40, 64, 2, 128, 10, 1),  # one word a recording
    "strings": Shape(16, 384, 40, 64, 4, 128, 10, 7),
    "letters": Shape(16, 1_000, 40, 64, 2, 256, 28, 100),  # a sentence of ten seconds
}
CONTENDERS = ("longshort", "keras-jax", "torch-malloc")
RATE, CLIP = 3e-3, 5.0
EPSILON = 1e-12  # Keras and torch scale it otherwise, so it must not count


def make_batches(shape: Shape) -> list[tuple[np.ndarray, np.ndarray, list[list[int]]]]:
    """Features (B, T, D), their mask (B, T) and the labels of each: STEPS batches."""
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(STEPS):
        frames = rng.integers(shape.T // 2, shape.T + 1, shape.B)
        mask = np.arange(shape.T) < frames[:, None]
        features = rng.normal(size=(shape.B, shape.T, shape.D)).astype(np.float32)
        counts = rng.integers((shape.L + 1) // 2, shape.L + 1, shape.B)
        labels = [rng.integers(1, shape.K + 1, n).tolist() for n in counts]
        batches.append((features * mask[..., None], mask, labels))
    return batches


def build_net(shape: Shape) -> Any:
    """The transcriber's network; its weights follow from the seed."""
    from longshort.tasks._transcriber_net import TranscriberShape, build_transcriber

    plan = TranscriberShape(
        features=shape.D,
        labels=shape.K,
        channels=shape.channels,
        reduction=shape.reduction,
        units=shape.H,
        num_layers=1,
        bidirectional=True,
        dropout=0.0,
    )
    return build_transcriber(plan, seed=1)


def steps_of(mask: np.ndarray, shape: Shape) -> np.ndarray:
    """Steps of the LSTM of each recording, (B,)."""
    return -(-mask.sum(axis=1) // shape.reduction)


class KerasContender(KerasTrained):
    """What `Transcriber.fit` runs, on one LSTM or the other."""

    def __init__(self, name: str, shape: Shape) -> None:
        import longshort  # noqa: F401, I001  before Keras

        from longshort.layers import CTCLoss
        from longshort.tasks import _seeded

        self.by_task = name.startswith("longshort")
        if not self.by_task:
            use_keras_lstm(_seeded)
        self.model = build_net(shape)
        loss = CTCLoss()
        if not self.by_task:
            loss.call = keras_ctc_losses
        self.model.compile(self.adam(RATE, epsilon=EPSILON, global_clipnorm=CLIP), loss=loss)
        self.batches = [
            ((features, mask), CTCLoss.pack(labels, steps_of(mask, shape).tolist(), shape.L))
            for features, mask, labels in make_batches(shape)
        ]

    def batch(self, number: int) -> tuple[Any, Any]:
        return self.batches[number % STEPS]


def keras_ctc_losses(targets: Any, logits: Any) -> Any:
    """The arithmetic of Keras; `keras.losses.CTC` itself does not count frames."""
    from keras import ops

    targets = ops.cast(targets, "int32")
    labels = targets[:, 1:]
    lengths = ops.sum(ops.cast(labels > 0, "int32"), axis=1)
    return ops.ctc_loss(labels, logits, lengths, targets[:, 0], mask_index=0)


class TorchContender(TorchTrained):
    """The same network as a user of torch writes it: packed recordings, a fused LSTM."""

    clip = CLIP

    def __init__(self, name: str, shape: Shape) -> None:
        import torch

        self.torch, self.nn = torch, torch.nn.functional
        net = build_net(shape)
        layers = [one for one in net.layers if one.name.startswith("convolution_")]
        self.convolutions = []
        for layer in layers:
            kernel, bias = layer.get_weights()  # (width, in, out)
            convolution = torch.nn.Conv1d(*kernel.shape[1:], len(kernel), layer.strides[0])
            self._copy(convolution.weight, kernel.transpose(2, 1, 0))
            self._copy(convolution.bias, bias)
            self.convolutions.append(convolution)
        self.lstm = torch.nn.LSTM(shape.channels, shape.H, batch_first=True, bidirectional=True)
        (both,) = [one for one in net.layers if hasattr(one, "backward_layer")]
        for part, suffix in ((both.forward_layer, "l0"), (both.backward_layer, "l0_reverse")):
            kernel, recurrent, bias = part.get_weights()
            self._copy(getattr(self.lstm, f"weight_ih_{suffix}"), kernel.T)
            self._copy(getattr(self.lstm, f"weight_hh_{suffix}"), recurrent.T)
            self._copy(getattr(self.lstm, f"bias_ih_{suffix}"), bias)
            second = getattr(self.lstm, f"bias_hh_{suffix}")
            second.data.zero_()
            second.requires_grad_(False)  # the others have one bias
        kernel, bias = net.get_layer("logits").get_weights()
        self.labels = torch.nn.Linear(*kernel.shape)
        self._copy(self.labels.weight, kernel.T)
        self._copy(self.labels.bias, bias)
        self.parameters = [
            parameter
            for module in (*self.convolutions, self.lstm, self.labels)
            for parameter in module.parameters()
            if parameter.requires_grad
        ]
        self.optimizer = torch.optim.Adam(self.parameters, RATE, eps=EPSILON)
        self.batches = [
            (
                torch.from_numpy(features),
                torch.from_numpy(steps_of(mask, shape)),
                torch.tensor([label for row in labels for label in row]),
                torch.tensor([len(row) for row in labels]),
            )
            for features, mask, labels in make_batches(shape)
        ]

    def _copy(self, theirs: Any, ours: np.ndarray) -> None:
        theirs.data.copy_(self.torch.from_numpy(np.ascontiguousarray(ours)))

    def _loss(self, features: Any, steps: Any, labels: Any, counts: Any) -> Any:
        rnn = self.torch.nn.utils.rnn
        x = features.transpose(1, 2)
        for convolution in self.convolutions:
            x = self.nn.pad(x, (convolution.kernel_size[0] - 1, 0))  # causal
            x = self.torch.relu(convolution(x))
        packed = rnn.pack_padded_sequence(x.transpose(1, 2), steps, True, enforce_sorted=False)
        y, _ = rnn.pad_packed_sequence(self.lstm(packed)[0], True)
        scores = self.labels(y).log_softmax(-1).transpose(0, 1)
        return self.nn.ctc_loss(scores, labels, steps, counts, reduction="none").mean()

    def loss_of(self, number: int) -> Any:
        return self._loss(*self.batches[number % STEPS])


def build(name: str, shape_name: str) -> Contender:
    kind = TorchContender if name.startswith("torch") else KerasContender
    return kind(name, SHAPES[shape_name])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        serve(lambda: build(*sys.argv[2:4]))
    else:
        compare(
            __file__,
            __doc__.split("\n")[0],
            SHAPES,
            CONTENDERS,
            "recordings",
            lambda shape: shape.B,
        )
