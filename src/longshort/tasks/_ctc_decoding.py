"""From the probabilities of a CTC network to labels: the best path, a beam over prefixes, a loss.

Axis letters: T frames, K + 1 columns: the blank first, then K labels 1 to K.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Labels = tuple[int, ...]

BLANK = 0
NEVER = -np.inf

# Log probabilities (K + 1,) of the label after a prefix; column 0 is that of its end.
Scorer = Callable[[Labels], Array]


def best_path(log_probs: Array) -> Labels:
    """Return the labels of the most probable path (T, K + 1): repeats joined, blanks dropped.

    >>> best_path(np.log([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]]))
    (1, 1)
    """
    return collapsed(log_probs.argmax(axis=1))


def collapsed(path: Sequence[int] | NDArray[np.intp], before: int = BLANK) -> Labels:
    """Return a path's labels; `before` is the frame before the first, where there was one.

    >>> collapsed([1, 1, 0, 1, 2, 2])
    (1, 1, 2)
    """
    path = np.asarray(path)
    changes = path != np.concatenate([[before], path[:-1]])
    return tuple(int(k) for k in path[changes & (path != BLANK)])


def ctc_losses(log_probs: Sequence[Array], labels: Sequence[Labels]) -> Array:
    """Return (n,) minus the log of the sum of all paths that say the labels, in nats.

    What `CTCLoss` has for logits, in NumPy and without compiling anything, to score with.

    >>> frame = [0.6, 0.4]
    >>> np.exp(-ctc_losses([np.log([frame, frame]), np.log([frame])], [(1,), ()])).round(2).tolist()
    [0.64, 0.6]
    """
    lengths = np.array([len(p) for p in log_probs])
    ends = np.array([2 * len(row) for row in labels])
    # Blanks around all labels; a path is in one of these states at each step.
    states = np.zeros((len(labels), int(ends.max()) + 1), np.intp)
    for i, row in enumerate(labels):
        states[i, 1 : 2 * len(row) : 2] = row
    # From a label to the next past the blank between, if they differ.
    skips = (states[:, 2:] != BLANK) & (states[:, 2:] != states[:, :-2])
    sums = np.full(states.shape, NEVER)
    sums[:, 0] = 0.0
    for t in range(int(lengths.max())):
        on = np.flatnonzero(t < lengths)
        before = sums[on]
        now = before.copy()
        now[:, 1:] = np.logaddexp(now[:, 1:], before[:, :-1])
        past = np.where(skips[on], before[:, :-2], NEVER)
        now[:, 2:] = np.logaddexp(now[:, 2:], past)
        frame = np.stack([log_probs[i][t] for i in on.tolist()])
        sums[on] = now + np.take_along_axis(frame, states[on], axis=1)
    rows = np.arange(len(labels))
    said = np.where(ends > 0, sums[rows, ends - 1], NEVER)
    return np.asarray(-np.logaddexp(sums[rows, ends], said))


class PrefixBeam:
    """The most probable label sequences, each the sum of all its paths (Hannun et al. 2014).

    "First-pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs".
    With a prefix l, its paths that end in a blank and those that end in a label are summed apart:

        b(l) = sum over its paths that end in a blank, n(l) likewise in a label
        b'(l) = p[blank] (b(l) + n(l))
        n'(l) = p[l's last] n(l) + p[l's last] (b(k) + [other last label] n(k)),  l = k + last

    A scorer adds `weight` times its log probability and `bonus` for each label, and at the end
    `weight` times that of the end. Frames may come in parts: `push` each, then ask for `best`.

    Args:
        beam_size: Prefixes that are kept after each frame.
        scorer: Log probabilities (K + 1,) of what follows a prefix, the end in column 0; called
            once a prefix.
        weight: Of the scorer.
        bonus: For each label: a scorer alone prefers short texts.
        least: Labels whose log probability in a frame lies below this are not tried.

    >>> beam = PrefixBeam(beam_size=4)
    >>> beam.push(np.log([[0.6, 0.4], [0.6, 0.4]]))
    >>> [(labels, round(float(np.exp(score)), 2)) for labels, score in beam.best(2)]
    [((1,), 0.64), ((), 0.36)]
    """

    def __init__(
        self,
        beam_size: int,
        scorer: Scorer | None = None,
        *,
        weight: float = 0.5,
        bonus: float = 0.0,
        least: float = -12.0,
    ):
        self.beam_size, self.scorer = beam_size, scorer
        self.weight, self.bonus, self.least = weight, bonus, least
        # Of each prefix: b, n, and what scorer and bonus have given it, all as logarithms.
        self._beam: dict[Labels, tuple[float, float, float]] = {(): (0.0, NEVER, 0.0)}
        self._next: dict[Labels, Array] = {}

    def push(self, log_probs: Array) -> None:
        """Take frames (T, K + 1) of log probabilities."""
        for frame in np.asarray(log_probs, np.float64):
            self._step(frame)

    def _step(self, frame: Array) -> None:
        tried = [int(k) for k in np.flatnonzero(frame >= self.least) if k != BLANK]
        found: dict[Labels, list[float]] = {}

        def add(prefix: Labels, which: int, value: float, more: float) -> None:
            entry = found.setdefault(prefix, [NEVER, NEVER, more])
            entry[which] = np.logaddexp(entry[which], value)

        for prefix, (blank, label, more) in self._beam.items():
            both = np.logaddexp(blank, label)
            add(prefix, 0, frame[BLANK] + both, more)
            last = prefix[-1] if prefix else BLANK
            if last != BLANK:
                add(prefix, 1, frame[last] + label, more)
            for k in tried:
                # Between two equal labels there is a blank.
                before = blank if k == last else both
                if before > NEVER:
                    add((*prefix, k), 1, frame[k] + before, more + self._gain(prefix, k))
        ranked = sorted(found.items(), key=lambda one: (-self._total(one[1]), one[0]))
        self._beam = {p: (e[0], e[1], e[2]) for p, e in ranked[: self.beam_size]}
        if self.scorer is not None:
            self._next = {p: v for p, v in self._next.items() if p in self._beam}

    def best(self, n: int | None = None) -> list[tuple[Labels, float]]:
        """Return the n best label sequences so far, or all, with their log scores, best first."""
        ends = []
        for prefix, entry in self._beam.items():
            total = self._total(entry)
            if self.scorer is not None:
                total += self.weight * float(self._scores(prefix)[BLANK])
            ends.append((prefix, total))
        return sorted(ends, key=lambda one: (-one[1], one[0]))[:n]

    def gain(self, labels: Labels) -> float:
        """Return what scorer and bonus give a whole sequence."""
        total = sum(self._gain(labels[:i], k) for i, k in enumerate(labels))
        if self.scorer is not None:
            total += self.weight * float(self._scores(labels)[BLANK])
        return total

    def _gain(self, prefix: Labels, k: int) -> float:
        if self.scorer is None:
            return self.bonus
        return self.weight * float(self._scores(prefix)[k]) + self.bonus

    def _scores(self, prefix: Labels) -> Array:
        if prefix not in self._next:
            assert self.scorer is not None
            self._next[prefix] = self.scorer(prefix)
        return self._next[prefix]

    @staticmethod
    def _total(entry: Sequence[float]) -> float:
        return float(np.logaddexp(entry[0], entry[1]) + entry[2])
