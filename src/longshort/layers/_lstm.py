"""`LSTM`: the Keras layer on the fused kernels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from longshort._errors import DataError
from longshort.layers._cell import LSTMCell, call_arguments
from longshort.layers._fused import FusedRNN, check_shape
from longshort.layers._variant import Variant
from longshort.ops import LSTMStep, Path, choose_path, lstm
from longshort.ops._trace import trace

Tensor = Any


@keras.saving.register_keras_serializable("longshort")
class LSTM(FusedRNN, keras.layers.LSTM):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): `keras.layers.LSTM`, fused.

        i, f, o = sigmoid(x W + h U + b)    g = tanh(x W + h U + b)    (columns i, f, g, o)
        c <- f c + i g                      h <- o tanh(c)

    Takes every argument of `keras.layers.LSTM`, has the same weights (`kernel` (D, 4H),
    `recurrent_kernel` (H, 4H), `bias` (4H,)), the same config and, up to float rounding, the same
    results; see there for the arguments. Dropout, recurrent dropout, masks, initial states and
    both directions all run in the fused kernels. `unroll`, `use_cudnn` and `implementation` are
    accepted and change nothing but the dropout masks, as in Keras: there is no loop to unroll.
    What the kernels do not have (an activation that they do not know, float64, a backend other than
    JAX, a device other than the CPU) runs in `keras.ops`, with one `PathWarning` that names the
    reason; `path` says which of the two it is.

    The options below make it another LSTM; each goes with each other, and docs/variants.md says
    when they help. H units, h of P values (H without `projection`), R the recurrent activation, A
    the activation, h_ and c_ the states before the step. Their weights exist only where they are
    asked for, after Keras' own, without regularizers and constraints.

    Args:
        units: H, the number of units.
        peephole: The gates see the cell: i = R(.. + p_i c_), f = R(.. + p_f c_), o = R(.. + p_o c),
            with `peephole_weights` (3, H), begun as glorot_uniform begins one gate's vector (Gers
            and Schmidhuber 2000; Gers et al. 2002).
        coupled: i = 1 - f: what is forgotten makes room for what is new. The weights have three
            blocks of columns f, g, o, and `peephole_weights` two rows f, o (Greff et al. 2017,
            "CIFG").
        projection: P, the size of h: h = (o A(c)) V, with `projection_kernel` V (H, P), begun by
            glorot_uniform; `recurrent_kernel` is (P, 4H). A whole number, or None (Sak et al.
            2014).
        layer_norm: x W + h U + b becomes n(x W) s_x + n(h U) s_h + b, and A(c) on the way to h
            becomes A(n(c) s + t), where n gives a row mean 0 and variance 1 (over all gates
            together). `norm_gains` (2, 4H) holds s_x and s_h, begun as ones, `norm_cell` (2, H)
            s and t, begun as ones and zeros (Ba et al. 2016).
        zoneout: Probability, in [0, 1), with which a value of h and of c stays what it was, drawn
            anew for each step; outside training the mean: c = z c_ + (1 - z) c. One rate, or a pair
            (h, c) (Krueger et al. 2017).
        recurrent_dropout_on: `state`: Keras' own recurrent dropout, of h on its way into the gates,
            one mask for all steps (Gal and Ghahramani 2016). `update`: of g, a new mask at each
            step: c = f c_ + i d(g), so that nothing that is remembered gets lost (Semeniuta et al.
            2016). The rate is Keras' `recurrent_dropout`, below 1 for `update`.
        weight_drop: Rate, in [0, 1), at which entries of `recurrent_kernel` are dropped in
            training, one mask for all rows and steps of a call; the others are divided by 1 - rate
            (DropConnect: Merity et al. 2018).
        cell_clip: c is kept within [-cell_clip, cell_clip] (Sak et al. 2014). A number above 0, or
            None.
        recompute: Keep for the backward pass only the states of about sqrt(T) steps and run the
            steps between them forward once more: a third more time, for memory that hardly grows
            with T. On the fused kernels only.

    Shapes:
        Inputs (B, T, D); optional `mask` (B, T) of booleans: a False step is skipped, wherever it
        lies. Outputs (B, P), or (B, T, P) with `return_sequences=True`; with `return_state=True`
        also the last h (B, P) and c (B, H).

    Raises:
        DataError: Options that cannot be; inputs that are not (batch, time, features), or a mask or
            an initial state whose shape does not fit them.

    >>> layer = longshort.layers.LSTM(4, return_sequences=True)
    >>> layer(np.zeros((2, 5, 3), "float32")).shape
    (2, 5, 4)
    >>> layer = longshort.layers.LSTM(64, peephole=True, zoneout=(0.05, 0.5))
    >>> layer(np.zeros((2, 5, 3), "float32")).shape
    (2, 64)
    """

    def __init__(self, units: int, *args: Any, recompute: bool = False, **kwargs: Any) -> None:
        variant = Variant.take_from(kwargs, "LSTM")
        implementation = kwargs.get("implementation", 2)
        super().__init__(units, *args, **kwargs)
        if variant.config():
            cell = LSTMCell.of(self.cell, variant, implementation)
            self._tracker.untrack(self.cell)  # else Keras counts the state of its own cell's seed
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
    def kernel_path(self) -> Path:
        """The path that this layer's calls take, and why."""
        return choose_path(self.activation, self.recurrent_activation, self.compute_dtype)

    def run(self, **arguments: Any) -> tuple[Tensor, ...]:
        """All outputs and the last h and c."""
        return lstm(**arguments, return_sequences=self.return_sequences, recompute=self.recompute)

    def trace(
        self, sequences: Tensor, mask: Tensor | None = None, initial_state: Any = None
    ) -> dict[str, Tensor]:
        """What goes on inside: the gates and states of every step, outside training.

        It takes the path that the layer's calls take. A stateful layer begins where it is, and
        stays there.

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
        check_shape("LSTM", sequences.shape, self.cell.kernel.shape[0])
        if initial_state is None:
            batch = ops.shape(sequences)[0]
            initial_state = self.states if self.stateful else self.get_initial_state(batch)
        return trace(**self.op_arguments(sequences, initial_state, mask, training=False))

    def stream(self, batch: int = 1) -> LSTMStep:
        """This layer as a `longshort.ops.LSTMStep`: a step a call, NumPy in and out, no Keras.

        The weights are copied. What works in training only (dropouts, `weight_drop`) is no
        hindrance.

        Args:
            batch: Number of streams that go on together.

        Raises:
            DataError: The layer has no weights yet, or is none of the plain LSTM.

        >>> layer = longshort.layers.LSTM(4)
        >>> _ = layer(np.zeros((1, 5, 3), "float32"))
        >>> layer.stream()(np.zeros(3)).shape
        (1, 4)
        """
        if not self.built:
            raise DataError("LSTM.stream: the layer has no weights yet; call it or build it first.")
        training_only = ("recurrent_dropout_on", "weight_drop")
        hindrances = [name for name in self.variant.config() if name not in training_only]
        names = (self.activation, self.recurrent_activation)
        if names != (keras.activations.tanh, keras.activations.sigmoid):
            hindrances.append("activations other than tanh and sigmoid")
        if self.go_backwards:
            hindrances.append("go_backwards")
        if hindrances:
            raise DataError(
                f"LSTM.stream: a step has not {', '.join(hindrances)}; call the layer on one step "
                "at a time with stateful=True."
            )
        return LSTMStep(*self.get_weights(), batch=batch)

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
