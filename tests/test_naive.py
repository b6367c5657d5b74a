"""The baselines without parameters: drift, gaps, and the Naive2 of M4."""

import numpy as np
import pandas as pd
import pytest

from longshort.data import SeriesSet
from longshort.tasks._backtest import Baselines, cutoffs
from longshort.tasks._baselines import drift, naive, seasonal_naive

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
