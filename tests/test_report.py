import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from longshort._errors import DataError, SaveError
from longshort.cli import app
from longshort.data import check_series
from longshort.tasks import Forecaster, write_report
from longshort.tasks._backtest import score
from longshort.tasks._report import report_html

VOID = {"meta", "br", "img", "link"}


class Reader(HTMLParser):
    """Checks that elements are closed in order, and keeps them and their texts."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.texts, self.rows = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)

    @property
    def text(self):
        return " ".join(self.texts)


def example(n=3, names=None, level=(80, 95), h=6):
    """Series with a season of 4, two windows each, the LSTM nearer by series."""
    rng = np.random.default_rng(0)
    history, frames = [], []
    for i, name in enumerate(names or [f"s{i}" for i in range(n)]):
        ds = pd.date_range("2024-01-01", periods=60, freq="D")
        y = 50 + np.tile([0.0, 8.0, 3.0, 5.0], 15) + rng.normal(size=60)
        history.append(pd.DataFrame({"unique_id": name, "ds": ds, "y": y}))
        for cut in (60 - 2 * h, 60 - h):
            part = history[-1].iloc[cut : cut + h].assign(cutoff=ds[cut - 1])
            part = part[["unique_id", "ds", "cutoff", "y"]].assign(LSTM=part["y"] + 0.1 * (i + 1))
            for value in level:
                part[f"LSTM-lo-{value}"] = part["LSTM"] - value / 20
                part[f"LSTM-hi-{value}"] = part["LSTM"] + value / 20
            frames.append(part.assign(Naive=y[cut - 1], SeasonalNaive=y[cut - 4 : cut].mean()))
    table = pd.concat(frames, ignore_index=True)
    series = check_series(pd.concat(history, ignore_index=True))
    options = {"scores": score(table, series, 4, level), "level": level, "season_length": 4}
    return table, series, options


def read(*args, **options):
    return Reader(report_html(*args, **options))


def test_the_page_says_what_was_tested_and_found():
    table, series, options = example()
    page = read(table, series, **options, title="three series", notes=["From a test."])
    assert "three series" in page.text and "From a test." in page.text
    for fact in ("2 a series", "4 steps", "2024-02-18 to 2024-02-29", "36"):
        assert fact in page.texts
    assert "Yes: the LSTM has a MASE of" in page.text
    assert "Window by window it is closer than SeasonalNaive in 6 of 6" in page.text
    assert "The 80 % interval held 100 % of what happened, as promised" in page.text
    scores = [row for row in page.rows if row[0] in ("LSTM best", "Naive", "SeasonalNaive")]
    assert [row[0] for row in scores] == ["LSTM best", "SeasonalNaive", "Naive"]
    assert scores[0][1] == f"{options['scores']['LSTM']['mase']:.3f}"
    assert scores[1][-1] == "-" and scores[0][-1] == "100 %"
    worst_first = [row[0] for row in page.rows if re.fullmatch(r"s\d", row[0])]
    assert worst_first == ["s2", "s1", "s0"]
    by_step = [row for row in page.rows if row[0].isdecimal()]
    assert [row[0] for row in by_step] == ["1", "2", "3", "4", "5", "6"]
    mase = np.mean([float(row[1]) for row in by_step])
    assert mase == pytest.approx(options["scores"]["LSTM"]["mase"], rel=1e-3)


def test_the_page_needs_nothing_else():
    table, series, options = example()
    page = report_html(table, series, **options)
    assert not re.search(r"<script|https?:|//|url\(|@import|\bsrc=|\bhref=", page)
    assert "default-src 'none'" in page and "prefers-color-scheme:dark" in page
    assert "@media print" in page


def test_the_same_input_gives_the_same_bytes(tmp_path):
    table, series, options = example()
    for name in ("a.html", "b.html"):
        write_report(tmp_path / name, table, series, **options)
    mixed = table.sample(frac=1, random_state=1)
    mixed = mixed.sort_values("unique_id", kind="stable")
    write_report(tmp_path / "c.html", mixed, series, **options)
    pages = [(tmp_path / f"{name}.html").read_bytes() for name in "abc"]
    assert pages[0] == pages[1] == pages[2]


def test_names_and_texts_cannot_break_the_page():
    names = ["<script>alert(1)</script>", '"&<', "'; </style>"]
    table, series, options = example(names=names)
    page = read(table, series, **options, title="</title><b>", notes=["<i>&amp;"])
    assert page.count("script") == page.count("b") - 3 == page.count("i") == 0
    for text in (*names, "</title><b>", "<i>&amp;"):
        assert text in page.text
    labels = [attrs["aria-label"] for tag, attrs in page.tags if "aria-label" in attrs]
    assert f"{names[0]}: history, forecast and what happened" in labels


def test_many_series_are_drawn_and_listed_in_part(monkeypatch):
    monkeypatch.setattr("longshort.tasks._report_series.MAX_ROWS", 10)
    table, series, options = example(20)
    page = read(table, series, **options)
    captions = [t.split(", ")[1] for t in page.texts if t.startswith("MASE ") and ", " in t]
    assert captions == [*["among the worst"] * 4, *["in the middle"] * 4, *["among the best"] * 4]
    assert sum(bool(re.fullmatch(r"s\d+", row[0])) for row in page.rows) == 10
    assert "10 more series are not shown." in page.text


def test_unknown_values_and_constant_series():
    table, series, options = example()
    table.loc[[0, 1, 20], "y"] = np.nan
    series.values[1][:] = 7.0
    table.loc[table["unique_id"] == "s1", "y"] = 7.0
    options["scores"] = score(table, series, 4, options["level"])
    page = read(table, series, **options)
    assert "34 (2 unknown)" in page.text
    assert "Series 's1' is constant: every y is 7." in page.text
    assert next(row for row in page.rows if row[0] == "s1")[2] == "-"
    flat = table[table["unique_id"] == "s1"]
    options["scores"] = score(flat, series, 4, options["level"])
    alone = read(flat, series, **options)
    assert "Cannot be said" in alone.text


def test_missing_values_of_the_history():
    table, series, options = example()
    series.values[0][5:15] = np.nan
    options["scores"] = score(table, series, 4, options["level"])
    page = report_html(table, series.frame(), **options)
    assert re.search(r"\bnan\b", page) is None and "lacks 10 of" in page


def test_one_series_without_bands_and_integer_times():
    history = pd.Series(np.arange(30) % 4 + 0.5)
    table = pd.DataFrame({"unique_id": "series", "ds": [28, 29], "cutoff": 27, "y": [0.5, 1.5]})
    table = table.assign(LSTM=[0.5, 1.0], Naive=3.5)
    scores = score(table, check_series(history), 4, [])
    page = read(table, history, scores=scores, level=[], season_length=4)
    assert "28 to 29" in page.texts and "The last window; " in page.text
    assert page.count("figure") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, o: (t.drop(columns="LSTM"), o), "table have no model 'LSTM'"),
        (lambda t, o: (t, o | {"scores": {}}), "scores have no model 'LSTM'"),
        (lambda t, o: (t, o | {"level": [90]}), "no interval of 90 %"),
        (lambda t, o: (t.assign(unique_id="z"), o), "twice|no series 'z'"),
        (lambda t, o: (t.drop(columns="y"), o), "no column 'y'"),
    ],
)
def test_tables_that_do_not_fit(change, message, tmp_path):
    table, series, options = example()
    table, options = change(table, options)
    with pytest.raises(DataError, match=message):
        write_report(tmp_path / "a.html", table, series, **options)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written(tmp_path):
    table, series, options = example()
    with pytest.raises(SaveError, match="cannot be written"):
        write_report(tmp_path / "no" / "a.html", table, series, **options)


# -- the command -----------------------------------------------------------------------------


def command(*words):
    return CliRunner().invoke(app, ["forecast", *map(str, words)])


def test_command_writes_a_report_of_its_test(tmp_path):
    example(2)[1].frame().to_csv(tmp_path / "shops.csv", index=False)
    path = tmp_path / "report.html"
    options = ["--h", 3, "--epochs", 1, "--n-windows", 2, "--level", "80", "--season-length", 4]
    result = command(tmp_path / "shops.csv", *options, "--report", path, "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["report"] == str(path)
    page = Reader(path.read_text())
    assert "Forecast of shops.csv, 3 steps" in page.text and "2 a series" in page.texts
    scores = {row[0].removesuffix(" best"): row[1] for row in page.rows}
    for name, row in content["backtest"].items():
        assert scores[name] == f"{row['mase']:.3f}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--report", "r.html", "--n-windows", 0], "use --n-windows 1 or more"),
        (["--report", "r.pdf"], "ends in .html, .htm"),
        (["--report", "no/r.html"], "there is no folder no"),
        (["--report", "r.html", "--output", "r.html"], "what --output writes"),
        (["--report", "data.html"], "would overwrite the input"),
    ],
)
def test_command_refuses_before_it_trains(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.html").write_text("ds,y")
    monkeypatch.setattr(Forecaster, "cross_validation", None)
    result = command("data.html", "--h", 3, *words)
    assert result.exit_code == 2, result.output
    assert message in result.stderr and [p.name for p in tmp_path.iterdir()] == ["data.html"]
