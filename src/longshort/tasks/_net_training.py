"""The forecaster's training loop: batches of windows, a decaying rate, the best epoch's weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from longshort.optimizers import Adam
from longshort.tasks._training import Progress, copy_weights, interruptible
from longshort.tasks._training_steps import training_steps

Array = NDArray[Any]

# An epoch is at most this many batches, so that the validation comes round on long data too.
MAX_BATCHES = 200
DEFAULT_BATCHES = 2_400  # in all, where the number of epochs is left open
MANY_WINDOWS = 10_000  # for which a larger network and larger batches pay

# Inputs (a list of arrays) and targets (N, M, H) of the windows of these numbers.
Gather = Callable[[NDArray[np.intp]], tuple[list[Array], Array]]


def default_val_size(shortest: int, h: int) -> int:
    """Return how many steps validate: with h of them there is one window a series, no more.

    >>> default_val_size(100, 12), default_val_size(60, 12), default_val_size(1000, 12)
    (24, 12, 100)
    """
    return max(2 * h if shortest >= 8 * h else h, shortest // 10)


@dataclass(frozen=True)
class TrainPlan:
    """How long and how fast to train.

    Attributes:
        epochs: At most.
        batches: Of an epoch.
        batch_size: Windows a batch.
        patience: Epochs without a better validation loss before the end.
        learning_rate: Of Adam at its highest: it rises over the first twentieth of all batches
            and falls to 0 along a cosine.
        seed: Of the order of the windows.
    """

    epochs: int
    batches: int
    batch_size: int
    patience: int
    learning_rate: float
    seed: int

    @classmethod
    def of(
        cls,
        num_windows: int,
        *,
        epochs: int | None,
        batch_size: int | None,
        patience: int,
        learning_rate: float,
        seed: int,
    ) -> TrainPlan:
        """Return the plan for so many windows; None is worked out."""
        size = batch_size or (256 if num_windows >= MANY_WINDOWS else 64)
        size = min(size, num_windows)
        batches = min(-(-num_windows // size), MAX_BATCHES)
        most = epochs or min(max(1, DEFAULT_BATCHES // batches), 100)
        return cls(most, batches, size, patience, learning_rate, seed)

    def course(self) -> keras.optimizers.schedules.LearningRateSchedule:
        """Return the learning rate by the number of the batch."""
        total = self.epochs * self.batches
        rise = max(1, total // 20)
        return keras.optimizers.schedules.CosineDecay(
            self.learning_rate / rise,
            max(1, total - rise),
            warmup_target=self.learning_rate,
            warmup_steps=rise,
        )


def train(
    model: keras.Model,
    loss: Callable[[Any, Any], Any],
    plan: TrainPlan,
    num_windows: int,
    gather: Gather,
    validate: Callable[[], tuple[float, Any]],
    progress: Progress | None,
    *,
    keep_best: bool,
) -> tuple[list[float], Any]:
    """Train `model` and leave it with the weights of its best validation loss.

    Args:
        model: As from `build_net`.
        loss: Of targets and raw outputs, a number a window.
        plan: How long and how fast.
        num_windows: Windows to train on.
        gather: Returns inputs and targets for window numbers.
        validate: Returns the validation loss and whatever goes with the weights of this moment.
        progress: Called after each epoch with (epoch, epochs, validation loss).
        keep_best: Whether Ctrl-C ends the training with a warning, or goes on to the caller.

    Returns:
        The validation losses, before training and then after each epoch (the untrained network is
        a candidate: it is the linear forecast alone), and what went with the best one.
    """
    optimizer = Adam(plan.course(), global_clipnorm=1.0)
    model.compile(optimizer=optimizer, loss=loss)
    rng = np.random.default_rng(plan.seed)
    first, note = validate()
    losses = [first]
    best, best_epoch, weights = first, 0, copy_weights(model)
    try:
        with interruptible() as interrupt:
            for epoch in range(1, plan.epochs + 1):
                with training_steps(model) as step:
                    for index in _batches(rng, num_windows, plan):
                        step(*gather(index))
                        interrupt.check()
                last, now = validate()
                losses.append(last)
                if last < best:
                    best, best_epoch, weights, note = last, epoch, copy_weights(model), now
                if progress is not None:
                    progress(epoch, plan.epochs, last)
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
    return losses, note


def _batches(
    rng: np.random.Generator, num_windows: int, plan: TrainPlan
) -> Sequence[NDArray[np.intp]]:
    """Return the window numbers of an epoch's batches, all of one size so that JAX compiles once.

    The order is drawn anew each epoch and wraps round to fill the last batch.
    """
    order = np.resize(rng.permutation(num_windows), plan.batches * plan.batch_size)
    return np.split(order, plan.batches)


def without_optimizer(model: keras.Model) -> keras.Model:
    """Return the same layers as a model that saves a third of the bytes: Adam keeps two moments."""
    return keras.Model(model.inputs, model.outputs[0], name=model.name)


PREDICT_BATCH = 256


def predict(model: keras.Model, inputs: list[Array]) -> Array:
    """Return the raw outputs (N, M, H, R) for inputs whose first axis is N.

    Batches are padded to a power of two, so that few shapes are ever compiled.
    """
    parts = []
    for start in range(0, len(inputs[0]), PREDICT_BATCH):
        pieces = [np.asarray(v[start : start + PREDICT_BATCH], "float32") for v in inputs]
        n = len(pieces[0])
        padded = [np.resize(v, (1 << (n - 1).bit_length(), *v.shape[1:])) for v in pieces]
        parts.append(np.asarray(model.predict_on_batch(padded))[:n])
    return np.concatenate(parts)
