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
    numbers = (windows.series, windows.cutoff, x, y)
    assert list(zip(*(part.tolist() for part in numbers), strict=True)) == expected


def test_parts_do_not_share_targets():
    series = [np.arange(20.0), np.arange(30.0)]
    cut = [15, 22]
    before = Windows(series, 4, 3, last=cut)
    after = Windows(series, 4, 3, first=cut)
    _, targets = before.gather(range(len(before)))
    for i in range(2):
        assert targets[before.series == i].max() == cut[i] - 1
    _, targets = after.gather(range(len(after)))
    for i in range(2):
        mine = targets[after.series == i]
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
