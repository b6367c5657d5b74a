"""Train the networks of a tagger, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from longshort.data._batches import shuffled_batches
from longshort.tasks._epochs import run_epochs
from longshort.tasks._member_training import Weights, begin_anew, member_seed, train_each
from longshort.tasks._tagger_input import Encoded, pad_rows, rounded, training_inputs
from longshort.tasks._tagger_net import TaggerNet
from longshort.tasks._training import Progress, copy_weights
from longshort.tasks._training_steps import training_steps


@dataclass(frozen=True)
class TaggerSchedule:
    """How long, how fast, and in what portions to train.

    Attributes:
        batch_size: Sentences of a step.
        epochs: Most passes of each network.
        learning_rate: At the start; falls to zero along a cosine.
        word_dropout: Share of the occurrences of rare words that are taken for unknown.
        patience: Epochs without a lower validation error before the end.
        precision: Of products, see `products_in`.
        seed: Of all.
    """

    batch_size: int
    epochs: int
    learning_rate: float
    word_dropout: float
    patience: int
    precision: str
    seed: int


def train_taggers(
    nets: list[TaggerNet],
    encoded: Encoded,
    targets: list[np.ndarray],
    rare: np.ndarray,
    error: Callable[[], float] | None,
    plan: TaggerSchedule,
    progress: Progress | None,
) -> tuple[list[Weights], list[float]]:
    """Train the members with one compiled program, that of the first.

    They differ in their first weights, the order of sentences and what is dropped. Ctrl-C as in
    `train_each`.

    Args:
        nets: The members, with the weights that each begins with.
        encoded: Sentences to train on.
        targets: Numbers of their tags.
        rare: Which words are.
        error: Returns that of the first network on the validation part; None: there is none.
        plan: How.
        progress: Called after each epoch of all members with its number, their number, the error.

    Returns:
        The weights of each member that was trained, and the errors of the first.
    """
    import keras

    from longshort.optimizers import Adam

    size = min(plan.batch_size, len(encoded.words))
    total = plan.epochs * -(-len(encoded.words) // size)
    net = nets[0]
    net.model.compile(
        optimizer=Adam(
            keras.optimizers.schedules.CosineDecay(plan.learning_rate, total), global_clipnorm=1.0
        ),
        loss=net.crf.loss,
    )

    def train_one(
        number: int, progress: Progress, check: Callable[[], object]
    ) -> tuple[Weights, list[float]]:
        rng = np.random.default_rng([member_seed(plan.seed, number), 1])
        if number:
            net.model.set_weights(copy_weights(nets[number].model))
            begin_anew(net.model)

        def steps() -> Generator[float, None, None]:
            with training_steps(net.model, plan.precision) as step:
                for batch in shuffled_batches(rounded(encoded.lengths), size, rng):
                    inputs = training_inputs(encoded, batch, rare, plan.word_dropout, rng)
                    loss = step(inputs, pad_rows(targets, batch, -1))
                    check()
                    yield loss

        return run_epochs(
            net.model,
            steps,
            error,
            epochs=plan.epochs,
            patience=plan.patience,
            progress=progress,
        )

    return train_each(train_one, len(nets), plan.epochs, progress)
