"""Train and run the transcriber's network on features of different lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longshort.data._batches import Batch, fixed_batches, shuffled_batches
from longshort.data._sequences import pad_sequences
from longshort.layers import CTCLoss
from longshort.tasks._ctc_decoding import best_path
from longshort.tasks._epochs import run_epochs
from longshort.tasks._error_rates import edit_distance
from longshort.tasks._scores import log_softmax
from longshort.tasks._training import Progress

Array = NDArray[np.floating]
Labels = tuple[int, ...]
Augment = Callable[[Array, np.random.Generator], Array]


@dataclass(frozen=True)
class Utterances:
    """Recordings to learn from or to be scored on.

    Attributes:
        features: For each recording its normalised features (T, D), once for each speed; the
            first is the recording as it is.
        labels: What is said, 1 to K.
    """

    features: list[list[Array]]
    labels: list[Labels]

    def __len__(self) -> int:
        return len(self.labels)


def train_transcriber(
    model: Any,
    training: Utterances,
    held: Utterances,
    steps: Callable[[int], int],
    augment: Augment,
    *,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    patience: int,
    rng: np.random.Generator,
    progress: Progress | None,
) -> tuple[list[np.ndarray], list[float]]:
    """Train by the CTC loss, stop by the share of wrong labels in the held-out part.

    The loss rises again long before a network stops to make fewer errors; so errors decide, and
    the loss, a thousandth of it, where these are equal.

    Args:
        model: As from `build_transcriber`.
        training: To train on.
        held: To stop on; may be empty.
        steps: Steps of the network for a number of frames.
        augment: Changes features in training.
        learning_rate: Of Adam, falling to 0 along a cosine.
        epochs: At most.
        batch_size: Recordings a step.
        patience: Epochs without a better score before the end.
        rng: Shuffles, chooses speeds, augments.
        progress: Called with epoch, epochs and the score.

    Returns:
        The weights of the best epoch (of the last if nothing is held out) and the score of each
        (or its training loss).
    """
    import keras

    batch_size = min(batch_size, len(training))
    batches = -(-len(training) // batch_size)
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(learning_rate, epochs * batches),
            global_clipnorm=5.0,
        ),
        loss=CTCLoss(),
    )
    width = max(map(len, training.labels))

    def train_steps() -> Iterator[float]:
        features = [
            one[int(rng.integers(len(one)))] if len(one) > 1 else one[0]
            for one in training.features
        ]
        for batch in shuffled_batches([len(x) for x in features], batch_size, rng):
            changed = [augment(features[i], rng) for i in batch.rows]
            labels = [training.labels[i] for i in batch.rows]
            counts = [steps(len(x)) for x in changed]
            # Rows of padding say nothing in one step and do not count.
            extra = batch.size - len(labels)
            targets = CTCLoss.pack(labels + [()] * extra, counts + [1] * extra, width)
            x = pad_sequences(changed, batch.length, size=batch.size)
            yield float(model.train_on_batch(x, targets, batch.weights))

    def validate() -> float:
        log_probs = label_log_probs(model, [one[0] for one in held.features], steps)
        return label_errors(log_probs, held.labels) + 1e-3 * ctc_loss(log_probs, held.labels)

    return run_epochs(
        model,
        train_steps,
        validate if len(held) else None,
        epochs=epochs,
        patience=patience,
        progress=progress,
    )


def label_log_probs(
    model: Any, features: Sequence[Array], steps: Callable[[int], int]
) -> list[Array]:
    """Return for each recording its log probabilities (T', K + 1), whoever else is in the list."""
    found: list[Array] = [np.zeros((0, 0))] * len(features)
    lengths = [len(x) for x in features]
    for batch in fixed_batches(lengths, max(lengths)):
        logits = np.asarray(model.predict_on_batch(_pad(features, batch)))
        for row, i in zip(logits, batch.rows, strict=False):
            found[i] = log_softmax(row[: steps(lengths[i])])
    return found


def label_errors(log_probs: Sequence[Array], labels: Sequence[Labels]) -> float:
    """Return the edits of the best paths over the number of labels."""
    edits = sum(
        edit_distance(best_path(p), wanted) for p, wanted in zip(log_probs, labels, strict=True)
    )
    return edits / max(1, sum(map(len, labels)))


def ctc_loss(log_probs: Sequence[Array], labels: Sequence[Labels]) -> float:
    """Return the mean CTC loss, in nats."""
    from keras import ops

    losses = []
    lengths = [len(p) for p in log_probs]
    width = max(1, *map(len, labels))
    for batch in fixed_batches(lengths, max(lengths)):
        parts = [log_probs[i] for i in batch.rows]
        extra = batch.size - len(parts)
        rows = [labels[i] for i in batch.rows]
        targets = CTCLoss.pack(rows + [()] * extra, [len(p) for p in parts] + [1] * extra, width)
        logits, _ = pad_sequences(parts, batch.length, size=batch.size)
        values = ops.convert_to_numpy(CTCLoss(reduction="none")(targets, logits))
        losses.append(values[: len(parts)])
    return float(np.concatenate(losses).mean())


def _pad(features: Sequence[Array], batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    return pad_sequences([features[i] for i in batch.rows], batch.length, size=batch.size)
