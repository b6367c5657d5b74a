"""`LSTM`: the Keras layer on the fused kernels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from longshort._errors import DataError
from longshort.ops import Path, choose_path, lstm

Tensor = Any


@keras.saving.register_keras_serializable("longshort")
class LSTM(keras.layers.LSTM):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): `keras.layers.LSTM`, fused.

        i, f, o = sigmoid(x W + h U + b)    g = tanh(x W + h U + b)    (columns i, f, g, o)
        c <- f c + i g                      h <- o tanh(c)

    Takes every argument of `keras.layers.LSTM`, has the same weights (`kernel` (D, 4H),
    `recurrent_kernel` (H, 4H), `bias` (4H,)), the same config and, up to float rounding, the same
    results; see there for the arguments. Dropout, recurrent dropout, masks, initial states and
    both directions all run in the fused kernels. `unroll`, `use_cudnn` and `implementation` are
    accepted and change nothing but the dropout masks, as in Keras: there is no loop to unroll.
    An activation other than tanh, a recurrent activation other than sigmoid, float64, a backend
    other than JAX or a device other than the CPU run in `keras.ops`, with one `PathWarning` that
    names the reason; `path` says which of the two it is.

    Args:
        units: H, the number of units.
        recompute: Keep for the backward pass only the states of about sqrt(T) steps and run the
            steps between them forward once more: a third more time, for memory that hardly grows
            with T. On the fused kernels only.

    Shapes:
        Inputs (B, T, D); optional `mask` (B, T) of booleans: a False step is skipped, wherever it
        lies. Outputs (B, H), or (B, T, H) with `return_sequences=True`; with `return_state=True`
        also the last h and c, each (B, H).

    Raises:
        DataError: Inputs that are not (batch, time, features), or a mask or an initial state whose
            shape does not fit them.

    >>> layer = longshort.layers.LSTM(4, return_sequences=True)
    >>> layer(np.zeros((2, 5, 3), "float32")).shape
    (2, 5, 4)
    """

    recompute = False  # here, so that a layer whose class was exchanged has it
    _results: Any = None  # of a loop that Bidirectional has run already

    def __init__(self, units: int, *args: Any, recompute: bool = False, **kwargs: Any) -> None:
        super().__init__(units, *args, **kwargs)
        self.recompute = recompute
        self.input_spec = None  # our own check says more than Keras' on the number of axes

    @property
    def path(self) -> Path:
        """The path that this layer's calls take, and why."""
        return choose_path(self.activation, self.recurrent_activation, self.compute_dtype)

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Create the weights for inputs of shape (batch, time, features)."""
        _check_shape(sequences_shape, None)
        super().build(sequences_shape, initial_state_shape)

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Tensor | None = None,
        training: bool = False,
    ) -> Any:
        """Run the layer; arguments as in `keras.layers.LSTM`."""
        _check_shape(sequences.shape, self.cell.kernel.shape[0])
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def inner_loop(
        self, sequences: Tensor, initial_state: Any, mask: Tensor | None, training: bool = False
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """What `keras.layers.RNN.call` delegates to: the last output, all outputs, the states."""
        if isinstance(mask, (list, tuple)):
            mask = mask[0]
        if self._results is not None:  # Bidirectional has run both directions
            hs, h, c = self._results
        else:
            hs, h, c = lstm(
                **self.op_arguments(sequences, initial_state, mask, training),
                return_sequences=self.return_sequences,
                activation=self.cell.activation,
                recurrent_activation=self.cell.recurrent_activation,
                recompute=self.recompute,
            )
        last = h
        if mask is not None and self.zero_output_for_mask:
            mask = ops.cast(mask, h.dtype)
            if self.go_backwards:
                mask = ops.flip(mask, axis=1)
            last = h * mask[:, -1, None]
            hs = None if hs is None else hs * mask[:, :, None]
        return last, (last if hs is None else hs), [h, c]

    def op_arguments(
        self, sequences: Tensor, initial_state: Any, mask: Tensor | None, training: bool
    ) -> dict[str, Any]:
        """Arguments of `longshort.ops.lstm`, from `x` to `reverse`, for a call of this layer."""
        cell = self.cell
        x_dropout = h_dropout = None
        if training and 0.0 < cell.dropout < 1.0:
            x_dropout = cell.get_dropout_mask(sequences[:, 0, :])
            if not isinstance(x_dropout, list):  # one mask for all gates: it belongs to x
                sequences = sequences * x_dropout[:, None, :]
                x_dropout = None
        if training and 0.0 < cell.recurrent_dropout < 1.0:
            h_dropout = cell.get_recurrent_dropout_mask(initial_state[0])
        return {
            "x": sequences,
            "kernel": cell.kernel,
            "recurrent_kernel": cell.recurrent_kernel,
            "bias": cell.bias,
            "mask": mask,
            "initial_state": list(initial_state),
            "x_dropout": None if x_dropout is None else ops.stack(x_dropout),
            "h_dropout": None if h_dropout is None else ops.stack(h_dropout),
            "reverse": self.go_backwards,
        }

    def get_config(self) -> dict[str, Any]:
        """The config of `keras.layers.LSTM`, and `recompute` where it is set."""
        config = super().get_config()
        return config | {"recompute": True} if self.recompute else config


def _check_shape(shape: Any, features: int | None) -> None:
    shape = tuple(shape)
    if len(shape) == 3 and (features is None or shape[2] in (features, None)):
        return
    expected = f"(batch, time, {'features' if features is None else features})"
    hint = ""
    if len(shape) == 2:
        hint = " Add a time axis: x[:, None, :], or a feature axis: x[:, :, None]."
    elif len(shape) == 3:
        hint = f" The layer was built for {features} features."
    raise DataError(f"LSTM: expected inputs of shape {expected}, got {shape}.{hint}")
