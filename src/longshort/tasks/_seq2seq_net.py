"""The network of a translator, and the Keras models that share its layers.

Axis letters: B pairs, S source tokens, T target tokens, E values of a token's vector, H units,
V target tokens of the vocabulary, N sentences and K candidates of each in a search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from longshort.layers import Bidirectional, Dense
from longshort.tasks._cross_attention import CrossAttention
from longshort.tasks._input_feeding import InputFeeding
from longshort.tasks._joined_dense import JoinedDense
from longshort.tasks._language_net import TiedEmbedding, log_probability
from longshort.tasks._seeded import seeded_lstm, seeds_of
from longshort.tasks._token_loss import TokenLoss

Tensor = Any


@dataclass(frozen=True)
class Seq2SeqPlan:
    """What a network is built from.

    Attributes:
        num_source: Tokens of the source's vocabulary.
        num_target: V.
        shared: Whether both are one vocabulary, with one matrix of vectors.
        embedding_size: E.
        units: H, even: of each LSTM of the decoder; each direction of the encoder has H / 2.
        num_layers: LSTM layers of the encoder.
        attention: Kind of `CrossAttention`.
        input_feeding: Whether the decoder reads what the softmax of the step before read.
        dropout: Of vectors, between layers, and before the softmax.
        seed: Of first weights and noise.
    """

    num_source: int
    num_target: int
    shared: bool
    embedding_size: int
    units: int
    num_layers: int
    attention: str
    input_feeding: bool
    dropout: float
    seed: int

    @property
    def state_sizes(self) -> list[int]:
        """Values of each state of the decoder."""
        own = [self.units] * 4
        return [*own, self.embedding_size] if self.input_feeding else own

    def num_weights(self) -> int:
        """Return how many weights there are at least."""
        E, H = self.embedding_size, self.units
        vectors = self.num_target * (E + 1) + (0 if self.shared else self.num_source * E)
        encoder = sum(2 * (D + H // 2 + 1) * 2 * H for D in (E, *[H] * (self.num_layers - 1)))
        bridge = 2 * (H + 1) * 2 * H
        decoder = (E + E * self.input_feeding + H + 1) * 4 * H + (3 * H + 1) * 4 * H
        return vectors + encoder + bridge + decoder + (2 * H + 1) * E


class Seq2SeqNet:
    """Encoder and decoder with attention, all steps of a target at once (teacher forcing).

        values = BiLSTM(..BiLSTM(E_source[source]))
        y1 = LSTM(E[target])                      from the encoder's last states
        context = attention(y1, values)
        y2 = LSTM([y1, context])
        logits = tanh([y2, context] W) E' + b

    The query is the first layer's output, as in GNMT (Wu et al. 2016): so the context is part of
    a recurrence, and yet no layer has to wait for another's last step. With input feeding (Luong
    et al. 2015) y1 reads [E[target], f], where f is what the softmax of the step before read, the
    tanh, 0 at first; the steps of a target have to be taken one after the other.

    Attributes:
        plan: What it is built from.
        model: Numbers (B, S) and (B, T), 0 for padding on the right, to logits (B, T, V).
        trainer: Numbers of source, target and the tokens that follow, to the mean loss of
            the real ones, (1,), with `label_smoothing`.
        encoder: Numbers (B, S) to values and keys (B, S, H) and the first states of the decoder:
            h, c of both LSTMs, (B, H) each, and f (B, E) with input feeding.
        scorer: Targets, those that follow, values, keys, mask (B, S) and states to log
            probabilities (B, T), attention (B, T, S) and states.
    """

    def __init__(self, plan: Seq2SeqPlan, label_smoothing: float = 0.0) -> None:
        self.plan = plan
        self._seeds = seeds_of(plan.seed)
        E, H = plan.embedding_size, plan.units
        self.embedding = TiedEmbedding(
            plan.num_target, E, seed=next(self._seeds), name="target_vectors"
        )
        self.source_embedding: Any = self.embedding
        if not plan.shared:
            first = keras.initializers.RandomNormal(0.0, E**-0.5, next(self._seeds))
            self.source_embedding = keras.layers.Embedding(
                plan.num_source, E, embeddings_initializer=first, name="source_vectors"
            )
        self.encoders = []
        for _ in range(plan.num_layers):
            forward, backward = (
                seeded_lstm(
                    H // 2,
                    self._seeds,
                    return_sequences=True,
                    return_state=True,
                    go_backwards=backwards,
                )
                for backwards in (False, True)
            )
            self.encoders.append(Bidirectional(forward, backward_layer=backward))
        self.bridges = [self._dense(2 * H, "tanh") for _ in "hc"]
        self.decoders = [
            seeded_lstm(H, self._seeds, return_sequences=True, return_state=True) for _ in "12"
        ]
        self.attention = CrossAttention(plan.attention, seed=next(self._seeds))
        kind = plan.attention
        self.keys = None if kind == "dot" else self._dense(H, use_bias=kind == "additive")
        self.query = self._dense(H, use_bias=False) if kind == "additive" else None
        kernel = keras.initializers.GlorotUniform(next(self._seeds))
        self.combine = JoinedDense(E, "tanh", kernel_initializer=kernel)
        self.feeding = self._feeding() if plan.input_feeding else None
        self._make_models(label_smoothing)

    def _dense(self, units: int, activation: str | None = None, use_bias: bool = True) -> Any:
        kernel = keras.initializers.GlorotUniform(next(self._seeds))
        return Dense(units, activation, use_bias, kernel_initializer=kernel)

    def _dropped(self, x: Tensor) -> Tensor:
        return keras.layers.Dropout(self.plan.dropout, seed=next(self._seeds))(x)

    def _make_models(self, label_smoothing: float) -> None:
        source, target, following = (
            keras.Input((None,), dtype="int32", name=name)
            for name in ("source", "target", "following")
        )
        mask = ops.not_equal(source, 0)
        values, keys, states = self._encode(source, mask)
        y, *_ = self._decode(target, [values, keys, mask], states)
        self.model = keras.Model([source, target], self._logits(y), name="translator")
        loss = TokenLoss(self.embedding, label_smoothing)(y, following)
        self.trainer = keras.Model([source, target, following], loss)
        self.encoder = keras.Model(source, [values, keys, *states])

        read, before = self._source_inputs(), self._state_inputs()
        y, weights, *after = self._decode(target, read, before)
        scores = log_probability(self._logits(y), following)
        self.scorer = keras.Model([target, following, *read, *before], [scores, weights, *after])

    def _source_inputs(self) -> list[Tensor]:
        H = self.plan.units
        values, keys = (keras.Input((None, H), name=name) for name in ("values", "keys"))
        return [values, keys, keras.Input((None,), dtype="bool", name="mask")]

    def _state_inputs(self, *candidates: int) -> list[Tensor]:
        names = ("h1", "c1", "h2", "c2", "fed")
        return [
            keras.Input((*candidates, size), name=name)
            for name, size in zip(names, self.plan.state_sizes, strict=False)
        ]

    def _feeding(self) -> InputFeeding:
        E, H = self.plan.embedding_size, self.plan.units
        vectors = keras.Input((1, E), name="vectors")
        noise = [keras.Input((1, H), name=name) for name in ("noise1", "noise2")]
        read, before = self._source_inputs(), self._state_inputs(1)
        found = self._advance(vectors, read, before, noise)
        step = keras.Model([vectors, *noise, *read, *before], found)
        return InputFeeding(step, self.plan.dropout, [next(self._seeds) for _ in noise])

    def step(self, candidates: int) -> keras.Model:
        """Return a step of a search with K candidates: they attend as K steps of a target would.

        Tokens (N, K), values, keys, mask (N, S) and states (N, K, each) to log probabilities
        (N, K, V), attention (N, K, S) and the states after the step.
        """
        tokens = keras.Input((candidates,), dtype="int32", name="tokens")
        read, before = self._source_inputs(), self._state_inputs(candidates)
        combined, *found = self._advance(self.embedding(tokens), read, before)
        chances = ops.log_softmax(self._logits(combined), axis=-1)
        return keras.Model([tokens, *read, *before], [chances, *found])

    def _advance(
        self,
        vectors: Tensor,
        read: list[Tensor],
        before: list[Tensor],
        noise: list[Tensor] | None = None,
    ) -> list[Tensor]:
        """Take one step with K candidates: what the softmax reads, attention, the states after.

        The outputs of both LSTMs are multiplied with `noise` where it is given.
        """
        values, keys, mask = read
        h1, c1, h2, c2, *fed = before
        x = ops.concatenate([vectors, *fed], axis=-1)
        y, *first = _lstm_step(self.decoders[0], x, [h1, c1])
        y = y if noise is None else y * noise[0]
        context, weights = self.attention(self._queried(y), keys, values, mask)
        both = ops.concatenate([y, context], axis=-1)
        y, *second = _lstm_step(self.decoders[1], both, [h2, c2])
        y = y if noise is None else y * noise[1]
        combined = self.combine([y, context])
        after = [*first, *second, combined] if fed else [*first, *second]
        return [combined, weights, *after]

    def _encode(self, source: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        x = vectors = self.source_embedding(source)
        for layer in self.encoders:
            x, h_forward, c_forward, h_backward, c_backward = layer(self._dropped(x), mask=mask)
        H = self.plan.units
        h, c = (
            bridge(ops.concatenate(ends, axis=-1))
            for bridge, ends in zip(
                self.bridges, ([h_forward, h_backward], [c_forward, c_backward]), strict=True
            )
        )
        values = self._dropped(x)
        keys = values if self.keys is None else self.keys(values)
        states = [h[:, :H], c[:, :H], h[:, H:], c[:, H:]]
        if self.feeding is not None:
            states.append(ops.zeros_like(vectors[:, 0]))
        return values, keys, states

    def _decode(self, target: Tensor, read: list[Tensor], states: list[Tensor]) -> list[Tensor]:
        """Return what the softmax reads, attention and the states after the last real step.

        With input feeding padding counts as steps: after it the states mean nothing.
        """
        vectors = self._dropped(self.embedding(target))
        if self.feeding is not None:
            y, *others = self.feeding(vectors, *read, *states)
            return [self._dropped(y), *others]
        values, keys, mask = read
        real = ops.not_equal(target, 0)
        y, *first = self.decoders[0](vectors, initial_state=states[:2], mask=real)
        y = self._dropped(y)
        context, weights = self.attention(self._queried(y), keys, values, mask)
        both = ops.concatenate([y, context], axis=-1)
        y, *second = self.decoders[1](both, initial_state=states[2:], mask=real)
        combined = self.combine([self._dropped(y), context])
        return [self._dropped(combined), weights, *first, *second]

    def _logits(self, y: Tensor) -> Tensor:
        return self.embedding(y, reverse=True)

    def _queried(self, y: Tensor) -> Tensor:
        return y if self.query is None else self.query(y)


def _lstm_step(layer: Any, x: Tensor, states: list[Tensor]) -> list[Tensor]:
    """One step of a layer for x (N, K, D) from states (N, K, H): y, h, c of shape (N, K, H)."""
    K, H = x.shape[1], layer.units
    flat = [ops.reshape(each, (-1, H)) for each in states]
    y, h, c = layer(ops.reshape(x, (-1, 1, x.shape[-1])), initial_state=flat)
    return [ops.reshape(each, (-1, K, H)) for each in (y, h, c)]
