"""The baselines without parameters: drift, gaps, and the Naive2 of M4."""

import csv

import numpy as np
import pandas as pd
import pytest

from datasets import data_path
from longshort.data import SeriesSet
from longshort.tasks import _metrics as metrics
from longshort.tasks._backtest import Baselines, cutoffs
from longshort.tasks._baselines import drift, naive, seasonal_naive
from longshort.tasks._naive2 import is_seasonal, naive2, seasonal_indices

NAN = np.nan


def test_drift_by_hand():
    # (8 - 2) / 3 a step; a row of one value does not move.
    assert drift(np.array([[2.0, 7.0, 1.0, 8.0]]), 3).tolist() == [[10, 12, 14]]
    assert drift(np.array([[5.0]]), 2).tolist() == [[5, 5]]


def test_drift_continues_a_line_over_gaps():
    line = 3.0 + 0.5 * np.arange(12)
    x = line[None, :9].copy()
    x[0, [0, 4, 8]] = NAN
    assert drift(x, 3).tolist() == [line[9:].tolist()]


def test_naive_takes_the_last_known_value():
    assert naive(np.array([[4.0, 6.0, NAN], [NAN, NAN, NAN]]), 2).tolist()[0] == [6, 6]
    for forecast in (naive, drift):
        assert np.isnan(forecast(np.full((1, 3), NAN), 2)).all()
    assert np.isnan(seasonal_naive(np.full((1, 3), NAN), 2, 3)).all()


def test_seasonal_naive_takes_the_last_known_value_of_the_place():
    # m = 3; places of the steps ahead: 1, 2, 0. Place 1: 20 (21 is unknown); place 2 never known.
    x = np.array([[9.0, 10.0, 20.0, NAN, 11.0, NAN, NAN]])
    assert seasonal_naive(x, 3, 3)[0].tolist() == [11, 20, 9]
    x = np.array([[9.0, 10.0, NAN, 12.0, 11.0, NAN, NAN]])
    assert seasonal_naive(x, 4, 3)[0].tolist() == [11, 11, 12, 11]


def test_drift_stands_beside_the_model():
    y = np.array([2.0, 3.0, 5.0, 4.0, 7.0, 8.0, 8.0, 9.0])
    series = SeriesSet(["a"], [y], [pd.RangeIndex(8)], 1)
    beside = Baselines(series.head([6]), 2, 2, 1, seed=0)
    columns = beside.predict(series, cutoffs(series, 2, 1, 1)[:, 0])
    assert list(columns) == ["Naive", "SeasonalNaive", "Drift", "Linear"]
    assert columns["Drift"].tolist() == [pytest.approx([8 + 6 / 5, 8 + 12 / 5])]


# -- Naive2 ----------------------------------------------------------------------------------


def test_seasonal_indices_by_hand():
    # m = 4, weights 1/8 1/4 1/4 1/4 1/8. Trend at 2: (1 + 2 * (2 + 3 + 6) + 5) / 8 = 3.5, at 3:
    # (2 + 2 * (3 + 6 + 5) + 6) / 8 = 4.5, at 4: (3 + 2 * (6 + 5 + 6) + 7) / 8 = 5.5, at 5:
    # (6 + 2 * (5 + 6 + 7) + 10) / 8 = 6.5.
    y = [1.0, 2.0, 3.0, 6.0, 5.0, 6.0, 7.0, 10.0]
    ratios = np.array([5 / 5.5, 6 / 6.5, 3 / 3.5, 6 / 4.5])
    np.testing.assert_allclose(seasonal_indices(y, 4), ratios / ratios.mean(), rtol=1e-12)


def test_season_by_hand():
    # 1 -1 three times, m = 2: r[1] = -5/6, r[2] = 4/6 below 1.645 sqrt((1 + 50/36) / 6) = 1.04;
    # 25 times: r[1] = -49/50, r[2] = 48/50 above 1.645 sqrt((1 + 2 * 0.98^2) / 50) = 0.40.
    assert not is_seasonal([1.0, -1.0] * 3, 2)
    assert is_seasonal([1.0, -1.0] * 25, 2)
    assert not is_seasonal(np.full(60, 0.1), 4)


def test_naive2_adjusts_where_there_is_a_season():
    index = np.array([0.5, 1.5, 0.8, 1.2])
    y = 100 * np.tile(index, 16)[:62]
    np.testing.assert_allclose(naive2(y, 5, 4), 100 * np.tile(index, 2)[2:7], rtol=1e-9)
    y[[5, 61]] = NAN  # the last value is then that of another place
    np.testing.assert_allclose(naive2(y, 5, 4), 100 * np.tile(index, 2)[2:7], rtol=1e-9)


@pytest.mark.parametrize("m", [1, 4])
def test_naive2_without_a_season_is_naive(m):
    y = np.random.default_rng(0).normal(50, 1, 40)
    assert naive2(y, 3, m).tolist() == [y[-1]] * 3
    season = np.tile([1.0, 9.0, 0.0, 4.0], 10)  # of zeros there are no multiplicative indices
    assert naive2(season, 3, m).tolist() == [4.0] * 3


def test_naive2_of_too_little():
    assert np.isnan(naive2([NAN, NAN], 2, 4)).all()
    with pytest.raises(ValueError, match=r"\(L,\), got \(0,\)"):
        naive2([], 2, 4)
    with pytest.raises(ValueError, match="at least 8 values, got 7"):
        seasonal_indices(np.ones(7), 4)


def test_naive2_scores_what_the_competition_published():
    # M4, hourly: sMAPE 18.383 and MASE 2.395 (Makridakis et al. 2020, tables of the benchmarks).
    def read(part):
        with open(data_path(f"forecasting/m4/Hourly-{part}.csv")) as file:
            return [
                np.array([float(v) for v in row[1:] if v]) for row in list(csv.reader(file))[1:]
            ]

    past, y = read("train"), read("test")
    f = [naive2(x, 48, 24) for x in past]
    scales = [metrics.seasonal_scale(x, 24) for x in past]
    errors = [metrics.mae(a, b) for a, b in zip(y, f, strict=True)]
    smapes = [metrics.smape(a, b) for a, b in zip(y, f, strict=True)]
    assert np.mean(smapes) == pytest.approx(18.383, abs=5e-4)
    assert np.mean(np.divide(errors, scales)) == pytest.approx(2.395, abs=5e-4)
