"""Batches: few shapes, little padding, each sequence once."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longshort.data._batches import Batch, padded_length, shuffled_batches, sorted_batches

LENGTHS = st.lists(st.integers(1, 2000), min_size=1, max_size=400)
WHOLE = st.integers(1, 10**6)


def rungs(longest: int) -> set[int]:
    return {padded_length(n, longest) for n in range(1, longest + 1)}


@given(WHOLE, WHOLE)
def test_ladder(length: int, longest: int) -> None:
    rung = padded_length(length, longest)
    assert length <= rung <= max(length + 7, 1.5 * length)
    assert padded_length(rung, longest) == rung  # so a padded batch is not padded again
    assert rung <= padded_length(length + 1, longest)
    assert rung <= longest or length > longest


@given(st.integers(1, 3000))
def test_the_ladder_is_short(longest: int) -> None:
    assert len(rungs(longest)) <= max(4, 2 * math.log2(longest) - 5) + 1
    assert max(rungs(longest)) == longest


@given(LENGTHS, st.integers(1, 70), st.integers(0, 9))
def test_training(lengths: list[int], size: int, seed: int) -> None:
    batches = shuffled_batches(lengths, size, np.random.default_rng(seed))
    assert sorted(i for batch in batches for i in batch.rows) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // size)
    assert sum(len(batch.rows) < size for batch in batches) <= 1
    assert {batch.size for batch in batches} == {size}
    assert {batch.length for batch in batches} <= rungs(max(lengths))
    assert all(batch.length >= max(lengths[i] for i in batch.rows) for batch in batches)
    # Similar lengths share a batch: where one ends at most the next one begins.
    parts = [sorted(padded_length(lengths[i], max(lengths)) for i in b.rows) for b in batches]
    parts.sort()
    assert all(a[-1] <= b[0] for a, b in zip(parts, parts[1:], strict=False))


@given(LENGTHS, st.integers(1, 2000))
def test_prediction(lengths: list[int], longest: int) -> None:
    batches = sorted_batches(lengths, longest)
    order = np.concatenate([batch.rows for batch in batches])
    assert sorted(order) == list(range(len(lengths)))
    assert sorted(lengths) == [lengths[i] for i in order]
    for batch in batches:
        assert len(batch.rows) <= batch.size and batch.size in (1, 16, 256)
        assert batch.length == padded_length(max(lengths[i] for i in batch.rows), longest)
    assert sum(len(batch.rows) < batch.size for batch in batches) <= 1


def test_shuffling() -> None:
    """The seed decides; epochs differ in who shares a batch and in the order of batches."""
    lengths = [1 + i % 60 for i in range(240)]

    def epochs(seed: int) -> list[list[list[int]]]:
        rng = np.random.default_rng(seed)
        return [
            [batch.rows.tolist() for batch in shuffled_batches(lengths, 16, rng)] for _ in "123"
        ]

    assert epochs(0) == epochs(0) != epochs(1)
    first, second, third = epochs(0)
    assert first != second != third
    company = [{frozenset(rows) for rows in epoch} for epoch in (first, second)]
    assert len(company[0] & company[1]) < 3
    tops = [[max(lengths[i] for i in rows) for rows in epoch] for epoch in (first, second)]
    assert tops[0] != sorted(tops[0]) and tops[0] != tops[1]


def test_equal_lengths_have_one_shape() -> None:
    lengths, rng = [35] * 50, np.random.default_rng(0)
    assert {batch.length for batch in shuffled_batches(lengths, 16, rng)} == {35}
    assert {batch.length for batch in sorted_batches(lengths, 35)} == {35}


def test_little_padding() -> None:
    """Lengths like those of texts: padding is a quarter, where random batches have several times
    the steps.
    """
    rng = np.random.default_rng(0)
    lengths = np.clip(np.exp(rng.normal(3.5, 0.9, 10_000)).astype(int), 1, 1000).tolist()
    training = shuffled_batches(lengths, 16, rng)
    padded = sum(batch.size * batch.length for batch in training)
    assert padded < 1.25 * sum(lengths)
    assert len({batch.length for batch in training}) <= 15
    at_random = np.random.default_rng(0).permutation(lengths).reshape(-1, 16).max(axis=1)
    assert padded < 0.4 * 16 * at_random.sum()
    prediction = sorted_batches(lengths, max(lengths))
    assert sum(batch.size * batch.length for batch in prediction) < 1.5 * sum(lengths)


def test_rows_of_padding() -> None:
    batch = Batch(np.array([2, 0]), 4, 8)
    assert batch.weights.tolist() == [1, 1, 0, 0] and batch.weights.dtype == np.float32
    assert batch.take(np.array([5, 6, 7])).tolist() == [7, 5, 0, 0]
    assert batch.take(np.ones((3, 2), dtype=bool)).sum(axis=1).tolist() == [2, 2, 0, 0]
