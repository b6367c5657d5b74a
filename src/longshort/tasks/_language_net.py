"""The network of a language model, and the Keras models that share its layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from longshort.layers import LSTM, Dense, EmbeddingDropout, StackedRNN
from longshort.tasks._sampled_softmax import SampledLogProbability
from longshort.tasks._token_loss import TokenLoss

Tensor = Any


@dataclass(frozen=True)
class NetPlan:
    """What a network is built from.

    Attributes:
        num_tokens: V, the size of the vocabulary.
        embedding_size: E, values of a token's vector.
        units: H of each LSTM layer.
        num_layers: Number of LSTM layers.
        tie_weights: Whether the rows of the softmax are the vectors of the tokens.
        dropout: Behind each LSTM layer, one mask for all steps.
        input_dropout: Of the tokens' vectors, one mask for all steps.
        embedding_dropout: Of whole tokens.
        weight_drop: Of the recurrent weights.
        seed: Of first weights and noise.
    """

    num_tokens: int
    embedding_size: int
    units: int
    num_layers: int
    tie_weights: bool
    dropout: float
    input_dropout: float
    embedding_dropout: float
    weight_drop: float
    seed: int

    def num_weights(self) -> int:
        """Return how many weights there are."""
        V, E, H = self.num_tokens, self.embedding_size, self.units
        rows = [E, *[H] * (self.num_layers - 1)]
        stack = sum((D + H + 1) * 4 * H for D in rows)
        if not self.tie_weights:
            return V * E + stack + (H + 1) * V
        return V * E + stack + V + ((H + 1) * E if H != E else 0)


class LanguageNet:
    """A token's vector, LSTM layers, a softmax over the next token (Merity et al. 2018, AWD-LSTM).

        y = stack(drop(E[ids]))    logits = drop(y) W + b, or (drop(y) P + p) E' + b where tied

    P, where H is another size than E, brings the output to the size of the vectors.

    Attributes:
        plan: What it is built from.
        model: The network as users see it: numbers of tokens (B, T) and the states (B, H) of each
            layer, h and c, to logits (B, T, V) and the states after them.
        scorer: The same layers: numbers (B, T), those that follow them, and states to the
            logarithms of their probabilities (B, T) and the states.
    """

    def __init__(self, plan: NetPlan) -> None:
        self.plan = plan
        # A seed for everything that draws: where there is none, Keras takes one from the global
        # generator of the random module.
        seeds = iter(np.random.SeedSequence(plan.seed).generate_state(2 * plan.num_layers + 8) >> 1)

        def seed() -> int:
            return int(next(seeds))

        V, E, H = plan.num_tokens, plan.embedding_size, plan.units
        if plan.tie_weights:
            self.embedding: Any = TiedEmbedding(V, E, seed=seed())
        else:
            first = keras.initializers.RandomNormal(0.0, 0.5, seed())
            self.embedding = keras.layers.Embedding(V, E, embeddings_initializer=first)
        self.word_dropout = EmbeddingDropout(V, plan.embedding_dropout, seed=seed())
        self.input_dropout = keras.layers.SpatialDropout1D(plan.input_dropout, seed=seed())
        self.output_dropout = keras.layers.SpatialDropout1D(plan.dropout, seed=seed())

        def lstm(units: int, **options: Any) -> LSTM:
            return LSTM(
                units,
                kernel_initializer=keras.initializers.GlorotUniform(seed()),
                recurrent_initializer=keras.initializers.Orthogonal(seed=seed()),
                weight_drop=plan.weight_drop,
                **options,
            )

        self.stack = StackedRNN(
            H,
            plan.num_layers,
            cell=lstm,
            locked_dropout=plan.dropout,
            return_sequences=True,
            return_state=True,
            seed=seed(),
        )
        self.projection = self.head = None
        if not plan.tie_weights:
            self.head = keras.layers.Dense(
                V, kernel_initializer=keras.initializers.GlorotUniform(seed())
            )
        elif H != E:
            self.projection = Dense(E, kernel_initializer=keras.initializers.GlorotUniform(seed()))
        ids = keras.Input((None,), dtype="int32", name="ids")
        states = [
            [keras.Input((H,), name=f"{name}_{i}") for name in ("h", "c")]
            for i in range(plan.num_layers)
        ]
        flat = [state for pair in states for state in pair]
        logits, *after = self._run(ids, initial_state=states)
        ends = [state for pair in after for state in pair]
        self.model = keras.Model([ids, *flat], [logits, *ends], name="language_model")
        targets = keras.Input((None,), dtype="int32", name="targets")
        self.scorer = keras.Model([ids, targets, *flat], [log_probability(logits, targets), *ends])

    def trainer(self, batch_size: int, length: int, num_sampled: int | None = None) -> keras.Model:
        """Return numbers (B, T) and those that follow to losses whose mean is that of the tokens.

        It carries its state from batch to batch, until `stack.reset_state()`. With `num_sampled`
        the probabilities are estimated from so many tokens.
        """
        shape = (batch_size, length)
        ids = keras.Input(batch_shape=shape, dtype="int32")
        targets = keras.Input(batch_shape=shape, dtype="int32")
        outputs, *_ = self._outputs(ids, stateful=True)
        softmax = self.head or self.embedding
        if num_sampled is None:
            return keras.Model([ids, targets], TokenLoss(softmax)(outputs, targets))
        estimate = SampledLogProbability(
            softmax, self.plan.num_tokens, num_sampled, self.plan.seed % 2**31
        )
        return keras.Model([ids, targets], -estimate(outputs, targets))

    def _run(self, ids: Tensor, **options: Any) -> list[Tensor]:
        outputs, *after = self._outputs(ids, **options)
        if self.head is not None:
            return [self.head(outputs), *after]
        return [self.embedding(outputs, reverse=True), *after]

    def _outputs(self, ids: Tensor, **options: Any) -> list[Tensor]:
        vectors = self.input_dropout(self.word_dropout(self.embedding(ids), ids))
        outputs, *after = self.stack(vectors, **options)
        outputs = self.output_dropout(outputs)
        if self.projection is not None:
            outputs = self.projection(outputs)
        return [outputs, *after]

    def zeros(self, batch_size: int) -> list[np.ndarray]:
        """Return the states before a text, (B, H) each."""
        shape = (batch_size, self.plan.units)
        return [np.zeros(shape, np.float32) for _ in range(2 * self.plan.num_layers)]


@keras.saving.register_keras_serializable("longshort")
class TiedEmbedding(keras.layers.Layer):
    """Vectors (V, E) of tokens that are the rows of the softmax too (Press and Wolf 2017).

    Numbers (B, T) to vectors (B, T, E); with `reverse` outputs y (B, T, E) to logits (B, T, V),
    y E' + b.

    Args:
        num_tokens: V.
        dim: E.
        seed: Of the first vectors.
        kwargs: `name`, `dtype`.
    """

    def __init__(self, num_tokens: int, dim: int, *, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_tokens, self.dim, self.seed = num_tokens, dim, seed

    def build(self, *shapes: Any) -> None:
        """Create the weights."""
        # Products with outputs of size 1 are then of size 1.
        initial = keras.initializers.RandomNormal(0.0, self.dim**-0.5, self.seed)
        self.embeddings = self.add_weight(
            shape=(self.num_tokens, self.dim), name="embeddings", initializer=initial
        )
        self.bias = self.add_weight(shape=(self.num_tokens,), name="bias", initializer="zeros")

    def call(self, inputs: Tensor, reverse: bool = False) -> Tensor:
        """Look up, or multiply."""
        if not reverse:
            return ops.take(self.embeddings, inputs, axis=0)
        return ops.matmul(inputs, ops.transpose(self.embeddings)) + self.bias

    def compute_output_spec(self, inputs: Tensor, reverse: bool = False) -> keras.KerasTensor:
        """Return the shape and type of what `call` returns."""
        shape = (*inputs.shape[:-1], self.num_tokens) if reverse else (*inputs.shape, self.dim)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        own = {name: getattr(self, name) for name in ("num_tokens", "dim", "seed")}
        return super().get_config() | own


def log_probability(logits: Tensor, targets: Tensor) -> Tensor:
    """Return log softmax(logits) (B, T, V) at `targets` (B, T)."""
    picked = ops.take_along_axis(logits, ops.expand_dims(targets, -1), axis=-1)
    return ops.squeeze(picked, -1) - ops.logsumexp(logits, axis=-1)
