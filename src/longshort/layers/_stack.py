"""`StackedRNN`: several recurrent layers as one, with one state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from longshort._errors import DataError
from longshort.layers._bidirectional import Bidirectional
from longshort.layers._dense import Dense
from longshort.layers._lstm import LSTM
from longshort.layers._recurrent import RecurrentLayer, State

Tensor = Any
_SKIPS = (None, "residual", "highway")


@keras.saving.register_keras_serializable("longshort")
class StackedRNN(RecurrentLayer):
    """Recurrent layers one above the other, as one layer with one state.

        y_1 = layer_1(x)
        y_l = layer_l(drop(y_{l-1}))                                  skip=None
        y_l = y_{l-1} + layer_l(drop(y_{l-1}))                        skip="residual"
        y_l = t * layer_l(drop(y_{l-1})) + (1 - t) * y_{l-1}          skip="highway"
              t = sigmoid(y_{l-1} W_t + b_t), b_t begins at -1

    The state is a list with one entry a layer, each the list of that layer's states: [[h, c], ...]
    for LSTMs, [[h], ...] for GRUs, [[h, c, h_backward, c_backward], ...] in both directions.

    One layer serves training and streams with the same weights: call it as it is, or with
    `stateful=True`, which begins where the last such call ended. `get_state`, `set_state` and
    `reset_state(batch_size)` read, replace and begin that state, for any batch size; `step(x,
    state)` does one step. A stateful call in a Keras model needs to know the batch size: from
    `reset_state(batch_size)` before, or from `keras.Input(batch_shape=...)`.

    Args:
        units: H, the units of each layer, or a list of one number a layer.
        num_layers: The number of layers. Default: as many as `units` has numbers.
        cell: Class of the layers, or a function with its arguments: `units` and, by name, those in
            `kwargs`, `return_sequences`, `return_state`, `dtype` and, where one is given, `seed`.
        bidirectional: Run each layer in both directions; the outputs (2H) are concatenated.
        skip: A connection around each layer but the first: `"residual"` (He et al. 2016; Wu et al.
            2016) or `"highway"` (Srivastava et al. 2015; around LSTMs Zhang et al. 2016). Needs
            layers of the same width.
        dropout: Rate of dropout between layers, with another mask each step (Zaremba et al. 2014).
        locked_dropout: Rate of dropout between layers, with one mask for all steps of a sequence
            (Gal and Ghahramani 2016; Merity et al. 2018).
        return_sequences: Return the outputs of all steps, not only the last.
        return_state: Return the state after the last step too: `(output, *state)`.
        stateful: Begin each call with the state that the one before it ended with. Not in both
            directions: the backward one begins at the end, which the next part does not have yet.
        seed: Seed of the dropout, here and (with numbers added) in the layers.
        kwargs: `name`, `trainable`, `dtype`, `input_shape`, and any further arguments of `cell`.
            An initializer with a seed gives layers of equal shape equal weights; a function as
            `cell` can give each its own.

    Shapes:
        Inputs (B, T, D); optional `mask` (B, T) of booleans, which every layer gets. Outputs
        (B, H), or (B, T, H) with `return_sequences=True`; H is 2H in both directions.

    Raises:
        DataError: Arguments that contradict one another, inputs, masks or states that do not fit.

    >>> layer = longshort.layers.StackedRNN(4, 2, skip="residual", return_state=True)
    >>> y, *state = layer(np.zeros((2, 5, 3), "float32"))
    >>> y.shape, [[s.shape for s in states] for states in state]
    ((2, 4), [[(2, 4), (2, 4)], [(2, 4), (2, 4)]])
    """

    def __init__(
        self,
        units: int | Sequence[int],
        num_layers: int | None = None,
        *,
        cell: Callable[..., keras.layers.Layer] = LSTM,
        bidirectional: bool = False,
        skip: str | None = None,
        dropout: float = 0.0,
        locked_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        stateful: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        own = {
            n: kwargs.pop(n) for n in ("name", "trainable", "dtype", "input_shape") if n in kwargs
        }
        super().__init__(
            return_sequences=return_sequences, return_state=return_state, stateful=stateful, **own
        )
        self.units = _checked_units(units, num_layers)
        self.bidirectional, self.skip = bidirectional, skip
        self.dropout, self.locked_dropout, self.seed = dropout, locked_dropout, seed
        _check(skip, {"dropout": dropout, "locked_dropout": locked_dropout}, kwargs)
        if bidirectional and stateful:
            raise DataError(
                "StackedRNN: a bidirectional stack cannot be stateful: the backward direction "
                "begins at the end of the whole sequence. Give whole sequences, or initial_state."
            )
        last = len(self.units) - 1
        self.layers = [
            self._made(cell, i, return_sequences or i < last, kwargs) for i in range(last + 1)
        ]
        # Of whatever class the layers are, they know the width of their outputs.
        shapes = [layer.compute_output_shape((None, None, 1))[0] for layer in self.layers]
        self._widths = [shape[-1] for shape in shapes]
        if skip is not None and len(set(self._widths)) > 1:
            raise DataError(
                f"StackedRNN: skip={skip!r} needs layers of one width, got {self._widths}. "
                "Make them equal, or set skip=None."
            )
        self.gates = []
        if skip == "highway":
            self.gates = [
                Dense(
                    self._widths[0],
                    activation="sigmoid",
                    bias_initializer=keras.initializers.Constant(-1.0),
                    dtype=self.dtype_policy,
                    name=f"transform_gate_{i}",
                )
                for i in range(1, last + 1)
            ]
        self.seed_generator = None
        if dropout or locked_dropout:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def _made(
        self, cell: Any, index: int, return_sequences: bool, kwargs: dict[str, Any]
    ) -> keras.layers.Layer:
        seed = {} if self.seed is None else {"seed": self.seed + 1 + index}
        layer = cell(
            self.units[index],
            return_sequences=return_sequences,
            return_state=True,
            dtype=self.dtype_policy,
            **seed,
            **kwargs,
        )
        if not isinstance(layer, keras.layers.Layer) or not hasattr(layer, "return_state"):
            raise DataError(
                "StackedRNN: expected cell to make recurrent layers such as longshort.layers.LSTM "
                f"or keras.layers.GRU, got {type(layer).__name__}."
            )
        if self.bidirectional and not isinstance(layer, keras.layers.Bidirectional):
            layer = Bidirectional(layer, dtype=self.dtype_policy)
        return layer

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Build every layer for inputs of shape (batch, time, features)."""
        super().build(sequences_shape, initial_state_shape)
        shape = tuple(sequences_shape)
        for i, layer in enumerate(self.layers):
            if not layer.built:
                layer.build(shape)
            if i and self.gates:
                self.gates[i - 1].build(shape)
            shape = (*shape[:2], self._widths[i])

    def get_initial_state(self, batch_size: int) -> State:
        """The state before the first step, zeros: for each layer the list of its states."""
        return [_initial_state(layer, batch_size) for layer in self.layers]

    def run(
        self, sequences: Tensor, state: State, mask: Tensor | None, training: bool
    ) -> tuple[Tensor, State]:
        """Run the layers one after the other."""
        y, states = sequences, []
        for i, (layer, before) in enumerate(zip(self.layers, state, strict=True)):
            below = y
            dropped = self._dropped(below, training) if i else below
            y, *after = layer(dropped, initial_state=list(before), mask=mask)
            states.append(list(after))
            if i and self.skip is not None:
                y = self._connected(i, below, y, mask)
        return y, states

    def _dropped(self, y: Tensor, training: bool) -> Tensor:
        if not training:
            return y
        if self.dropout:
            y = keras.random.dropout(y, self.dropout, seed=self.seed_generator)
        if self.locked_dropout:
            shape = (ops.shape(y)[0], 1, ops.shape(y)[2])
            y = keras.random.dropout(y, self.locked_dropout, shape, seed=self.seed_generator)
        return y

    def _connected(self, index: int, below: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
        """The connection around a layer, from the outputs `below` it (B, T, H)."""
        if self.return_sequences or index < len(self.layers) - 1:
            return self._joined(index, below, y)
        # The last layer returns the end of each direction only; what is below must be of that
        # step. Forward, a masked step repeats the last real one.
        if not isinstance(self.layers[index], keras.layers.Bidirectional):
            return self._joined(index, below[:, -1], y)
        begin, end = _ends(below, mask)
        half = self._widths[index] // 2
        forward, backward = self._joined(index, end, y), self._joined(index, begin, y)
        return ops.concatenate([forward[:, :half], backward[:, half:]], axis=-1)

    def _joined(self, index: int, below: Tensor, y: Tensor) -> Tensor:
        if self.skip == "residual":
            return below + y
        t = self.gates[index - 1](below)
        return t * y + (1 - t) * below

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        """The shape of the output, or with `return_state` of `(output, *state)`."""
        batch, steps = sequences_shape[:2]
        width = self._widths[-1]
        output = (batch, steps, width) if self.return_sequences else (batch, width)
        if not self.return_state:
            return output
        states = [[(batch, *s.shape[1:]) for s in layer] for layer in self.get_initial_state(1)]
        return (output, *states)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor; the layers stand for `cell` and what it was given."""
        names = ("units", "bidirectional", "skip", "dropout", "locked_dropout", "seed")
        layers = [_unbuilt(keras.saving.serialize_keras_object(layer)) for layer in self.layers]
        own = {name: getattr(self, name) for name in names}
        return super().get_config() | own | {"layers": layers}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> StackedRNN:
        """A layer with the arguments that `get_config` returned."""
        config = dict(config)
        layers = iter([keras.saving.deserialize_keras_object(c) for c in config.pop("layers")])
        return cls(**config, cell=lambda units, **_: next(layers))


def _initial_state(layer: keras.layers.Layer, batch_size: int) -> list[Tensor]:
    if isinstance(layer, keras.layers.Bidirectional):
        directions = (layer.forward_layer, layer.backward_layer)
        return [s for each in directions for s in each.get_initial_state(batch_size)]
    return list(layer.get_initial_state(batch_size))


def _unbuilt(config: Any) -> Any:
    """A config without the shapes for which its layers were built, so that others can be."""
    if isinstance(config, dict):
        return {key: _unbuilt(value) for key, value in config.items() if key != "build_config"}
    return config


def _ends(y: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The outputs (B, H) of each sequence's first and last step that is not masked."""
    if mask is None:
        return y[:, 0], y[:, -1]
    mask = ops.cast(mask, "int32")
    steps = ops.arange(ops.shape(y)[1], dtype="int32")
    first = ops.argmax(mask, axis=1)
    last = ops.argmax(mask * (steps + 1), axis=1)
    each = [
        ops.take_along_axis(y, ops.cast(i, "int32")[:, None, None], axis=1) for i in (first, last)
    ]
    return each[0][:, 0], each[1][:, 0]


def _checked_units(units: Any, num_layers: Any) -> list[int]:
    given = list(units) if isinstance(units, (list, tuple)) else None
    if num_layers is None:
        num_layers = 1 if given is None else len(given)
    if not _is_count(num_layers) or (given is not None and len(given) != num_layers):
        expected = "a positive integer" if given is None else f"{len(given)}, one for each of units"
        raise DataError(f"StackedRNN: expected num_layers as {expected}, got {num_layers!r}.")
    widths = [units] * num_layers if given is None else given
    if not all(map(_is_count, widths)):
        raise DataError(
            f"StackedRNN: expected units as a positive integer or a list of these, got {units!r}."
        )
    return widths


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check(skip: Any, rates: dict[str, Any], kwargs: dict[str, Any]) -> None:
    faults = [
        f"{name} as a rate in [0, 1), got {rate!r}"
        for name, rate in rates.items()
        if not isinstance(rate, (int, float)) or not 0 <= rate < 1
    ]
    if skip not in _SKIPS:
        faults.append(f"skip as one of {_SKIPS}, got {skip!r}")
    if kwargs.get("go_backwards"):
        faults.append("go_backwards=False (flip the inputs, or bidirectional=True), got True")
    if faults:
        raise DataError(f"StackedRNN: expected {'; '.join(faults)}.")
