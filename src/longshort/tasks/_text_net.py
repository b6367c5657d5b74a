"""The network of the text classifier: embedding, LSTMs, pooling, logits."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from longshort.data._vocabulary import PADDING, UNKNOWN
from longshort.layers import EmbeddingDropout
from longshort.tasks._pooling import Pooling
from longshort.tasks._seeded import num_lstm_weights, seeded_layer, seeds_of

EMBEDDING_SCALE = 0.1


@dataclass(frozen=True)
class TextNetShape:
    """What the network is made of; see TextClassifier.

    Attributes:
        num_tokens: V.
        num_outputs: K.
        embedding_size: E.
        units: H of each direction.
        num_layers: LSTM layers.
        bidirectional: Whether in both directions.
        pooling: How the outputs of the steps become one vector.
        dropout: Of channels, the same in all steps: of the embedding, each layer and the vector.
        embedding_dropout: Of words, at all their places in a text.
    """

    num_tokens: int
    num_outputs: int
    embedding_size: int
    units: int
    num_layers: int
    bidirectional: bool
    pooling: str
    dropout: float
    embedding_dropout: float

    def num_weights(self) -> int:
        """Return how many weights embedding and LSTMs have."""
        sizes = (self.embedding_size, self.units, self.num_layers, self.bidirectional)
        return self.num_tokens * self.embedding_size + num_lstm_weights(*sizes)


def build_text_net(
    shape: TextNetShape,
    seed: int,
    embeddings: np.ndarray | None = None,
    lstm: list[list[np.ndarray]] | None = None,
    name: str = "text_classifier",
) -> keras.Model:
    """Return a model from numbers of tokens (B, T) and their mask (B, T) to logits (B, K).

    Args:
        shape: Of the network.
        seed: Of weights and dropout; everything that draws has its own of it, as Keras would else
            take one from Python's global random state.
        embeddings: (V, E) to begin with; None: random.
        lstm: The weights of each LSTM layer to begin with, of one direction, which were learnt
            together with `embeddings`; None: random.
        name: Of the model.
    """
    seeds = seeds_of(seed)
    ids = keras.Input((None,), dtype="int32", name="tokens")
    real = keras.Input((None,), dtype="bool", name="mask")
    normal = keras.initializers.RandomNormal(0.0, EMBEDDING_SCALE, seed=next(seeds))
    table = keras.layers.Embedding(
        shape.num_tokens, shape.embedding_size, embeddings_initializer=normal, name="embedding"
    )
    words = EmbeddingDropout(shape.num_tokens, shape.embedding_dropout, seed=next(seeds))
    x = words(table(ids), ids)
    vectors = x
    for number in range(shape.num_layers):
        x = keras.layers.SpatialDropout1D(shape.dropout, seed=next(seeds))(x)
        steps = number < shape.num_layers - 1 or shape.pooling != "last"
        layer = seeded_layer(shape.units, seeds, shape.bidirectional, return_sequences=steps)
        # The mask goes in by hand: Keras' implicit one gets lost between layers.
        x = layer(x, mask=real)
        if lstm is not None:
            layer.set_weights(lstm[number])
    if shape.pooling != "last":
        # A token's own vector beside what is read around it (Lai et al. 2015): words that decide
        # alone need not come through the LSTM.
        vectors = keras.layers.SpatialDropout1D(shape.dropout, seed=next(seeds))(vectors)
        x = Pooling(shape.pooling, seed=next(seeds))([x, vectors], real)
    x = keras.layers.Dropout(shape.dropout, seed=next(seeds))(x)
    glorot = keras.initializers.GlorotUniform(next(seeds))
    outputs = keras.layers.Dense(shape.num_outputs, kernel_initializer=glorot, name="logits")(x)
    model = keras.Model((ids, real), outputs, name=name)
    if embeddings is None:
        embeddings = np.array(ops.convert_to_numpy(table.embeddings.value))
    if lstm is None:
        # An unknown word begins as one that is dropped: how to read those is learnt in any case.
        embeddings[[PADDING, UNKNOWN]] = 0
    table.embeddings.assign(embeddings)
    return model
