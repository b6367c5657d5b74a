"""Wide tables and polars' tables."""

import numpy as np
import pandas as pd
import pytest

from longshort._errors import DataError
from longshort.data import check_series, wide_to_long
from longshort.data._covariates import check_future, check_static

DAYS = pd.date_range("2024-01-01", periods=4)


def wide(**columns):
    default = {"b": [1, 2, 3, 4], "a": [np.nan, 5, np.nan, 6], "c": [7, np.nan, np.nan, np.nan]}
    return pd.DataFrame({"ds": DAYS, **(columns or default)})


def fault(table, **kwargs):
    with pytest.raises(DataError) as caught:
        wide_to_long(table, **kwargs)
    text = str(caught.value)
    assert text.startswith("table: ") and text.endswith((".", "?")) and "\n" not in text
    return text


# -- wide tables -----------------------------------------------------------------------------


def test_wide_to_long():
    found = wide_to_long(wide())
    assert found.columns.tolist() == ["unique_id", "ds", "y"]
    assert found["unique_id"].tolist() == ["b"] * 4 + ["a"] * 3 + ["c"]
    assert found["ds"].tolist() == [*DAYS, *DAYS[1:], DAYS[0]]
    np.testing.assert_array_equal(found["y"], [1, 2, 3, 4, 5, np.nan, 6, 7])
    series = check_series(found, allow_missing=True)
    assert series.ids == ["b", "a", "c"] and [len(y) for y in series.values] == [4, 3, 1]


def test_wide_tables_of_other_kinds():
    ids = wide_to_long(pd.DataFrame({"month": ["2024-01", "2024-02"], 3: [1, 2]}), "month")
    assert ids["unique_id"].tolist() == [3, 3] and ids["ds"].tolist() == ["2024-01", "2024-02"]
    zone = wide(a=[True, False, True, True]).assign(ds=DAYS.tz_localize("Europe/Berlin"))
    found = wide_to_long(zone.set_index(pd.Index([5, 6, 7, 8])))
    assert str(found["ds"].dt.tz) == "Europe/Berlin" and found["y"].tolist() == [1, 0, 1, 1]
    period = wide_to_long(wide().assign(ds=DAYS.to_period("D")))
    assert check_series(period, allow_missing=True).freq == "D"


def test_wide_faults():
    text = fault(wide(a=[1, "x", 2, 3], b=[1, np.inf, 2, 3], c=[None] * 4, d=["x"] * 4))
    assert "4 faults" in text and "column 'a' is not a number in row 1 ('x')" in text
    assert "column 'b' is infinite in row 1" in text and "column 'c' is empty" in text
    assert "column 'd' is not a number" in text
    assert "did you mean time_col='Ds'?" in fault(wide().rename(columns={"ds": "Ds"}))
    assert "'day' is missing; got 'ds', 'b', 'a', 'c'" in fault(wide(), time_col="day")
    assert "reset_index(names='ds')" in fault(wide().set_index("ds"))
    assert "a long table already" in fault(wide_to_long(wide()))
    assert "several columns 'a'" in fault(pd.concat([wide(), wide()[["a"]]], axis=1))
    assert "no column beside 'ds'" in fault(wide()[["ds"]])
    assert "got list" in fault([1, 2])
    assert "is empty" in fault(wide().iloc[:0])


# -- polars ----------------------------------------------------------------------------------


def frame():
    table = pd.DataFrame({"unique_id": "a", "ds": DAYS, "y": [1.0, None, 3.0, 4.0]})
    return table.assign(price=[1, 2, 3, 4], open=[True, False, True, True], other="x")


def polars_of(table):
    """Return a pandas table as polars', without pyarrow."""
    pl = pytest.importorskip("polars")
    return pl.DataFrame({c: [None if pd.isna(v) else v for v in table[c]] for c in table})


def test_polars_tables_are_series():
    table = frame()
    lists = {"futr_exog_list": ["price", "open"], "allow_missing": True}
    expected = check_series(table, **lists)
    for data in (polars_of(table), polars_of(table.assign(ds=table["ds"].dt.strftime("%Y-%m-%d")))):
        found = check_series(data, **lists)
        assert found.ids == ["a"] and found.freq == "D"
        assert list(found.times[0]) == list(expected.times[0])
        np.testing.assert_array_equal(found.values[0], expected.values[0])
        assert found.futr[0].tolist() == expected.futr[0].tolist()
    with pytest.raises(DataError, match=r"y is NaN or empty in row 1 of series 'a'"):
        check_series(polars_of(table))
    with pytest.raises(DataError, match=r"did you mean data.rename\({'value': 'y'}\)"):
        check_series(polars_of(table).rename({"y": "value"}))


def test_polars_kinds():
    pl = pytest.importorskip("polars")
    ds = pl.Series([d.to_pydatetime() for d in DAYS])
    for times, first in (
        (ds.cast(pl.Date), DAYS[0]),
        (ds.dt.replace_time_zone("Europe/Berlin"), DAYS[0].tz_localize("Europe/Berlin")),
        (pl.Series([1, 2, 3, 4], dtype=pl.UInt8), 1),
    ):
        for y in (
            pl.Series([1, 2, None, 4]),
            pl.Series([1.0, 2.0, float("nan"), 4.0]),
            pl.Series([1, 2, None, 4]).cast(pl.Decimal(10, 2)),
        ):
            data = pl.DataFrame({"ds": times, "y": y})
            series = check_series(data, allow_missing=True)
            assert series.times[0][0] == first
            np.testing.assert_array_equal(series.values[0], [1, 2, np.nan, 4])
    ids = pl.Series(["b", "a"] * 2)
    for unique_id in (ids, ids.cast(pl.Categorical), ids.cast(pl.Enum(["a", "b"]))):
        data = pl.DataFrame({"unique_id": unique_id, "ds": [1, 1, 2, 2], "y": [1, 2, 3, 4]})
        assert check_series(data).ids == ["b", "a"]
    spans = pl.DataFrame({"ds": ds, "y": ds - ds})
    with pytest.raises(DataError, match="y holds timedelta64"):
        check_series(spans)
    with pytest.raises(DataError, match="LazyFrame"):
        check_series(spans.lazy())


def test_polars_tables_beside_the_series():
    series = check_series(frame(), allow_missing=True, futr_exog_list=["price"])
    coming = pd.DataFrame({"unique_id": "a", "ds": series.future(0, 2), "price": [5, 6]})
    assert check_future(series, polars_of(coming), 2)[0].tolist() == [[5], [6]]
    shops = pd.DataFrame({"unique_id": ["a", "b"], "kind": ["new", "old"], "open": [True, False]})
    assert check_static(["a", "b"], polars_of(shops), ["kind", "open"])[0].tolist() == [
        [1, 0, 1],
        [0, 1, -1],
    ]


def test_polars_wide_to_long():
    table = wide()
    found, expected = wide_to_long(polars_of(table)), wide_to_long(table)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


class FakeSeries:
    """Of polars only what is used, so that the way through it runs without polars too."""

    def __init__(self, values, kind):
        self.values, self.dtype = values, Kind(kind)

    def to_numpy(self):
        return np.asarray(self.values)

    def to_list(self):
        return list(self.values)


class Kind:
    def __init__(self, kind):
        self.kind, self.time_zone = kind[:4], kind[4:] or None

    def is_integer(self):
        return False

    def is_float(self):
        return self.kind == "real"

    def is_temporal(self):
        return self.kind == "time"


def test_polars_is_told_by_its_name():
    times = DAYS.to_numpy() - np.timedelta64(1, "h")  # midnight in Berlin, as UTC
    columns = {
        "unique_id": FakeSeries(["a"] * 4, "text"),
        "ds": FakeSeries(times, "timeEurope/Berlin"),
        "y": FakeSeries([1.0, 2.0, 3.0, 4.0], "real"),
    }
    kind = type("DataFrame", (dict,), {"columns": property(list), "__module__": "polars.frame"})
    series = check_series(kind(columns))
    assert list(series.times[0]) == list(DAYS.tz_localize("Europe/Berlin"))
    assert series.ids == ["a"] and series.values[0].tolist() == [1, 2, 3, 4]
