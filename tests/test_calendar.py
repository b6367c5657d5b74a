import numpy as np
import pandas as pd
import pytest
from pandas.tseries.frequencies import to_offset

from longshort.data._calendar import calendar_features, calendar_names

HOURS = ["hour_of_day", "day_of_week", "day_of_year"]
DAYS = ["day_of_week", "day_of_month", "day_of_year"]


def cycles(freq):
    return [n.removesuffix("_sin") for n in calendar_names(freq) if n.endswith("_sin")]


def angles(times, freq):
    """Return the share of each cycle that has passed, (T, C / 2)."""
    x = calendar_features(times, freq)
    return (np.arctan2(x[:, ::2], x[:, 1::2]) / (2 * np.pi)) % 1


@pytest.mark.parametrize(
    ("freq", "expected"),
    [("h", HOURS), ("15min", HOURS), ("s", HOURS), ("2h", HOURS), ("36h", HOURS), ("bh", HOURS)]
    + [("D", DAYS), ("B", DAYS), ("C", DAYS), ("24h", DAYS), ("2D", DAYS), ("1440min", DAYS)]
    + [(freq, ["day_of_year"]) for freq in ("W-FRI", "2W", "SMS", "7D", "168h")]
    + [(freq, ["month_of_year"]) for freq in ("MS", "ME", "BMS", "3MS")]
    + [(freq, ["quarter_of_year"]) for freq in ("QS-JAN", "QE-NOV", "BQE", "2QS")]
    + [(freq, []) for freq in ("YS-JAN", "YE", "10YS", "12MS", "4QS", 1, 7)],
)
def test_cycles_of_frequencies(freq, expected):
    assert cycles(freq) == expected
    times = (
        pd.RangeIndex(9) if isinstance(freq, int) else pd.date_range("2024", periods=9, freq=freq)
    )
    x = calendar_features(times, freq)
    assert x.shape == (9, len(calendar_names(freq))) and x.dtype == np.float64
    np.testing.assert_allclose(x[:, ::2] ** 2 + x[:, 1::2] ** 2, 1)
    assert calendar_features(times[:0], freq).shape == (0, x.shape[1])


def test_every_offset_of_pandas_has_its_cycles():
    known = []
    for name in pd.offsets.__all__:
        try:
            code = getattr(pd.offsets, name)().freqstr
            to_offset(code)
        except (TypeError, ValueError, NotImplementedError):  # bases, and offsets without a name
            continue
        known.append(code)
        calendar_names(code)
    assert len(known) > 25
    for code in ("RE-N-DEC-MON", "REQ-N-DEC-MON-1", "WOM-2TUE", "LWOM-FRI"):
        calendar_names(code)


def test_hours():
    times = pd.DatetimeIndex(["2024-01-01 06:00", "2024-01-07 18:45:00", "2023-12-31 23:59:59.5"])
    found = angles(times, "15min")
    np.testing.assert_allclose(found[:, 0], [6 / 24, 18.75 / 24, 1 - 0.5 / 86_400])
    np.testing.assert_allclose(found[:, 1], [0, 6 / 7, 6 / 7])  # Monday, Sunday, Sunday
    np.testing.assert_allclose(found[:, 2], [0, 6 / 366, 364 / 365])


def test_days():
    times = pd.DatetimeIndex(["2024-02-29", "2023-02-28", "2024-12-31"])
    found = angles(times, "D")
    np.testing.assert_allclose(found[:, 0], [3 / 7, 1 / 7, 1 / 7])
    np.testing.assert_allclose(found[:, 1], [28 / 29, 27 / 28, 30 / 31])
    np.testing.assert_allclose(found[:, 2], [59 / 366, 58 / 365, 365 / 366])


def test_months_and_quarters():
    times = pd.date_range("2024-01-31", periods=12, freq="ME")
    np.testing.assert_allclose(angles(times, "ME")[:, 0], np.arange(12) / 12, atol=1e-15)
    quarters = pd.date_range("2024-02-29", periods=4, freq="QE-NOV")
    np.testing.assert_allclose(angles(quarters, "QE-NOV")[:, 0], np.arange(4) / 4, atol=1e-15)


def test_the_ends_of_a_cycle_lie_beside_each_other():
    year = calendar_features(pd.DatetimeIndex(["2024-12-31", "2025-01-01", "2024-07-01"]), "D")[
        :, 4:
    ]
    near, far = np.linalg.norm(year[0] - year[1]), np.linalg.norm(year[0] - year[2])
    assert near < 0.02 and far > 1.9


def test_local_time_counts():
    local = pd.date_range("2024-03-30 12:00", periods=24, freq="h", tz="Europe/Berlin")
    plain = local.tz_localize(None)
    np.testing.assert_array_equal(calendar_features(local, "h"), calendar_features(plain, "h"))
    hours = angles(local, "h")[:, 0] * 24
    assert 2 not in hours.round(6) and 3 in hours.round(6)  # the hour that is left out
    utc = calendar_features(local.tz_convert("UTC"), "h")
    assert not np.allclose(utc[:, :2], calendar_features(local, "h")[:, :2])
