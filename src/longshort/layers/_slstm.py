"""`SLSTM`: the layer with exponential gates and memory that is mixed within heads."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from longshort.layers._recurrent import State
from longshort.layers._xlstm import XLSTMLayer
from longshort.ops import Path, choose_path, slstm

Tensor = Any


@keras.saving.register_keras_serializable("longshort")
class SLSTM(XLSTMLayer):
    """LSTM with exponential gates and a normaliser (sLSTM; Beck et al. 2024, section 2.2).

        i = exp(x W + h U + b)    f = sigmoid(x W + h U + b), or exp
        g = tanh(x W + h U + b)   o = sigmoid(x W + h U + b)            (columns i, f, g, o)
        c <- f c + i g            n <- f n + i            h <- o c / n

    A large input gate outweighs everything that the memory holds, so a decision can be revised at
    any time. U acts within each head: h of one head does not enter the gates of another. See
    `longshort.ops.slstm` for the m that keeps exp within range. The heads run side by side in the
    fused kernels, and in `keras.ops`, with one `PathWarning`, where those cannot (float64, another
    backend than JAX or device than the CPU); `path` says which. Around the layer the paper puts a
    block with normalisation, which is the caller's to build.

    Weights: `kernel` (D, 4H), `recurrent_kernel` (N, H/N, 4H/N), `bias` (4H,).

    Args:
        units: H, the number of units, over all heads.
        num_heads: N, the number of heads; divides `units`.
        forget_activation: `"sigmoid"` or `"exp"`.
        use_bias: Whether there is a bias.
        unit_forget_bias: Begin with 1 as the bias of f (Jozefowicz et al. 2015).
        recurrent_initializer: Of `recurrent_kernel`; each head gets a matrix of its own.
        recurrent_regularizer: Of `recurrent_kernel`.
        return_sequences: Return the outputs of all steps, not only the last.
        return_state: Return the state after the last step too: h, c, n and m, each (B, H); c and n
            are divided by exp(m).
        stateful: Begin each call with the state that the one before it ended with; `get_state`,
            `set_state`, `reset_state` and the argument `stateful` of a call are those of
            `StackedRNN`.
        go_backwards: Process the sequences from the end; outputs are in the order of processing.
        kernel_initializer: Of `kernel`.
        bias_initializer: Of `bias`.
        kernel_regularizer: Of `kernel`.
        kwargs: As in `keras.layers.Layer`.

    Shapes:
        Inputs (B, T, D); optional `mask` (B, T) of booleans: a False step is skipped, wherever it
        lies. Outputs (B, H), or (B, T, H) with `return_sequences=True`.

    Raises:
        DataError: Arguments, inputs, masks or states that do not fit.

    >>> layer = longshort.layers.SLSTM(8, num_heads=2, return_sequences=True)
    >>> layer(np.zeros((2, 5, 3), "float32")).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        units: int,
        *,
        num_heads: int = 1,
        forget_activation: str = "sigmoid",
        unit_forget_bias: bool = True,
        recurrent_initializer: Any = "orthogonal",
        recurrent_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, num_heads=num_heads, forget_activation=forget_activation, **kwargs)
        self.unit_forget_bias = unit_forget_bias
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.recurrent_regularizer = keras.regularizers.get(recurrent_regularizer)

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Create the weights for inputs of shape (batch, time, features)."""
        super().build(sequences_shape, initial_state_shape)
        size = self.units // self.num_heads
        self.add_kernel(sequences_shape[-1], 4 * self.units)
        self.recurrent_kernel = self.add_weight(
            shape=(self.num_heads, size, 4 * size),
            initializer=self._recurrent_kernels,
            regularizer=self.recurrent_regularizer,
            name="recurrent_kernel",
        )
        self.add_bias(4 * self.units, self._biases)

    def _recurrent_kernels(self, shape: Any, dtype: Any = None) -> Tensor:
        heads, initializer = [], self.recurrent_initializer
        for head in range(self.num_heads):
            # Keras' initializers return the same numbers each time.
            seed = getattr(initializer, "seed", None)
            if head and isinstance(seed, int):
                config = initializer.get_config() | {"seed": seed + 1}
                initializer = type(initializer).from_config(config)
            heads.append(initializer(shape[1:], dtype=dtype))
        return ops.stack(heads)

    def _biases(self, shape: Any, dtype: Any = None) -> Tensor:
        bias = self.bias_initializer(shape, dtype=dtype)
        if not self.unit_forget_bias:
            return bias
        H = self.units
        return ops.concatenate([bias[:H], ops.ones((H,), bias.dtype), bias[2 * H :]])

    @property
    def kernel_path(self) -> Path:
        """The path that this layer's calls take, and why."""
        return choose_path(dtype=self.compute_dtype)

    def get_initial_state(self, batch_size: int) -> State:
        """h, c, n and m before the first step: zeros; n = 0 says that nothing is kept yet."""
        return [ops.zeros((batch_size, self.units), self.state_dtype) for _ in range(4)]

    def loop(self, x: Tensor, state: State, mask: Tensor | None) -> tuple[Tensor, State]:
        """The loop over the steps."""
        hs, last = slstm(
            ops.cast(x, self.compute_dtype),  # which it had: bfloat16 says how to multiply
            self.weight(self.kernel),
            self.weight(self.recurrent_kernel),
            None if self.bias is None else self.weight(self.bias),
            mask=mask,
            initial_state=state,
            forget_activation=self.forget_activation,
        )
        return ops.cast(hs, self.state_dtype), list(last)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return super().get_config() | {
            "unit_forget_bias": self.unit_forget_bias,
            "recurrent_initializer": keras.initializers.serialize(self.recurrent_initializer),
            "recurrent_regularizer": keras.regularizers.serialize(self.recurrent_regularizer),
        }
