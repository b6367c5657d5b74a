"""The learning rate over a training that may be limited in time."""

from __future__ import annotations

import math
import time


class Course:
    """A short rise, then a cosine to zero, by steps or by time, whichever is further on.

    The clock starts with the construction.

    Args:
        peak: Highest rate.
        steps: Of the whole training.
        rise: Most steps of the rise, which is a tenth of all at most.
        max_minutes: Time after which training ends, or None.

    Attributes:
        done: Steps taken.
        ended: Whether time is over; never before the first step.

    Example:
        >>> course = Course(0.1, steps=40, rise=4)
        >>> rates = [course.next() for _ in range(40)]
        >>> [round(rates[step], 3) for step in (0, 3, 4, 20, 39)]
        [0.025, 0.075, 0.098, 0.05, 0.0]
    """

    def __init__(
        self, peak: float, steps: int, rise: int, max_minutes: float | None = None
    ) -> None:
        self.peak, self.steps, self.rise = peak, steps, min(rise, steps // 10)
        self.seconds = None if max_minutes is None else 60 * max_minutes
        self.began, self.done, self.ended = time.monotonic(), 0, False

    def rate(self, share: float) -> float:
        """Return the rate after a share of the training."""
        rise = self.rise / self.steps
        if share < rise:
            return self.peak * max(share, 1 / self.steps) / rise
        return self.peak * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))

    def next(self) -> float | None:
        """Return the rate of the next step, or None if time is over."""
        share = self.done / self.steps
        if self.seconds is not None:
            passed = (time.monotonic() - self.began) / self.seconds
            self.ended = passed >= 1.0 and self.done > 0
            if self.ended:
                return None
            share = max(share, passed)
        self.done += 1
        return self.rate(share)
