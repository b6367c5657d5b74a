"""`gru`: one GRU layer over a whole sequence, on the fastest path that can take the call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import keras
from keras import ops

from longshort._errors import DataError
from longshort.ops import _gru_keras, _library
from longshort.ops._gru_inputs import ARRAYS, GRUInputs
from longshort.ops._inputs import check_directions
from longshort.ops._paths import Path, checked_path, checked_sequences, choose_path, fused_name
from longshort.ops._rounding import rounds

Tensor = Any


def gru_path(
    activation: Any = "tanh",
    recurrent_activation: Any = "sigmoid",
    dtype: str = "float32",
    reset_after: bool = True,
) -> Path:
    """Which path `gru` takes for these options, and why; arguments as there."""
    if not reset_after:
        return Path("keras", "reset_after=False needs two products that wait for one another")
    return choose_path(activation, recurrent_activation, dtype)


def gru(
    x: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    initial_state: Tensor | None = None,
    x_dropout: Tensor | None = None,
    h_dropout: Tensor | None = None,
    reverse: bool = False,
    return_sequences: bool = True,
    reset_after: bool = True,
    activation: Any = "tanh",
    recurrent_activation: Any = "sigmoid",
    recompute: bool = False,
    path: str = "auto",
) -> tuple[Tensor | None, Tensor]:
    """Run a GRU layer over a batch of sequences (Cho et al. 2014), as Keras and cuDNN have it.

        z, r = sigmoid(x W + b + h U + b')                        columns z, r, h
        g = tanh(x W + b + r (h U + b')), or, not `reset_after`, tanh(x W + b + (r h) U)
        h <- z h + (1 - z) g

    Axes: B batch, T time, D features, H units. Types and bfloat16 as in `longshort.ops.lstm`.

    Args:
        x: Inputs, shape (B, T, D).
        kernel: W, shape (D, 3H).
        recurrent_kernel: U, shape (H, 3H).
        bias: b and b', shape (2, 3H); without `reset_after` b alone, (3H,). Default: zeros.
        mask: Booleans, shape (B, T). A False step is skipped, wherever it lies. Default: all True.
        initial_state: h (B, H) before the first step. Default: zeros.
        x_dropout: Factors on x for each of z, r, h, shape (3, B, D), the same at every step.
            Constants: no gradient flows to them. Default: ones.
        h_dropout: Factors on h where it enters the gates, shape (3, B, H). Default: ones.
        reverse: Process the sequences from the end; outputs are in the order of processing.
        return_sequences: Whether h of every step is wanted.
        reset_after: Whether r scales the product (cuDNN's form, which the kernels have) or h before
            it (in `keras.ops` only).
        activation: Name or function for g. The kernels have tanh, relu, softsign and linear.
        recurrent_activation: Name or function for z and r. The kernels have sigmoid and
            hard_sigmoid.
        recompute: As in `longshort.ops.lstm`.
        path: As in `longshort.ops.lstm`.

    Returns:
        h of every step (B, T, H) or None, and the last h (B, H), in x's type.

    Raises:
        DataError: As in `longshort.ops.lstm`.
        KernelError: Differentiating twice on the kernel path.

    >>> x, W, U = np.ones((2, 5, 3), "float32"), np.ones((3, 12)), np.zeros((4, 12))
    >>> hs, h = longshort.ops.gru(x, W, U)
    >>> hs.shape, h.shape
    ((2, 5, 4), (2, 4))
    """
    call = _Call.of(
        x,
        kernel,
        recurrent_kernel,
        bias,
        mask=mask,
        initial_state=initial_state,
        x_dropout=x_dropout,
        h_dropout=h_dropout,
        reverse=reverse,
        reset_after=reset_after,
        activation=activation,
        recurrent_activation=recurrent_activation,
    )
    if checked_path("GRU", path, call.path()) == "kernel":
        results = _fused(call, return_sequences=return_sequences, recompute=recompute)[0]
    else:
        if recompute:
            raise DataError(
                "gru: recompute=True works on the kernel path only, which this call leaves: "
                f"{call.path().reason}."
            )
        functions = [keras.activations.get(a) for a in (activation, recurrent_activation)]
        results = _gru_keras.gru(call.inputs, *functions)
    return call.outputs(results, return_sequences)


def gru_both(
    forward: dict[str, Any],
    backward: dict[str, Any],
    return_sequences: bool,
    zero_masked: bool = False,
) -> list[tuple[Tensor | None, Tensor]]:
    """The two directions of a bidirectional layer side by side, on the kernel path.

    Args:
        forward: Arguments of `gru` by name, without those that say what is returned and how.
        backward: The same for the reverse direction; same sizes, settings and the same `mask`.
        return_sequences: As in `gru`.
        zero_masked: Whether h of a masked step is 0 among those of every step, and not a copy.

    Returns:
        What `gru` returns, for each direction.

    Raises:
        DataError: As `gru`; settings or absent arrays that differ between the directions.
    """
    calls = [_Call.of(**forward), _Call.of(**backward)]
    if forward["x"] is backward["x"]:  # then the kernels read one array
        calls[1] = calls[1]._replace(inputs=replace(calls[1].inputs, x=calls[0].inputs.x))
    check_directions("gru_both", calls[0].inputs, calls[1].inputs, ARRAYS)
    results = _fused(*calls, return_sequences=return_sequences, zero_masked=zero_masked)
    return [call.outputs(r, return_sequences) for call, r in zip(calls, results, strict=True)]


def _fused(
    *calls: _Call, return_sequences: bool, recompute: bool = False, zero_masked: bool = False
) -> list[Any]:
    import jax.numpy as jnp

    from longshort.ops import _jax

    layers = [replace(call.inputs.tile(jnp), zero_masked=zero_masked) for call in calls]
    results = _jax.run(*layers, sequences=return_sequences, recompute=recompute, cell="gru")
    return [(hs, h) for hs, h, _ in results]


class _Call(NamedTuple):
    """Checked arguments, and the type that goes in and comes out."""

    inputs: GRUInputs
    dtype: str

    @staticmethod
    def of(
        x: Tensor,
        kernel: Tensor,
        recurrent_kernel: Tensor,
        bias: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        initial_state: Tensor | None = None,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        **rest: Any,
    ) -> _Call:
        x, mask, dtype = checked_sequences(x, mask, "GRU")
        functions: dict[str, Any] = {
            "activation": fused_name(activation, _library.ACTIVATIONS) or activation,
            "recurrent_activation": fused_name(recurrent_activation, _library.RECURRENT_ACTIVATIONS)
            or recurrent_activation,
        }
        inputs = GRUInputs(
            x,
            kernel,
            recurrent_kernel,
            bias,
            mask,
            initial_state,
            bfloat16=rounds(dtype),
            **functions,
            **rest,
        )
        inputs.check()
        return _Call(inputs, dtype)

    def path(self) -> Path:
        a = self.inputs
        return gru_path(a.activation, a.recurrent_activation, self.dtype, a.reset_after)

    def outputs(
        self, results: tuple[Tensor, Tensor], return_sequences: bool
    ) -> tuple[Tensor | None, Tensor]:
        hs, h = results
        return ops.cast(hs, self.dtype) if return_sequences else None, ops.cast(h, self.dtype)
