"""`MLSTM`: the layer with a matrix for a memory."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from longshort._errors import DataError
from longshort.layers._recurrent import State
from longshort.layers._xlstm import XLSTMLayer
from longshort.ops._mlstm import mlstm

Tensor = Any


@keras.saving.register_keras_serializable("longshort")
class MLSTM(XLSTMLayer):
    """LSTM with a matrix memory and exponential gates (mLSTM; Beck et al. 2024, section 2.3).

        q = x W_q + b_q    k = x W_k / sqrt(d) + b_k    v = x W_v + b_v    o = sigmoid(x W_o + b_o)
        i = exp(x w_i + b_i)    f = sigmoid(x w_f + b_f), or exp           one of each for each head
        C <- f C + i k v^T      n <- f n + i k
        h <- o * C^T q / max(|n q|, 1)

    No gate sees the state, so the steps of a chunk are computed at once; see
    `longshort.ops._mlstm.mlstm` for how, and for the m that keeps exp within range. The layer runs
    in `keras.ops`, on every backend; there are no fused kernels for it. Around it the paper puts a
    block with normalisation, which is the caller's to build.

    Weights: `kernel` (D, 2 K + 2 H) with the columns of q, k, v, o, `bias` of as many,
    `gate_kernel` (D, 2 N) with those of i, f, `gate_bias` (2 N,). The gates begin as in the code of
    the authors: kernels 0, the biases of f from 3 to 6 over the heads, those of i normal with
    deviation 0.1.

    Args:
        units: H, the number of units, over all heads.
        num_heads: N, the number of heads, each with a memory of K/N times H/N numbers.
        key_units: K, the units of queries and keys, over all heads. Default: H.
        chunk_size: The number of steps that are computed at once; 1 goes step by step.
        forget_activation: `"sigmoid"` or `"exp"`.
        use_bias: Whether q, k, v and o have a bias.
        return_sequences: Return the outputs of all steps, not only the last.
        return_state: Return the state after the last step too: h (B, H), C (B, N, K/N, H/N), n (B,
            N, K/N) and m (B, N); C and n are divided by exp(m).
        stateful: Begin each call with the state that the one before it ended with; `get_state`,
            `set_state`, `reset_state` and the argument `stateful` of a call are those of
            `StackedRNN`.
        go_backwards: Process the sequences from the end; outputs are in the order of processing.
        kernel_initializer: Of `kernel`.
        bias_initializer: Of `bias`.
        kernel_regularizer: Of `kernel` and `gate_kernel`.
        kwargs: As in `keras.layers.Layer`.

    Shapes:
        Inputs (B, T, D); optional `mask` (B, T) of booleans: a False step is skipped, wherever it
        lies. Outputs (B, H), or (B, T, H) with `return_sequences=True`.

    Raises:
        DataError: Arguments, inputs, masks or states that do not fit.

    >>> layer = longshort.layers.MLSTM(8, num_heads=2, return_sequences=True)
    >>> layer(np.zeros((2, 5, 3), "float32")).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        units: int,
        *,
        num_heads: int = 4,
        key_units: int | None = None,
        chunk_size: int = 64,
        forget_activation: str = "sigmoid",
        **kwargs: Any,
    ) -> None:
        super().__init__(units, num_heads=num_heads, forget_activation=forget_activation, **kwargs)
        self.key_units = units if key_units is None else key_units
        self.chunk_size = chunk_size
        for name in ("key_units", "chunk_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise DataError(f"MLSTM: expected {name} as a positive integer, got {value!r}.")
        if self.key_units % num_heads:
            raise DataError(
                f"MLSTM: expected num_heads to divide key_units, got {num_heads} heads and "
                f"{self.key_units} units."
            )

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Create the weights for inputs of shape (batch, time, features)."""
        super().build(sequences_shape, initial_state_shape)
        features, columns = sequences_shape[-1], 2 * self.key_units + 2 * self.units
        self.add_kernel(features, columns)
        self.gate_kernel = self.add_weight(
            shape=(features, 2 * self.num_heads),
            initializer="zeros",
            regularizer=self.kernel_regularizer,
            name="gate_kernel",
        )
        self.add_bias(columns, self.bias_initializer)
        self.gate_bias = self.add_weight(
            shape=(2 * self.num_heads,), initializer=self._gate_biases, name="gate_bias"
        )

    def _gate_biases(self, shape: Any, dtype: Any = None) -> Tensor:
        i = keras.random.normal((self.num_heads,), stddev=0.1, dtype=dtype)
        f = ops.convert_to_tensor(np.linspace(3.0, 6.0, self.num_heads), dtype)
        return ops.concatenate([i, f])

    def get_initial_state(self, batch_size: int) -> State:
        """h, C, n and m before the first step: zeros."""
        N, K, V = self.num_heads, self.key_units // self.num_heads, self.units // self.num_heads
        shapes = [(self.units,), (N, K, V), (N, K), (N,)]
        return [ops.zeros((batch_size, *shape), self.state_dtype) for shape in shapes]

    def loop(self, x: Tensor, state: State, mask: Tensor | None) -> tuple[Tensor, State]:
        """All products with the inputs at once, then the chunks."""
        N, K, H = self.num_heads, self.key_units, self.units
        z = ops.matmul(x, self.weight(self.kernel))
        scale = np.ones(2 * K + 2 * H, "float32")
        scale[K : 2 * K] = 1 / math.sqrt(K // N)
        z = z * ops.convert_to_tensor(scale, z.dtype)
        if self.bias is not None:
            z = z + self.weight(self.bias)
        q, k, v, o = ops.split(z, (K, 2 * K, 2 * K + H), axis=-1)
        gates = ops.matmul(x, self.weight(self.gate_kernel)) + self.weight(self.gate_bias)
        i, f = ops.split(gates, 2, axis=-1)

        def heads(tensor: Tensor) -> Tensor:
            shape = ops.shape(tensor)
            return ops.reshape(tensor, (*shape[:2], N, tensor.shape[-1] // N))

        h, *memory = state
        batch = ops.shape(x)[0]
        hs, (h, *memory) = mlstm(
            heads(q),
            heads(k),
            heads(v),
            i,
            self.log_forget(f),
            heads(ops.sigmoid(o)),
            (ops.reshape(h, (batch, N, H // N)), *memory),
            mask,
            self.chunk_size,
        )
        return ops.reshape(hs, (*ops.shape(hs)[:2], H)), [ops.reshape(h, (batch, H)), *memory]

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        names = ("key_units", "chunk_size")
        return super().get_config() | {name: getattr(self, name) for name in names}
