"""Texts a second in training a classifier or a tagger: longshort, the same on Keras' LSTM, torch.

A training step is the whole of it: vectors of the words, for the tagger their spelling, a
bidirectional LSTM of true lengths, pooling or a CRF, the gradients, their norm, Adam. Contenders
live in processes of their own and take turns; before any timing they get the same weights and
texts of uneven lengths and must have the same losses over three steps. No dropout.

    python benchmarks/text_speed.py                        # every shape, all contenders
    python benchmarks/text_speed.py tags --rounds 9 --json results.json
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from training_turns import STEPS, KerasTrained, TorchTrained, compare, use_keras_lstm
from turns import Contender, serve


class Shape(NamedTuple):
    kind: str
    B: int
    T: int  # words that texts are padded to
    V: int  # words
    E: int  # values of a word's vector
    H: int
    K: int  # classes or tags


SHAPES = {
    "sentences": Shape("classify", 32, 32, 15_000, 128, 64, 2),  # what TextClassifier trains
    "reviews": Shape("classify", 32, 384, 20_000, 128, 64, 2),
    "tags": Shape("tag", 32, 32, 15_000, 100, 200, 22),  # what Tagger trains
}
CONTENDERS = ("longshort", "keras-jax", "torch-malloc")
RATE, CLIP = 1e-3, 1.0
EPSILON = 1e-12  # Keras and torch scale it otherwise, so it must not count
CHARS, CHAR_SIZE, CHAR_UNITS, SPELLING = 100, 30, 50, 24  # of the tagger


class Texts(NamedTuple):
    words: np.ndarray  # (B, T)
    mask: np.ndarray  # (B, T)
    targets: np.ndarray  # (B,) classes, or (B, T) tags, -1 for padding
    places: np.ndarray  # (B, T) rows of the spelling
    spelling: np.ndarray  # (W, SPELLING) characters of the different words


def make_batches(shape: Shape) -> list[Texts]:
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(STEPS):
        mask = np.arange(shape.T) < rng.integers(shape.T // 2, shape.T + 1, shape.B)[:, None]
        words = rng.integers(4, shape.V, mask.shape) * mask
        used, places = np.unique(words, return_inverse=True)
        spelling = rng.integers(1, CHARS, (shape.B * shape.T + 1, SPELLING))
        spelling *= np.arange(SPELLING) < rng.integers(1, 12, (len(spelling), 1))
        spelling[0] = spelling[len(used) :] = 0
        targets = rng.integers(0, shape.K, shape.B)
        if shape.kind == "tag":
            targets = np.where(mask, rng.integers(0, shape.K, mask.shape), -1)
        places = places.reshape(mask.shape)
        words, targets, places, spelling = (
            each.astype(np.int32) for each in (words, targets, places, spelling)
        )
        batches.append(Texts(words, mask, targets, places, spelling))
    return batches


def build_classifier(shape: Shape) -> Any:
    """The classifier's network; its weights follow from the seed."""
    from longshort.tasks._text_net import TextNetShape, build_text_net

    given = (shape.V, shape.K, shape.E, shape.H, 1, True, "max+mean")
    return build_text_net(TextNetShape(*given, dropout=0.0, embedding_dropout=0.0), seed=1)


def build_tagger(shape: Shape) -> Any:
    """The tagger's network, as an object with its parts."""
    from longshort.tasks._tagger_net import TaggerNet, TaggerShape

    sizes = (shape.H, 1, shape.E, CHAR_SIZE, CHAR_UNITS)
    return TaggerNet(TaggerShape(shape.V, CHARS, (), shape.K, *sizes, 0.0, True), 1, {})


class KerasContender(KerasTrained):
    """What `fit` of the task runs, on one LSTM or the other."""

    def __init__(self, name: str, shape: Shape) -> None:
        import longshort  # noqa: F401, I001  before Keras
        import keras

        from longshort.tasks import _seeded, _tagger_net

        self.by_task = name.startswith("longshort")
        if not self.by_task:
            use_keras_lstm(_seeded, _tagger_net)
        batches = make_batches(shape)
        if shape.kind == "tag":
            net = build_tagger(shape)
            self.model, loss = net.model, net.crf.loss
            shapes = np.zeros((shape.B, shape.T, 1), np.int32)
            self.batches = [
                ((b.words, shapes, b.places, b.spelling, b.mask), b.targets) for b in batches
            ]
        else:
            self.model = build_classifier(shape)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            self.batches = [((b.words, b.mask), b.targets) for b in batches]
        self.model.compile(self.adam(RATE, epsilon=EPSILON, global_clipnorm=CLIP), loss=loss)

    def batch(self, number: int) -> tuple[Any, Any]:
        return self.batches[number % STEPS]


class TorchContender(TorchTrained):
    """What both networks have in common in torch: tables, packed texts, fused LSTMs."""

    clip = CLIP

    def __init__(self, name: str, shape: Shape) -> None:
        import torch

        self.torch, self.nn, self.parameters = torch, torch.nn.functional, []
        self.batches = [
            Texts(*(torch.from_numpy(each.astype(np.int64)) for each in batch))
            for batch in make_batches(shape)
        ]
        self.build(shape)
        self.optimizer = torch.optim.Adam(self.parameters, RATE, eps=EPSILON)

    def build(self, shape: Shape) -> None:
        raise NotImplementedError

    def _tensor(self, ours: Any) -> Any:
        tensor = self.torch.nn.Parameter(self.torch.from_numpy(np.array(ours)))
        self.parameters.append(tensor)
        return tensor

    def _dense(self, layer: Any) -> Any:
        kernel, bias = map(self._tensor, layer.get_weights())
        return lambda x: x @ kernel + bias

    def _lstm(self, layer: Any) -> Any:
        D, H = layer.forward_layer.get_weights()[0].shape[0], layer.forward_layer.units
        lstm = self.torch.nn.LSTM(D, H, batch_first=True, bidirectional=True)
        for part, suffix in ((layer.forward_layer, "l0"), (layer.backward_layer, "l0_reverse")):
            kernel, recurrent, bias = (self.torch.from_numpy(w) for w in part.get_weights())
            for kind, value in (("weight_ih", kernel.T), ("weight_hh", recurrent.T)):
                getattr(lstm, f"{kind}_{suffix}").data.copy_(value)
            getattr(lstm, f"bias_ih_{suffix}").data.copy_(bias)
            second = getattr(lstm, f"bias_hh_{suffix}")
            second.data.zero_()
            second.requires_grad_(False)  # the others have one bias
        self.parameters += [p for p in lstm.parameters() if p.requires_grad]
        return lstm

    def _run(self, lstm: Any, x: Any, lengths: Any) -> Any:
        """Outputs and the last states, of both directions."""
        rnn = self.torch.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        packed, (h, _) = lstm(packed)
        y, _ = rnn.pad_packed_sequence(packed, True, total_length=x.shape[1])
        return y, self.torch.cat([h[0], h[1]], -1)


class TorchClassifier(TorchContender):
    def build(self, shape: Shape) -> None:
        net = build_classifier(shape)
        self.table = self._tensor(net.get_layer("embedding").embeddings)
        (both,) = [one for one in net.layers if hasattr(one, "backward_layer")]
        self.lstm = self._lstm(both)
        self.head = self._dense(net.get_layer("logits"))

    def loss_of(self, number: int) -> Any:
        torch, batch = self.torch, self.batches[number % STEPS]
        vectors, lengths = self.nn.embedding(batch.words, self.table), batch.mask.sum(1)
        y, _ = self._run(self.lstm, vectors, lengths)
        both, real = torch.cat([y, vectors], -1), batch.mask[..., None].bool()
        largest = both.masked_fill(~real, -1e9).amax(1)
        mean = both.masked_fill(~real, 0.0).sum(1) / lengths[:, None]
        logits = self.head(torch.cat([largest, mean], -1))
        return self.nn.cross_entropy(logits, batch.targets)


class TorchTagger(TorchContender):
    def build(self, shape: Shape) -> None:
        net = build_tagger(shape)
        speller, reader = net.speller, net.reader
        self.chars = self._tensor(speller.get_layer("chars").embeddings)
        self.spell = self._lstm(speller.get_layer("spell"))
        self.table = self._tensor(reader.get_layer("word_table").embeddings)
        self.shapes = self._tensor(reader.get_layer("shape_table").embeddings)
        self.lstm = self._lstm(reader.get_layer("lstm_1"))
        self.head = self._dense(reader.get_layer("emissions"))
        crf = net.crf
        self.start, self.transitions, self.end = map(
            self._tensor, (crf.start, crf.transitions, crf.end)
        )

    def loss_of(self, number: int) -> Any:
        torch, batch = self.torch, self.batches[number % STEPS]
        counts = (batch.spelling != 0).sum(1)
        spelt = self.chars.new_zeros(len(counts), 2 * CHAR_UNITS)
        letters = self.nn.embedding(batch.spelling[counts > 0], self.chars)
        spelt[counts > 0] = self._run(self.spell, letters, counts[counts > 0])[1]
        parts = [
            self.nn.embedding(batch.words, self.table),
            self.nn.embedding(torch.zeros_like(batch.words), self.shapes),
            spelt[batch.places],
        ]
        lengths = batch.mask.sum(1)
        x = self.head(self._run(self.lstm, torch.cat(parts, -1), lengths)[0])
        return (self._log_norm(x, batch.mask) - self._score(x, batch)).mean()

    def _score(self, x: Any, batch: Texts) -> Any:
        tags, mask = batch.targets.clamp(min=0), batch.mask
        said = (x.gather(2, tags[..., None])[..., 0] * mask).sum(1)
        moved = (self.transitions[tags[:, :-1], tags[:, 1:]] * mask[:, 1:]).sum(1)
        last = tags.gather(1, mask.sum(1, keepdim=True) - 1)[:, 0]
        return said + moved + self.start[tags[:, 0]] + self.end[last]

    def _log_norm(self, x: Any, mask: Any) -> Any:
        a = self.start + x[:, 0]
        for t in range(1, x.shape[1]):
            after = (a[:, :, None] + self.transitions).logsumexp(1) + x[:, t]
            a = self.torch.where(mask[:, t, None].bool(), after, a)
        return (a + self.end).logsumexp(1)


def build(name: str, shape_name: str) -> Contender:
    shape = SHAPES[shape_name]
    if not name.startswith("torch"):
        return KerasContender(name, shape)
    return (TorchTagger if shape.kind == "tag" else TorchClassifier)(name, shape)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        serve(lambda: build(*sys.argv[2:4]))
    else:
        compare(
            __file__, __doc__.split("\n")[0], SHAPES, CONTENDERS, "texts", lambda shape: shape.B
        )
