import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshort.data._windows import Windows, WindowScale


@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    input_size=st.integers(1, 5),
    h=st.integers(0, 4),
)
def test_all_windows_by_hand(lengths, input_size, h):
    values = [100.0 * i + np.arange(n) for i, n in enumerate(lengths)]
    expected = [
        (i, c, y[c - input_size : c].tolist(), y[c : c + h].tolist())
        for i, y in enumerate(values)
        for c in range(input_size, len(y) - h + 1)
    ]
    windows = Windows(values, input_size, h)
    assert len(windows) == len(expected)
    x, y = windows.gather(np.arange(len(windows)))
    assert x.shape == (len(expected), input_size) and y.shape == (len(expected), h)
    every = np.arange(len(windows))
    numbers = (windows.series(every), windows.cutoff(every), x, y)
    assert list(zip(*(part.tolist() for part in numbers), strict=True)) == expected
    if len(windows):
        steps = windows.steps(np.arange(len(windows)))
        assert np.concatenate(values)[steps].tolist() == np.hstack([x, y]).tolist()
    assert windows.steps([]).shape == (0, input_size + h)


def test_parts_do_not_share_targets():
    series = [np.arange(20.0), np.arange(30.0)]
    cut = [15, 22]
    before = Windows(series, 4, 3, last=cut)
    after = Windows(series, 4, 3, first=cut)
    _, targets = before.gather(range(len(before)))
    for i in range(2):
        assert targets[before.series(range(len(before))) == i].max() == cut[i] - 1
    _, targets = after.gather(range(len(after)))
    for i in range(2):
        mine = targets[after.series(range(len(after))) == i]
        assert mine.min() == cut[i] and mine.max() == len(series[i]) - 1


def test_gather_copies():
    source = np.arange(6.0)
    windows = Windows([source], 2, 1)
    x, _ = windows.gather([0])
    x[:] = -1
    assert windows.gather([0])[0].tolist() == [[0, 1]]


def test_memory_is_a_view():
    windows = Windows([np.arange(100_000.0)], 500, 100)
    assert windows._view.base is not None
    assert windows._view.strides == (8, 8)


def test_steps_gather_what_lies_beside_the_values():
    values = [np.arange(6.0), np.arange(9.0)]
    beside = [np.stack([y, -y, 100 + y], axis=1) for y in values]  # (T, 3)
    windows = Windows(values, 3, 2, first=[4, 5], last=[6, 8])
    x, y = windows.gather(range(len(windows)))
    found = np.concatenate(beside)[windows.steps(range(len(windows)))]
    assert found.shape == (len(windows), 5, 3) and len(windows) == 3
    assert found[..., 1].tolist() == (-np.hstack([x, y])).tolist()
    mask = np.concatenate([y > 2 for y in values])
    assert mask[windows.steps([0])].tolist() == [[False, False, True, True, True]]


def test_missing_values_stay_where_they_are():
    y = np.array([1.0, np.nan, 3.0, 4.0, np.nan])
    inputs, targets = Windows([y, y], 2, 1).gather([0, 2, 4])
    np.testing.assert_array_equal(inputs, [[1, np.nan], [3, 4], [np.nan, 3]])
    np.testing.assert_array_equal(targets, [[3], [np.nan], [4]])


@pytest.mark.parametrize("num_series", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_memory_of_many_series(num_series):
    """The values once and two integers a window: 220 MB for 10,000 series of 1,000 steps."""
    values = [np.zeros(1_000)] * num_series
    tracemalloc.start()
    windows = Windows(values, 96, 24)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(windows) == num_series * (1_000 - 96 - 24 + 1)
    assert kept < 25_000 * num_series and peak < 30_000 * num_series
    x, y = windows.gather([0, len(windows) // 2, len(windows) - 1])
    assert x.shape == (3, 96) and y.shape == (3, 24)


@pytest.mark.parametrize("log", [False, True])
def test_scale_round_trip(log):
    x = np.random.default_rng(0).uniform(1, 9, (5, 7))
    scale = WindowScale.fit(x, log=log)
    z = scale.apply(x)
    np.testing.assert_allclose(z[:, -1], 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=1), 1)
    np.testing.assert_allclose(scale.undo(z), x)
    np.testing.assert_allclose(scale.undo(np.stack([z, z], -1))[..., 1], x)


def test_scale_takes_out_size():
    x = np.random.default_rng(0).uniform(1, 9, (5, 7))
    one, other = (WindowScale.fit(v).apply(v) for v in (x, 3 * x + 5))
    np.testing.assert_allclose(one, other)
    one, other = (WindowScale.fit(v, log=True).apply(v) for v in (x, 3 * x))
    np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize(
    ("value", "log", "spread"),
    [(0.0, False, 1.0), (0.1, False, 0.01), (-1e12, False, 1e11), (1.0, True, 0.1)],
)
def test_scale_of_a_window_that_stands_still(value, log, spread):
    x = np.full((1, 9), value)
    x[0, 3] *= 1 + 1e-13  # rounding noise
    scale = WindowScale.fit(x, log=log)
    assert scale.still.tolist() == [[True]]
    np.testing.assert_allclose(scale.spread, [[spread]])
    np.testing.assert_allclose(scale.undo(scale.apply(x)), x)


@pytest.mark.parametrize("unit", [1e-40, 1.0, 1e40])
def test_what_stands_still_has_no_unit(unit):
    x = unit * np.array([[0.0, 0.0, 1.0, 0.0], [5.0, 5.0, 5.0, 5.0]])
    scale = WindowScale.fit(x)
    assert scale.still.tolist() == [[False], [True]]
    np.testing.assert_allclose(scale.spread[:, 0] / unit, [np.sqrt(3) / 4, 0.5])


def test_log_scale_does_not_overflow():
    scale = WindowScale.fit(np.array([[1.0, 2.0]]), log=True)
    assert np.isfinite(scale.undo(np.array([[1e9, -1e9]]))).all()
