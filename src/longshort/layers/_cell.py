"""`LSTMCell`: Keras' cell with the weights of the variants."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import ops

from longshort._errors import DataError
from longshort.layers._fused import dropout_of_x
from longshort.layers._variant import Variant
from longshort.ops import lstm
from longshort.ops._keras_noise import dropped
from longshort.ops._noise import WEIGHTS

Tensor = Any


@keras.saving.register_keras_serializable("longshort")
class LSTMCell(keras.layers.LSTMCell):
    """One step of an LSTM: `keras.layers.LSTMCell` with the options of `longshort.layers.LSTM`.

    Without an option it is Keras' own in everything: weights, results, config. The options, their
    equations and weights are those of `longshort.layers.LSTM`, which runs a whole sequence and is
    what to use where there is no reason for a cell, such as `keras.layers.StackedRNNCells`.

    Zoneout and `recurrent_dropout_on="update"` draw new noise at each step. In training, a call of
    the cell by itself does; `keras.layers.RNN`, which has nothing for a cell to draw it from inside
    its loop, is refused.

    Args:
        units: H, the number of units.
        peephole: As in `longshort.layers.LSTM`, as are all that follow.
        coupled: See there.
        projection: See there; states and output h then have that many values.
        layer_norm: See there.
        zoneout: See there.
        recurrent_dropout_on: See there.
        weight_drop: See there.
        cell_clip: See there.

    Shapes:
        Inputs (B, D), states h (B, P) and c (B, H), where P is H without projection; returns h and
        the new states [h, c].

    Raises:
        DataError: Options that cannot be; noise for each step inside `keras.layers.RNN`.

    >>> layer = keras.layers.RNN(longshort.layers.LSTMCell(4, peephole=True))
    >>> layer(np.zeros((2, 5, 3), "float32")).shape
    (2, 4)
    """

    peephole_weights: Tensor | None = None
    projection_kernel: Tensor | None = None
    norm_gains: Tensor | None = None
    norm_cell: Tensor | None = None
    _in_loop = False  # of keras.layers.RNN
    _weight_factors: Tensor | None = None

    def __init__(self, units: int, *args: Any, **kwargs: Any) -> None:
        variant = Variant.take_from(kwargs, "LSTMCell")
        implementation = kwargs.get("implementation", 2)
        super().__init__(units, *args, **kwargs)
        self.variant = variant
        self.output_size = variant.projection or units
        self.state_size = [self.output_size, units]
        if self.on_update:
            if self.recurrent_dropout >= 1:
                raise DataError(
                    "LSTMCell: expected recurrent_dropout below 1 for recurrent_dropout_on='update'"
                    f", got {self.recurrent_dropout}."
                )
            # Keras makes it 1, for a mask on h for each gate, which there is none of here.
            self.implementation = implementation
            if implementation != 1:
                del self.dropout_mask_count

    @classmethod
    def of(cls, cell: keras.layers.LSTMCell, variant: Variant, implementation: int = 2) -> LSTMCell:
        """A cell with all arguments of one of Keras', and a variant."""
        parameters = inspect.signature(keras.layers.LSTMCell.__init__).parameters
        names = [name for name in parameters if name not in ("self", "kwargs")]
        return cls(
            **{name: getattr(cell, name) for name in names},
            **variant.config(),
            implementation=implementation,
            dtype=cell.dtype_policy,
            trainable=cell.trainable,
            name=cell.name,
        )

    @property
    def on_update(self) -> bool:
        """Whether recurrent dropout falls on the update, with a new mask at each step."""
        return self.variant.recurrent_dropout_on == "update" and self.recurrent_dropout > 0

    @property
    def needs_noise(self) -> bool:
        """Whether each step of training draws noise of its own."""
        return self.on_update or any(self.variant.zoneout)

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of shape (batch, features)."""
        variant, H, P = self.variant, self.units, self.output_size
        G = 3 if variant.coupled else 4
        if (G, P) == (4, H):
            super().build(input_shape)
        else:
            self._build_kernels(input_shape[-1], G)
        if variant.peephole:
            # What glorot_uniform gives one gate's vector, as in TensorFlow's peephole cells.
            limit = (3 / H) ** 0.5
            self.peephole_weights = self.add_weight(
                shape=(G - 1, H),
                name="peephole_weights",
                initializer=keras.initializers.RandomUniform(-limit, limit),
            )
        if variant.projection:
            self.projection_kernel = self.add_weight(
                shape=(H, P), name="projection_kernel", initializer="glorot_uniform"
            )
        if variant.layer_norm:
            self.norm_gains = self.add_weight(
                shape=(2, G * H), name="norm_gains", initializer="ones"
            )
            self.norm_cell = self.add_weight(
                shape=(2, H),
                name="norm_cell",
                initializer=lambda shape, dtype=None: ops.stack(
                    [ops.ones(shape[1:], dtype), ops.zeros(shape[1:], dtype)]
                ),
            )

    def _build_kernels(self, features: int, G: int) -> None:
        """The weights of Keras' cell, for G gates and the h of this cell."""
        H = self.units
        self.kernel = self.add_weight(
            shape=(features, G * H),
            name="kernel",
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.output_size, G * H),
            name="recurrent_kernel",
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )

        def one_for_f(shape: Any, *args: Any, **kwargs: Any) -> Tensor:
            rest = self.bias_initializer(((G - 1) * H,), *args, **kwargs)
            before = (G - 3) * H
            return ops.concatenate([rest[:before], ops.ones_like(rest[:H]), rest[before:]])

        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(G * H,),
                name="bias",
                initializer=one_for_f if self.unit_forget_bias else self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def call(
        self, inputs: Tensor, states: Any, training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """One step: h, and the new states [h, c]."""
        if not self.variant.config():
            return super().call(inputs, states, training=training)
        if training and self.needs_noise and self._in_loop:
            self.reset_recurrent_dropout_mask()
            raise DataError(
                "LSTMCell: zoneout and recurrent_dropout_on='update' draw new noise at each step, "
                "which a cell cannot do inside keras.layers.RNN. Use longshort.layers.LSTM with "
                "the same options."
            )
        _, h, c = lstm(
            **call_arguments(self, inputs[:, None], states, training),
            return_sequences=False,
        )
        return h, [h, c]

    def get_recurrent_dropout_mask(self, step_input: Tensor) -> Any:
        """What `keras.layers.RNN` calls before its loop, inside which nothing can be drawn."""
        self._in_loop = True
        if self.variant.weight_drop:
            self.weight_factors()
        return None if self.on_update else super().get_recurrent_dropout_mask(step_input)

    def reset_recurrent_dropout_mask(self) -> None:
        """What `keras.layers.RNN` calls after its loop."""
        self._in_loop = False
        self._weight_factors = None
        super().reset_recurrent_dropout_mask()

    def weight_factors(self) -> Tensor:
        """DropConnect's factors on the recurrent kernel, kept as Keras' masks are."""
        if self._weight_factors is None:
            # Not keras.random's: JAX takes 36 ms to draw 650 x 2600 numbers, and this 0.35 ms.
            rate, (rows, columns) = self.variant.weight_drop, self.recurrent_kernel.shape
            step = ops.zeros((1,), "int32")
            lost = dropped(self.seed_generator.next(), WEIGHTS, step, rows, columns, rate)
            kept = ops.cast(ops.logical_not(lost), self.compute_dtype)
            self._weight_factors = kept * (1.0 / (1.0 - rate))
        return self._weight_factors

    def variant_arguments(self, training: bool) -> dict[str, Any]:
        """The arguments of `longshort.ops.lstm` that the variant adds or changes."""
        variant, recurrent_kernel = self.variant, self.recurrent_kernel
        if training and variant.weight_drop:
            recurrent_kernel = recurrent_kernel * self.weight_factors()
        return {
            "recurrent_kernel": recurrent_kernel,
            "peephole": self.peephole_weights,
            "coupled": variant.coupled,
            "projection": self.projection_kernel,
            "norm_gains": self.norm_gains,
            "norm_cell": self.norm_cell,
            "cell_clip": variant.cell_clip,
            "zoneout": variant.zoneout,
            "update_dropout": self.recurrent_dropout if self.on_update else 0.0,
            "noise_key": self.seed_generator.next() if training and self.needs_noise else None,
        }

    def get_config(self) -> dict[str, Any]:
        """The config of `keras.layers.LSTMCell`, and the options that are not the default."""
        return super().get_config() | self.variant.config()


def call_arguments(
    cell: keras.layers.LSTMCell, sequences: Tensor, state: Any, training: bool
) -> dict[str, Any]:
    """Arguments of `longshort.ops.lstm` for a cell, Keras' own or ours, in a call.

    Args:
        cell: The cell; masks that it has drawn already in this call are used.
        sequences: Inputs, shape (B, T, D).
        state: h and c before the first step.
        training: Whether there is dropout and noise.
    """
    sequences, x_dropout = dropout_of_x(cell, sequences, training)
    h_dropout = None
    ours = isinstance(cell, LSTMCell)
    if training and 0.0 < cell.recurrent_dropout < 1.0 and not (ours and cell.on_update):
        h_dropout = keras.layers.LSTMCell.get_recurrent_dropout_mask(cell, state[0])
    arguments = {
        "x": sequences,
        "kernel": cell.kernel,
        "recurrent_kernel": cell.recurrent_kernel,
        "bias": cell.bias,
        "initial_state": list(state),
        "x_dropout": x_dropout,
        "h_dropout": None if h_dropout is None else ops.stack(h_dropout),
        "activation": cell.activation,
        "recurrent_activation": cell.recurrent_activation,
    }
    return arguments | (cell.variant_arguments(training) if ours else {})
