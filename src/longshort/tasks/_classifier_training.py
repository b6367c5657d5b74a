"""Train and run a Keras model that maps padded sequences and their mask to logits.

A sequence is an array (T_i, D) of measurements or (T_i,) of numbers of tokens. Targets are (n,)
class indices, or (n, K) of 0 and 1 where several labels may apply to a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from longshort.data._batches import Batch, shuffled_batches, sorted_batches
from longshort.data._sequences import pad_sequences
from longshort.tasks._epochs import run_epochs
from longshort.tasks._member_training import begin_anew
from longshort.tasks._scores import log_softmax
from longshort.tasks._training import Progress
from longshort.tasks._training_steps import training_steps

# Lengths and the longest of the training part to batches.
Divide = Callable[[Sequence[int], int], tuple[Batch, ...]]


def held_out(targets: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Choose a validation part evenly from each class.

    Args:
        targets: (n,) class indices, or (n, K) of 0 and 1, which are divided evenly by the rarest
            label of each sequence.
        share: Of the sequences, 0 to below 1.
        rng: Decides which.

    Returns:
        (n,) booleans, True where held out. Each class keeps at least one for training.

    Example:
        >>> held_out(np.array([0] * 8 + [1] * 4), 0.25, np.random.default_rng(0)).sum()
        np.int64(3)
    """
    if targets.ndim == 2:
        targets = _rarest(targets)
    order = rng.permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    # Every (1/share)-th in the order of classes: no class is off by more than one.
    ticks = np.floor(rng.random() + share * np.arange(len(order) + 1))
    taken = np.diff(ticks) > 0
    part = np.zeros(len(targets), dtype=bool)
    part[order[taken]] = True
    for k in np.unique(targets[part]):
        members = targets == k
        if part[members].all():
            part[members] = False
    return part


def _rarest(targets: np.ndarray) -> np.ndarray:
    """Return the rarest label of each row of (n, K), K where it has none."""
    order = np.argsort(targets.sum(axis=0), kind="stable")
    first = targets[:, order].argmax(axis=1)
    return np.where(targets.any(axis=1), order[first], targets.shape[1])


def train(
    model: Any,
    sequences: Sequence[np.ndarray],
    targets: np.ndarray,
    held: Sequence[np.ndarray],
    held_targets: np.ndarray,
    *,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    patience: int,
    longest: int,
    rng: np.random.Generator,
    progress: Progress | None,
    weights: np.ndarray | None = None,
    precision: str = "float32",
    label_smoothing: float = 0.0,
    divide: Divide = sorted_batches,
    check: Callable[[], object] = lambda: None,
    again: bool = False,
) -> tuple[list[np.ndarray], list[float]]:
    """Train with Adam; stop on the held-out part where there is one.

    Args:
        model: Keras model ((B, T, D) or (B, T), (B, T)) to (B, K) logits.
        sequences: n arrays (T_i, D) or (T_i,) to train on.
        targets: (n,) class indices, or (n, K).
        held: Held-out sequences; may be empty.
        held_targets: Their targets.
        learning_rate: At the start; falls to zero along a cosine.
        epochs: Most passes.
        batch_size: Sequences a step.
        patience: Epochs without a better held-out loss before stopping.
        longest: Most steps of the training part; bounds the padding.
        rng: Shuffles.
        progress: Called with epoch, epochs, loss.
        weights: (n,) how much each sequence counts, of mean 1; None: all the same.
        precision: Of products, see `products_in`.
        label_smoothing: Share of a label's probability that is spread over all classes in training;
            for one label a sequence.
        divide: How held-out sequences are put into batches.
        check: Called after each step; may raise KeyboardInterrupt, which ends training.
        again: Whether the model was trained here before, with the same arguments and other weights:
            the optimizer begins anew, and what was compiled serves once more.

    Returns:
        The weights of the best epoch (of the last without a held-out part) and the losses.

    Raises:
        DataError: If the loss was never finite.
    """
    import keras

    from longshort.optimizers import Adam

    lengths = [len(x) for x in sequences]
    batch_size = min(batch_size, len(sequences))
    steps = -(-len(sequences) // batch_size)
    if again:
        begin_anew(model)
    else:
        model.compile(
            optimizer=Adam(
                keras.optimizers.schedules.CosineDecay(learning_rate, epochs * steps),
                global_clipnorm=1.0,
            ),
            loss=_loss(targets.ndim == 2, label_smoothing),
        )

    def train_steps() -> Generator[float, None, None]:
        with training_steps(model, precision) as step:
            for batch in shuffled_batches(lengths, batch_size, rng):
                x, y = _pad(sequences, batch), batch.take(targets)
                # The mean over all rows: padding counts, as 0; so the mean over steps is one over
                # rows.
                counts = batch.weights if weights is None else batch.take(weights)
                mean = step(x, y, counts)
                check()
                yield mean * batch_size * steps / len(sequences)

    def validate() -> float:
        return cross_entropy(logits(model, held, longest, divide), held_targets)

    return run_epochs(
        model,
        train_steps,
        validate if held else None,
        epochs=epochs,
        patience=patience,
        progress=progress,
    )


def _loss(several: bool, smoothing: float) -> Any:
    """Return the Keras loss of logits; several: any number of labels a sequence."""
    import keras
    from keras import ops

    if several:
        return keras.losses.BinaryCrossentropy(from_logits=True)
    if smoothing == 0:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    class Smoothed(keras.losses.Loss):  # type: ignore[misc]
        """Keras' own smooths only targets that are written out as (B, K)."""

        def call(self, y_true: Any, y_pred: Any) -> Any:
            wanted = ops.cast(ops.reshape(y_true, (-1,)), "int32")  # Keras makes them floats
            kind = ops.one_hot(wanted, y_pred.shape[-1], dtype=y_pred.dtype)
            return ops.categorical_crossentropy(
                (1 - smoothing) * kind + smoothing / y_pred.shape[-1], y_pred, from_logits=True
            )

    return Smoothed()


def logits(
    model: Any, sequences: Sequence[np.ndarray], longest: int, divide: Divide = sorted_batches
) -> np.ndarray:
    """Run the model in batches of few shapes.

    Args:
        model: Keras model ((B, T, D) or (B, T), (B, T)) to (B, K).
        sequences: n arrays (T_i, D) or (T_i,).
        longest: Most steps of the training part.
        divide: How they are put into batches.

    Returns:
        (n, K) float64, in the order of `sequences`.
    """
    batches = divide([len(x) for x in sequences], longest)
    parts = [model.predict_on_batch(_pad(sequences, batch)) for batch in batches]
    result = np.empty((len(sequences), parts[0].shape[1]))
    for batch, values in zip(batches, parts, strict=True):
        result[batch.rows] = values[: len(batch.rows)]
    return result


def cross_entropy(values: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean cross entropy, in nats, of (n, K) logits and (n,) or (n, K) targets."""
    if targets.ndim == 2:  # the mean over labels too, as Keras has it
        return float((np.logaddexp(0, values) - targets * values).mean())
    return float(-log_softmax(values)[np.arange(len(targets)), targets].mean())


def _pad(sequences: Sequence[np.ndarray], batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    whole = sequences[0].dtype.kind == "i"
    return pad_sequences(
        [sequences[i] for i in batch.rows],
        batch.length,
        size=batch.size,
        dtype=np.int32 if whole else np.float32,
    )
