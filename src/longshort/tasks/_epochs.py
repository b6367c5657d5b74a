"""The loop over epochs: the best weights are kept, whoever ends it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from longshort._errors import DataError
from longshort.tasks._training import Interrupt, Progress, copy_weights, interruptible


def run_epochs(
    model: Any,
    one_epoch: Callable[[Interrupt], float],
    validate: Callable[[], float] | None,
    *,
    name: str,
    epochs: int,
    patience: int,
    progress: Progress | None,
) -> list[float]:
    """Train until the end, a lack of progress, or Ctrl-C; leave the model with its best weights.

    Args:
        model: The Keras model that `one_epoch` trains.
        one_epoch: Trains a pass over the data, calls `check` of what it is given after each step,
            and returns the training loss.
        validate: Returns the validation loss; None: there is none, and the last epoch is the best.
        name: Of the task, for the warning.
        epochs: At most.
        patience: Epochs without a better validation loss before the end.
        progress: Called after each epoch with (epoch, epochs, loss).

    Returns:
        The loss of each epoch: of validation where there is one.

    Raises:
        DataError: No loss was a finite number.
        KeyboardInterrupt: Ctrl-C before the end of the first epoch.
    """
    best: list[np.ndarray] = []
    history: list[float] = []
    lowest, waited = np.inf, 0
    try:
        with interruptible() as interrupt:
            for epoch in range(1, epochs + 1):
                loss = one_epoch(interrupt)
                if validate is not None:
                    loss = validate()
                history.append(loss)
                waited += 1
                if np.isfinite(loss) and (loss < lowest or validate is None):
                    best, lowest, waited = copy_weights(model), loss, 0
                if progress is not None:
                    progress(epoch, epochs, loss)
                interrupt.check()
                if validate is not None and waited >= patience:
                    break
    except KeyboardInterrupt:
        if not best:
            raise
        warnings.warn(
            f"{name}: training was interrupted after {len(history)} of {epochs} epochs; the best "
            "weights so far are kept.",
            stacklevel=4,
        )
    if not best:
        raise DataError(
            f"{name}: training diverged, the loss was never a finite number; lower learning_rate."
        )
    model.set_weights(best)
    return history
