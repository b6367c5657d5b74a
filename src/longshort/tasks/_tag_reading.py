"""What trained networks of a tagger say of sentences: tags, probabilities, the best sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from longshort.data._batches import fixed_batches
from longshort.layers import CRF
from longshort.tasks._tagger_input import Encoded, pad_rows, rounded
from longshort.tasks._tagger_net import TaggerNet
from longshort.tasks._training import copy_weights

_BLOCK = 256  # words that are spelt at a time


class TagReader:
    """Reads the mean of what networks of the same shape say.

    The score of a sequence of tags is linear in the emissions and the CRF's weights, so the CRF of
    their means has the mean score.

    Args:
        nets: The networks, one or more. Their weights may change until the first sentence is read,
            and later too where there is one network.
    """

    def __init__(self, nets: Sequence[TaggerNet]) -> None:
        self.nets = nets
        self._programs: dict[tuple[str, int], Any] = {}

    def run(self, encoded: Encoded, what: str, k: int = 1) -> list[Any]:
        """Run the networks on sentences, each of which has a word at least.

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
        program = self._programs.get((what, k))
        if program is None:
            program = self._programs[what, k] = self._program(what, k)
        spellers = [net.speller for net in self.nets if net.speller is not None]
        spelt = [_spell(speller, encoded.spelling) for speller in spellers]
        results: list[Any] = [None] * len(encoded.words)
        ones = [np.ones(n, np.int32) for n in encoded.lengths]
        lengths = rounded(encoded.lengths)
        for batch in fixed_batches(lengths, max(lengths)):
            mask = pad_rows(ones, batch) > 0
            inputs = [pad_rows(encoded.words, batch), pad_rows(encoded.features, batch), mask]
            places = pad_rows(encoded.places, batch)
            inputs += [np.where(mask[..., None], each[places], 0) for each in spelt]
            values = program.predict_on_batch(inputs)
            for row, i in enumerate(batch.rows):
                n = encoded.lengths[i]
                if what == "n_best":
                    results[i] = values[0][row, :, :n], values[1][row]
                else:
                    results[i] = values[row, :n]
        return results

    def _program(self, what: str, k: int) -> keras.Model:
        # Words, features and mask.
        shared = [
            keras.Input(each.shape[1:], dtype=each.dtype) for each in self.nets[0].reader.inputs[:3]
        ]
        mask, inputs, emissions = shared[-1], list(shared), []
        for net in self.nets:
            given = list(shared)
            if net.speller is not None:
                given.append(keras.Input((None, net.speller.output_shape[-1])))
                inputs.append(given[-1])
            emissions.append(net.reader(given))
        crf, mean = self.nets[0].crf, emissions[0]
        if len(self.nets) > 1:
            mean = keras.layers.Average()(emissions)
            crf = CRF.from_config(crf.get_config())
            crf.build(mean.shape)
            each = [copy_weights(net.crf) for net in self.nets]
            crf.set_weights([np.mean(same, axis=0) for same in zip(*each, strict=True)])
        return keras.Model(inputs, _Reading(crf, what, k)((mean, mask)))


def _spell(speller: keras.Model, spelling: np.ndarray) -> np.ndarray:
    """Return the vectors of the words' spelling, (W, 2 char_units)."""
    found = np.empty((len(spelling), speller.output_shape[-1]), np.float32)
    for start in range(0, len(spelling), _BLOCK):
        part = spelling[start : start + _BLOCK]
        block = np.zeros((_BLOCK, spelling.shape[1]), np.int32)
        block[: len(part)] = part
        found[start : start + _BLOCK] = speller.predict_on_batch(block)[: len(part)]
    return found


class _Reading(keras.layers.Layer):
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
