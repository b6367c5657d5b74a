"""The progress of a training on a terminal: epochs, validation loss, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TimeLeft:
    """Estimate how long a training goes on, from the epochs so far.

    The first epoch compiles and says little, so the estimate begins with the second. It is an upper
    bound where a training may stop early.

    Args:
        clock: Returns seconds.

    Example:
        >>> seconds = iter([0.0, 30.0, 32.0])
        >>> left = TimeLeft(lambda: next(seconds))
        >>> left.after(1, 12), left.after(2, 12)
        (None, 20.0)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.began = clock()
        self.epoch = 0
        self.first: tuple[int, float] | None = None

    def after(self, epoch: int, epochs: int) -> float | None:
        """Return the seconds left after this epoch of at most `epochs`, None where unknown."""
        now = self.clock()
        if self.first is None or epoch <= self.epoch:  # the first one, or a new training
            self.first = epoch, now
        self.epoch = epoch
        since, then = self.first
        if epoch == since:
            return None
        return (now - then) / (epoch - since) * (epochs - epoch)


def show_seconds(seconds: float) -> str:
    """Return a duration in words, of two units at most.

    Example:
        >>> show_seconds(7.4), show_seconds(125), show_seconds(3725)
        ('7 s', '2 min 5 s', '1 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def progress_bar(
    title: str, rounds: int = 1, loss_name: str = "validation loss"
) -> Iterator[Callable[[int, int, float], None] | None]:
    """Give a callback that draws a bar on standard error, or None where that is no terminal.

    Args:
        title: What goes on.
        rounds: Trainings that follow one another, each counting its epochs from 1.
        loss_name: What to call the loss.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    left, current, before = TimeLeft(), 1, 0

    def name() -> str:
        return title if rounds == 1 else f"{title} {current}/{rounds}"

    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        # Before the first epoch is done, nothing but the time that passes is known.
        line = bar.add_task(name(), total=None, state="preparing")

        def step(epoch: int, epochs: int, loss: float) -> None:
            nonlocal current, before
            if epoch <= before:
                current += 1
            before = epoch
            state = f"epoch {epoch}/{epochs}, {loss_name} {loss:.4f}"
            rest = left.after(epoch, epochs)
            if rest is not None:
                state += f", at most {show_seconds(rest)} left"
            bar.update(line, description=name(), completed=epoch, total=epochs, state=state)

        yield step
