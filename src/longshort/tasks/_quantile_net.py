"""The network of the forecaster: LSTM, quantile head, loss and training loop."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from longshort.layers import LSTM
from longshort.tasks._metrics import pinball
from longshort.tasks._training import Progress, copy_weights, interruptible

Array = NDArray[Any]


def quantiles_of(level: Sequence[int | float]) -> list[float]:
    """Return the quantiles of central intervals and the median, in rising order.

    >>> quantiles_of((80, 95))
    [0.025, 0.1, 0.5, 0.9, 0.975]
    """
    low = sorted({round(0.5 - v / 200, 6) for v in level})
    return [*low, 0.5, *(round(1 - q, 6) for q in reversed(low))]


@keras.saving.register_keras_serializable("longshort")
class QuantileHead(keras.layers.Layer):
    """Turn features (B, F) into quantiles (B, H, Q) that cannot cross.

    The middle one is free; the others lie above and below it by sums of softplus terms.

    Args:
        h: Steps ahead, H.
        num_levels: Quantiles on each side of the median; Q = 2 num_levels + 1.
        start: (H, Q) quantiles given out for features of zero, rising strictly along Q.
    """

    def __init__(self, h: int, num_levels: int, start: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.h, self.num_levels = h, num_levels
        self._start = start

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights: the kernel at zero, so that training sets out from `start`."""
        n, bias = self.num_levels, None
        if self._start is not None:
            start = np.asarray(self._start, np.float64)
            gaps = np.maximum(np.diff(start, axis=1), 1e-4)
            raw = gaps + np.log(-np.expm1(-gaps))  # the inverse of softplus
            bias = np.concatenate([start[:, n : n + 1], raw], axis=1).astype("float32")
        q = 2 * n + 1
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.h * q), initializer="zeros", name="kernel"
        )
        self.bias = self.add_weight(
            shape=(self.h, q),
            initializer="zeros" if bias is None else lambda *_a, **_k: ops.convert_to_tensor(bias),
            name="bias",
        )

    def call(self, x: Any) -> Any:
        """Return the quantiles (B, H, Q) for features `x` (B, F)."""
        n = self.num_levels
        raw = ops.reshape(ops.matmul(x, self.kernel), (-1, self.h, 2 * n + 1)) + self.bias
        middle, gaps = raw[..., :1], ops.softplus(raw[..., 1:])
        # gaps[0] is the outermost below, gaps[n - 1] the one just below the median.
        below = middle - ops.flip(ops.cumsum(ops.flip(gaps[..., :n], -1), axis=-1), -1)
        above = middle + ops.cumsum(gaps[..., n:], axis=-1)
        return ops.concatenate([below, middle, above], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (B, H, Q)."""
        return (input_shape[0], self.h, 2 * self.num_levels + 1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments; `start` is in the bias by now."""
        return super().get_config() | {"h": self.h, "num_levels": self.num_levels}


def build_net(
    input_size: int,
    h: int,
    num_levels: int,
    *,
    units: int,
    num_layers: int,
    dropout: float,
    num_members: int,
    seed: int,
    start: Array | None = None,
) -> keras.Model:
    """Return a model from windows (B, L, 1) to quantiles (B, M, H, Q), M members side by side.

    Every initializer and dropout has its own seed: Keras would draw one from Python's global
    random state otherwise.
    """
    seeds = iter(np.random.default_rng(seed).integers(1, 2**31 - 1, 1000).tolist())
    inputs = keras.Input((input_size, 1), name="window")
    outputs = []
    for _ in range(num_members):
        x = inputs
        for layer in range(num_layers):
            x = LSTM(
                units,
                return_sequences=layer < num_layers - 1,
                kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
                recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
                seed=next(seeds),
            )(x)
        if dropout:
            x = keras.layers.Dropout(dropout, seed=next(seeds))(x)
        outputs.append(ops.expand_dims(QuantileHead(h, num_levels, start)(x), 1))
    joined = ops.concatenate(outputs, axis=1) if len(outputs) > 1 else outputs[0]
    return keras.Model(inputs, joined, name="forecaster")


def pinball_loss(quantiles: Sequence[float]) -> Callable[[Any, Any], Any]:
    """Return the loss of targets (B, 1, H, 1) and forecasts (B, M, H, Q): (B,)."""
    q = np.asarray(quantiles, "float32")

    def loss(y: Any, f: Any) -> Any:
        error = y - f
        return ops.mean(ops.maximum(q * error, (q - 1.0) * error), axis=(1, 2, 3))

    return loss


@dataclass(frozen=True)
class TrainPlan:
    """How long and how fast to train."""

    epochs: int
    patience: int
    batch_size: int
    learning_rate: float
    seed: int


# An epoch is at most this many batches, so that the validation comes round on long data too.
MAX_BATCHES = 200

Gather = Callable[[NDArray[np.intp]], tuple[Array, Array]]


def train(
    model: keras.Model,
    quantiles: Sequence[float],
    plan: TrainPlan,
    num_windows: int,
    gather: Gather,
    validation: tuple[Array, Array],
    progress: Progress | None,
    *,
    keep_best: bool,
) -> list[float]:
    """Train `model` and leave it with the weights of its best validation loss.

    Args:
        model: As from `build_net`.
        quantiles: Those of the head.
        plan: Epochs, patience, batch size, learning rate, seed.
        num_windows: Windows to train on.
        gather: Returns inputs (N, L, 1) and targets (N, H) for window numbers.
        validation: Inputs and targets of the validation part.
        progress: Called after each epoch with (epoch, epochs, validation loss).
        keep_best: Whether Ctrl-C ends the training with a warning, or goes on to the caller.

    Returns:
        The validation losses: before training, then after each epoch. The untrained network is a
        candidate: it is the linear path alone.
    """
    # Every batch has one shape, so JAX compiles one training step: the order is drawn anew each
    # epoch and wraps round to fill the last batch.
    size = min(plan.batch_size, num_windows)
    steps = min(-(-num_windows // size), MAX_BATCHES)
    optimizer = keras.optimizers.Adam(plan.learning_rate, global_clipnorm=1.0)
    model.compile(optimizer=optimizer, loss=pinball_loss(quantiles))
    rng = np.random.default_rng(plan.seed)

    def validate() -> float:
        f = predict(model, validation[0])
        return pinball(np.broadcast_to(validation[1][:, None, :, None], f.shape), f, quantiles)

    losses = [validate()]
    best, best_epoch, weights = losses[0], 0, copy_weights(model)
    try:
        with interruptible() as interrupt:
            for epoch in range(1, plan.epochs + 1):
                order = np.resize(rng.permutation(num_windows), steps * size)
                for step in range(steps):
                    x, y = gather(order[step * size : (step + 1) * size])
                    model.train_on_batch(x.astype("float32"), y[:, None, :, None].astype("float32"))
                    interrupt.check()
                losses.append(validate())
                if losses[-1] < best:
                    best, best_epoch, weights = losses[-1], epoch, copy_weights(model)
                if progress is not None:
                    progress(epoch, plan.epochs, losses[-1])
                interrupt.check()
                if epoch - best_epoch >= plan.patience:
                    break
    except KeyboardInterrupt:
        if not keep_best:
            raise
        warnings.warn(
            f"Forecaster: training was interrupted in epoch {len(losses)} of {plan.epochs}; "
            f"the best weights so far (epoch {best_epoch}) are kept.",
            UserWarning,
            stacklevel=4,
        )
    model.set_weights(weights)
    return losses


def without_optimizer(model: keras.Model) -> keras.Model:
    """Return the same layers as a model that saves a third of the bytes: Adam keeps two moments."""
    return keras.Model(model.inputs, model.outputs[0], name=model.name)


PREDICT_BATCH = 256


def predict(model: keras.Model, x: Array) -> Array:
    """Return the quantiles (N, M, H, Q) for windows `x` (N, L, 1).

    Batches are padded to a power of two, so that few shapes are ever compiled.
    """
    parts = []
    for start in range(0, len(x), PREDICT_BATCH):
        piece = np.asarray(x[start : start + PREDICT_BATCH], "float32")
        n = len(piece)
        padded = np.resize(piece, (1 << (n - 1).bit_length(), *piece.shape[1:]))
        parts.append(np.asarray(model.predict_on_batch(padded))[:n])
    return np.concatenate(parts)
