"""The network of the tagger: spelling and words to a bidirectional LSTM to a CRF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from longshort.data._batches import fixed_batches
from longshort.layers import CRF, LSTM, Bidirectional
from longshort.tasks._tagger_input import MAX_SPELLING, NUM_SHAPES, Encoded, pad_rows, rounded

SHAPE_SIZE = 8
_BLOCK = 256  # words that are spelt at a time


@dataclass(frozen=True)
class TaggerShape:
    """Sizes of the network.

    Attributes:
        num_words: V.
        num_chars: Of the vocabulary of characters.
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
        inputs = self.word_size + 2 * self.char_units
        stack = (inputs + self.units) + (self.num_layers - 1) * 3 * self.units
        spelling = 8 * self.char_units * (self.char_size + self.char_units)
        tables = self.num_words * self.word_size
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
        model: (B, T) words, shapes, rows of the spelling, (W, L) spelling, (B, T) mask, to (B, T,
            K) emissions.
        crf: Its last layer. Without coupling its scores stay 0, which makes it a softmax a word.
    """

    def __init__(self, shape: TaggerShape, seed: int, allowed: dict[str, Any]) -> None:
        # A seed for everything that draws: where there is none, Keras takes one from the global
        # generator of the random module.
        self._seeds = iter(
            np.random.SeedSequence(seed).generate_state(6 * shape.num_layers + 40) >> 1
        )
        self.shape = shape
        self.crf = CRF(
            shape.num_tags,
            constrain_training=shape.crf,
            trainable=shape.crf,
            name="crf",
            **allowed,
        )
        self._speller = self._build_speller() if shape.char_units else None
        self._reader = self._build_reader()
        words = keras.Input((None,), dtype="int32", name="words")
        shapes = keras.Input((None,), dtype="int32", name="shapes")
        places = keras.Input((None,), dtype="int32", name="places")
        spelling = keras.Input((MAX_SPELLING,), dtype="int32", name="spelling")
        mask = keras.Input((None,), dtype="bool", name="mask")
        parts = [words, shapes, mask]
        if self._speller is not None:
            parts.append(Rows(name="rows")((self._speller(spelling), places)))
        self._graph = (words, shapes, places, spelling, mask), self._reader(parts)
        self.model = keras.Model(*self._graph)
        self._runs: dict[tuple[str, int], Any] = {}

    def run(self, encoded: Encoded, what: str, k: int = 1) -> list[Any]:
        """Run the network on sentences, each of which has a word at least.

        Shapes of batches depend on a sentence's own length only, so its answer is the same to the
        last bit whatever it comes with.

        Args:
            encoded: The sentences.
            what: "decode" for numbers of tags (T_i,), "marginals" (T_i, K), or "n_best" for
                (numbers of tags (k, T_i), log-probabilities (k,)).
            k: Of "n_best".

        Returns:
            One result a sentence, in their order.
        """
        run = self._runs.get((what, k))
        if run is None:
            emissions = self._reader.outputs[0]
            mask = next(tensor for tensor in self._reader.inputs if tensor.name == "mask")
            outputs = Reading(self.crf, what, k)((emissions, mask))
            run = self._runs[what, k] = keras.Model(self._reader.inputs, outputs)
        spelt = self._spell(encoded.spelling)
        results: list[Any] = [None] * len(encoded.words)
        ones = [np.ones(n, np.int32) for n in encoded.lengths]
        lengths = rounded(encoded.lengths)
        for batch in fixed_batches(lengths, max(lengths)):
            mask = pad_rows(ones, batch) > 0
            inputs = [pad_rows(encoded.words, batch), pad_rows(encoded.shapes, batch), mask]
            if spelt is not None:
                inputs.append(np.where(mask[..., None], spelt[pad_rows(encoded.places, batch)], 0))
            values = run.predict_on_batch(inputs)
            for row, i in enumerate(batch.rows):
                n = encoded.lengths[i]
                if what == "n_best":
                    results[i] = values[0][row, :, :n], values[1][row]
                else:
                    results[i] = values[row, :n]
        return results

    def finish(self, weights: list[np.ndarray]) -> None:
        """End training with these weights, and drop the optimizer's state.

        The parts that predict stay, and what was compiled of them for the validation.
        """
        self.model = keras.Model(*self._graph)
        self.model.set_weights(weights)

    def _spell(self, spelling: np.ndarray) -> np.ndarray | None:
        """Return the vectors of the words' spelling, (W, 2 char_units)."""
        if self._speller is None:
            return None
        found = np.empty((len(spelling), 2 * self.shape.char_units), np.float32)
        for start in range(0, len(spelling), _BLOCK):
            part = spelling[start : start + _BLOCK]
            block = np.zeros((_BLOCK, MAX_SPELLING), np.int32)
            block[: len(part)] = part
            found[start : start + _BLOCK] = self._speller.predict_on_batch(block)[: len(part)]
        return found

    def _seed(self) -> int:
        return int(next(self._seeds))

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
        return keras.Model(spelling, x, name="speller")

    def _build_reader(self) -> Any:
        shape = self.shape
        words = keras.Input((None,), dtype="int32", name="words")
        shapes = keras.Input((None,), dtype="int32", name="shapes")
        mask = keras.Input((None,), dtype="bool", name="mask")
        inputs = [words, shapes, mask]
        parts = [
            self._table(shape.num_words, shape.word_size, "word_table")(words),
            self._table(NUM_SHAPES, SHAPE_SIZE, "shape_table")(shapes),
        ]
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
        return keras.Model(inputs, self.crf(x), name="reader")


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


class Reading(keras.layers.Layer):
    """What is to be known of emissions (B, T, K) and mask (B, T), in one compiled program.

    Args:
        crf: The layer that knows.
        what: Name of its method.
        k: Of "n_best".
    """

    def __init__(self, crf: CRF, what: str, k: int) -> None:
        super().__init__()
        self.crf, self.what, self.k = crf, what, k

    def call(self, inputs: Sequence[Any]) -> Any:
        """Return what the method returns."""
        emissions, mask = inputs
        if self.what == "n_best":
            return self.crf.n_best(emissions, self.k, mask)
        return getattr(self.crf, self.what)(emissions, mask)
