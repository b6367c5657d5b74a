"""The noise: its rate, its independence, its bits."""

import itertools

import numpy as np
import pytest

from longshort.ops._noise import UPDATE, ZONEOUT_C, ZONEOUT_H, _numbers, dropped

KEY = (0xDEADBEEF, 0x01234567)


def mix(v):
    v ^= v >> 16
    v = v * 0x7FEB352D % 2**32
    v ^= v >> 15
    v = v * 0x846CA68B % 2**32
    return v ^ v >> 16


def test_numbers_are_those_of_the_definition():
    for key, stream, step in itertools.product((KEY, (2**32 - 1, 0)), range(3), (0, 7, 2**31)):
        numbers = _numbers(key, stream, step, (3, 5))
        for row, unit in np.ndindex(3, 5):
            step_key = mix((mix((key[0] + stream) % 2**32) + step) % 2**32)
            row_key = mix((step_key + row) % 2**32) ^ key[1]
            assert numbers[row, unit] == mix((row_key + unit * 0x9E3779B9) % 2**32) >> 8


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3, 0.5, 0.99, 1.0])
def test_rate(rate):
    drops = np.stack([dropped(KEY, UPDATE, s, (64, 128), rate) for s in range(50)])
    deviation = np.sqrt(rate * (1 - rate) / drops.size)
    assert abs(drops.mean() - rate) <= 4 * deviation
    for axis in range(3):  # each step, row and unit has the rate too
        means = drops.mean(tuple({0, 1, 2} - {axis}))
        spread = np.sqrt(rate * (1 - rate) * len(means) / drops.size)
        assert np.abs(means - rate).max() <= 5 * spread


def test_bits_are_even():
    numbers = np.stack([_numbers(KEY, UPDATE, s, (64, 128)) for s in range(20)])
    for bit in range(24):
        share = (numbers >> np.uint32(bit) & np.uint32(1)).mean()
        assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(numbers.size), bit


# What must have nothing to do with each other: neighbours along each axis, streams, keys.
def uniform(key=KEY, stream=UPDATE, first=0):
    steps = [_numbers(key, stream, first + s, (65, 129)) / 2**24 for s in range(41)]
    return np.stack(steps)


@pytest.mark.parametrize(
    "a, b",
    [
        (uniform()[1:], uniform()[:-1]),
        (uniform()[:, 1:], uniform()[:, :-1]),
        (uniform()[:, :, 1:], uniform()[:, :, :-1]),
        (uniform()[1:, 1:], uniform()[:-1, :-1]),
        (uniform(stream=ZONEOUT_H), uniform(stream=ZONEOUT_C)),
        (uniform(stream=ZONEOUT_C), uniform(stream=UPDATE)),
        (uniform((0, 1)), uniform((0, 2))),  # as jax.random.key(1) and key(2)
        (uniform((1, 0)), uniform((2, 0))),
    ],
    ids=["steps", "rows", "units", "diagonal", "streams", "streams2", "second key", "first key"],
)
def test_independence(a, b):
    bound = 4 / np.sqrt(a.size)
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < bound
    low = (a < 0.3) & (b < 0.3)  # drops together: as often as by chance
    assert abs(low.mean() - 0.09) < bound
    assert not np.array_equal(a, b)
