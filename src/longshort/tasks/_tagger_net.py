"""The network of the tagger: spelling, words and features to a bidirectional LSTM to a CRF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from longshort.data._vocabulary import UNKNOWN
from longshort.layers import CRF, LSTM, Bidirectional
from longshort.tasks._tagger_input import MAX_SPELLING, NUM_SHAPES

SHAPE_SIZE, FEATURE_SIZE = 8, 20  # of their vectors


@dataclass(frozen=True)
class TaggerShape:
    """Sizes of the network.

    Attributes:
        num_words: V.
        num_chars: Of the vocabulary of characters.
        num_values: Of each feature, without the shape.
        num_tags: K.
        units: H of each LSTM and direction.
        num_layers: LSTMs one above the other.
        word_size: Of a word's vector.
        char_size: Of a character's vector.
        char_units: Of each direction of the LSTM that spells; 0 for none.
        dropout: Rate, one mask for all steps.
        crf: Whether neighbouring tags are coupled.
    """

    num_words: int
    num_chars: int
    num_values: tuple[int, ...]
    num_tags: int
    units: int
    num_layers: int
    word_size: int
    char_size: int
    char_units: int
    dropout: float
    crf: bool

    @property
    def num_weights(self) -> int:
        """About how many weights there are, at least."""
        inputs = self.word_size + 2 * self.char_units + FEATURE_SIZE * len(self.num_values)
        stack = (inputs + self.units) + (self.num_layers - 1) * 3 * self.units
        spelling = 8 * self.char_units * (self.char_size + self.char_units)
        tables = self.num_words * self.word_size + FEATURE_SIZE * sum(self.num_values)
        if self.char_units:
            tables += self.num_chars * self.char_size
        return 8 * self.units * stack + spelling + tables + self.num_tags**2


class TaggerNet:
    """The model for training, and the parts that prediction runs one after the other.

    The vector of a word's spelling does not depend on the sentence, so training spells each
    different word of a batch once, and prediction each different word of all sentences.

    Args:
        shape: Sizes.
        seed: Decides on all weights and dropout.
        allowed: The constraints, as arguments of `CRF`.

    Attributes:
        model: (B, T) words, (B, T, 1 + F) shapes and features, (B, T) rows of the spelling, (W, L)
            spelling, (B, T) mask, to (B, T, K) emissions.
        crf: Its last layer. Without coupling its scores stay 0, which makes it a softmax a word.
        speller: (W, L) spelling to (W, D), or None where words are not spelt.
        reader: Words, features and mask, and (B, T, D) where words are spelt, to emissions.
    """

    def __init__(self, shape: TaggerShape, seed: int, allowed: dict[str, Any]) -> None:
        # A seed for everything that draws: where there is none, Keras takes one from the global
        # generator of the random module.
        self._seeds = iter(
            np.random.SeedSequence(seed).generate_state(
                6 * shape.num_layers + len(shape.num_values) + 40
            )
            >> 1
        )
        self.shape = shape
        self.crf = CRF(
            shape.num_tags,
            constrain_training=shape.crf,
            trainable=shape.crf,
            name="crf",
            **allowed,
        )
        self.speller: Any = self._build_speller() if shape.char_units else None
        self.reader = self._build_reader()
        words = keras.Input((None,), dtype="int32", name="words")
        features = self._feature_input()
        places = keras.Input((None,), dtype="int32", name="places")
        spelling = keras.Input((MAX_SPELLING,), dtype="int32", name="spelling")
        mask = keras.Input((None,), dtype="bool", name="mask")
        parts = [words, features, mask]
        if self.speller is not None:
            parts.append(Rows(name="rows")((self.speller(spelling), places)))
        self._graph = (words, features, places, spelling, mask), self.reader(parts)
        self.model = keras.Model(*self._graph)

    def finish(self, weights: list[np.ndarray]) -> None:
        """End training with these weights, and drop the optimizer's state.

        The parts that predict stay, and what was compiled of them for the validation.
        """
        self.model = keras.Model(*self._graph)
        self.model.set_weights(weights)

    def _seed(self) -> int:
        return int(next(self._seeds))

    def _feature_input(self) -> Any:
        return keras.Input((None, 1 + len(self.shape.num_values)), dtype="int32", name="features")

    def _table(self, number: int, size: int, name: str) -> Any:
        limit = (3 / size) ** 0.5
        initializer = keras.initializers.RandomUniform(-limit, limit, seed=self._seed())
        return keras.layers.Embedding(number, size, embeddings_initializer=initializer, name=name)

    def _dropout(self) -> Any:
        # One mask for all steps of a sentence (Gal and Ghahramani 2016).
        return keras.layers.SpatialDropout1D(self.shape.dropout, seed=self._seed())

    def _both(self, units: int, name: str, return_sequences: bool) -> Any:
        def lstm(**options: Any) -> Any:
            return LSTM(
                units,
                return_sequences=return_sequences,
                kernel_initializer=keras.initializers.GlorotUniform(self._seed()),
                recurrent_initializer=keras.initializers.Orthogonal(seed=self._seed()),
                seed=0,  # without dropout inside it draws nothing
                **options,
            )

        return Bidirectional(lstm(), backward_layer=lstm(go_backwards=True), name=name)

    def _build_speller(self) -> Any:
        shape = self.shape
        spelling = keras.Input((MAX_SPELLING,), dtype="int32", name="spelling")
        x = self._table(shape.num_chars, shape.char_size, "chars")(spelling)
        x = self._both(shape.char_units, "spell", False)(x, mask=ops.not_equal(spelling, 0))
        return keras.Model(spelling, x)

    def _build_reader(self) -> Any:
        shape = self.shape
        words = keras.Input((None,), dtype="int32", name="words")
        features = self._feature_input()
        mask = keras.Input((None,), dtype="bool", name="mask")
        inputs = [words, features, mask]
        parts = [
            self._table(shape.num_words, shape.word_size, "word_table")(words),
            self._table(NUM_SHAPES, SHAPE_SIZE, "shape_table")(features[..., 0]),
        ]
        for number, size in enumerate(shape.num_values, 1):
            table = self._table(size, FEATURE_SIZE, f"feature_table_{number}")
            parts.append(table(features[..., number]))
            # A value that training lacks says nothing.
            known = np.arange(size)[:, None] > UNKNOWN
            table.embeddings.assign(table.embeddings * known)
        if shape.char_units:
            inputs.append(keras.Input((None, 2 * shape.char_units), name="spelt"))
            parts.append(inputs[-1])
        x = keras.layers.Concatenate()(parts)
        for number in range(shape.num_layers):
            x = self._dropout()(x)
            x = self._both(shape.units, f"lstm_{number + 1}", True)(x, mask=mask)
        x = self._dropout()(x)
        kernel = keras.initializers.GlorotUniform(self._seed())
        x = keras.layers.Dense(shape.num_tags, kernel_initializer=kernel, name="emissions")(x)
        return keras.Model(inputs, self.crf(x))


def joined(nets: Sequence[TaggerNet]) -> keras.Model:
    """Return the model of all members: inputs as those of each, to the mean of their emissions."""
    if len(nets) == 1:
        return nets[0].model
    given = nets[0].model.inputs
    inputs = [keras.Input(each.shape[1:], dtype=each.dtype, name=each.name) for each in given]
    mean = keras.layers.Average(name="mean")([net.model(inputs) for net in nets])
    return keras.Model(inputs, mean, name="taggers")


@keras.saving.register_keras_serializable("longshort")
class Rows(keras.layers.Layer):
    """Rows of a table (W, D) by number (B, T), to (B, T, D)."""

    def call(self, inputs: Sequence[Any]) -> Any:
        """Return the rows."""
        table, places = inputs
        return ops.take(table, places, axis=0)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return (B, T, D)."""
        table, places = input_shape
        return (*places, table[-1])
