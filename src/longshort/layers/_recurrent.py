"""What longshort's own recurrent layers share: states that are passed in, carried along or set."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
from keras import ops, tree

from longshort._errors import DataError

Tensor = Any
State = list[Any]


class RecurrentLayer(keras.layers.Layer):
    """A layer over sequences that has a state: a list of tensors, or of lists of tensors.

    A subclass has `get_initial_state` and `run`, `build` and `compute_output_shape`.

    The carried state is made of variables of their own: they are no weights (`get_weights` and
    files are the same with and without), their batch size may change, and compiled code updates
    them, in `fit` and `predict` too.

    Args:
        return_sequences: Return the outputs of all steps, not only the last.
        return_state: Return the state after the last step too: `(output, *state)`.
        stateful: Begin each call with the state that the one before it ended with.
        kwargs: As in `keras.layers.Layer`.
    """

    def __init__(
        self,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        stateful: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.stateful = stateful
        self.supports_masking = True
        # Keras would track variables in an attribute, and then save them and never let them go.
        self._carried = SimpleNamespace(variables=[])

    @property
    def state_dtype(self) -> str:
        """The type of the state inside the layer."""
        return self.compute_dtype

    def get_initial_state(self, batch_size: int) -> State:
        """The state before the first step: zeros."""
        raise NotImplementedError

    def run(
        self, sequences: Tensor, state: State, mask: Tensor | None, training: bool
    ) -> tuple[Tensor, State]:
        """The output that `return_sequences` asks for, and the state after the last step.

        Called by `step` too, outside Keras' `__call__`: own weights are cast to the type of x.
        """
        raise NotImplementedError

    def call(
        self,
        sequences: Tensor,
        initial_state: State | None = None,
        mask: Tensor | None = None,
        training: bool = False,
        stateful: bool | None = None,
        sequences_mask: Tensor | None = None,
    ) -> Any:
        """Run the layer.

        Args:
            sequences: Inputs, shape (B, T, D).
            initial_state: The state before the first step, as `get_initial_state` returns it.
                Default: the carried state where the call is stateful, else zeros.
            mask: Booleans, shape (B, T); a False step is skipped: it changes no state and repeats
                the output before it.
            training: Whether dropout is at work.
            stateful: Overrides the layer's `stateful` for this call.
            sequences_mask: What Keras passes instead of `mask` where there is an initial state.

        Returns:
            The output, or `(output, *state)` with `return_state`.
        """
        _check_inputs(type(self).__name__, tuple(sequences.shape))
        mask = sequences_mask if mask is None else mask
        mask = _checked_mask(type(self).__name__, mask, sequences)
        carry = self.stateful if stateful is None else stateful
        if initial_state is not None:
            state = self._checked_state(initial_state, sequences.shape[0])
        elif carry:
            state = self._carried_state(sequences.shape[0])
        else:
            state = self.get_initial_state(ops.shape(sequences)[0])
        output, state = self.run(sequences, self._cast(state), mask, training)
        if carry:
            self._keep(state)
        return (output, *state) if self.return_state else output

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """One step outside training, for streams and decoders.

        Args:
            x: Inputs of the step, shape (B, D).
            state: The state before it. Default: zeros.

        Returns:
            The output of the step (B, H), and the state after it.
        """
        if not self.built:
            raise DataError(f"{type(self).__name__}.step: call or build the layer first.")
        x = ops.convert_to_tensor(x, self.compute_dtype)
        if len(x.shape) != 2:
            raise DataError(
                f"{type(self).__name__}.step: expected one step (batch, features), got an array of "
                f"shape {tuple(x.shape)}. Call the layer itself on sequences."
            )
        if state is None:
            state = self.get_initial_state(ops.shape(x)[0])
        else:
            state = self._checked_state(state, x.shape[0])
        output, state = self.run(x[:, None], self._cast(state), None, False)
        return (output[:, 0] if self.return_sequences else output), list(state)

    def _cast(self, state: State) -> State:
        return tree.map_structure(
            lambda s: ops.cast(ops.convert_to_tensor(s), self.state_dtype), state
        )

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the outputs: that of the inputs with `return_sequences`; states have none."""
        masks = [mask] if not isinstance(mask, (list, tuple)) else list(mask)
        mask = masks[0] if self.return_sequences else None
        return [mask, *(None for _ in self.get_initial_state(1))] if self.return_state else mask

    def get_state(self) -> State:
        """The carried state, as `get_initial_state` returns it: copies.

        Raises:
            DataError: Nothing is carried yet.
        """
        if not self._carried.variables:
            raise DataError(
                f"{type(self).__name__}: no state is carried yet. Call the layer with "
                "stateful=True, or reset_state(batch_size), first."
            )
        state = [ops.copy(v.value) for v in self._carried.variables]
        return tree.pack_sequence_as(self.get_initial_state(1), state)

    def set_state(self, state: State) -> None:
        """Carry this state from now on; any batch size.

        Args:
            state: As `get_initial_state` returns it, arrays or tensors.
        """
        self._keep(self._checked_state(state, None))

    def reset_state(self, batch_size: int | None = None) -> None:
        """Carry the initial state from now on.

        Args:
            batch_size: The number of sequences. Default: as before; nothing is done where no state
                was carried.
        """
        if batch_size is None and self._carried.variables:
            batch_size = self._carried.variables[0].shape[0]
        if batch_size is not None:
            self._keep(self.get_initial_state(batch_size))

    reset_states = reset_state  # Keras has both names

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables, the carried state among them; it is not among the weights."""
        return [*super().variables, *self._carried.variables]

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Make the carried state where it is known that there is one, and for how many."""
        _check_inputs(type(self).__name__, tuple(sequences_shape))
        batch = sequences_shape[0]
        if self.stateful and batch is not None and not self._carried.variables:
            self._create_carried(batch)
        self.built = True

    def compute_output_spec(self, sequences: Any, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; a stateful call in a model needs a carried state from here on.

        Compiled code cannot make one, and an error there loses the weights: Keras (3.15, JAX) takes
        them from the variables meanwhile.
        """
        stateful = kwargs.get("stateful")
        if self.stateful if stateful is None else stateful:
            batch = sequences.shape[0]
            if not self._carried.variables and batch is None:
                raise DataError(
                    f"{type(self).__name__}: a stateful call in a model needs the number of "
                    "sequences. Call reset_state(batch_size) before, or give the input a fixed "
                    "batch size: keras.Input(batch_shape=(batch, time, features))."
                )
            if self._carried.variables:
                self._carried_state(batch)
            else:
                self._create_carried(batch)
        return super().compute_output_spec(sequences, *args, **kwargs)

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes of the inputs, and for how many sequences a state is carried."""
        config = super().get_build_config()
        if self._carried.variables:
            config = {**(config or {}), "carried": self._carried.variables[0].shape[0]}
        return config

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build from what `get_build_config` returned; the state begins anew."""
        super().build_from_config({k: v for k, v in config.items() if k != "carried"})
        self.reset_state(config.get("carried"))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        names = ("return_sequences", "return_state", "stateful")
        return super().get_config() | {name: getattr(self, name) for name in names}

    def _create_carried(self, batch: int) -> None:
        leaves = tree.flatten(self.get_initial_state(batch))

        def initial(index: int) -> Any:
            # Called by Keras later where it builds inside a scope that must not have effects.
            return lambda *_, **__: tree.flatten(self.get_initial_state(batch))[index]

        self._carried.variables = [
            keras.Variable(
                initial(i), tuple(s.shape), self.variable_dtype, trainable=False, name="state"
            )
            for i, s in enumerate(leaves)
        ]

    def _carried_state(self, batch: Any) -> State:
        """The carried state for a call; new ones where the first stateful call begins."""
        name, variables = type(self).__name__, self._carried.variables
        if not variables:
            return self.get_initial_state(batch)  # kept, or refused, after the call
        carried = variables[0].shape[0]
        if batch is not None and carried != batch:
            raise DataError(
                f"{name}: the carried state is of {carried} sequences, got {batch}. "
                f"reset_state({batch}) begins anew; set_state(state) continues from one of yours."
            )
        # Copies, for torch writes into the variables and differentiates later.
        state = [ops.copy(v.value) for v in variables]
        return tree.pack_sequence_as(self.get_initial_state(1), state)

    def _keep(self, state: State) -> None:
        leaves, variables = tree.flatten(state), self._carried.variables
        if [tuple(v.shape) for v in variables] == [tuple(s.shape) for s in leaves]:
            for variable, value in zip(variables, leaves, strict=True):
                variable.assign(value)
            return
        try:
            self._carried.variables = [
                keras.Variable(value, dtype=self.variable_dtype, trainable=False, name="state")
                for value in leaves
            ]
        except ValueError as error:  # Keras allows no new variables in compiled code
            raise DataError(
                f"{type(self).__name__}: compiled code can carry a state only for a batch size "
                "that is set before. Call reset_state(batch_size) first."
            ) from error

    def _checked_state(self, state: Any, batch: int | None) -> State:
        expected = self.get_initial_state(1)
        faults = _structure_faults(state, expected, "")
        if not faults:
            leaves = [getattr(s, "shape", None) for s in tree.flatten(state)]
            batch = batch if batch is not None else (leaves[0] or (None,))[0]
            wanted = [(batch, *s.shape[1:]) for s in tree.flatten(expected)]
            faults = [
                f"tensor {i} of shape {w}, got {None if s is None else tuple(s)}"
                for i, (s, w) in enumerate(zip(leaves, wanted, strict=True))
                if s is None
                or len(s) != len(w)
                or any(a != b for a, b in zip(s, w, strict=True) if None not in (a, b))
            ]
        if faults:
            raise DataError(
                f"{type(self).__name__}: expected a state as get_initial_state(batch_size) returns "
                f"it, with {'; '.join(faults)}."
            )
        flat = [ops.convert_to_tensor(s) for s in tree.flatten(state)]
        return tree.pack_sequence_as(expected, flat)


def _structure_faults(given: Any, expected: Any, where: str) -> list[str]:
    """What differs between two nested lists in length or depth, in words."""
    is_list = isinstance(given, (list, tuple))
    got = len(given) if is_list else type(given).__name__
    at = f" at {where}" if where else ""
    if not isinstance(expected, (list, tuple)):
        return [f"one tensor{at}, got {got}"] if is_list or given is None else []
    if not is_list or got != len(expected):
        return [f"a list of {len(expected)}{at}, got {got}"]
    pairs = enumerate(zip(given, expected, strict=True))
    return [fault for i, (g, e) in pairs for fault in _structure_faults(g, e, f"{where}[{i}]")]


def _check_inputs(name: str, shape: tuple[int | None, ...]) -> None:
    if len(shape) != 3:
        hint = " Add a time axis: x[:, None, :], or a feature axis: x[:, :, None]."
        raise DataError(
            f"{name}: expected inputs of shape (batch, time, features), got {shape}."
            + (hint if len(shape) == 2 else "")
        )


def _checked_mask(name: str, mask: Any, sequences: Tensor) -> Tensor | None:
    mask = mask[0] if isinstance(mask, (list, tuple)) else mask
    if mask is None:
        return None
    mask = ops.convert_to_tensor(mask)
    shape, expected = tuple(mask.shape), tuple(sequences.shape[:2])
    dtype = keras.backend.standardize_dtype(mask.dtype)
    if len(shape) != 2 or any(
        a != b for a, b in zip(shape, expected, strict=True) if None not in (a, b)
    ):
        raise DataError(
            f"{name}: expected a mask of shape (batch, time) = {expected}, got {shape}. "
            "Give one boolean a step: True where the step is real."
        )
    if dtype != "bool" and "int" not in dtype:
        raise DataError(
            f"{name}: expected a boolean mask, got {dtype}. Convert: mask.astype(bool)."
        )
    return ops.cast(mask, "bool")
