from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from typer.testing import CliRunner

from longshort._errors import DataError
from longshort.cli import app
from longshort.tasks import Forecaster, plot_by_horizon, plot_forecast


def series(n=60, name="a"):
    ds = pd.date_range("2020-01-01", periods=n, freq="D")
    return pd.DataFrame({"unique_id": name, "ds": ds, "y": np.arange(n) % 4 + 0.5 * np.arange(n)})


def two_series():
    return pd.concat([series(), series(47, "b")], ignore_index=True)


def small():
    return Forecaster(3, 8, units=4, num_members=1, epochs=1, season_length=4)


def test_plot(tmp_path):
    figure = plot_forecast(two_series(), small().fit(two_series()).predict())
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["95 % interval", "80 % interval", "history", "LSTM (median)"]
    line = figure.axes[0].lines[0].get_ydata()
    assert line[-1] == series()["y"].iloc[-1] and len(line) == 60
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_missing_values_are_gaps():
    table = series()
    table.loc[[20, 21, 40], "y"] = np.nan
    forecast = pd.DataFrame({"unique_id": "a", "ds": ["2020-03-01"], "LSTM": [5.0]})
    forecast["ds"] = pd.to_datetime(forecast["ds"])
    line = plot_forecast(table, forecast).axes[0].lines[0].get_ydata()
    assert np.flatnonzero(np.isnan(line)).tolist() == [20, 21, 40]


def test_bands_can_be_told_apart():
    quantiles = {f"LSTM-{end}-{v}": [x] for end, x in (("lo", 1.0), ("hi", 9.0)) for v in (80, 95)}
    forecast = pd.DataFrame({"unique_id": "series", "ds": [4], "LSTM": [5.0]} | quantiles)
    legend = plot_forecast(pd.Series([1.0, 2.0, 3.0, 4.0]), forecast).legends[0]
    colors = ["white", *(patch.get_facecolor() for patch in legend.get_patches())]
    grey = [np.mean(to_rgb(color)) for color in colors]
    # Paper, wide band, narrow band: each a tenth of full brightness darker than the one before.
    assert len(grey) == 3 and (np.diff(grey) < -0.1).all()


def test_plot_of_a_backtest():
    backtest = small().cross_validation(two_series(), 3, 2)
    with pytest.raises(DataError, match="pass one window"):
        plot_forecast(two_series(), backtest)
    one = backtest[backtest.groupby("unique_id")["cutoff"].transform("max") == backtest["cutoff"]]
    figure = plot_forecast(two_series(), one)
    assert len(figure.axes[0].lines[0].get_ydata()) == 57
    with pytest.raises(DataError, match="no series 'a'"):
        plot_forecast(series(name="z"), one)
    with pytest.raises(DataError, match="no column 'LSTM'"):
        plot_forecast(series(), series())


def test_command_draws_with_the_frequency_it_was_given(tmp_path: Path):
    table = pd.DataFrame({"ds": 1000 + 10 * np.arange(60), "y": np.arange(60) % 4})
    table.to_csv(tmp_path / "steps.csv", index=False)
    options = ["--h", "3", "--freq", "10", "--epochs", "1", "--n-windows", "1"]
    picture = tmp_path / "f.png"
    result = CliRunner().invoke(
        app, ["forecast", str(tmp_path / "steps.csv"), *options, "--plot", str(picture)]
    )
    assert result.exit_code == 0, result.output
    assert picture.stat().st_size > 10_000


def one_window():
    """A hand-made backtest of one window, three steps."""
    ds = pd.date_range("2020-02-01", periods=3, freq="D")
    cutoff = pd.Timestamp("2020-01-31")
    table = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": cutoff, "y": [1.0, 2.0, 3.0]})
    return table.assign(LSTM=[1.5, 2.0, 2.0], Naive=1.0, SeasonalNaive=[3.0, 3.0, 0.0])


def test_plot_with_baselines():
    figure = plot_forecast(series(), one_window(), baselines=("SeasonalNaive", "Naive"))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["history", "what happened", "SeasonalNaive", "Naive", "LSTM (median)"]
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["SeasonalNaive"].get_ydata().tolist() == [3.0, 3.0, 0.0]
    assert lines["SeasonalNaive"].get_linewidth() < lines["LSTM (median)"].get_linewidth()
    assert lines["SeasonalNaive"].get_color() != lines["Naive"].get_color()


def test_baselines_that_are_not_there():
    with pytest.raises(DataError, match="no baseline 'Drift'; it has Naive, SeasonalNaive"):
        plot_forecast(series(), one_window(), baselines=["Drift"])
    forecast = one_window()[["unique_id", "ds", "LSTM"]]
    with pytest.raises(DataError, match="only a backtest has any"):
        plot_forecast(series(), forecast, baselines=["Naive"])
    with pytest.raises(DataError, match="as a list, got 'Naive'"):
        plot_forecast(series(), one_window(), baselines="Naive")


def test_plot_by_horizon(tmp_path):
    figure = plot_by_horizon(one_window(), title="errors")
    ax = figure.axes[0]
    lines = {line.get_label(): line.get_ydata().tolist() for line in ax.lines}
    assert lines == {"LSTM": [0.5, 0, 1], "Naive": [0, 1, 2], "SeasonalNaive": [2, 1, 3]}
    assert ax.get_xlabel() == "step ahead" and ax.get_ylim()[0] == 0
    assert plot_by_horizon(one_window(), metric="smape").axes[0].get_ylabel().startswith("sMAPE")
    figure.savefig(tmp_path / "a.png")
    with pytest.raises(DataError, match="got 'mase'"):
        plot_by_horizon(one_window(), metric="mase")
    with pytest.raises(DataError, match="no column 'cutoff'"):
        plot_by_horizon(one_window().drop(columns="cutoff"))
