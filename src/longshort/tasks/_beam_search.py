"""Beam search for the likeliest sequences, for several inputs side by side, in NumPy.

Axis letters: N inputs side by side, K candidates of each, V tokens, S steps of an input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from longshort.data._vocabulary import BEGIN, END, PADDING, UNKNOWN

Array = np.ndarray
# From the last tokens (N, K), the states (N, K, ...) and what is given of the inputs (N, ...) to
# the log probabilities (N, K, V) of the next token, the attention (N, K, S) and the states after.
Step = Callable[[Array, list[Array], list[Array]], tuple[Array, Array, list[Array]]]
_NEVER = [PADDING, UNKNOWN, BEGIN]
_PIECE = 64  # whose peak is looked at first: to partition all takes over three times as long
_TINY = 1e-9  # of a source token that nothing attended to; its logarithm stays finite


@dataclass(frozen=True)
class Search:
    """How to search.

        score = log P / ((5 + length) / 6)^a + b sum over s of log min(1, sum over t of a_ts)

    (Wu et al. 2016, section 7), where the length counts END and a_ts is the attention.

    Attributes:
        beam_size: K.
        length_penalty: a: 0 prefers short sequences, 1 nearly takes the mean of the tokens.
        coverage_penalty: b: how much it costs to leave parts of the source out.
        no_repeat_ngram_size: No sequence of so many tokens comes twice; 0 allows all.
        num_best: Sequences wanted; at most K.
    """

    beam_size: int = 5
    length_penalty: float = 1.0
    coverage_penalty: float = 0.0
    no_repeat_ngram_size: int = 0
    num_best: int = 1

    def normalizer(self, length: int) -> float:
        """Return what the log probability of so many tokens is divided by."""
        return float(((5 + length) / 6) ** self.length_penalty)


class Hypothesis(NamedTuple):
    """A sequence that was found.

    Attributes:
        tokens: Without BEGIN and END.
        score: See `Search`.
        log_probability: Of the tokens and END, nats.
    """

    tokens: tuple[int, ...]
    score: float
    log_probability: float


class Input(NamedTuple):
    """What to search a sequence for.

    Attributes:
        states: States before the first step, (...) each.
        given: What else a step needs to know, (...) each.
        real: (S,) booleans, False for padding.
        limit: Most tokens, END included, at least 1; what is that long must end.
    """

    states: list[Array]
    given: list[Array]
    real: Array
    limit: int


def beam_search(
    step: Step, inputs: Iterable[Input], size: int, search: Search
) -> list[list[Hypothesis]]:
    """Return up to `num_best` sequences for each input, best first.

    Each step goes on with the K likeliest prefixes. Those among the K that end are kept; an input
    is done when K have ended, or when none that goes on can still be better, and the next takes its
    place. What one input gets depends on no other, as far as this is so of `step`.

    Args:
        step: The model.
        inputs: Of the same shapes; the next is asked for when there is a place for it.
        size: N, always: rows of padding have zeros.
        search: How.
    """
    K = search.beam_size
    found: list[list[Hypothesis]] = []
    waiting, beams = iter(inputs), _Beams(size, K)
    rows = np.arange(size)[:, None]
    while True:
        for n in np.flatnonzero(beams.owner < 0).tolist():
            if (one := next(waiting, None)) is None:
                break
            beams.put(n, one, len(found))
            found.append([])
        if (beams.owner < 0).all():
            return [one[: search.num_best] for one in found]
        last = np.stack([history[:, -1] for history in beams.history])
        chances, attention, states = step(last, beams.states, beams.given)
        total = beams.scores[..., None] + chances
        total[..., _NEVER] = -np.inf
        going = np.flatnonzero(beams.owner >= 0).tolist()
        for n in going:
            history = beams.history[n]
            if history.shape[1] >= beams.limits[n]:
                total[n, :, :END] = total[n, :, END + 1 :] = -np.inf
            if search.no_repeat_ngram_size:
                for k in range(K):
                    total[n, k, _repeats(history[k], search.no_repeat_ngram_size)] = -np.inf
        values, parents, tokens = _best(total, 2 * K)
        coverage = beams.coverage + attention
        ended = tokens == END
        for n, rank in np.argwhere(ended[:, :K] & np.isfinite(values[:, :K])).tolist():
            parent, history = parents[n, rank], beams.history[n]
            value = float(values[n, rank])
            score = value / search.normalizer(history.shape[1])
            if search.coverage_penalty:
                covered = np.clip(coverage[n, parent][beams.real[n]], _TINY, 1.0)
                score += search.coverage_penalty * float(np.log(covered).sum())
            sequence = tuple(history[parent, 1:].tolist())
            found[beams.owner[n]].append(Hypothesis(sequence, score, value))
        # Among 2 K prefixes at least K go on, for each has one way to end.
        kept = np.argsort(ended, axis=1, kind="stable")[:, :K]
        parents, tokens = parents[rows, kept], tokens[rows, kept]
        beams.scores = values[rows, kept]
        beams.coverage = coverage[rows, parents]
        beams.states = [np.asarray(state)[rows, parents] for state in states]
        for n in going:
            history = beams.history[n][parents[n]]
            beams.history[n] = np.concatenate([history, tokens[n, :, None]], axis=1)
            ends = found[beams.owner[n]]
            ends.sort(key=lambda one: -one.score)
            # No continuation has a higher log probability or is divided by more.
            best = float(beams.scores[n, 0]) / search.normalizer(beams.limits[n])
            enough = len(ends) >= search.num_best
            if (
                best == -np.inf
                or len(ends) >= K
                or (enough and ends[search.num_best - 1].score >= best)
            ):
                beams.drop(n)


class _Beams:
    """K candidates in each of N places, which are free or belong to an input.

    Attributes:
        owner: (N,) numbers of inputs, -1 for a free place.
        limits: Most tokens of each.
        history: For each place (K, length) tokens so far, BEGIN first.
        scores: (N, K) log probabilities of these; -inf in a free place.
        coverage: (N, K, S) attention so far.
        real: (N, S).
        states: (N, K, ...) each.
        given: (N, ...) each.
    """

    def __init__(self, size: int, beam_size: int) -> None:
        self.size, self.beam_size = size, beam_size
        self.owner = np.full(size, -1)
        self.limits = [1] * size
        self.history = [np.full((beam_size, 1), BEGIN, np.int32)] * size
        self.scores = np.full((size, beam_size), -np.inf, np.float32)
        self.coverage = self.real = np.zeros(0)
        self.states: list[Array] = []
        self.given: list[Array] = []

    def put(self, n: int, one: Input, owner: int) -> None:
        """Begin with an input in a free place."""
        N, K = self.size, self.beam_size
        if not len(self.real):  # only now are the shapes known
            self.real = np.zeros((N, *one.real.shape), dtype=bool)
            self.coverage = np.zeros((N, K, *one.real.shape), np.float32)
            self.states = [np.zeros((N, K, *each.shape), each.dtype) for each in one.states]
            self.given = [np.zeros((N, *each.shape), each.dtype) for each in one.given]
        self.owner[n], self.limits[n] = owner, one.limit
        self.history[n] = np.full((K, 1), BEGIN, np.int32)
        self.scores[n] = -np.inf
        self.scores[n, 0] = 0.0  # all K begin alike
        self.coverage[n], self.real[n] = 0.0, one.real
        for places, value in zip(
            (*self.states, *self.given), (*one.states, *one.given), strict=True
        ):
            places[n] = value

    def drop(self, n: int) -> None:
        """Free a place."""
        self.owner[n] = -1
        self.scores[n] = -np.inf


def _best(total: Array, count: int) -> tuple[Array, Array, Array]:
    """Return the highest of (N, K, V): values, k and v, (N, count) each, from the highest.

    Of equal ones the first. Where `count` of the peaks of pieces are, the highest are not below.
    """
    N, _, V = total.shape
    flat = total.reshape(N, -1)
    count = min(count, flat.shape[1])
    peaks = np.maximum.reduceat(flat, np.arange(0, flat.shape[1], _PIECE), axis=1)
    least = np.full(N, -np.inf, flat.dtype)
    if peaks.shape[1] >= count:
        least = np.partition(peaks, -count, axis=1)[:, -count]
    rows, places = np.nonzero(flat >= least[:, None])
    values = flat[rows, places]
    order = np.lexsort((places, -values, rows))
    first = np.searchsorted(rows, np.arange(N))
    order = order[first[:, None] + np.arange(count)]
    values, places = values[order], places[order]
    return values, places // V, places % V


def _repeats(history: Array, size: int) -> list[int]:
    """Return the tokens that would complete a run of `size` tokens that was there before."""
    tokens = history[1:].tolist()
    tail = tokens[len(tokens) - size + 1 :]
    return [
        tokens[i + size - 1]
        for i in range(len(tokens) - size + 1)
        if tokens[i : i + size - 1] == tail
    ]
