"""What the two layers of the xLSTM share (Beck et al. 2024): heads, gates and the loop around."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from longshort._errors import DataError
from longshort.layers._recurrent import RecurrentLayer, State

Tensor = Any


class XLSTMLayer(RecurrentLayer):
    """A recurrent layer with heads and exponential gates.

    Args:
        units: H, the number of units, over all heads.
        num_heads: N, the number of heads; divides `units`.
        forget_activation: `"sigmoid"` or `"exp"`.
        use_bias: Whether there is a bias.
        go_backwards: Process the sequences from the end; outputs are in the order of processing.
        kernel_initializer: As in Keras' LSTM.
        bias_initializer: As in Keras' LSTM.
        kernel_regularizer: As in Keras' LSTM.
        kwargs: As in `RecurrentLayer`.
    """

    def __init__(
        self,
        units: int,
        *,
        num_heads: int,
        forget_activation: str,
        use_bias: bool = True,
        go_backwards: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units, self.num_heads = units, num_heads
        self.forget_activation, self.go_backwards = forget_activation, go_backwards
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        faults = [
            f"{name} as a positive integer, got {value!r}"
            for name, value in (("units", units), ("num_heads", num_heads))
            if not isinstance(value, int) or isinstance(value, bool) or value < 1
        ]
        if not faults and units % num_heads:
            faults.append(f"num_heads to divide units, got {num_heads} heads and {units} units")
        if forget_activation not in ("sigmoid", "exp"):
            faults.append(f"forget_activation 'sigmoid' or 'exp', got {forget_activation!r}")
        if faults:
            raise DataError(f"{type(self).__name__}: expected {'; '.join(faults)}.")

    def add_kernel(self, features: int, columns: int) -> None:
        """Create `kernel` (D, columns)."""
        self.kernel = self.add_weight(
            shape=(features, columns),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            name="kernel",
        )

    def add_bias(self, columns: int, bias_initializer: Any) -> None:
        """Create `bias` (columns,), or None without one."""
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(shape=(columns,), initializer=bias_initializer, name="bias")

    def loop(self, x: Tensor, state: State, mask: Tensor | None) -> tuple[Tensor, State]:
        """Outputs of every step (B, T, H) and the last state, in float32 at least."""
        raise NotImplementedError

    @property
    def state_dtype(self) -> str:
        """Exponents and sums over many steps are kept in float32 where the layer is in less."""
        return "float64" if self.compute_dtype == "float64" else "float32"

    def run(
        self, sequences: Tensor, state: State, mask: Tensor | None, training: bool
    ) -> tuple[Tensor, State]:
        """Run the steps in order, or from the end."""
        self.check_features(sequences, self.kernel.shape[0])
        x = ops.cast(sequences, self.state_dtype)
        if mask is not None:
            x = ops.where(mask[..., None], x, ops.zeros_like(x))  # 0 * NaN reaches the gradients
        if self.go_backwards:
            x = ops.flip(x, axis=1)
            mask = None if mask is None else ops.flip(mask, axis=1)
        hs, state = self.loop(x, state, mask)
        return ops.cast(hs if self.return_sequences else hs[:, -1], self.compute_dtype), state

    def log_forget(self, z: Tensor) -> Tensor:
        """The logarithm of the forget gate."""
        return ops.log_sigmoid(z) if self.forget_activation == "sigmoid" else z

    def weight(self, variable: Any) -> Tensor:
        """A weight in the type of the loop, whatever type Keras casts to in a call."""
        return ops.cast(variable.value, self.state_dtype)

    def check_features(self, x: Tensor, features: int) -> None:
        """Compare the features of the inputs with those that the layer was built for."""
        if x.shape[-1] != features:
            raise DataError(
                f"{type(self).__name__}: expected inputs of shape (batch, time, {features}), got "
                f"{tuple(x.shape)}. The layer was built for {features} features."
            )

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        """The shape of the output, or with `return_state` of `(output, *state)`."""
        batch, steps = sequences_shape[:2]
        output = (batch, steps, self.units) if self.return_sequences else (batch, self.units)
        if not self.return_state:
            return output
        return (output, *((batch, *s.shape[1:]) for s in self.get_initial_state(1)))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        names = ("units", "num_heads", "forget_activation", "use_bias", "go_backwards")
        return (
            super().get_config()
            | {name: getattr(self, name) for name in names}
            | {
                "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
                "bias_initializer": keras.initializers.serialize(self.bias_initializer),
                "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            }
        )
