"""Time steps in time zones, across changes of the clocks, and at the ends of the calendar."""

import numpy as np
import pandas as pd
import pytest

from longshort._errors import DataError
from longshort.data import SeriesSet, check_series
from longshort.data._frequency import check_freq, future_index, off_grid, past_index

SPRING, AUTUMN = "2024-03-31", "2024-10-27"  # the clocks of Berlin change at 2:00 and at 3:00


def series_of(times, **kwargs):
    return check_series(pd.DataFrame({"ds": times, "y": np.ones(len(times))}), **kwargs)


@pytest.mark.parametrize("freq", ["h", "30min", "6h"])
def test_hours_over_both_changes_of_the_clocks(freq):
    for day in (SPRING, AUTUMN):
        start = pd.Timestamp(day, tz="Europe/Berlin") - pd.Timedelta("2D")
        whole = pd.date_range(start, periods=200, freq=freq)
        utc = whole.tz_convert("UTC")
        assert (np.diff(utc.asi8) == np.diff(utc.asi8)[0]).all()
        for n in (60, 80, 120, 190):
            series = series_of(whole[:n], freq=freq)
            assert list(series.future(0, 10)) == list(whole[n : n + 10])
            assert str(series.future(0, 10).tz) == "Europe/Berlin"
            assert list(past_index(whole[n - 1], n, series.freq)) == list(whole[:n])


def test_a_lost_hour_is_a_gap_and_a_doubled_one_a_duplicate_without_a_zone():
    spring = pd.date_range(SPRING, periods=8, freq="h", tz="Europe/Berlin")
    with pytest.raises(DataError, match="1 step missing after 2024-03-31 01:00:00"):
        series_of(spring.tz_localize(None), freq="h")
    autumn = pd.date_range(AUTUMN, periods=8, freq="h", tz="Europe/Berlin")
    with pytest.raises(DataError, match="1 duplicate timestamp .2024-10-27 02:00:00"):
        series_of(autumn.tz_localize(None), freq="h")


# In Santiago, Cairo and Sao Paulo the clocks went from 0:00 to 1:00, in Havana back to 0:00.
@pytest.mark.parametrize(
    ("zone", "day", "begins"),
    [
        ("Europe/Berlin", SPRING, "2024-03-31 00:00:00+01:00"),
        ("Europe/Berlin", AUTUMN, "2024-10-27 00:00:00+02:00"),
        ("America/Santiago", "2024-09-08", "2024-09-08 01:00:00-03:00"),
        ("Africa/Cairo", "2024-04-26", "2024-04-26 01:00:00+03:00"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04 01:00:00-02:00"),
        ("America/Havana", "2024-11-03", "2024-11-03 00:00:00-04:00"),
    ],
)
@pytest.mark.parametrize("freq", ["D", None])
def test_days_that_begin_at_local_midnight(zone, day, begins, freq):
    wall = pd.date_range(pd.Timestamp(day) - pd.Timedelta("9D"), periods=20, freq="D")
    whole = wall.tz_localize(zone, ambiguous=np.ones(20, bool), nonexistent="shift_forward")
    assert str(whole[9]) == begins
    for n in (8, 9, 10, 11, 15):  # ends before, on and after the day
        series = series_of(whole[:n], freq=freq)
        assert series.freq == "D" and list(series.future(0, 5)) == list(whole[n : n + 5])
        again = SeriesSet.from_state(series.tail(4).to_state(), "D")
        assert list(again.times[0]) == list(whole[n - 4 : n])
    assert "1 step missing" in off_grid(whole.delete(9), "D")
    assert "2 steps missing" in off_grid(whole.delete([8, 9]), "D")


def test_months_and_weeks_in_a_zone():
    for freq in ("MS", "W-SUN", "QS-JAN", "B"):
        whole = pd.date_range("2023-12-01", periods=40, freq=freq, tz="Europe/Berlin")
        assert list(series_of(whole[:30]).future(0, 10)) == list(whole[30:])


@pytest.mark.parametrize("freq", ["fortnight", "", "M0", "0D", "-1D", "days", 1.0, True])
def test_unknown_frequency(freq):
    with pytest.raises(DataError, match="^freq: "):
        check_freq(freq, pd.date_range("2024-01-01", periods=3))


@pytest.mark.parametrize("freq", ["YS", "D", "D-zone"])
def test_a_horizon_beyond_the_calendar(freq):
    freq, _, zone = freq.partition("-")
    last = pd.Timestamp("2024-01-01", tz="Europe/Berlin" if zone else None)
    with pytest.raises(DataError, match="leave the calendar"):
        future_index(last, 10**12 if freq == "D" else 10**6, freq)


def test_a_constant_series_is_a_series():
    series = check_series([5.0] * 4)
    assert series.values[0].tolist() == [5.0] * 4 and series.future(0, 3).tolist() == [4, 5, 6]


def test_past_and_future_of_integers():
    assert past_index(10, 3, 5).tolist() == [0, 5, 10]
    assert future_index(10, 2, 5).tolist() == [15, 20]
    assert len(past_index(10, 0, 5)) == len(future_index(10, 0, 5)) == 0
