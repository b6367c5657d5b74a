from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from typer.testing import CliRunner

from longshort._errors import DataError
from longshort.cli import app
from longshort.tasks import Forecaster, plot_forecast


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
