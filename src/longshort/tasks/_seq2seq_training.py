"""Train an encoder-decoder on pairs of sentences, with teacher forcing."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from longshort.tasks._course import Course
from longshort.tasks._epochs import run_epochs
from longshort.tasks._seq2seq_net import Seq2SeqNet
from longshort.tasks._seq2seq_pairs import Pairs, arrays, pair_batches
from longshort.tasks._seq2seq_scoring import Scorer
from longshort.tasks._token_loss import as_it_is
from longshort.tasks._training import Progress
from longshort.tasks._training_steps import training_steps

# Steps of a training whose epochs are not given: 20 passes over 29,000 pairs in batches of 64.
USUAL_STEPS, MOST_EPOCHS = 9_000, 100
RISE = 400  # steps until the learning rate is at its highest


@dataclass(frozen=True)
class Seq2SeqSchedule:
    """How long, how fast, and in what portions to train.

    Attributes:
        batch_size: Most pairs of a step.
        epochs: Most passes; None: so many that there are some 9,000 steps, 100 at most.
        learning_rate: At its highest.
        clip_norm: Most that the norm of all gradients together may be.
        patience: Epochs without a lower validation loss before the end.
        max_minutes: Time after which training ends, or None.
        precision: Of products, see `products_in`.
        seed: Shuffles.
    """

    batch_size: int
    epochs: int | None
    learning_rate: float
    clip_norm: float
    patience: int
    max_minutes: float | None
    precision: str
    seed: int


def train(
    net: Seq2SeqNet, pairs: Pairs, held: Pairs, plan: Seq2SeqSchedule, progress: Progress | None
) -> tuple[list[np.ndarray], list[float]]:
    """Train with Adam; stop on the held-out pairs where there are any.

    Args:
        net: The network.
        pairs: To train on.
        held: To stop on; may be empty.
        plan: How.
        progress: Called after each epoch with (epoch, epochs, loss).

    Returns:
        The weights of `net.model` of the best epoch (of the last if nothing is held out), and the
        losses: validation loss in nats a token, or the training loss.

    Raises:
        DataError: If the loss was never finite.
    """
    from longshort.optimizers import Adam

    rng, scorer, model = np.random.default_rng([plan.seed, 1]), Scorer(net), net.trainer
    lengths = pairs.lengths
    steps = len(pair_batches(lengths, plan.batch_size, np.random.default_rng(0)))
    epochs = plan.epochs or min(max(1, round(USUAL_STEPS / steps)), MOST_EPOCHS)
    course = Course(plan.learning_rate, steps * epochs, RISE, plan.max_minutes)
    optimizer = Adam(course.rate(0.0), beta_2=0.98, epsilon=1e-8, global_clipnorm=plan.clip_norm)
    model.compile(optimizer=optimizer, loss=as_it_is)

    def train_steps() -> Generator[float, None, None]:
        with training_steps(model, plan.precision) as step:
            for batch in pair_batches(lengths, plan.batch_size, rng):
                rate = course.next()
                if rate is None:
                    return
                source, target, following = arrays(pairs, batch)
                yield step([source, target, following], following, rate=rate)

    return run_epochs(
        net.model,
        train_steps,
        (lambda: scorer.mean_loss(held.sources, held.targets)) if len(held) else None,
        epochs=epochs,
        patience=plan.patience,
        progress=progress,
        ended=lambda: course.ended,
    )
