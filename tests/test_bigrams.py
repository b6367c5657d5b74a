"""Counted probabilities of tokens."""

from __future__ import annotations

import numpy as np
import pytest

from longshort.tasks import _bigrams
from longshort.tasks._bigrams import Bigrams


def some_ids(n: int = 400) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.exponential(3, n).astype(np.uint16) % 9) + 3


def test_probabilities_are_those_of_a_distribution() -> None:
    V = 14  # of which some never occur
    counted = Bigrams.count(some_ids(), V)
    for u in range(V):
        alone, pair = counted.probabilities(np.full(V, u), np.arange(V))
        assert (pair > 0).all()
        np.testing.assert_allclose([alone.sum(), pair.sum()], 1.0, rtol=1e-12)


def test_losses_against_counting_by_hand() -> None:
    ids, V = some_ids(), 14
    counted = Bigrams.count(ids, V)
    pairs = list(zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True))
    how_often = [pairs.count(pair) for pair in set(pairs)]
    d = how_often.count(1) / (how_often.count(1) + 2 * how_often.count(2))
    assert counted.discount == pytest.approx(d)
    text = some_ids(30)
    sums = np.zeros(2)
    for u, w in zip(text[:-1].tolist(), text[1:].tolist(), strict=True):
        alone = (sum(pair[1] == w for pair in pairs) + 1) / (len(pairs) + V)
        before = sum(pair[0] == u for pair in pairs)
        kinds = len({pair for pair in pairs if pair[0] == u})
        both = max(pairs.count((u, w)) - d, 0) / before + d * kinds / before * alone
        sums -= np.log(alone), np.log(both)
    np.testing.assert_allclose(counted.losses([text]), sums / 29)


def test_blocks_and_the_most_frequent_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Bigrams.count(some_ids(), 14)
    monkeypatch.setattr(_bigrams, "_BLOCK", 7)
    again = Bigrams.count(some_ids(), 14)
    assert np.array_equal(whole.keys, again.keys) and np.array_equal(whole.counts, again.counts)
    np.testing.assert_allclose(whole.losses([some_ids()]), again.losses([some_ids()]))
    monkeypatch.setattr(_bigrams, "MOST_PAIRS", 10)
    few = Bigrams.count(some_ids(), 14)
    assert len(few.keys) == 10 and few.counts.min() >= np.sort(whole.counts)[-10]
    pair = few.probabilities(np.full(14, 3), np.arange(14))[1]
    np.testing.assert_allclose(pair.sum(), 1.0)


def test_state() -> None:
    counted = Bigrams.count(some_ids(), 14)
    state = counted.get_state()
    assert Bigrams.from_state(state, 14).losses([some_ids()]) == counted.losses([some_ids()])
    for broken in (
        {"targets": state["targets"][:-1]},
        {"counts": state["counts"][:-1]},
        {"counts": state["counts"] * 0},
        {"gaps": state["gaps"] + 1000},
        {"discount": 2.0},
    ):
        with pytest.raises(ValueError, match="broken"):
            Bigrams.from_state(state | broken, 14)
