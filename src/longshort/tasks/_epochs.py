"""A training loop over epochs: it stops when a validation error no longer falls."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import numpy as np

from longshort._errors import DataError
from longshort.tasks._training import Progress, copy_weights, interruptible


def run_epochs(
    model: Any,
    steps: Callable[[], Generator[float, None, None]],
    validate: Callable[[], float] | None,
    *,
    epochs: int,
    patience: int,
    progress: Progress | None,
    ended: Callable[[], bool] = lambda: False,
) -> tuple[list[np.ndarray], list[float]]:
    """Train epoch after epoch.

    Args:
        model: Keras model, whose weights the steps change.
        steps: Makes the training steps of one epoch, each when the next loss is asked for.
        validate: Returns what is to fall; None: the mean loss of the steps is reported, and the
            last epoch kept.
        epochs: Most passes.
        patience: Epochs without a lower validation error before the end.
        progress: Called with epoch, epochs, error.
        ended: Whether training is over for a reason of its own, such as a limit of time; asked
            after each epoch. `steps` may then stop early too.

    Returns:
        The weights of the best epoch and the errors of all.

    Raises:
        DataError: If no epoch's error was finite.
    """
    best: list[np.ndarray] = []
    history: list[float] = []
    lowest, waited = np.inf, 0
    try:
        with interruptible() as interrupt:
            for epoch in range(1, epochs + 1):
                losses = []
                # Closed at once where Ctrl-C ends it: only then does the model have its weights.
                with closing(steps()) as running:
                    for loss in running:
                        losses.append(loss)
                        interrupt.check()
                if not losses:  # it had ended before the epoch began
                    break
                error = float(np.mean(losses))
                trained = np.isfinite(error)
                if validate is not None and trained:
                    error = validate()
                finite = np.isfinite(error)
                history.append(error)
                waited += 1
                if finite and (validate is None or error < lowest):
                    lowest, waited = error, 0
                # Of equal errors, which are common in small validation parts, the later: its
                # probabilities are surer.
                if finite and (validate is None or error <= lowest):
                    best = copy_weights(model)
                if progress is not None:
                    progress(epoch, epochs, error)
                interrupt.check()
                if not trained or ended() or (waited >= patience and validate is not None):
                    break
    except KeyboardInterrupt:
        if not best:
            raise
        warnings.warn(
            f"Training was interrupted after {len(history)} of {epochs} epochs; "
            "the best weights so far are kept.",
            stacklevel=4,
        )
    if not best:
        raise DataError(
            "Training diverged: the loss was never a finite number. Lower learning_rate or check "
            "the data for extreme values."
        )
    return best, history
