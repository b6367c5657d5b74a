"""Ctrl-C during training, noticed between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
