import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from longshort.tasks._report_charts import Band, Chart, Line, number


def drawn(chart):
    return ElementTree.fromstring(chart.svg())


def path(chart, css):
    return next(e.get("d") for e in drawn(chart).iter("path") if e.get("class") == css)


def points(d):
    return [tuple(map(float, p.split())) for p in re.findall(r"[\d.]+ [\d.]+", d)]


def texts(chart):
    return [e.text for e in drawn(chart).iter("text")]


DAYS = pd.date_range("2024-01-01", periods=60, freq="D")


def test_a_line_goes_where_it_should():
    chart = Chart("c", [Line(pd.Index([0, 5, 10]), [0.0, 10.0, 5.0], "model")])
    (x0, y0), (x1, y1), (x2, y2) = points(path(chart, "line model"))
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2) and x0 < x1
    assert y0 - y1 == pytest.approx(2 * (y2 - y1), abs=0.3) and y1 < y0  # up is less
    assert texts(chart)[:3] == ["0", "2", "4"] and texts(chart)[-1] == "10"


def test_gaps_stay_gaps_and_single_values_are_dots():
    y = [1.0, 2.0, np.nan, 3.0, np.nan, 4.0, 5.0]
    d = path(Chart("c", [Line(pd.RangeIndex(7), y, "past")]), "line past")
    assert d.count("M") == 3 and d.count("h0") == 1
    empty = Chart("c", [Line(pd.RangeIndex(2), [np.nan, np.nan], "past")])
    assert path(empty, "line past") == ""


def test_wild_bands_do_not_flatten_the_lines():
    line = Line(pd.RangeIndex(3), [0.0, 1.0, 2.0], "model")
    band = Band(pd.RangeIndex(3), [-1e9, 0.0, 1.0], [1e9, np.nan, 3.0], "band0")
    chart = Chart("c", [line], [band])
    heights = [y for _, y in points(path(chart, "line model"))]
    assert max(heights) - min(heights) > 50
    inside = [y for _, y in points(path(chart, "band0"))]
    assert len(inside) == 4 and 0 <= min(inside) and max(inside) <= 220


def test_dates_are_written_on_the_axis():
    line = Line(DAYS, np.arange(60.0), "past")
    found = " ".join(texts(Chart("c", [line])))
    assert "2024" in found and "Feb" in found
    zoned = Line(DAYS.tz_localize("Europe/Berlin"), np.arange(60.0), "past")
    assert texts(Chart("c", [zoned])) == texts(Chart("c", [line]))
    one = Line(DAYS[:1], [3.0], "past")
    assert drawn(Chart("c", [one])).tag == "svg"


def test_texts_are_escaped():
    chart = Chart('<b>"x"</b>&', x_label="<i>", y_label="a & b")
    assert drawn(chart).get("aria-label") == '<b>"x"</b>&'
    assert "<i>" in texts(chart) and "a & b" in texts(chart)


def test_numbers():
    assert [number(v) for v in (0.0, -2.5, 1e4, 123456.7, 1e-7)] == [
        "0",
        "-2.5",
        "10,000",
        "123,457",
        "1e-07",
    ]
    assert number(float("inf")) == "-"
