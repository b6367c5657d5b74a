"""`Bidirectional`: Keras' wrapper, with both directions of a fused LSTM or GRU at once."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from longshort.layers._gru import GRU
from longshort.layers._lstm import LSTM
from longshort.ops import gru_both, lstm_both

Tensor = Any


@keras.saving.register_keras_serializable("longshort")
class Bidirectional(keras.layers.Bidirectional):
    """`keras.layers.Bidirectional`; around a fused LSTM or GRU both directions run side by side.

    Takes every argument of `keras.layers.Bidirectional` and has the same weights, config and
    results. Each direction then runs on half of the threads, which need not wait for one another.
    Around any other layer, or two of different sizes, it is Keras' own.

    Args:
        layer: The layer for the forward direction, as in Keras.

    >>> layer = longshort.layers.Bidirectional(longshort.layers.LSTM(4, return_sequences=True))
    >>> layer(np.zeros((2, 5, 3), "float32")).shape
    (2, 5, 8)
    """

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Any:
        """Run the layer; arguments as in `keras.layers.Bidirectional`."""
        layers = (self.forward_layer, self.backward_layer)
        if isinstance(mask, list | tuple):
            mask = mask[0]
        together = self._fits_together()
        if together:
            given = (None, None)
            if initial_state is not None:
                middle = len(initial_state) // 2
                given = (initial_state[:middle], initial_state[middle:])
            arguments = []
            for layer, state in zip(layers, given, strict=True):
                if state is None:
                    batch = ops.shape(sequences)[0]
                    state = layer.states if layer.stateful else layer.get_initial_state(batch)
                sequences = ops.cast(sequences, layer.compute_dtype)
                arguments.append(layer.op_arguments(sequences, state, mask, bool(training)))
            both = lstm_both if isinstance(layers[0], LSTM) else gru_both
            zeros = self.forward_layer.zero_output_for_mask
            results = both(arguments[0], arguments[1], self.return_sequences, zeros)
            for layer, result in zip(layers, results, strict=True):
                layer._results = result
        try:
            return super().call(
                sequences, initial_state=initial_state, mask=mask, training=training
            )
        finally:
            for layer in layers if together else ():
                layer._results = None

    def _fits_together(self) -> bool:
        forward, backward = self.forward_layer, self.backward_layer
        return (
            type(forward) is type(backward)
            and type(forward) in (LSTM, GRU)
            and forward.kernel_path.name == backward.kernel_path.name == "kernel"
            and not (forward.recompute or backward.recompute)
            and not forward.go_backwards
            and _settings(forward) == _settings(backward)
            and all(
                bool(getattr(forward.cell, name)) == bool(getattr(backward.cell, name))
                for name in ("dropout", "recurrent_dropout")
            )
        )


def _settings(layer: LSTM | GRU) -> list[Any]:
    """What must be the same in both directions."""
    names = ("units", "use_bias", "implementation", "activation", "recurrent_activation")
    settings = [getattr(layer.cell, name) for name in names]
    if isinstance(layer, LSTM):
        on_update = layer.variant.recurrent_dropout_on == "update"
        settings += [layer.variant, layer.recurrent_dropout if on_update else 0.0]
    return settings
