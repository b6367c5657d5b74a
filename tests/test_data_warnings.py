import numpy as np
import pandas as pd
import pytest

from longshort.data import SeriesSet, load_dataset
from longshort.tasks._data_warnings import data_warnings, level_shift, outlier_scores


def noise(n=120, seed=0):
    return 100 + np.random.default_rng(seed).normal(size=n)


def series_set(*values):
    values = [np.asarray(y, np.float64) for y in values]
    times = [pd.date_range("2020-01-01", periods=len(y), freq="D") for y in values]
    return SeriesSet([f"s{i}" for i in range(len(values))], values, times, "D")


def kinds(*values, **options):
    return [warning.kind for warning in data_warnings(series_set(*values), **options)]


def test_plain_series_have_no_warnings():
    t = np.arange(200)
    season = np.sin(2 * np.pi * t / 12)
    rng = np.random.default_rng(0)
    assert kinds(noise(), noise(200, 1) + t, noise(200, 2) + 10 * season, season_length=12) == []
    assert kinds(100 + np.cumsum(rng.normal(size=200)), np.exp(t / 50) + 5) == []
    assert kinds(20 + rng.standard_t(4, 300)) == []
    assert data_warnings(load_dataset("air-passengers"), season_length=12, h=12) == []


def test_constant_missing_and_short():
    gaps = noise()
    gaps[10:20] = np.nan
    few = noise()
    few[50:55] = np.nan
    assert kinds(np.full(40, 7.0), gaps, few) == ["missing", "constant"]
    warning = data_warnings(series_set(gaps))[0]
    assert warning.text == "Series 's0' lacks 10 of 120 values of y (8%)."
    assert kinds(np.full(5, np.nan)) == ["missing"]
    assert kinds(noise(30), season_length=12, h=6) == []
    found = data_warnings(series_set(noise(29)), season_length=12, h=6)
    assert [w.text for w in found] == [
        "Series 's0' has 29 known values, fewer than two seasons of 12 steps and 6 to forecast."
    ]


@pytest.mark.parametrize("m", [1, 7])
@pytest.mark.parametrize("at", [0, 1, 8, 60, 110, 118, 119])
def test_one_outlier_is_found_alone(m, at):
    y = noise() + 5 * np.tile(np.arange(7), 18)[:120] * (m == 7)
    y[at] += 60
    z = outlier_scores(y, m)
    assert np.flatnonzero(np.abs(z) > 10).tolist() == [at]
    found = data_warnings(series_set(y), season_length=m)
    assert [w.kind for w in found] == ["outliers"]
    assert str(pd.Timestamp("2020-01-01") + pd.Timedelta(days=at))[:10] in found[0].text


def test_sparse_counts_have_no_outliers_and_zeros():
    counts = np.random.default_rng(0).poisson(0.2, 300).astype(float)
    found = data_warnings(series_set(counts))
    assert [w.kind for w in found] == ["zeros"]
    assert f"is 0 in {(counts == 0).sum()} of 300 values" in found[0].text
    assert kinds(noise() - 200) == kinds(noise() - 100) == ["zeros"]


@pytest.mark.parametrize("m", [1, 12])
@pytest.mark.parametrize("at", [40, 77, 90])
def test_level_shift_is_found_where_it_is(m, at):
    t = np.arange(140)
    y = noise(140) + 3 * np.sin(2 * np.pi * t / 12) * (m == 12)
    y[at:] += 30
    where, before, after = level_shift(y, m)
    assert abs(where - at) <= (0 if m == 1 else 2)
    assert before == pytest.approx(100, abs=4) and after == pytest.approx(130, abs=4)
    assert kinds(y, season_length=m) == ["level shift"]
    y[[3, 60, 61]] = np.nan
    assert abs(level_shift(y, m)[0] - at) <= (0 if m == 1 else 2)


def test_false_alarms_are_rare():
    rng = np.random.default_rng(0)
    makers = [
        lambda: rng.normal(size=150),
        lambda: np.cumsum(rng.normal(size=150)),
        lambda: rng.gamma(2.0, 1.0, 150),
    ]
    for make in makers:
        found = [w.kind for w in data_warnings(series_set(*(make() for _ in range(60))))]
        assert found.count("level shift") <= 3 and found.count("outliers") <= 1


def test_duplicates_name_the_first():
    found = data_warnings(series_set(noise(), noise(seed=1), noise(), np.ones(30), np.ones(30)))
    assert [w.text for w in found if w.kind == "duplicate"] == [
        "Series 's2' has the same values as series 's0'."
    ]
