"""Train a language model: truncated backpropagation through time with a carried state."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from longshort.tasks._course import Course
from longshort.tasks._epochs import run_epochs
from longshort.tasks._language_net import LanguageNet
from longshort.tasks._language_scoring import Scorer
from longshort.tasks._token_loss import as_it_is
from longshort.tasks._training import Progress
from longshort.tasks._training_steps import training_steps

# Called after each training step with the tokens seen so far, those of the whole training, and the
# loss of the step in nats a token.
OnStep = Callable[[int, int, float], object]

# Steps of a training whose epochs are not given: nine passes over a million characters in steps of
# 16 x 64. Less text gets more passes, but not without end.
USUAL_STEPS, MOST_EPOCHS = 8_500, 60
RISE = 100  # steps until the learning rate is at its highest


@dataclass(frozen=True)
class LanguagePlan:
    """How long, how fast, and in what portions to train.

    Attributes:
        batch_size: B, parts of the text side by side.
        length: T, tokens of a step.
        steps: Steps of an epoch.
        epochs: Most passes.
        learning_rate: At the start; falls to zero along a cosine.
        clip_norm: Most that the norm of all gradients together may be.
        num_sampled: Tokens that stand for all in the softmax of a step, or None for all.
        patience: Epochs without a better validation loss before stopping.
        max_minutes: Time after which training ends, or None.
        precision: Of products, see `products_in`.
        seed: Decides where each epoch begins.
    """

    batch_size: int
    length: int
    steps: int
    epochs: int
    learning_rate: float
    clip_norm: float
    num_sampled: int | None
    patience: int
    max_minutes: float | None
    precision: str
    seed: int

    @classmethod
    def of(
        cls, num_tokens: int, *, batch_size: int, length: int, epochs: int | None, **rest: Any
    ) -> LanguagePlan:
        """Return the plan for so many tokens to predict; short texts get fewer and shorter rows."""
        batch_size = min(batch_size, max(1, num_tokens // length))
        length = min(length, num_tokens // batch_size)
        steps = num_tokens // batch_size // length
        epochs = epochs or min(max(1, round(USUAL_STEPS / steps)), MOST_EPOCHS)
        return cls(batch_size, length, steps, epochs, **rest)

    @property
    def total(self) -> int:
        """Steps of the whole training."""
        return self.steps * self.epochs


def train(
    net: LanguageNet,
    ids: np.ndarray,
    held: np.ndarray,
    plan: LanguagePlan,
    *,
    progress: Progress | None,
    on_step: OnStep | None,
) -> tuple[list[np.ndarray], list[float]]:
    """Train with Adam; stop on the held-out part where there is one.

    The text is cut into B rows that follow one another. Each step goes T tokens on in all rows and
    begins with the state that the last one ended with; gradients end at the step's beginning. An
    epoch begins at a place of its own, so that no token is always the first of a step, for which
    Merity et al. (2018) vary the length: here one length, one compiled program, does.

    Args:
        net: The network.
        ids: Numbers of the tokens, (n,): the first is only seen, all others are predicted too.
        held: Held-out ones, in the same way; may be empty.
        plan: From `LanguagePlan.of`.
        progress: Called after each epoch with (epoch, epochs, loss).
        on_step: Called after each step.

    Returns:
        The weights of `net.model` of the best epoch (of the last without a held-out part), and the
        losses, nats a token.

    Raises:
        DataError: If the loss was never finite.
    """
    from longshort.optimizers import Adam

    model = net.trainer(plan.batch_size, plan.length, plan.num_sampled)
    course = Course(plan.learning_rate, plan.total, RISE, plan.max_minutes)
    optimizer = Adam(course.rate(0.0), beta_2=0.99, global_clipnorm=plan.clip_norm, epsilon=1e-8)
    model.compile(optimizer=optimizer, loss=as_it_is)
    rng, scorer = np.random.default_rng([plan.seed, 1]), Scorer(net)
    per_step = plan.batch_size * plan.length
    epochs = itertools.count(1)

    def train_steps() -> Generator[float, None, None]:
        net.stack.reset_state(plan.batch_size)
        with training_steps(model, plan.precision) as step:
            for inputs, targets in _segments(ids, plan, next(epochs), rng):
                rate = course.next()
                if rate is None:
                    return
                loss = step([inputs, targets], targets, rate=rate)
                if on_step is not None:
                    on_step(course.done * per_step, plan.total * per_step, loss)
                yield loss

    return run_epochs(
        net.model,
        train_steps,
        (lambda: scorer.mean_loss(held)) if len(held) else None,
        epochs=plan.epochs,
        patience=plan.patience,
        progress=progress,
        ended=lambda: course.ended,
    )


def _segments(ids: np.ndarray, plan: LanguagePlan, epoch: int, rng: np.random.Generator) -> Any:
    """Yield the inputs and targets (B, T) of an epoch's steps.

    Rows go round the end of the text, so that every token has its turn; behind the last comes the
    END with which the text begins. Less than a step of each row is left out, elsewhere each time.
    """
    pairs = len(ids) - 1
    offset = int(rng.integers(pairs)) if epoch > 1 else 0
    rows = offset + np.arange(plan.batch_size)[:, None] * (pairs // plan.batch_size)
    for step in range(plan.steps):
        places = (rows + step * plan.length + np.arange(plan.length)) % pairs
        yield ids[places].astype(np.int32), ids[places + 1].astype(np.int32)
