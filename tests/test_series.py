"""Covariates and missing values in checked series; sets of series and their parts."""

import json

import numpy as np
import pandas as pd
import pytest

from longshort._errors import DataError
from longshort.data import SeriesSet, check_series
from longshort.data._columns import check_exog_lists
from longshort.tasks._json import decode, encode

LISTS = {"futr_exog_list": ["price", "holiday"], "hist_exog_list": ["visits"]}


def table(n=6, name="a"):
    ds = pd.date_range("2024-01-01", periods=n, freq="D")
    steps = np.arange(n)
    frame = pd.DataFrame({"unique_id": name, "ds": ds, "y": steps + 1.0, "price": steps / 2})
    return frame.assign(holiday=steps % 3 == 0, visits=10.0 * steps, other="x")


def both():
    return pd.concat([table(), table(4, "b")], ignore_index=True)


def message(data, **kwargs):
    with pytest.raises(DataError) as caught:
        check_series(data, **kwargs)
    text = str(caught.value)
    assert "\n" not in text and text.endswith((".", "?"))
    return text


# -- missing values --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float64", "Float64", object])
def test_empty_values_are_kept_where_allowed(kind):
    frame = both().astype({"y": kind})
    frame.loc[[0, 3, 9], "y"] = None
    series = check_series(frame, allow_missing=True)
    np.testing.assert_array_equal(series.values[0], [np.nan, 2, 3, np.nan, 5, 6])
    np.testing.assert_array_equal(series.values[1], [1, 2, 3, np.nan])
    assert check_series(series, allow_missing=True, min_length=4) is series
    for data in (frame, series):
        assert "y is NaN or empty in rows 0, 3, 9 of series 'a', 'b'" in message(data)


def test_what_is_no_missing_value_stays_a_fault():
    frame = both().astype({"y": object})
    frame.loc[1, "y"], frame.loc[2, "y"], frame.loc[3, "y"] = "n/a", np.inf, np.nan
    text = message(frame, allow_missing=True)
    assert "row 1 ('n/a')" in text and "y is infinite in row 2 of series 'a'" in text
    assert "2 faults" in text


def test_a_series_without_a_value_is_named():
    frame = pd.concat([both(), table(3, "c").assign(y=np.nan)])
    text = message(frame, allow_missing=True)
    assert "every row of series 'c'" in text and "'a'" not in text
    series = check_series(both().assign(y=lambda t: t["y"].where(t["y"] > 2)), allow_missing=True)
    assert "every row of series 'a', 'b'" in message(series.head([2, 1]), allow_missing=True)


def test_a_gap_may_be_left_empty_and_says_so():
    gap = table().drop(index=3)
    assert "whose y may stay empty, for instance with .asfreq(freq)" in message(
        gap, allow_missing=True
    )
    assert ".asfreq(freq).interpolate()" in message(gap)
    filled = gap.set_index("ds")[["y"]].asfreq("D").reset_index()
    y = check_series(filled, allow_missing=True).values[0]
    np.testing.assert_array_equal(y, [1, 2, 3, np.nan, 5, 6])


# -- covariates ------------------------------------------------------------------------------


def test_covariates_come_with_their_series():
    rows = both().sample(frac=1, random_state=0).sort_values("ds", kind="stable")
    series = check_series(rows, **LISTS)
    for i, name in enumerate(series.ids):
        own = rows[rows["unique_id"] == name]
        assert series.futr[i].tolist() == own[LISTS["futr_exog_list"]].to_numpy(float).tolist()
        assert series.hist[i].tolist() == own[["visits"]].to_numpy(float).tolist()
        assert series.futr[i].dtype == series.hist[i].dtype == np.float64
    assert series.futr_exog_list == ("price", "holiday") and series.hist_exog_list == ("visits",)


@pytest.mark.parametrize("kind", ["int8", "Int64", "bool", "boolean", object, "category"])
def test_kinds_of_covariates(kind):
    frame = table().assign(price=np.array([0, 1, 1, 0, 1, 0])).astype({"price": kind})
    series = check_series(frame, futr_exog_list=["price"])
    assert series.futr[0][:, 0].tolist() == [0, 1, 1, 0, 1, 0]


def test_sets_without_covariates_have_empty_ones():
    for series in (
        check_series([1, 2, 3]),
        SeriesSet(["a"], [np.ones(3)], [pd.Index(range(3))], 1),
    ):
        assert series.futr[0].shape == series.hist[0].shape == (3, 0)
        assert series.futr_exog_list == series.hist_exog_list == ()


def test_parts_carry_covariates():
    series = check_series(both(), **LISTS)
    for part, rows in ((series.head([3, 2]), slice(0, 2)), (series.tail(2), slice(-2, None))):
        assert [len(y) for y in part.values] == [len(x) for x in part.futr]
        assert [len(y) for y in part.values] == [len(x) for x in part.hist]
        assert part.futr_exog_list == series.futr_exog_list
        assert part.hist[1].tolist() == series.hist[1][rows].tolist()


def test_frame_goes_both_ways():
    frame = both().drop(columns="other")
    series = check_series(frame, **LISTS)
    expected = frame.astype({"holiday": float})
    pd.testing.assert_frame_equal(series.frame(), expected, check_dtype=False)
    again = check_series(series.frame(), **LISTS)
    assert [x.tolist() for x in again.futr] == [x.tolist() for x in series.futr]


def test_a_set_is_narrowed_to_the_covariates_asked_for():
    series = check_series(both(), **LISTS)
    assert check_series(series, **LISTS) is series
    narrow = check_series(series, futr_exog_list=["visits"])
    assert narrow.futr[1].tolist() == series.hist[1].tolist() and narrow.hist[0].shape == (6, 0)
    assert check_series(series).futr_exog_list == ()
    assert "'rain' (hist_exog_list) is missing" in message(series, hist_exog_list=["rain"])
    days = check_series(series, freq="24h", **LISTS)
    assert days.freq != "D" and days.futr[0].tolist() == series.futr[0].tolist()


def test_state_carries_covariates_and_missing_values():
    frame = both()
    frame.loc[2, "y"] = np.nan
    series = check_series(frame, allow_missing=True, **LISTS)
    state = decode(json.loads(json.dumps(encode(series.to_state()), allow_nan=False)))
    again = SeriesSet.from_state(state, "D")
    for mine, others in ((series.values, again.values), (series.futr, again.futr)):
        for one, other in zip(mine, others, strict=True):
            np.testing.assert_array_equal(one, other)
    assert again.hist[0].tolist() == series.hist[0].tolist()
    assert (again.futr_exog_list, again.hist_exog_list) == (("price", "holiday"), ("visits",))


def test_states_from_before_covariates():
    state = check_series(both()).to_state()
    assert sorted(state) == ["ids", "last", "time_zone", "values"]
    assert SeriesSet.from_state(state, "D").futr[1].shape == (4, 0)
    broken = check_series(both(), **LISTS).to_state() | {"futr_exog_list": ["price"]}
    with pytest.raises(ValueError, match="futr does not fit"):
        SeriesSet.from_state(broken, "D")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("allow_missing", [False, True])
def test_covariates_must_be_finite(value, allow_missing):
    frame = both()
    frame.loc[7, "price"] = value
    text = message(frame, allow_missing=allow_missing, **LISTS)
    what = "NaN or empty" if np.isnan(value) else "infinite"
    assert f"covariate 'price' is {what} in row 7 of series 'b'" in text
    assert "leave it out of futr_exog_list" in text


def test_covariates_must_be_numbers():
    frame = both().astype({"visits": object})
    frame.loc[2, "visits"] = "many"
    assert "covariate 'visits' is not a number in row 2 ('many')" in message(frame, **LISTS)
    dates = both().assign(visits=pd.Timestamp("2024-01-01"))
    assert "covariate 'visits' holds datetime64" in message(dates, **LISTS)


def test_faults_of_y_and_covariates_are_one_message():
    frame = both()
    frame.loc[1, "y"], frame.loc[2, "price"], frame.loc[3, "visits"] = np.nan, np.nan, np.inf
    assert "3 faults" in message(frame, **LISTS)


def test_missing_covariates_are_named_with_a_hint():
    text = message(both(), futr_exog_list=["prices"], hist_exog_list=["rain"])
    assert "the columns 'prices' (futr_exog_list), 'rain' (hist_exog_list) are missing" in text
    assert (
        "got 'unique_id', 'ds', 'y', 'price'" in text
        and "did you mean 'price' for 'prices'" in text
    )
    assert "add what is missing" in message(both(), hist_exog_list=["rain"])
    twice = pd.concat([both(), both()[["price"]]], axis=1)
    assert "several columns 'price'" in message(twice, futr_exog_list=["price"])


@pytest.mark.parametrize(
    ("futr", "hist", "part"),
    [
        (["price", "price"], [], "futr_exog_list: 'price' is there twice"),
        (["price"], ["price"], "hist_exog_list: 'price' is in futr_exog_list as well"),
        (["y"], [], "futr_exog_list: 'y' is no covariate"),
        ([], ["ds"], "hist_exog_list: 'ds' is no covariate"),
        ("price", [], "futr_exog_list: expected a list of column names"),
        (None, [], "futr_exog_list: expected a list of column names"),
        ([], [3], "hist_exog_list: expected a list of column names"),
    ],
)
def test_bad_lists(futr, hist, part):
    assert part in message(both(), futr_exog_list=futr, hist_exog_list=hist)


def test_three_lists():
    with pytest.raises(DataError, match="stat_exog_list: 'size' is in futr_exog_list as well"):
        check_exog_lists(futr_exog_list=["size"], stat_exog_list=("size",))


@pytest.mark.parametrize("data", [[1, 2, 3], np.ones(3), pd.Series([1.0, 2.0])])
def test_numbers_alone_have_no_covariates(data):
    text = message(data, futr_exog_list=["price"])
    assert "has no column 'price'" in text and "ds, y and price" in text


def test_local_times_with_offsets():
    frame = pd.DataFrame(
        {"ds": ["2024-03-31T01:00+01:00", "2024-03-31T03:00+02:00"], "y": [1.0, 2.0]}
    )
    text = message(frame, freq="h")
    assert "mixes offsets from UTC" in text and "tz_convert" in text
    ds = pd.to_datetime(frame["ds"], utc=True).dt.tz_convert("Europe/Berlin")
    assert len(check_series(frame.assign(ds=ds), freq="h").values[0]) == 2
