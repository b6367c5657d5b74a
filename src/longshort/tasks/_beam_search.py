"""Beam search for the likeliest sequences, for several inputs side by side, in NumPy.

Axis letters: N inputs, K candidates of each, V tokens, S steps of an input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from longshort.data._vocabulary import BEGIN, END, PADDING, UNKNOWN

# From the last tokens (N, K) and the states (N, K, ...) to the log probabilities (N, K, V) of the
# next token, the attention (N, K, S) and the states after the step.
Step = Callable[[np.ndarray, list[np.ndarray]], tuple[np.ndarray, np.ndarray, list[np.ndarray]]]
_NEVER = [PADDING, UNKNOWN, BEGIN]
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


def beam_search(
    step: Step,
    states: Sequence[np.ndarray],
    real: np.ndarray,
    limits: Sequence[int],
    search: Search,
) -> list[list[Hypothesis]]:
    """Return up to `num_best` sequences for each input, best first.

    Each step goes on with the K likeliest prefixes. Those among the K that end are kept; an input
    is done when K have ended, or when none that goes on can still be better. What one input gets
    depends on no other, as far as this is so of `step`.

    Args:
        step: The model.
        states: States before the first step, (N, ...) each.
        real: (N, S) booleans, False for padding of the source. A row of False is padding, and
            gets an empty list.
        limits: Most tokens of each, END included, at least 1; what is that long must end.
        search: How.
    """
    N, K = len(real), search.beam_size
    rows = np.arange(N)[:, None]
    states = [np.repeat(state[:, None], K, axis=1) for state in states]
    history = np.full((N, K, 1), BEGIN, np.int32)
    scores = np.full((N, K), -np.inf, np.float32)
    scores[:, 0] = 0.0  # all K begin alike
    coverage = np.zeros((N, K, real.shape[1]), np.float32)
    found: list[list[Hypothesis]] = [[] for _ in range(N)]
    going = np.asarray(real.any(axis=1))
    scores[~going] = -np.inf
    while going.any():
        length = history.shape[2]  # of what is chosen in this step, END included
        chances, attention, states = step(history[:, :, -1], states)
        total = scores[..., None] + chances
        total[..., _NEVER] = -np.inf
        for n in np.flatnonzero(going).tolist():
            if length >= limits[n]:
                total[n, :, :END] = total[n, :, END + 1 :] = -np.inf
            if search.no_repeat_ngram_size:
                for k in range(K):
                    total[n, k, _repeats(history[n, k], search.no_repeat_ngram_size)] = -np.inf
        values, parents, tokens = _best(total, 2 * K)
        coverage = coverage + attention
        ended = tokens == END
        for n, rank in np.argwhere(ended[:, :K] & np.isfinite(values[:, :K])).tolist():
            if going[n]:
                parent = parents[n, rank]
                value = float(values[n, rank])
                score = value / search.normalizer(length)
                if search.coverage_penalty:
                    covered = np.clip(coverage[n, parent][real[n]], _TINY, 1.0)
                    score += search.coverage_penalty * float(np.log(covered).sum())
                sequence = tuple(history[n, parent, 1:].tolist())
                found[n].append(Hypothesis(sequence, score, value))
        # Among 2 K prefixes at least K go on, for each has one way to end.
        kept = np.argsort(ended, axis=1, kind="stable")[:, :K]
        parents, tokens = parents[rows, kept], tokens[rows, kept]
        scores = values[rows, kept]
        history = np.concatenate([history[rows, parents], tokens[..., None]], axis=2)
        coverage = coverage[rows, parents]
        states = [np.asarray(state)[rows, parents] for state in states]
        for n in np.flatnonzero(going).tolist():
            found[n].sort(key=lambda one: -one.score)
            # No continuation has a higher log probability or is divided by more.
            best = float(scores[n, 0]) / search.normalizer(limits[n])
            enough = len(found[n]) >= search.num_best
            if (
                best == -np.inf
                or len(found[n]) >= K
                or (enough and found[n][search.num_best - 1].score >= best)
            ):
                going[n] = False
        scores[~going] = -np.inf
    return [one[: search.num_best] for one in found]


def _best(total: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the highest of (N, K, V): values, k and v, (N, count) each, from the highest."""
    N, _, V = total.shape
    flat = total.reshape(N, -1)
    count = min(count, flat.shape[1])
    places = np.argpartition(flat, -count, axis=1)[:, -count:]
    values = np.take_along_axis(flat, places, axis=1)
    order = np.lexsort((places, -values), axis=1)
    values, places = (np.take_along_axis(each, order, axis=1) for each in (values, places))
    return values, places // V, places % V


def _repeats(history: np.ndarray, size: int) -> list[int]:
    """Return the tokens that would complete a run of `size` tokens that was there before."""
    tokens = history[1:].tolist()
    tail = tokens[len(tokens) - size + 1 :]
    return [
        tokens[i + size - 1]
        for i in range(len(tokens) - size + 1)
        if tokens[i : i + size - 1] == tail
    ]
