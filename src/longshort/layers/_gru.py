"""`GRU`: the Keras layer on the fused kernels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from longshort.layers._fused import FusedRNN, dropout_of_x
from longshort.ops import Path, gru
from longshort.ops._gru import gru_path

Tensor = Any


@keras.saving.register_keras_serializable("longshort")
class GRU(FusedRNN, keras.layers.GRU):
    """Gated recurrent unit (Cho et al. 2014): `keras.layers.GRU`, fused.

        z, r = sigmoid(x W + b + h U + b')          g = tanh(x W + b + r (h U + b'))
        h <- z h + (1 - z) g                        (columns z, r, h)

    Takes every argument of `keras.layers.GRU`, has the same weights (`kernel` (D, 3H),
    `recurrent_kernel` (H, 3H), `bias` (2, 3H)), the same config and, up to float rounding, the same
    results; see there for the arguments. Dropout, recurrent dropout, masks, initial states and
    both directions all run in the fused kernels. `unroll`, `use_cudnn` and `implementation` are
    accepted and change nothing but the dropout masks, as in Keras.
    What the kernels do not have (`reset_after=False`, where h is scaled before its product; an
    activation that they do not know, float64, a backend other than JAX, a device other than the
    CPU) runs in `keras.ops`, with one `PathWarning` that names the reason; `path` says which of the
    two it is.

    Args:
        units: H, the number of units.
        recompute: Keep for the backward pass only the states of about sqrt(T) steps and run the
            steps between them forward once more. On the fused kernels only.

    Shapes:
        Inputs (B, T, D); optional `mask` (B, T) of booleans: a False step is skipped, wherever it
        lies. Outputs (B, H), or (B, T, H) with `return_sequences=True`; with `return_state=True`
        also the last h (B, H).

    Raises:
        DataError: Inputs that are not (batch, time, features), or a mask or an initial state whose
            shape does not fit them.

    >>> layer = longshort.layers.GRU(4, return_sequences=True)
    >>> layer(np.zeros((2, 5, 3), "float32")).shape
    (2, 5, 4)
    """

    def __init__(self, units: int, *args: Any, recompute: bool = False, **kwargs: Any) -> None:
        super().__init__(units, *args, **kwargs)
        self.recompute = recompute
        self.input_spec = None  # our own check says more than Keras' on the number of axes

    @property
    def kernel_path(self) -> Path:
        """The path that this layer's calls take, and why."""
        return gru_path(
            self.activation, self.recurrent_activation, self.compute_dtype, self.reset_after
        )

    def run(self, **arguments: Any) -> tuple[Tensor, ...]:
        """All outputs and the last h."""
        return gru(**arguments, return_sequences=self.return_sequences, recompute=self.recompute)

    def op_arguments(
        self, sequences: Tensor, initial_state: Any, mask: Tensor | None, training: bool
    ) -> dict[str, Any]:
        """Arguments of `longshort.ops.gru` for a call of this layer."""
        cell, (h, *_) = self.cell, initial_state
        sequences, x_dropout = dropout_of_x(cell, sequences, training)
        h_dropout = None
        if training and 0.0 < cell.recurrent_dropout < 1.0:
            h_dropout = ops.stack(cell.get_recurrent_dropout_mask(h))
        return {
            "x": sequences,
            "kernel": cell.kernel,
            "recurrent_kernel": cell.recurrent_kernel,
            "bias": cell.bias,
            "mask": mask,
            "initial_state": h,
            "x_dropout": x_dropout,
            "h_dropout": h_dropout,
            "reverse": self.go_backwards,
            "reset_after": cell.reset_after,
            "activation": cell.activation,
            "recurrent_activation": cell.recurrent_activation,
        }

    def get_config(self) -> dict[str, Any]:
        """The config of `keras.layers.GRU`, and `recompute` where it is set."""
        return super().get_config() | ({"recompute": True} if self.recompute else {})
