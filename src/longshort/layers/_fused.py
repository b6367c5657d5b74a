"""What `LSTM` and `GRU` share: a Keras layer whose loop is one call of `longshort.ops`."""

from __future__ import annotations

from typing import Any

from keras import ops

from longshort._errors import DataError
from longshort.ops import Path

Tensor = Any


class FusedRNN:
    """To be put before a recurrent layer of Keras: replaces its loop, and nothing else.

    A subclass has `run`, `kernel_path` and `op_arguments`, and is made with `recompute`.
    """

    recompute = False  # here, so that a layer whose class was exchanged has it
    cell: Any
    go_backwards: bool
    zero_output_for_mask: bool
    _results: Any = None  # of a loop that Bidirectional has run already

    @property
    def kernel_path(self) -> Path:
        """The path that this layer's calls take, and why."""
        raise NotImplementedError

    def op_arguments(
        self, sequences: Tensor, initial_state: Any, mask: Tensor | None, training: bool
    ) -> dict[str, Any]:
        """Arguments of the function of `longshort.ops` for a call of this layer."""
        raise NotImplementedError

    def run(self, **arguments: Any) -> tuple[Tensor, ...]:
        """All outputs and the last states, h first."""
        raise NotImplementedError

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Create the weights for inputs of shape (batch, time, features)."""
        check_shape(type(self).__name__, sequences_shape, None)
        super().build(sequences_shape, initial_state_shape)  # type: ignore[misc]

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Tensor | None = None,
        training: bool = False,
    ) -> Any:
        """Run the layer; arguments as in Keras' own."""
        check_shape(type(self).__name__, sequences.shape, self.cell.kernel.shape[0])
        return super().call(  # type: ignore[misc]
            sequences, initial_state=initial_state, mask=mask, training=training
        )

    def inner_loop(
        self, sequences: Tensor, initial_state: Any, mask: Tensor | None, training: bool = False
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """What `keras.layers.RNN.call` delegates to: the last output, all outputs, the states."""
        if isinstance(mask, (list, tuple)):
            mask = mask[0]
        alone = self._results is None
        if alone:
            hs, *states = self.run(**self.op_arguments(sequences, initial_state, mask, training))
        else:  # Bidirectional has run both directions
            hs, *states = self._results
        last = states[0]
        if mask is not None and self.zero_output_for_mask:
            mask = ops.cast(mask, last.dtype)
            if self.go_backwards:
                mask = ops.flip(mask, axis=1)
            last = last * mask[:, -1, None]
            if hs is not None and alone:  # those of Bidirectional have zeros already
                hs = hs * mask[:, :, None]
        return last, (last if hs is None else hs), states


def dropout_of_x(cell: Any, sequences: Tensor, training: bool) -> tuple[Tensor, Tensor | None]:
    """Inputs and the factors on them for each gate, or None; masks that are drawn already are used.

    Args:
        cell: A cell of Keras, or one of ours.
        sequences: Inputs, shape (B, T, D).
        training: Whether there is dropout.
    """
    if not (training and 0.0 < cell.dropout < 1.0):
        return sequences, None
    masks = cell.get_dropout_mask(sequences[:, 0, :])
    if isinstance(masks, list):
        return sequences, ops.stack(masks)
    return sequences * masks[:, None, :], None  # one mask for all gates: it belongs to x


def check_shape(name: str, shape: Any, features: int | None) -> None:
    """Compare the shape of inputs with (batch, time, features)."""
    shape = tuple(shape)
    if len(shape) == 3 and (features is None or shape[2] in (features, None)):
        return
    expected = f"(batch, time, {'features' if features is None else features})"
    hint = ""
    if len(shape) == 2:
        hint = " Add a time axis: x[:, None, :], or a feature axis: x[:, :, None]."
    elif len(shape) == 3:
        hint = f" The layer was built for {features} features."
    raise DataError(f"{name}: expected inputs of shape {expected}, got {shape}.{hint}")
