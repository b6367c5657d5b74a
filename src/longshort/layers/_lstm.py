"""`LSTM`: the Keras layer on the fused kernels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from longshort._errors import DataError
from longshort.layers._cell import LSTMCell, call_arguments
from longshort.layers._variant import Variant
from longshort.ops import Path, choose_path, lstm
from longshort.ops._trace import trace

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
        variant = Variant.take_from(kwargs, "LSTM")
        implementation = kwargs.get("implementation", 2)
        super().__init__(units, *args, **kwargs)
        if variant.config():
            cell = LSTMCell.of(self.cell, variant, implementation)
            del self.cell  # so that Keras does not track both
            self.cell = cell
            self.state_size = list(cell.state_size)
            self.use_cudnn = False  # which knows no variants
        self.recompute = recompute
        self.input_spec = None  # our own check says more than Keras' on the number of axes

    @property
    def variant(self) -> Variant:
        """The options that Keras' own layer does not have."""
        return self.cell.variant if isinstance(self.cell, LSTMCell) else Variant()

    @property
    def path(self) -> Path:
        """The path that this layer's calls take, and why."""
        return choose_path(
            self.activation,
            self.recurrent_activation,
            self.compute_dtype,
        )

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

    def trace(
        self, sequences: Tensor, mask: Tensor | None = None, initial_state: Any = None
    ) -> dict[str, Tensor]:
        """What goes on inside: the gates and states of every step, outside training.

        Computed in `keras.ops`, on any backend, whatever path the calls of the layer take.

        Args:
            sequences: Inputs, shape (B, T, D).
            mask: As in a call.
            initial_state: As in a call.

        Returns:
            `i`, `f`, `g`, `o`, `c` of shape (B, T, H) and `h` (B, T, P), in the order in which the
            steps are processed (from the end with `go_backwards`). `c` and `h` are what the step
            hands on; at a masked step they are those of the step before, and the gates are zeros.

        >>> layer = longshort.layers.LSTM(4)
        >>> gates = layer.trace(np.zeros((2, 5, 3), "float32"))
        >>> list(gates), gates["f"].shape
        (['i', 'f', 'g', 'o', 'c', 'h'], (2, 5, 4))
        """
        sequences = ops.convert_to_tensor(sequences, self.compute_dtype)
        if not self.built:
            self.build(sequences.shape)
        _check_shape(sequences.shape, self.cell.kernel.shape[0])
        if initial_state is None:
            batch = ops.shape(sequences)[0]
            initial_state = self.states if self.stateful else self.get_initial_state(batch)
        return trace(**self.op_arguments(sequences, initial_state, mask, training=False))

    def op_arguments(
        self, sequences: Tensor, initial_state: Any, mask: Tensor | None, training: bool
    ) -> dict[str, Any]:
        """Arguments of `longshort.ops.lstm` for a call of this layer."""
        arguments = call_arguments(self.cell, sequences, initial_state, training)
        return arguments | {"mask": mask, "reverse": self.go_backwards}

    def get_config(self) -> dict[str, Any]:
        """The config of `keras.layers.LSTM`, and the options of this class that are set."""
        own = {"recompute": True} if self.recompute else {}
        return super().get_config() | self.variant.config() | own


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
