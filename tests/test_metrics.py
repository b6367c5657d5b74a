"""Measures where values are unknown, and those of the M4 competition."""

import numpy as np
import pandas as pd
import pytest

from longshort.data import SeriesSet
from longshort.tasks import _metrics as metrics
from longshort.tasks._backtest import score


def test_owa_by_hand():
    assert metrics.owa(9.0, 1.2, 12.0, 1.5) == pytest.approx((0.75 + 0.8) / 2)
    assert np.isnan(metrics.owa(9.0, 1.2, 12.0, 0.0))


def test_unknown_y_is_left_out():
    y, f = np.array([1.0, np.nan, 3.0]), np.array([2.0, 7.0, 5.0])
    known, forecast = y[[0, 2]], f[[0, 2]]
    for measure in (metrics.mae, metrics.mse, metrics.rmse, metrics.smape):
        assert measure(y, f) == measure(known, forecast)
        assert np.isnan(measure([np.nan], [1.0])) and np.isnan(measure([1.0], [np.nan]))
    assert metrics.pinball(y, f, 0.9) == metrics.pinball(known, forecast, 0.9)
    both = np.stack([f, f + 1], axis=1)
    assert metrics.pinball(np.stack([y, y], 1), both, [0.1, 0.9]) == metrics.pinball(
        np.stack([known, known], 1), both[[0, 2]], [0.1, 0.9]
    )
    assert metrics.coverage(y, f - 1.5, f + 1) == 0.5
    assert np.isnan(metrics.coverage([1.0], [np.nan], [2.0]))


def test_seasonal_scale_takes_pairs_that_are_known():
    # m = 1: of 1 ? 4 6 9 the pairs 4-6 and 6-9; m = 2: 1-4 and 4-9.
    x = [1, np.nan, 4, 6, 9]
    assert metrics.seasonal_scale(x) == 2.5
    assert metrics.seasonal_scale(x, 2) == 4.0
    assert metrics.seasonal_scale([1, np.nan, 4]) == metrics.seasonal_scale([np.nan]) == 0.0


def test_score_leaves_out_what_is_unknown():
    # History 0 2 0 2: scale 2. The first window has an error of 3 and an unknown step, the second
    # nothing known: MASE 3 / 2.
    history = np.array([0.0, 2.0, 0.0, 2.0, 3.0, np.nan, np.nan, np.nan])
    series = SeriesSet(["a"], [history], [pd.RangeIndex(8)], 1)
    table = pd.DataFrame({"unique_id": "a", "ds": [4, 5, 6, 7], "cutoff": [3, 3, 5, 5]})
    table["y"] = history[4:]
    for name in ("LSTM", "LSTM-lo-80", "LSTM-hi-80", "Naive"):
        table[name] = [6.0, 9.0, 9.0, 9.0]
    scores = score(table, series, 1, [80])
    assert scores["Naive"] == {"mase": 1.5, "smape": 200 / 3, "mae": 3.0, "rmse": 3.0}
    assert scores["LSTM"]["coverage-80"] == 0.0
    assert scores["LSTM"]["pinball"] == pytest.approx((0.5 + 0.9 + 0.1) * 3 / 3)
