"""Tables of future and static covariates."""

import json

import numpy as np
import pandas as pd
import pytest

from longshort._errors import DataError
from longshort.data import check_series
from longshort.data._covariates import check_future, check_static

H = 3


def series_of(ids=("a", "b"), freq="D", start="2024-01-01", lengths=(6, 4), **kwargs):
    parts = []
    for name, n in zip(ids, lengths, strict=False):
        ds = pd.date_range(start, periods=n, freq=freq, **kwargs)
        parts.append(pd.DataFrame({"unique_id": name, "ds": ds, "y": 1.0, "price": 2.0, "off": 0}))
    return check_series(pd.concat(parts), freq=freq, futr_exog_list=["price", "off"])


def future_of(series, h=H):
    parts = []
    for i, name in enumerate(series.ids):
        steps = 10 * i + np.arange(h)
        columns = {"unique_id": name, "ds": series.future(i, h), "off": steps % 2 == 0}
        parts.append(pd.DataFrame({**columns, "price": steps, "other": "x"}))
    return pd.concat(parts, ignore_index=True)


def message(series, table, h=H):
    with pytest.raises(DataError) as caught:
        check_future(series, table, h)
    text = str(caught.value)
    assert text.startswith("futr_df: ") and text.endswith((".", "?")) and "\n" not in text
    return text


EXPECTED = [[[0, 1], [1, 0], [2, 1]], [[10, 1], [11, 0], [12, 1]]]


# -- the steps to come -----------------------------------------------------------------------


def test_future_covariates_in_any_order_among_other_rows():
    series = series_of()
    table = future_of(series)
    # Rows of the past, of after the horizon and of another series, with what would be faults.
    table.loc[len(table)] = ["a", pd.Timestamp("2024-01-06"), False, -1, "x"]
    table.loc[len(table)] = ["a", pd.Timestamp("2024-01-06"), False, -1, "x"]
    table.loc[len(table)] = ["b", pd.Timestamp("2025-01-01"), False, np.nan, "x"]
    table.loc[len(table)] = ["c", pd.Timestamp("2024-01-07"), False, np.nan, "x"]
    for rows in (
        table,
        table.iloc[::-1],
        table.astype({"ds": str}),
        table.sample(frac=1, random_state=0),
    ):
        found = check_future(series, rows, H)
        assert [x.tolist() for x in found] == EXPECTED
        assert all(x.dtype == np.float64 for x in found)
    assert check_future(series, table, 2)[1].tolist() == EXPECTED[1][:2]


def test_one_series_needs_no_id():
    for ids in (["a"], [7]):
        series = series_of(ids, lengths=[6])
        table = future_of(series)
        for rows in (table, table.drop(columns="unique_id")):
            assert check_future(series, rows, H)[0].tolist() == EXPECTED[0]
    assert "'unique_id' is missing" in message(series_of(), table.drop(columns="unique_id"))


def test_integer_steps():
    frame = pd.DataFrame({"ds": [2, 4, 6], "y": 1.0, "price": 1})
    series = check_series(frame, freq=2, futr_exog_list=["price"])
    table = pd.DataFrame({"ds": [8, 9, 10, 12], "price": [1, -1, 2, 3]})
    assert check_future(series, table, H)[0].tolist() == [[1], [2], [3]]
    assert "lacks 1 of the 3 steps from 8 to 12 (freq=2): 10" in message(
        series, table.drop(index=2)
    )
    dates = table.assign(ds=pd.date_range("2024-01-01", periods=4))
    assert "ds holds dates without a time zone, but ds of the series holds integers" in message(
        series, dates
    )


def test_without_future_covariates():
    series = check_series([1, 2, 3])
    assert [x.shape for x in check_future(series, None, H)] == [(H, 0)]
    assert "no future covariates to take" in message(series, pd.DataFrame({"ds": [3, 4, 5]}))


@pytest.mark.parametrize(("day", "n"), [("2024-03-30", 24), ("2024-10-26", 24)])
def test_hours_over_a_change_of_the_clocks(day, n):
    series = series_of(["a"], "h", day, [n], tz="Europe/Berlin")
    table = future_of(series, 30)
    steps = np.arange(30.0)
    assert check_future(series, table, 30)[0][:, 0].tolist() == steps.tolist()
    utc = table.assign(ds=table["ds"].dt.tz_convert("UTC"))
    assert check_future(series, utc, 30)[0][:, 0].tolist() == steps.tolist()
    assert f"lacks 1 of the 30 steps from {series.future(0, 1)[0]}" in message(
        series, table.drop(index=3), 30
    )


def test_time_zones_must_be_alike():
    local, plain = series_of(tz="Europe/Berlin"), series_of()
    text = message(local, future_of(plain))
    assert "without a time zone, but ds of the series holds dates in a time zone" in text
    assert "futr_df['ds'].dt.tz_localize('Europe/Berlin')" in text
    assert "futr_df['ds'].dt.tz_localize(None)" in message(plain, future_of(local))


def test_no_table():
    assert "'price', 'off' of the 3 steps to come are needed" in message(series_of(), None)
    assert "got list" in message(series_of(), [1, 2])
    assert "the table is empty" in message(series_of(), future_of(series_of()).iloc[:0])


def test_missing_columns_of_the_future():
    table = future_of(series_of()).rename(columns={"price": "prize"}).drop(columns="ds")
    text = message(series_of(), table)
    assert "'ds', 'price' (futr_exog_list) are missing" in text
    assert "did you mean 'prize' for 'price'" in text


def test_missing_steps_and_series():
    series = series_of()
    table = future_of(series)
    text = message(series, table.drop(index=[1, 5]))
    assert (
        "series 'a' lacks 1 of the 3 steps from 2024-01-07 to 2024-01-09 (freq='D'): 2024-01-08"
        in text
    )
    assert "series 'b' lacks 1 of the 3 steps" in text and "2024-01-07" in text
    text = message(series, table[table["unique_id"] == "b"])
    assert "there is no row for series 'a'; there are rows for 'b'" in text
    numbers = table.assign(unique_id=[1] * 3 + [2] * 3)
    assert "no row for series 'a', 'b'; there are rows for 1, 2" in message(series, numbers)


def test_duplicate_steps():
    table = future_of(series_of())
    text = message(series_of(), pd.concat([table, table.iloc[[4]]]))
    assert "series 'b' has more than one row for 1 of the 3 steps" in text and "2024-01-06" in text


@pytest.mark.parametrize(
    ("value", "part"), [(None, "NaN or empty"), (np.inf, "infinite"), ("low", "not a number")]
)
def test_bad_values_of_the_future(value, part):
    table = future_of(series_of()).astype({"price": object}).iloc[::-1]
    table.iloc[1, table.columns.get_loc("price")] = value
    text = message(series_of(), table)
    assert f"covariate 'price' is {part} in row 1" in text


def test_bad_times_of_the_future():
    table = future_of(series_of()).astype({"ds": object})
    table.loc[2, "ds"] = "soon"
    assert "ds is no date in row 2 ('soon')" in message(series_of(), table)
    table.loc[2, "ds"] = None
    assert "ds is empty in row 2" in message(series_of(), table)


# -- what a series is for good ---------------------------------------------------------------

SHOPS = pd.DataFrame(
    {
        "unique_id": ["c", "a", "b", "z"],
        "size": [6.0, 2.0, 4.0, np.nan],
        "kind": ["new", "old", "new", None],
        "open": [True, True, False, None],
        "same": [3, 3, 3, 99],
    }
)
NAMES = ["size", "kind", "open", "same"]


def fault(ids=("a", "b", "c"), table=SHOPS, names=NAMES, known=None):
    with pytest.raises(DataError) as caught:
        check_static(ids, table, names, known)
    text = str(caught.value)
    assert text.endswith((".", "?")) and "\n" not in text
    return text


def test_static_covariates_as_numbers():
    values, encoding = check_static(["a", "b", "c"], SHOPS, NAMES)
    assert values.shape == (3, 5) and values.dtype == np.float64
    np.testing.assert_allclose(values[:, 0], np.array([-1, 0, 1]) * np.sqrt(1.5))
    assert values[:, 1:3].tolist() == [[0, 1], [1, 0], [1, 0]]  # new, old
    np.testing.assert_allclose(values[:, 3], [2**-0.5, -(2**0.5), 2**-0.5])
    assert values[:, 4].tolist() == [0, 0, 0]
    assert json.loads(json.dumps(encoding, allow_nan=False)) == encoding


def test_new_series_are_encoded_as_those_of_training():
    values, encoding = check_static(["a", "b", "c"], SHOPS, NAMES)
    for ids in (["c"], ["b", "a"], ["a", "b", "c"]):
        again, same = check_static(ids, SHOPS, NAMES, encoding)
        assert again.tolist() == [values["abc".index(i)].tolist() for i in ids]
        assert same == encoding
    new = pd.DataFrame({"size": [4.0], "kind": ["old"], "open": [True], "same": [7]})
    found = check_static(["new"], new, NAMES, encoding)[0]
    assert found[0, :3].tolist() == [0, 0, 1] and found[0, 4] == 0


def test_static_kinds():
    for kind in ("string", "category", object):
        table = SHOPS.astype({"kind": kind})
        assert check_static(["a", "b", "c"], table, ["kind"])[0].tolist() == [
            [0, 1],
            [1, 0],
            [1, 0],
        ]
    assert check_static([1, 2], pd.DataFrame({"unique_id": [1, 2], "x": [5, 7]}), ["x"])[
        0
    ].tolist() == [[-1], [1]]


def test_no_static_covariates():
    values, encoding = check_static(["a", "b"], None, [])
    assert values.shape == (2, 0) and check_static(["c"], None, [], encoding)[0].shape == (1, 0)
    assert "no static covariates to take" in fault(names=[])
    assert "'size', 'kind', 'open' ... are needed" in fault(table=None)


def test_static_rows():
    assert "there is no row for series 'd'; there are rows for 'c', 'a', 'b' ..." in fault("abcd")
    assert "series 'a' has more than one row" in fault(table=pd.concat([SHOPS, SHOPS.iloc[[1]]]))
    assert "'unique_id' is missing" in fault(table=SHOPS.drop(columns="unique_id"))
    assert "'sizes' (stat_exog_list) is missing" in fault(names=["sizes"])
    assert "'size' is there twice" in fault(names=["size", "size"])
    assert "unique_id is empty in row 1" in fault(table=SHOPS.replace({"unique_id": {"a": None}}))


def test_static_values():
    text = fault("abcz")
    assert "3 faults" in text and "covariate 'size' is NaN or empty in row 3 of series 'z'" in text
    assert "covariate 'kind' is empty in row 3 of series 'z'" in text
    mixed = SHOPS.astype({"kind": object}).replace({"kind": {"old": 5}})
    assert "covariate 'kind' is no text in row 1 of series 'a'" in fault(table=mixed)
    dates = SHOPS.assign(kind=pd.Timestamp("2024-01-01"))
    assert "'kind' holds datetime64" in fault(table=dates)
    many = pd.DataFrame({"unique_id": range(1001), "x": [f"t{i}" for i in range(1001)]})
    assert "1001 different texts" in fault(range(1001), many, ["x"])


def test_static_values_against_those_of_training():
    _, encoding = check_static(["a", "b", "c"], SHOPS, NAMES)
    new = SHOPS.replace({"kind": {"old": "closed"}})
    text = fault(table=new, known=encoding)
    assert "covariate 'kind' of series 'a' is 'closed'" in text and "known are 'new', 'old'" in text
    assert "was text in training" in fault(table=SHOPS.assign(kind=1), known=encoding)
    assert "held numbers in training" in fault(table=SHOPS.assign(size="xl"), known=encoding)
    assert "expected ['size', 'kind', 'open', 'same'] as in training" in fault(
        names=["kind"], known=encoding
    )
