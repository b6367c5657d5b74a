import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from longshort._errors import DataError
from longshort.data import SeriesSet, check_series, load_dataset, read_table
from longshort.data._frequency import future_index, season_length_of


def table(n=6, start="2024-01-01", freq="MS", name="a"):
    ds = pd.date_range(start, periods=n, freq=freq)
    return pd.DataFrame({"unique_id": name, "ds": ds, "y": np.arange(1.0, n + 1)})


def message(data, **kwargs):
    with pytest.raises(DataError) as caught:
        check_series(data, **kwargs)
    text = str(caught.value)
    assert "\n" not in text and text.endswith((".", "?"))
    return text


# -- what is accepted ------------------------------------------------------------------------


def test_forms_agree():
    frame = table()
    forms = [
        frame,
        frame.drop(columns="unique_id"),
        frame.assign(ds=frame["ds"].dt.strftime("%Y-%m-%d")),
        frame.assign(ds=frame["ds"].dt.strftime("%Y-%m")),
        frame.assign(ds=frame["ds"].dt.to_period("M")),
        frame.assign(ds=frame["ds"].dt.date),
        frame.assign(y=frame["y"].astype("Int64"), other="x"),
        frame.set_index("ds", drop=False).rename_axis(None),
        pd.Series(frame["y"].to_numpy(), index=pd.DatetimeIndex(frame["ds"])),
        pd.Series(frame["y"].to_numpy(), index=pd.period_range("2024-01", periods=6, freq="M")),
    ]
    for form in forms:
        series = check_series(form)
        assert series.freq == "MS" and len(series) == 1
        assert series.values[0].tolist() == [1, 2, 3, 4, 5, 6]
        assert list(series.times[0]) == list(frame["ds"])


@pytest.mark.parametrize("data", [[1, 2, 3], np.array([1, 2, 3]), pd.Series([1, 2, 3])])
def test_plain_numbers_count_from_zero(data):
    series = check_series(data)
    assert series.ids == ["series"] and series.freq == 1
    assert series.times[0].tolist() == [0, 1, 2]
    assert series.future(0, 2).tolist() == [3, 4]


def test_whole_floats_are_integer_ids():
    rows = pd.concat([table(), table()]).assign(unique_id=[7.0] * 6 + [7.5] * 6)
    assert check_series(rows).ids == [7, "7.5"]


def test_checked_series_are_taken_as_they_are():
    series = check_series(table())
    assert check_series(series, freq="MS") is series
    with pytest.raises(DataError, match="'ME' does not fit"):
        check_series(series, freq="ME")


def test_mixed_rows_keep_first_appearance_and_ids():
    rows = pd.concat([table(name=7), table(5, name="b")], ignore_index=True)
    rows = rows.sort_values("ds", ascending=True, kind="stable")
    series = check_series(rows)
    assert series.ids == [7, "b"]
    assert [len(y) for y in series.values] == [6, 5]
    again = check_series(series.frame())
    assert again.ids == series.ids and again.freq == series.freq


@pytest.mark.parametrize(
    "freq", ["MS", "ME", "QS-OCT", "YS-JAN", "W-FRI", "D", "B", "h", "2h", "15min"]
)
def test_frequency_is_inferred_and_goes_on(freq):
    whole = pd.date_range("2023-12-29", periods=40, freq=freq)
    series = check_series(pd.Series(np.ones(30), index=whole[:30]))
    # Quarters from October and from January are one grid.
    assert str(series.freq).split("-")[0] == freq.split("-")[0]
    assert list(series.future(0, 10)) == list(whole[30:])


def test_time_zone_survives_a_clock_change():
    whole = pd.date_range("2024-03-30", periods=60, freq="h", tz="Europe/Berlin")
    series = check_series(pd.Series(np.ones(50), index=whole[:50]))
    assert list(series.future(0, 10)) == list(whole[50:])


def test_anchor_is_taken_from_the_data():
    fridays = pd.date_range("2024-01-05", periods=8, freq="W-FRI")
    assert check_series(pd.Series(np.ones(8), index=fridays), freq="W").freq == "W-FRI"


def test_integer_steps():
    assert check_series(pd.DataFrame({"ds": [1900, 1910], "y": [1, 2]}), freq=10).freq == 10
    assert future_index(1910, 2, 10).tolist() == [1920, 1930]


@pytest.mark.parametrize(
    ("freq", "season"),
    [("ME", 12), ("MS", 12), ("h", 24), ("D", 7), ("W-SUN", 52), ("QS-OCT", 4), ("B", 5)]
    + [("15min", 1), ("YS", 1), ("2h", 12), ("5h", 1), (1, 1), ("bh", 8), ("BQE", 4)],
)
def test_season_length(freq, season):
    assert season_length_of(freq) == season


def test_state_goes_both_ways():
    for series in (
        check_series(pd.concat([table(), table(9, "2020-03-01", name=3)])),
        check_series(pd.DataFrame({"ds": [3, 5, 7], "y": [1, 2, 3]}), freq=2),
        check_series(table(30, freq="h").assign(ds=lambda t: t["ds"].dt.tz_localize("CET"))),
    ):
        again = SeriesSet.from_state(series.tail(3).to_state(), series.freq)
        assert again.ids == series.ids
        for i, times in enumerate(series.times):
            assert list(again.times[i]) == list(times[-3:])
            assert list(again.future(i, 4)) == list(series.future(i, 4))


# -- what is refused -------------------------------------------------------------------------


def test_missing_columns():
    text = message(pd.DataFrame({"Month": ["2024-01"], "value": [1]}))
    assert "'ds' and 'y' are missing" in text and "got 'Month', 'value'" in text
    assert "{'Month': 'ds', 'value': 'y'}" in text
    assert "'y' is missing" in message(table().rename(columns={"y": "passengers"}))


def test_columns_twice_or_in_the_index():
    assert "several columns 'y'" in message(pd.concat([table(), table()[["y"]]], axis=1))
    assert "reset_index(names='ds')" in message(table().set_index("ds"))


@pytest.mark.parametrize("data", [table(0), [], pd.Series(dtype=float)])
def test_empty(data):
    assert "empty" in message(data)


@pytest.mark.parametrize("data", ["file.csv", None, 3, {"y": [1]}])
def test_wrong_type(data):
    assert f"got {type(data).__name__}" in message(data)


@pytest.mark.parametrize("data", [np.ones((3, 2)), [[1, 2], [3]]])
def test_wrong_shape(data):
    assert "1-D" in message(data)


def test_bad_dates():
    frame = table().astype({"ds": object})
    frame.loc[2, "ds"] = "soon"
    text = message(frame)
    assert "row 2 ('soon')" in text and "YYYY-MM-DD" in text
    assert "ds is empty in row 1" in message(
        table().astype({"ds": object}).replace({"ds": {pd.Timestamp("2024-02-01"): None}})
    )
    assert "float64" in message(pd.DataFrame({"ds": [0.5, 1.5], "y": [1, 2]}))


def test_duplicates():
    frame = pd.concat([table(), table().iloc[[5]]])
    text = message(frame)
    assert "series 'a' has 1 duplicate timestamp (2024-06-01)" in text


def test_not_sorted_is_refused():
    text = message(table().iloc[::-1])
    assert "not in order of time: 2024-05-01 comes after 2024-06-01" in text
    assert "sort_values" in text


def test_gap():
    text = message(pd.concat([table(9, name="b"), table(9).drop(index=[4, 5])]))
    assert "series 'a': 2 steps missing after 2024-04-01" in text and "2024-07-01" in text
    days = table(30, freq="D").drop(index=17)
    assert "1 step missing after 2024-01-17" in message(days)
    assert "2 steps missing after 1" in message(pd.DataFrame({"ds": [0, 1, 4], "y": [1, 2, 3]}))


def test_irregular():
    frame = table(10, freq="D")
    frame.loc[4, "ds"] += pd.Timedelta("7h")
    assert "irregular" in message(frame, freq="2D")
    text = message(frame)
    assert "series 'a'" in text and "2024-01-05 07:00:00" in text


def test_frequency_cannot_be_told():
    assert "freq='D'" in message(table(2))
    assert check_series(table(2), freq="MS").freq == "MS"


@pytest.mark.parametrize(
    ("freq", "part"),
    [("fortnight", "'fortnight' is no pandas offset name"), (1, "ds holds dates"), ([], "got []")]
    + [(pd.offsets.MonthBegin(), "expected a pandas offset name")],
)
def test_bad_frequency(freq, part):
    assert part in message(table(), freq=freq)


def test_frequency_against_the_data():
    assert "integers" in message([1, 2, 3], freq="D")
    assert "freq='MS'" in message(table(), freq="ME")


@pytest.mark.parametrize(
    ("value", "part"), [(np.nan, "NaN or empty"), (np.inf, "infinite"), (-np.inf, "infinite")]
)
def test_values_not_finite(value, part):
    frame = table()
    frame.loc[3, "y"] = value
    text = message(frame)
    assert part in text and "row 3 of series 'a'" in text


def test_values_not_numbers():
    frame = table().astype({"y": object})
    frame.loc[1, "y"] = "n/a"
    assert "y is not a number in row 1 ('n/a')" in message(frame)
    assert "complex128" in message(table().assign(y=1j))
    assert "timedelta64" in message(table().assign(y=pd.Timedelta("1h")))
    assert "datetime64" in message(table().assign(y=pd.Timestamp("2024-01-01")))


def test_time_zone_without_a_name():
    gettz = pytest.importorskip("dateutil.tz").gettz
    frame = table().assign(ds=lambda t: t["ds"].dt.tz_localize(gettz("Europe/Berlin")))
    assert "no name" in message(frame)


def test_empty_id():
    frame = table().astype({"unique_id": object})
    frame.loc[0, "unique_id"] = None
    assert "unique_id is empty in row 0" in message(frame)


def test_too_short_is_named():
    frame = pd.concat([table(), table(3, name="b")])
    text = message(frame, min_length=5)
    assert "at least 5 steps" in text and "'b' (3)" in text and "'a'" not in text


def test_faults_are_collected():
    frame = table().astype({"ds": object, "y": object})
    frame.loc[2, "ds"] = "soon"
    frame.loc[3, "y"] = np.nan
    frame.loc[4, "y"] = "many"
    text = message(frame)
    assert "3 faults" in text
    assert all(part in text for part in ("'soon'", "NaN", "'many'"))
    many = pd.concat([table(name=f"s{i}").iloc[::-1] for i in range(9)])
    assert "and 4 more" in message(many)


# -- files -----------------------------------------------------------------------------------


def test_read_table(tmp_path: Path):
    frame = table().assign(ds=lambda t: t["ds"].dt.strftime("%Y-%m-%d"))
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    for name in ("a.csv", "a.tsv", "a.jsonl", "b.csv.gz"):
        assert check_series(read_table(tmp_path / name)).values[0].tolist() == [1, 2, 3, 4, 5, 6]


def test_read_parquet(tmp_path: Path):
    pytest.importorskip("pyarrow")
    table().to_parquet(tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").equals(table())
    (tmp_path / "b.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        read_table(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"ds,y\n", "has no rows"),
        ("a.xlsx", b"x", "expected one of .csv"),
        ("a", b"x", "expected one of .csv"),
        ("a.csv", b"ds,y\n1,2\n1,2,3,4\n", "cannot be read as csv"),
        ("a.csv", b"ds,y\n\xff\xfe,2\n", "cannot be read as csv"),
        ("a.csv.gz", b"no gzip", "cannot be read as csv"),
        ("a.jsonl", b'{"ds": 1}\n{"ds"\n', "line 2 is no JSON"),
        ("a.jsonl", b"[1]\n", "line 1 is no JSON object"),
    ],
)
def test_bad_files(tmp_path: Path, name, content, part):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / name)
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_no_file(tmp_path: Path):
    with pytest.raises(DataError, match="no file"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)


# -- built-in sets ---------------------------------------------------------------------------


def test_air_passengers():
    frame = load_dataset("air-passengers")
    assert frame.columns.tolist() == ["unique_id", "ds", "y"] and len(frame) == 144
    assert frame["y"].sum() == 40363 and frame["y"].iloc[[0, -1]].tolist() == [112, 432]
    assert check_series(frame).freq == "MS"
    frame["y"] = 0.0
    assert load_dataset("air-passengers")["y"].sum() == 40363


def test_unknown_set():
    with pytest.raises(DataError, match="there are: 'air-passengers'. Did you mean"):
        load_dataset("airpassengers")


def test_a_surplus_field_is_not_taken_for_an_index(tmp_path):
    file = tmp_path / "extra.csv"
    file.write_text("ds,y\n2024-01-01,0,10.0\n2024-01-02,1,11.0\n")
    with pytest.raises(DataError, match="more fields than its header"):
        read_table(file)


def test_names_with_leading_zeros_stay(tmp_path):
    file = tmp_path / "ids.csv"
    file.write_text("unique_id,ds,y\n001,1,2\n01,1,3\n")
    assert check_series(read_table(file, text=["unique_id"])).ids == ["001", "01"]


def test_deeply_nested_json(tmp_path):
    file = tmp_path / "deep.jsonl"
    file.write_text("[" * 100_000)
    with pytest.raises(DataError, match="cannot be read as jsonl"):
        read_table(file)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"unique_id": [[1], [2]], "ds": [1, 2], "y": [1, 2]}, "must hold text or numbers"),
        ({"ds": [1, 2], "y": [10**400, 1]}, r"beyond 1e\+100"),
        ({"ds": [1, 2], "y": [1e200, 1]}, r"y is beyond 1e\+100 in row 0"),
        ({"ds": [2**63 - 2, 2**63 - 1], "y": [1, 2]}, "integers beyond"),
        (
            {"ds": ["01/02/2024", "01/03/2024", "01/04/2024"], "y": [1, 2, 3]},
            "month/day and as day",
        ),
    ],
)
def test_what_would_overflow_or_be_misread(table, message):
    with pytest.raises(DataError, match=message):
        check_series(pd.DataFrame(table))


@pytest.mark.parametrize("freq", ["99999999999999999999D", "99999999999999D", "²"])
def test_impossible_frequencies(freq):
    table = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=4), "y": range(4)})
    with pytest.raises(DataError, match="freq"):
        check_series(table, freq=freq)
