"""`CRF`: a linear-chain conditional random field over the outputs of a network."""

from __future__ import annotations

import secrets
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from longshort._errors import DataError
from longshort.ops._crf import (
    ChainScores,
    crf_decode,
    crf_log_norm,
    crf_marginals,
    crf_n_best,
    crf_score,
)

Tensor = Any


class _Loaded(threading.local):
    """The layers that this thread has loaded, by key, for the losses that are loaded after them."""

    def __init__(self) -> None:
        self.layers: weakref.WeakValueDictionary[str, CRF] = weakref.WeakValueDictionary()


_loaded = _Loaded()


@keras.saving.register_keras_serializable("longshort")
class CRF(keras.layers.Layer):
    """A linear-chain conditional random field: whole sequences of tags instead of one tag a step.

        score(x, y) = start[y_1] + sum_t x_t[y_t] + sum_t transitions[y_{t-1}, y_t] + end[y_T]
        p(y | x) = exp score(x, y) / sum over all sequences y' of exp score(x, y')

    The layer passes on its inputs, the emissions, and holds what couples neighbouring tags. Train
    the model with `loss=crf.loss`, the negative log-likelihood of the sequence, which takes steps
    with a negative tag as padding; its mean is over sequences. `decode` gives the best sequence,
    `n_best` the best few, `marginals` the probability of each tag in each step.

    Padded steps may lie anywhere: they are skipped, and the answer is that of the sequence alone.
    What the constraints forbid never occurs in a decoded sequence.

    Args:
        num_tags: K.
        allowed: (K, K) booleans: whether the column's tag may follow the row's. Default: all.
        allowed_start: (K,) booleans: which tags a sequence may begin with. Default: all.
        allowed_end: (K,) booleans: which tags it may end with. Default: all.
        constrain_training: Whether the constraints hold in training too, where forbidden
            sequences then have no share of the sum; a true sequence that is forbidden has
            likelihood 0 and loss infinity.
        initializer: Of start, transitions and end.
        kwargs: As in `keras.layers.Layer`.

    Inputs: (B, T, K) emissions: a score for each tag, such as those of `Dense(num_tags)`. Output:
    the same.

    Source: Lafferty, McCallum and Pereira (2001), "Conditional random fields"; above an LSTM, Huang
    et al. (2015), "Bidirectional LSTM-CRF models for sequence tagging".

    Example:
        >>> crf = longshort.layers.CRF(3)
        >>> words = keras.Input((None,), dtype="int32")
        >>> x = keras.layers.Embedding(50, 8, mask_zero=True)(words)
        >>> x = longshort.layers.Bidirectional(longshort.layers.LSTM(4, return_sequences=True))(x)
        >>> model = keras.Model(words, crf(keras.layers.Dense(3)(x)))
        >>> model.compile("adam", loss=crf.loss)
        >>> ids = np.array([[5, 7, 9, 0], [5, 8, 0, 0]])
        >>> tags = np.array([[0, 1, 2, -1], [0, 2, -1, -1]])
        >>> history = model.fit(ids, tags, verbose=0)
        >>> crf.decode(model.predict(ids, verbose=0), mask=ids != 0).shape
        (2, 4)
    """

    def __init__(
        self,
        num_tags: int,
        *,
        allowed: Any = None,
        allowed_start: Any = None,
        allowed_end: Any = None,
        constrain_training: bool = True,
        initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(num_tags, bool) or not isinstance(num_tags, int) or num_tags < 1:
            raise DataError(f"CRF: num_tags must be a whole number from 1, got {num_tags!r}.")
        K = num_tags
        self.num_tags = num_tags
        self.allowed = _flags("allowed", allowed, (K, K))
        self.allowed_start = _flags("allowed_start", allowed_start, (K,))
        self.allowed_end = _flags("allowed_end", allowed_end, (K,))
        self.constrain_training = constrain_training
        self.initializer = keras.initializers.get(initializer)
        self.supports_masking = True
        self._key = secrets.token_hex(8)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create start, transitions and end."""
        if len(input_shape) != 3 or input_shape[-1] != self.num_tags:
            raise DataError(
                f"CRF: expected emissions of shape (batch, steps, {self.num_tags}), got "
                f"{tuple(input_shape)}. Put Dense({self.num_tags}) in front of it."
            )
        K = self.num_tags
        self.start = self.add_weight(shape=(K,), initializer=self.initializer, name="start")
        self.transitions = self.add_weight(
            shape=(K, K), initializer=self.initializer, name="transitions"
        )
        self.end = self.add_weight(shape=(K,), initializer=self.initializer, name="end")
        self.built = True

    def call(self, emissions: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pass on the emissions."""
        return ops.copy(emissions)  # on the tensor itself hangs the mask

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        """A mask of steps ends here: it does not fit the loss, which is a number a sequence."""

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the shape of the emissions."""
        return tuple(input_shape)

    @property
    def loss(self) -> CRFLoss:
        """The negative log-likelihood of tags (B, T) given emissions, for `compile`."""
        return CRFLoss(self)

    def log_likelihood(self, emissions: Tensor, tags: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return log p(tags | emissions) of each sequence, in nats.

        Args:
            emissions: (B, T, K).
            tags: (B, T) whole numbers from 0 to K - 1; any in steps left out.
            mask: (B, T), False where a step is padding. Default: none is.

        Returns:
            (B,); 0 for a sequence without a real step.
        """
        emissions, mask = self._checked(emissions, mask)
        tags = ops.cast(tags, "int32")
        scores = self._scores(self.constrain_training)
        score = crf_score(emissions, tags, mask, scores)
        return score - crf_log_norm(emissions, mask, scores)

    def decode(self, emissions: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the most probable sequence of tags (Viterbi).

        Args:
            emissions: (B, T, K).
            mask: (B, T), False where a step is padding. Default: none is.

        Returns:
            (B, T) int32, -1 in padding; all -1 where the constraints allow no sequence.
        """
        emissions, mask = self._checked(emissions, mask)
        return crf_decode(emissions, mask, self._scores())[0]

    def n_best(
        self, emissions: Tensor, k: int, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the k most probable sequences, from the first, and their log-probabilities.

        Args:
            emissions: (B, T, K).
            k: How many.
            mask: (B, T), False where a step is padding. Default: none is.

        Returns:
            Tags (B, k, T) int32, -1 in padding, and log-probabilities (B, k) among the sequences
            that the constraints allow; where there are fewer than k the rest is -1 and -inf.
        """
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise DataError(f"CRF.n_best: k must be a whole number from 1, got {k!r}.")
        emissions, mask = self._checked(emissions, mask)
        scores = self._scores()
        tags, sums = crf_n_best(emissions, mask, scores, k)
        return tags, sums - crf_log_norm(emissions, mask, scores)[:, None]

    def marginals(self, emissions: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the probability of each tag in each step, given the whole sequence.

        Args:
            emissions: (B, T, K).
            mask: (B, T), False where a step is padding. Default: none is.

        Returns:
            (B, T, K), rows sum to 1; zeros in padding.
        """
        emissions, mask = self._checked(emissions, mask)
        return crf_marginals(emissions, mask, self._scores())

    def _checked(self, emissions: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if not self.built:
            raise DataError("CRF: call or build the layer first.")
        emissions = ops.convert_to_tensor(emissions)
        if len(emissions.shape) != 3 or emissions.shape[-1] != self.num_tags:
            raise DataError(
                f"CRF: expected emissions of shape (batch, steps, {self.num_tags}), got "
                f"{tuple(emissions.shape)}."
            )
        # Sums over a sequence lose too much in half precision.
        if keras.backend.standardize_dtype(emissions.dtype) != "float64":
            emissions = ops.cast(emissions, "float32")
        if mask is None:
            return emissions, ops.ones(ops.shape(emissions)[:2], dtype="bool")
        mask = ops.cast(mask, "bool")
        if len(mask.shape) != 2 or any(
            None not in (m, e) and m != e
            for m, e in zip(mask.shape, emissions.shape[:2], strict=True)
        ):
            raise DataError(
                f"CRF: expected a mask of shape (batch, steps) = {tuple(emissions.shape[:2])}, "
                f"got {tuple(mask.shape)}."
            )
        return emissions, mask

    def _scores(self, constrained: bool = True) -> ChainScores:
        weights = (self.start, self.transitions, self.end)
        allowed = (self.allowed_start, self.allowed, self.allowed_end)
        parts = []
        for weight, flags in zip(weights, allowed, strict=True):
            value = ops.convert_to_tensor(weight)
            if keras.backend.standardize_dtype(value.dtype) != "float64":
                value = ops.cast(value, "float32")
            if constrained and flags is not None:
                value = ops.where(flags, value, float("-inf"))
            parts.append(value)
        return ChainScores(*parts)

    def get_build_config(self) -> dict[str, Any]:
        """Return the shape of the inputs, and what a saved loss finds the layer by."""
        return {"input_shape": (None, None, self.num_tags), "key": self._key}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Undo `get_build_config`."""
        self._key = str(config["key"])
        _loaded.layers[self._key] = self
        self.build(config["input_shape"])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""

        def listed(flags: np.ndarray | None) -> Any:
            return None if flags is None else flags.tolist()

        return {
            **super().get_config(),
            "num_tags": self.num_tags,
            "allowed": listed(self.allowed),
            "allowed_start": listed(self.allowed_start),
            "allowed_end": listed(self.allowed_end),
            "constrain_training": self.constrain_training,
            "initializer": keras.initializers.serialize(self.initializer),
        }


@keras.saving.register_keras_serializable("longshort")
class CRFLoss(keras.losses.Loss):
    """The negative log-likelihood of a `CRF` layer; what `crf.loss` returns.

    Args:
        layer: The layer, which must be part of the model that is trained.
        kwargs: As in `keras.losses.Loss`.
    """

    def __init__(self, layer: CRF, name: str = "crf_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        # As a function: Keras saves weights under the first attribute that leads to them, and a
        # file whose loss led to the layer could not be read without the loss.
        self.get_layer = lambda: layer

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each sequence, (B,), from tags (B, T) and emissions (B, T, K)."""
        tags = ops.cast(y_true, "int32")
        if len(tags.shape) == 3:
            tags = ops.squeeze(tags, -1)
        return -self.get_layer().log_likelihood(y_pred, tags, tags >= 0)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` finds the layer by: its model is loaded before the loss."""
        return {
            "name": self.name,
            "reduction": self.reduction,
            "key": self.get_layer()._key,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CRFLoss:
        """Undo `get_config`, in a thread that has loaded the layer."""
        layer = _loaded.layers.get(config.pop("key"))
        if layer is None:
            raise DataError(
                "CRFLoss: the CRF layer that it belongs to was not loaded before it; load the "
                "model with compile=False, and compile it with loss=crf.loss."
            )
        return cls(layer, **config)


def _flags(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    if value is None:
        return None
    flags = np.asarray(value)
    if flags.shape != shape or flags.dtype.kind != "b":
        raise DataError(
            f"CRF: expected {name} as booleans of shape {shape}, got {flags.dtype} of shape "
            f"{flags.shape}."
        )
    return flags
