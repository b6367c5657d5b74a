"""`lstm`: one LSTM layer over a whole sequence, on the fastest path that can take the call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypedDict, Unpack

import keras
from keras import ops

from longshort._errors import DataError
from longshort.ops import _keras, _library
from longshort.ops._inputs import ARRAYS, LSTMInputs, check_directions
from longshort.ops._paths import Path, checked_path, checked_sequences, choose_path, fused_name
from longshort.ops._rounding import rounds

Tensor = Any


class Variant(TypedDict, total=False):
    """The further arguments of `lstm`, all optional: what makes the LSTM another than Keras'."""

    peephole: Tensor | None
    coupled: bool
    projection: Tensor | None
    norm_gains: Tensor | None
    norm_cell: Tensor | None
    cell_clip: float | None
    zoneout: tuple[float, float]
    update_dropout: float
    noise_key: Tensor | None
    first_step: int | Tensor


def _checked_state(initial_state: Any) -> tuple[Tensor | None, Tensor | None]:
    if initial_state is None:
        return None, None
    if not isinstance(initial_state, (tuple, list)) or len(initial_state) != 2:
        got = (
            len(initial_state) if isinstance(initial_state, (tuple, list)) else type(initial_state)
        )
        raise DataError(f"lstm: expected initial_state as a pair (h, c), got {got}.")
    return initial_state[0], initial_state[1]


def lstm(
    x: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    initial_state: Sequence[Tensor] | None = None,
    x_dropout: Tensor | None = None,
    h_dropout: Tensor | None = None,
    reverse: bool = False,
    return_sequences: bool = True,
    activation: Any = "tanh",
    recurrent_activation: Any = "sigmoid",
    recompute: bool = False,
    path: str = "auto",
    **variant: Unpack[Variant],
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Run an LSTM layer over a batch of sequences (Hochreiter and Schmidhuber 1997; Gers 2000).

        i, f, o = sigmoid(x W + h U + b)    g = tanh(x W + h U + b)    (columns i, f, g, o)
        c <- f c + i g                      h <- o tanh(c)

    and its variants, which compose with each other and with everything else; h_ and c_ are the
    states before the step, R and A the two activations, m the noise's 0 and 1:

        z = norm(x W) + norm(h_ U) + b      norm: the identity, unless `norm_gains` are given
        i, f = R(z_i + p_i c_), R(z_f + p_f c_)              p: `peephole`; i = 1 - f if `coupled`
        g = A(z_g) m / (1 - update_dropout)
        c = clip(f c_ + i g, -cell_clip, cell_clip)
        h = (o A(norm(c))) V,  o = R(z_o + p_o c)            V: `projection`
        c, h <- m c_ + (1 - m) c, m h_ + (1 - m) h           with the rates of `zoneout`

    Axes: B batch, T time, D features, H units; h has P values, which is H without a projection. G
    is 4, the number of gates with weights of their own, or 3 (f, g, o) with coupled ones. With x in
    bfloat16 the kernels round the factors of all products to bfloat16 where the CPU can multiply
    them (AMX, AVX-512 BF16); sums, states and gradients, and everything on other CPUs or with x in
    float16, are in float32.

    Args:
        x: Inputs, shape (B, T, D).
        kernel: W, shape (D, G H).
        recurrent_kernel: U, shape (P, G H).
        bias: b, shape (G H,). Default: zeros.
        mask: Booleans, shape (B, T). A False step is skipped: h and c stay as they were, so any
            padding (left, right, gaps; even NaN) gives what each sequence gives alone. Default:
            all True.
        initial_state: h (B, P) and c (B, H) before the first step. Default: zeros.
        x_dropout: Factors on x for each of i, f, g, o, shape (4, B, D), the same at every step
            (those of i are not used where it is coupled). Constants: no gradient flows to them.
            Default: ones.
        h_dropout: Factors on h where it enters the gates, shape (4, B, P). Default: ones.
        reverse: Process the sequences from the end; outputs are in the order of processing.
        return_sequences: Whether h of every step is wanted.
        activation: Name or function for g and for c on its way to h. The kernels have tanh, relu,
            softsign and linear.
        recurrent_activation: Name or function for i, f and o. The kernels have sigmoid and
            hard_sigmoid.
        recompute: Keep for the backward pass only h and c of about sqrt(T) steps, and run the steps
            between them forward once more: a third more time, for memory that hardly grows with
            T (Chen et al. 2016). On the kernel path only.
        path: `kernel` or `keras` insists on one path; `auto` takes the kernels where they can
            take the call, else the keras.ops path with one `PathWarning` that names the reason.
        **variant: Any of these, by name:
            `peephole`: weights from c to i, f and o (Gers and Schmidhuber 2000), shape (3, H); to f
            and o, shape (2, H), with coupled gates.
            `coupled`: i = 1 - f (Greff et al. 2017, "CIFG").
            `projection`: V, shape (H, P) (Sak et al. 2014).
            `norm_gains`, `norm_cell`: layer norm (Ba et al. 2016): the gains of x W and of h U,
            shape (2, G H), each over all gates; gain and bias for c, shape (2, H).
            `cell_clip`: a number above 0 that bounds c (Sak et al. 2014).
            `zoneout`: the rates, of h and of c, at which a value stays what it was (Krueger et al.
            2017); without `noise_key`, as outside training, the mean of staying and changing.
            `update_dropout`: the rate at which a value of g is dropped at a step (Semeniuta et
            al. 2016); without `noise_key` none is.
            `noise_key`: two uint32, which make the noise of this call, the same on both paths.
            `first_step`: how many steps were processed before this call, for the noise of a
            sequence that is cut into several calls.

    Returns:
        h of every step (B, T, P) or None, the last h (B, P), the last c (B, H), in x's type.

    Raises:
        DataError: Shapes that do not fit one another, a rate out of its range, a mask that is not
            boolean, an unknown `path`, or `path="kernel"` or `recompute` for a call that the
            kernels cannot take.
        KernelError: Differentiating twice on the kernel path.

    >>> x, W, U = np.ones((2, 5, 3)), np.ones((3, 16)), np.zeros((4, 16))
    >>> hs, h, c = longshort.ops.lstm(x.astype("float32"), W, U)
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
        activation=activation,
        recurrent_activation=recurrent_activation,
        **variant,
    )
    taken = checked_path("LSTM", path, call.path())
    if taken == "kernel":
        from longshort.ops import _jax

        results = _jax.run(call.inputs, sequences=return_sequences, recompute=recompute)[0]
    else:
        if recompute:
            raise DataError(
                "lstm: recompute=True works on the kernel path only; longshort.ops.choose_path() "
                "says why this call leaves it."
            )
        activations = [keras.activations.get(a) for a in (activation, recurrent_activation)]
        results = _keras.lstm(call.inputs, *activations)
    return call.outputs(results, return_sequences)


def lstm_both(
    forward: dict[str, Any],
    backward: dict[str, Any],
    return_sequences: bool,
    zero_masked: bool = False,
) -> list[tuple[Tensor | None, Tensor, Tensor]]:
    """The two directions of a bidirectional layer side by side, on the kernel path.

    Args:
        forward: Arguments of `lstm` by name, without those that say what is returned and how.
        backward: The same for the reverse direction; same sizes, settings and the same `mask`.
        return_sequences: As in `lstm`.
        zero_masked: Whether h of a masked step is 0 among those of every step, and not a copy.

    Returns:
        What `lstm` returns, for each direction.

    Raises:
        DataError: As `lstm`; settings or absent arrays that differ between the directions.
    """
    from longshort.ops import _jax

    calls = [_Call.of(**forward), _Call.of(**backward)]
    if forward["x"] is backward["x"]:  # then the kernels read one array
        calls[1] = calls[1]._replace(inputs=replace(calls[1].inputs, x=calls[0].inputs.x))
    check_directions("lstm_both", calls[0].inputs, calls[1].inputs, ARRAYS)
    inputs = (replace(call.inputs, zero_masked=zero_masked) for call in calls)
    results = _jax.run(*inputs, sequences=return_sequences)
    return [call.outputs(r, return_sequences) for call, r in zip(calls, results, strict=True)]


class _Call(NamedTuple):
    """Checked arguments, and the type that goes in and comes out."""

    inputs: LSTMInputs
    dtype: str

    @staticmethod
    def of(
        x: Tensor,
        kernel: Tensor,
        recurrent_kernel: Tensor,
        bias: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        initial_state: Sequence[Tensor] | None = None,
        x_dropout: Tensor | None = None,
        h_dropout: Tensor | None = None,
        reverse: bool = False,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        **variant: Unpack[Variant],
    ) -> _Call:
        if unknown := variant.keys() - Variant.__annotations__.keys():
            raise TypeError(f"lstm() got an unexpected keyword argument {min(unknown)!r}")
        x, mask, dtype = checked_sequences(x, mask, "LSTM")
        h0, c0 = _checked_state(initial_state)
        inputs = LSTMInputs(
            x,
            kernel,
            recurrent_kernel,
            bias,
            mask,
            h0,
            c0,
            x_dropout,
            h_dropout,
            reverse,
            bfloat16=rounds(dtype),
            activation=fused_name(activation, _library.ACTIVATIONS) or activation,
            recurrent_activation=fused_name(recurrent_activation, _library.RECURRENT_ACTIVATIONS)
            or recurrent_activation,
            **variant,
        )
        inputs.check()
        return _Call(inputs, dtype)

    def path(self) -> Path:
        """What `choose_path` says of this call."""
        return choose_path(self.inputs.activation, self.inputs.recurrent_activation, self.dtype)

    def outputs(
        self, results: tuple[Tensor, Tensor, Tensor], return_sequences: bool
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """`hs`, h and c in the type of x."""
        hs, h, c = results
        hs = ops.cast(hs, self.dtype) if return_sequences else None
        return hs, ops.cast(h, self.dtype), ops.cast(c, self.dtype)
