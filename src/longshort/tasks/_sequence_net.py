"""The network of the sequence classifier: LSTMs, pooling, logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from longshort.tasks._seeded import num_lstm_weights, seeded_layer, seeds_of


@dataclass(frozen=True)
class SequenceNetShape:
    """What the network is made of; see SequenceClassifier.

    Attributes:
        num_features: D.
        num_outputs: K.
        units: H of each direction.
        num_layers: LSTM layers.
        bidirectional: Whether in both directions.
        pooling: How the outputs of the steps become one vector.
        input_dropout: Of each input.
        dropout: Of each layer's outputs and of the vector.
    """

    num_features: int
    num_outputs: int
    units: int
    num_layers: int
    bidirectional: bool
    pooling: str
    input_dropout: float
    dropout: float

    def num_weights(self) -> int:
        """Return how many weights the LSTMs have."""
        sizes = (self.num_features, self.units, self.num_layers, self.bidirectional)
        return num_lstm_weights(*sizes)


def build_sequence_net(
    shape: SequenceNetShape, seed: int, name: str = "sequence_classifier"
) -> Any:
    """Return a Keras model from values (B, T, D) and their mask (B, T) to logits (B, K)."""
    import keras

    from longshort.tasks._pooling import Pooling

    seeds = seeds_of(seed)
    values = keras.Input((None, shape.num_features), name="values")
    mask = keras.Input((None,), dtype="bool", name="mask")
    x: Any = keras.layers.Dropout(shape.input_dropout, seed=next(seeds))(values)
    for number in range(shape.num_layers):
        steps = number < shape.num_layers - 1 or shape.pooling != "last"
        layer = seeded_layer(shape.units, seeds, shape.bidirectional, return_sequences=steps)
        # The mask goes in by hand: Keras' implicit one gets lost between layers.
        x = layer(x, mask=mask)
        if number < shape.num_layers - 1:
            x = keras.layers.Dropout(shape.dropout, seed=next(seeds))(x)
    if shape.pooling != "last":
        x = Pooling(shape.pooling, seed=next(seeds))(x, mask)
    x = keras.layers.Dropout(shape.dropout, seed=next(seeds))(x)
    kernel = keras.initializers.GlorotUniform(next(seeds))
    outputs = keras.layers.Dense(shape.num_outputs, kernel_initializer=kernel, name="logits")(x)
    return keras.Model((values, mask), outputs, name=name)
