"""Pairs a second in training a translator: longshort, the same network on Keras' LSTM, torch.

A training step is the whole of it: subwords to vectors, bidirectional encoder, attention, decoder,
softmax, label smoothing, the gradients, their norm, Adam. Contenders live in processes of their own
and take turns; before any timing they get the same weights and pairs of uneven lengths and must
have the same losses over three steps. No dropout.

    python benchmarks/translation_speed.py                    # every shape, all contenders
    python benchmarks/translation_speed.py general --rounds 9 --json results.json
"""

from __future__ import annotations

import functools
import sys
from typing import Any, NamedTuple

import numpy as np

from training_turns import STEPS, KerasTrained, TorchTrained, compare, use_keras_lstm
from turns import Contender, serve


class Shape(NamedTuple):
    attention: str
    V: int  # subwords of both languages
    E: int  # values of a subword's vector
    H: int
    B: int
    L: int  # steps that source and target are padded to


SHAPES = {
    "usual": Shape("general", 4_000, 256, 256, 64, 24),  # what Translator trains by default
    "general": Shape("general", 6_000, 256, 256, 64, 16),
    "additive": Shape("additive", 8_000, 256, 384, 64, 16),
    "long": Shape("general", 8_000, 256, 384, 32, 48),
}
CONTENDERS = ("longshort", "keras-jax", "torch-malloc")
RATE, CLIP, SMOOTHING = 2e-3, 1.0, 0.1
EPSILON = 1e-12  # Keras and torch scale it otherwise, so it must not count
BEGIN, END, FIRST = 2, 3, 4


def make_pairs(shape: Shape) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Source, target and what follows, (B, L) each, 0 behind the end: STEPS batches."""
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(STEPS):
        source, target, following = np.zeros((3, shape.B, shape.L), np.int32)
        for row in range(shape.B):
            n, m = rng.integers(shape.L // 2, shape.L, 2)
            source[row, :n] = rng.integers(FIRST, shape.V, n)
            words = rng.integers(FIRST, shape.V, m)
            target[row, : m + 1] = [BEGIN, *words]
            following[row, : m + 1] = [*words, END]
        batches.append((source, target, following))
    return batches


def build_net(shape: Shape) -> Any:
    """The translator's network; its weights follow from the seed."""
    from longshort.tasks._seq2seq_net import Seq2SeqNet, Seq2SeqPlan

    plan = Seq2SeqPlan(
        shape.V, shape.V, True, shape.E, shape.H, 1, shape.attention, False, 0.0, seed=1
    )
    return Seq2SeqNet(plan, SMOOTHING)


class KerasContender(KerasTrained):
    """What `Translator.fit` runs, on one LSTM or the other."""

    def __init__(self, name: str, shape: Shape) -> None:
        import longshort  # noqa: F401, I001  before Keras

        from longshort.tasks import _seq2seq_net
        from longshort.tasks._token_loss import as_it_is

        self.by_task = name.startswith("longshort")
        if not self.by_task:
            use_keras_lstm(_seq2seq_net)
        net = build_net(shape)
        self.model = net.trainer if self.by_task else net.model
        self.model.compile(
            loss=as_it_is if self.by_task else smoothed_loss,
            optimizer=self.adam(RATE, epsilon=EPSILON, global_clipnorm=CLIP),
        )
        self.batches = make_pairs(shape)

    def batch(self, number: int) -> tuple[Any, Any]:
        source, target, following = self.batches[number % STEPS]
        given = (source, target, following) if self.by_task else (source, target)
        return given, following


def smoothed_loss(following: Any, logits: Any) -> Any:
    """The loss as a user of Keras writes it."""
    from keras import ops

    scores = ops.log_softmax(logits, axis=-1)
    # Keras has no smoothing for sparse labels.
    picked = ops.sum(ops.one_hot(following, logits.shape[-1]) * scores, axis=-1)
    losses = -(1 - SMOOTHING) * picked - SMOOTHING * ops.mean(scores, axis=-1)
    real = ops.cast(ops.not_equal(following, 0), losses.dtype)
    return ops.sum(losses * real) / ops.sum(real)


class TorchContender(TorchTrained):
    """The same network as a user of torch writes it: packed source, fused LSTMs."""

    clip = CLIP

    def __init__(self, name: str, shape: Shape) -> None:
        import torch

        self.torch, self.nn, self.kind = torch, torch.nn.functional, shape.attention
        V, E, H = shape.V, shape.E, shape.H
        net = build_net(shape)
        lstm = functools.partial(torch.nn.LSTM, batch_first=True)
        self.encoder = lstm(E, H // 2, bidirectional=True)
        self.decoders = [lstm(E, H), lstm(2 * H, H)]
        self.bridges = [torch.nn.Linear(H, 2 * H) for _ in "hc"]
        self.keys = torch.nn.Linear(H, H, bias=shape.attention == "additive")
        self.query = torch.nn.Linear(H, H, bias=False)
        self.combine = torch.nn.Linear(2 * H, E)
        self.vectors = torch.nn.Parameter(torch.zeros(V, E))
        self.bias = torch.nn.Parameter(torch.zeros(V))
        self.v = torch.nn.Parameter(torch.zeros(H))
        modules = [self.encoder, *self.decoders, *self.bridges, self.keys, self.combine]
        self.parameters = [self.vectors, self.bias]
        if shape.attention == "additive":
            modules.append(self.query)
            self.parameters.append(self.v)
        self._load(net)
        for module in modules:
            self.parameters += [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, RATE, eps=EPSILON)
        self.batches = [
            tuple(torch.from_numpy(each.astype(np.int64)) for each in batch)
            for batch in make_pairs(shape)
        ]

    def _load(self, net: Any) -> None:
        torch = self.torch

        def copy(theirs: Any, ours: Any) -> None:
            theirs.data.copy_(torch.from_numpy(np.array(ours)))

        def dense(theirs: Any, ours: Any) -> None:
            copy(theirs.weight, np.array(ours.kernel).T)
            if theirs.bias is not None:
                copy(theirs.bias, ours.bias)

        def lstm(theirs: Any, ours: Any, suffix: str) -> None:
            kernel, recurrent, bias = (np.array(w) for w in ours.get_weights())
            copy(getattr(theirs, f"weight_ih_{suffix}"), kernel.T)
            copy(getattr(theirs, f"weight_hh_{suffix}"), recurrent.T)
            copy(getattr(theirs, f"bias_ih_{suffix}"), bias)
            second = getattr(theirs, f"bias_hh_{suffix}")
            second.data.zero_()
            second.requires_grad_(False)  # the others have one bias

        copy(self.vectors, net.embedding.embeddings)
        copy(self.bias, net.embedding.bias)
        (both,) = net.encoders
        lstm(self.encoder, both.forward_layer, "l0")
        lstm(self.encoder, both.backward_layer, "l0_reverse")
        for theirs, ours in zip(self.decoders, net.decoders, strict=True):
            lstm(theirs, ours, "l0")
        for theirs, ours in zip(self.bridges, net.bridges, strict=True):
            dense(theirs, ours)
        dense(self.keys, net.keys)
        dense(self.combine, net.combine)
        if net.query is not None:
            dense(self.query, net.query)
            copy(self.v, net.attention.v)

    def _loss(self, source: Any, target: Any, following: Any) -> Any:
        torch, rnn = self.torch, self.torch.nn.utils.rnn
        mask, H = source != 0, self.keys.out_features
        packed = rnn.pack_padded_sequence(
            self.nn.embedding(source, self.vectors), mask.sum(1), True, enforce_sorted=False
        )
        packed, ends = self.encoder(packed)
        values, _ = rnn.pad_packed_sequence(packed, True, total_length=source.shape[1])
        h, c = (
            torch.tanh(bridge(torch.cat([end[0], end[1]], -1)))
            for bridge, end in zip(self.bridges, ends, strict=True)
        )
        first, second = (
            (h[None, :, part].contiguous(), c[None, :, part].contiguous())
            for part in (slice(0, H), slice(H, None))
        )
        y, _ = self.decoders[0](self.nn.embedding(target, self.vectors), first)
        keys = self.keys(values)
        if self.kind == "additive":
            both = torch.tanh(self.query(y)[:, :, None] + keys[:, None])
            scores = both @ self.v
        else:
            scores = y @ keys.transpose(1, 2)
        weights = scores.masked_fill(~mask[:, None], -1e9).softmax(-1)
        context = weights @ values
        y, _ = self.decoders[1](torch.cat([y, context], -1), second)
        combined = torch.tanh(self.combine(torch.cat([y, context], -1)))
        logits = combined @ self.vectors.T + self.bias
        return self.nn.cross_entropy(
            logits.flatten(0, 1), following.flatten(), ignore_index=0, label_smoothing=SMOOTHING
        )

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
            __file__, __doc__.split("\n")[0], SHAPES, CONTENDERS, "pairs", lambda shape: shape.B
        )
