"""Train and run the transcriber's network on features of different lengths."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longshort.data._batches import Batch, fixed_batches, shuffled_batches
from longshort.data._sequences import pad_sequences
from longshort.layers import CTCLoss
from longshort.layers._ctc import frames_needed
from longshort.tasks._ctc_decoding import BLANK, best_path, ctc_losses
from longshort.tasks._epochs import run_epochs
from longshort.tasks._error_rates import edit_distance
from longshort.tasks._member_training import begin_anew
from longshort.tasks._scores import log_softmax
from longshort.tasks._training import Progress
from longshort.tasks._training_steps import training_steps

Array = NDArray[np.floating]
Labels = tuple[int, ...]
# From features, the least and the most frames of the result, and what draws, to other features.
Augment = Callable[[Array, int, int, np.random.Generator], Array]


@dataclass(frozen=True)
class Utterances:
    """Recordings to learn from or to be scored on.

    Attributes:
        features: For each recording its normalised features (T, D).
        labels: What is said, 1 to K.
    """

    features: list[Array]
    labels: list[Labels]

    def __len__(self) -> int:
        return len(self.labels)


def train_transcriber(
    model: Any,
    training: Utterances,
    held: Utterances,
    reduction: int,
    augment: Augment | None,
    *,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    patience: int,
    precision: str,
    rng: np.random.Generator,
    progress: Progress | None,
    check: Callable[[], object],
    again: bool,
) -> tuple[list[np.ndarray], list[float]]:
    """Train by the CTC loss, stop by the share of wrong labels in the held-out part.

    The loss rises again long before a network stops to make fewer errors; so errors decide, and
    the loss, a thousandth of it, where these are equal.

    Args:
        model: As from `build_transcriber`.
        training: To train on.
        held: To stop on; may be empty.
        reduction: Frames of one step of the network.
        augment: Changes features in training; None: nothing does.
        learning_rate: Of Adam, falling to 0 along a cosine.
        epochs: At most.
        batch_size: Recordings a step, at most as many as there are.
        patience: Epochs without a better score before the end.
        precision: Of products, see `products_in`.
        rng: Shuffles and augments.
        progress: Called with epoch, epochs and the score.
        check: Called after each step.
        again: Whether the model was trained before and is to be trained anew.

    Returns:
        The weights of the best epoch (of the last if nothing is held out) and the score of each
        (or its training loss).
    """
    import keras

    from longshort.optimizers import Adam

    last = model.get_layer("logits")
    last.bias.assign(prior_logits(training, reduction, last.units - 1))
    batches = -(-len(training) // batch_size)
    if again:
        begin_anew(model)
    else:
        schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * batches)
        optimizer = Adam(schedule, global_clipnorm=5.0)
        model.compile(optimizer, loss=CTCLoss())
    width = max(map(len, training.labels))

    longest = max(map(len, training.features))
    least = [reduction * frames_needed(labels) for labels in training.labels]

    def train_steps() -> Generator[float, None, None]:
        features = training.features
        if augment is not None:
            pairs = zip(features, least, strict=True)
            features = [augment(x, fewest, longest, rng) for x, fewest in pairs]
        with training_steps(model, precision) as step:
            for batch in shuffled_batches([len(x) for x in features], batch_size, rng, longest):
                labels = [training.labels[i] for i in batch.rows]
                counts = [-(-len(features[i]) // reduction) for i in batch.rows]
                # Rows of padding say nothing in one step and do not count.
                extra = batch.size - len(labels)
                targets = CTCLoss.pack(labels + [()] * extra, counts + [1] * extra, width)
                loss = step(_pad(features, batch), targets, batch.weights)
                check()
                yield loss

    def validate() -> float:
        (log_probs,) = label_log_probs(model, held.features, reduction)
        loss = float(ctc_losses(log_probs, held.labels).mean())
        return label_errors(log_probs, held.labels) + 1e-3 * loss

    return run_epochs(
        model,
        train_steps,
        validate if len(held) else None,
        epochs=epochs,
        patience=patience,
        progress=progress,
    )


def prior_logits(training: Utterances, reduction: int, num_labels: int) -> Array:
    """Return the logits (K + 1,) at which each label is said in one step, and all else is blank.

    A network that starts with even odds says labels all the time, learns to say as many as there
    mostly are, whatever it hears, and may stay there; one that starts nearly silent has to say
    them somewhere, and soon says them where there is a sound. (A bias of this kind is usual where
    classes are rare: Lin et al. 2017, "Focal loss for dense object detection".)

    >>> eight = Utterances([np.zeros((80, 20))], [(1, 2, 2, 1, 1, 2, 1, 2)])
    >>> prior_logits(eight, reduction=2, num_labels=2).round(1)  # odds of 8 to 1
    array([2.1, 0. , 0. ], dtype=float32)
    """
    said = sum(map(len, training.labels))
    silent = max(1, sum(-(-len(x) // reduction) for x in training.features) - said)
    logits = np.zeros(num_labels + 1, np.float32)
    logits[BLANK] = np.log(silent * num_labels / said)
    return logits


def label_log_probs(model: Any, features: Sequence[Array], reduction: int) -> list[list[Array]]:
    """Return log probabilities (T', K + 1) of each member and, for each, of each recording.

    They are the same whoever else is in the list.
    """
    lengths = [len(x) for x in features]
    found: list[list[Array]] = [[np.zeros((0, 0))] * len(features) for _ in model.outputs]
    for batch in fixed_batches(lengths, max(lengths)):
        outputs = model.predict_on_batch(_pad(features, batch))
        each = outputs if len(model.outputs) > 1 else [outputs]
        for logits, results in zip(each, found, strict=True):
            for row, i in zip(np.asarray(logits), batch.rows, strict=False):
                results[i] = log_softmax(row[: -(-lengths[i] // reduction)])
    return found


def label_errors(log_probs: Sequence[Array], labels: Sequence[Labels]) -> float:
    """Return the edits of the best paths over the number of labels."""
    edits = sum(
        edit_distance(best_path(p), wanted) for p, wanted in zip(log_probs, labels, strict=True)
    )
    return edits / max(1, sum(map(len, labels)))


def _pad(features: Sequence[Array], batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    return pad_sequences([features[i] for i in batch.rows], batch.length, size=batch.size)
