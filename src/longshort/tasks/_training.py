"""What the training loops of all tasks share: progress, a copy of the weights, Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np

# Called after each epoch with its number (from 1), the most there will be, and the loss.
Progress = Callable[[int, int, float], object]


def copy_weights(model: Any) -> list[np.ndarray]:
    """Return the weights of a Keras model as copies: a training step reuses their memory.

    `model.get_weights` reads them in a way that NumPy 2 warns about.
    """
    from keras import ops

    return [np.array(ops.convert_to_numpy(variable.value)) for variable in model.weights]


class Interrupt:
    """Whether Ctrl-C was pressed."""

    requested = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if it was; to be called after each step and each epoch."""
        if self.requested:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Note Ctrl-C instead of raising it at once; a second one is raised at once.

    Keras waits for the result of a step within a bare `except: pass`, where a KeyboardInterrupt
    gets lost, so training asks after each step instead. Outside the main thread, which gets no
    signals, and where the program has a handler of its own, nothing is noted and nothing changes.

    Example:
        >>> with interruptible() as interrupt:
        ...     signal.raise_signal(signal.SIGINT)
        ...     interrupt.requested
        True
    """
    interrupt = Interrupt()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupt
        return

    def note(number: int, frame: FrameType | None) -> None:
        if interrupt.requested:
            signal.default_int_handler(number, frame)
        interrupt.requested = True

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def random_part(n: int, share: float, seed: int) -> np.ndarray:
    """Return which of n things are held out, (n,) booleans, by chance; at least one is not.

    >>> random_part(10, 0.25, seed=1).sum(), random_part(1, 0.9, seed=1).sum()
    (np.int64(2), np.int64(0))
    """
    part = np.zeros(n, dtype=bool)
    count = min(round(share * n), n - 1)
    part[np.random.default_rng([seed, 0]).permutation(n)[:count]] = True
    return part
