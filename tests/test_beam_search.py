"""Beam search against all sequences there are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from longshort.data._vocabulary import BEGIN, END
from longshort.tasks._beam_search import Input, Search, _best, beam_search

V, D, S = 7, 5, 4
RNG = np.random.default_rng(0)
VECTORS, BACK = RNG.normal(size=(V, D)), RNG.normal(size=(D, D))
TO_LOGITS, TO_SOURCE = RNG.normal(size=(D, V)), 3 * RNG.normal(size=(D, S))


def softmax(x: np.ndarray) -> np.ndarray:
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def step(tokens: np.ndarray, states: list[np.ndarray], given: Any = ()) -> Any:
    """A small recurrent network, in float64."""
    h = np.tanh(states[0] @ BACK + VECTORS[tokens])
    return np.log(softmax(h @ TO_LOGITS)), softmax(h @ TO_SOURCE), [h]


def all_sequences(state: np.ndarray, limit: int, search: Search) -> list[tuple[float, Any]]:
    found = []
    for length in range(limit):
        for tokens in itertools.product(range(END + 1, V), repeat=length):
            pieces = [tokens[i : i + 2] for i in range(length - 1)]
            if search.no_repeat_ngram_size == 2 and len(set(pieces)) < len(pieces):
                continue
            states, last, total, covered = [state], BEGIN, 0.0, np.zeros(S)
            for token in (*tokens, END):
                chances, attention, states = step(np.array(last), states)
                total, covered, last = total + chances[token], covered + attention, token
            score = total / ((5 + length + 1) / 6) ** search.length_penalty
            score += search.coverage_penalty * np.log(np.minimum(covered[: S - 1], 1)).sum()
            found.append((score, tokens))
    return sorted(found, reverse=True)


REAL = np.array([True, True, True, False])
STARTS = RNG.normal(size=(3, D))


def inputs(limits: list[int]) -> Iterator[Input]:
    for start, limit in zip(STARTS, limits, strict=False):
        yield Input([start], [], REAL, limit)


@pytest.mark.parametrize(
    "options",
    [
        {"length_penalty": 0.0},
        {"length_penalty": 1.0, "num_best": 7},
        {"length_penalty": 2.0, "coverage_penalty": 0.5},
        {"no_repeat_ngram_size": 2, "num_best": 3},
    ],
)
def test_a_beam_wide_enough_is_exact(options: dict[str, Any]) -> None:
    search, limits = Search(128, **options), [5, 3, 1]
    found = beam_search(step, inputs(limits), 2, search)  # the third waits for a place
    for one, start, limit in zip(found, STARTS, limits, strict=True):
        wanted = all_sequences(start, limit, search)[: search.num_best]
        assert [each.tokens for each in one] == [tokens for _, tokens in wanted]
        np.testing.assert_allclose([each.score for each in one], [s for s, _ in wanted], rtol=1e-5)


def test_one_candidate_takes_the_likeliest_token() -> None:
    ((found,),) = beam_search(step, inputs([9]), 1, Search(1))
    states, last, tokens = [STARTS[0]], BEGIN, []
    for _ in range(8):
        chances, _, states = step(np.array(last), states)
        last = int(chances[END:].argmax()) + END
        if last == END:
            break
        tokens.append(last)
    assert found.tokens == tuple(tokens)


def test_no_input_sees_another() -> None:
    search = Search(3, num_best=3, coverage_penalty=0.2)
    limits = [9, 4, 6]
    together = beam_search(step, inputs(limits), 3, search)
    for size in (1, 2, 5):  # one after the other, and with padding
        assert beam_search(step, inputs(limits), size, search) == together
    for i, asked in enumerate(inputs(limits)):
        assert beam_search(step, [asked], 3, search) == together[i : i + 1]


def test_the_next_is_asked_for_when_there_is_a_place() -> None:
    seen: list[int] = []

    def noted() -> Iterator[Input]:
        for i, one in enumerate(inputs([9, 1, 6])):
            seen.append(i)
            yield one

    lengths = []

    def counted(tokens: np.ndarray, states: list[np.ndarray], given: Any) -> Any:
        lengths.append(len(seen))
        return step(tokens, states)

    beam_search(counted, noted(), 2, Search(2))
    assert lengths[:2] == [2, 3]  # the second input is done after a step
    assert beam_search(counted, [], 2, Search(2)) == []


@pytest.mark.parametrize("shape", [(3, 5, 400), (2, 1, 3), (4, 2, 64), (1, 3, 71)])
@pytest.mark.parametrize("digits", [6, 0])  # 0: many are equal
def test_the_highest_of_all_tokens(shape: tuple[int, int, int], digits: int) -> None:
    total = np.random.default_rng(shape[2]).normal(size=shape).astype(np.float32).round(digits)
    total[..., :2] = -np.inf
    total[0] = -np.inf  # a free place
    values, parents, tokens = _best(total, 10)
    for n, row in enumerate(total.reshape(len(total), -1)):
        order = np.argsort(-row, kind="stable")[:10]
        assert values[n].tolist() == row[order].tolist()
        assert (parents[n] * shape[2] + tokens[n]).tolist() == order.tolist()
