"""The command line: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import longshort
from longshort.cli import _common, app
from longshort.cli._forecast import parse_level
from longshort.tasks import Forecaster, SequenceClassifier, load

AIR = "air-passengers"
QUICK = ("--h", "3", "--input-size", "12", "--epochs", "1", "--level", "80")


def run(*args: Any, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def run_json(*args: Any) -> Any:
    result = run(*args, "--json")
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""
    return json.loads(result.stdout)


def refused(*args: Any) -> str:
    """Run, expect exit code 2 and one sentence; return it."""
    result = run(*args, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a forecaster, a classifier and data for each."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(20):
        for step, x in enumerate(rng.normal(size=(3 + i % 4, 2)) + i % 2 * 3):
            label = ("low", "high")[i % 2]
            rows.append({"unique_id": f"s{i}", "ds": step, "label": label, "a": x[0], "b": x[1]})
    pd.DataFrame(rows).to_csv(folder / "sequences.csv", index=False)
    pd.DataFrame(rows).drop(columns="label").to_csv(folder / "unknown.csv", index=False)
    t = np.arange(48)
    pd.DataFrame({"day": t, "sold": 5 + t % 4}).to_csv(folder / "sales.csv", index=False)
    run("train", "forecast", AIR, *QUICK, "--model", folder / "air.longshort")
    run(
        *("train", "classify", folder / "sequences.csv", "--model", folder / "seq.longshort"),
        *("--units", 4, "--epochs", 2),
    )
    return folder


def test_forecast(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("f.csv", "f.png", "f.longshort")]
    options = zip(("--output", "--plot", "--model"), paths, strict=True)
    result = run("forecast", AIR, *QUICK, *(word for option in options for word in option))
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["MASE", "sMAPE"]
    assert {line.split()[0] for line in lines[1:5]} == {"LSTM", "Naive", "SeasonalNaive", "Linear"}
    assert lines[1].endswith("best") and "best" not in "".join(lines[2:5])
    assert "last 3 windows of 3 steps, no value of which was seen" in result.stdout
    assert result.stderr == ""
    table = pd.read_csv(paths[0])
    assert table.columns.tolist() == ["unique_id", "ds", "LSTM", "LSTM-lo-80", "LSTM-hi-80"]
    assert len(table) == 3
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert isinstance(load(paths[2]), Forecaster)
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_forecast_json(folder: Path) -> None:
    names = ("--time-col", "day", "--target-col", "sold")
    content = run_json("forecast", folder / "sales.csv", *QUICK, *names, "--n-windows", 2)
    assert content["n_windows"] == 2
    assert len(content["forecast"]) == 3
    assert set(content["backtest"]) == {"LSTM", "Naive", "SeasonalNaive", "Linear"}
    again = run_json("forecast", folder / "sales.csv", *QUICK, *names, "--n-windows", 0)
    assert again["backtest"] == {} and again["forecast"] == content["forecast"]


def test_predict_and_evaluate_a_forecast(folder: Path, tmp_path: Path) -> None:
    model = folder / "air.longshort"
    printed = run("predict", model, AIR).stdout
    assert printed.startswith("unique_id,ds,LSTM,") and printed.count("\n") == 4
    assert "3 rows" in run("predict", model, AIR, "--output", tmp_path / "f.csv").stdout
    assert (tmp_path / "f.csv").read_text() == printed
    rows = run_json("predict", model, AIR)["predictions"]
    assert [row["unique_id"] for row in rows] == ["AirPassengers"] * 3
    scores = run_json("evaluate", model, AIR, "--n-windows", 1)
    assert scores["LSTM"]["mase"] > 0
    assert "last 1 windows" in run("evaluate", model, AIR, "--n-windows", 1).stdout


def test_classify(folder: Path) -> None:
    model = folder / "seq.longshort"
    assert isinstance(load(model), SequenceClassifier)
    rows = run_json("predict", model, folder / "unknown.csv")["predictions"]
    assert [row["unique_id"] for row in rows] == [f"s{i}" for i in range(20)]
    assert rows[0]["label"] in ("low", "high")
    assert rows[0]["p-low"] + rows[0]["p-high"] == pytest.approx(1)
    scores = run_json("evaluate", model, folder / "sequences.csv")
    assert scores["majority_accuracy"] == 0.5
    assert "balanced accuracy" in run("evaluate", model, folder / "sequences.csv").stdout
    content = run_json(
        *("train", "classify", folder / "sequences.csv", "--model", folder / "x.longshort"),
        *("--units", 4, "--epochs", 1, "--seed", 3),
    )
    assert content["task"] == "SequenceClassifier" and content["params"]["seed"] == 3


def test_info_and_version() -> None:
    content = run_json("info")
    assert content["version"] == longshort.__version__
    assert {"backend", "path", "reason", "instruction_set", "num_threads"} <= set(content)
    assert "backend" in run("info").stdout
    assert run("--version").stdout.strip() == longshort.__version__


@pytest.mark.parametrize("command", ["forecast", "train forecast", "train classify", "predict"])
def test_help_has_an_example(command: str) -> None:
    text = " ".join(run(*command.split(), "--help").stdout.split())
    assert f"Example: longshort {command}" in text


def test_bad_data(folder: Path, tmp_path: Path) -> None:
    air, seq = folder / "air.longshort", folder / "seq.longshort"
    assert "air-passengers" in refused("forecast", "air-pasengers", *QUICK)
    assert "no file" in refused("forecast", tmp_path / "none.csv", *QUICK)
    assert "--time-col" in refused("forecast", folder / "sales.csv", *QUICK)
    assert "'when'" in refused("forecast", folder / "sales.csv", *QUICK, "--time-col", "when")
    assert "--level 80,x" in refused("forecast", AIR, "--h", 3, "--level", "80,x")
    assert "need more than" in refused("forecast", AIR, "--h", 60)
    assert "no such file" in refused("predict", tmp_path / "none", AIR)
    assert "not a .longshort file" in refused("predict", folder / "sales.csv", AIR)
    assert "unique_id" in refused("predict", seq, folder / "sales.csv")
    assert "no labels" in refused("evaluate", seq, folder / "unknown.csv")
    assert "no labels" in refused(
        "train", "classify", folder / "unknown.csv", "--model", tmp_path / "x"
    )
    assert "no column 'ds'" in refused("predict", air, folder / "sales.csv")
    np.savez(tmp_path / "wide.npz", X=np.ones((2, 3, 5)))
    assert "expected 2 channels, got 5" in refused("predict", seq, tmp_path / "wide.npz")
    for args in (["forecast", AIR], ["forecast", AIR, "--h", "0"], ["bench"], ["train", "x"]):
        assert run(*args, code=2).stdout == ""


def test_bad_targets_are_found_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("trained before the targets were checked")

    monkeypatch.setattr(Forecaster, "fit", fit)
    monkeypatch.setattr(Forecaster, "cross_validation", fit)
    for option in ("--output", "--plot", "--model"):
        lost = tmp_path / "none" / "f.png"
        assert f"{option} {lost}: there is no folder" in refused(
            "forecast", AIR, *QUICK, option, lost
        )
    assert "ends in .png" in refused("forecast", AIR, *QUICK, "--plot", tmp_path / "f.txt")
    assert "no folder" in refused("train", "forecast", AIR, *QUICK, "--model", lost)
    assert "no folder" in refused("train", "classify", AIR, "--model", lost)
    monkeypatch.setattr(os, "access", lambda *args: False)
    assert "no permission" in refused("forecast", AIR, *QUICK, "--output", tmp_path / "f.csv")
    assert list(tmp_path.iterdir()) == []


def test_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Forecaster, "fit", interrupt)
    result = run("train", "forecast", AIR, *QUICK, "--model", tmp_path / "x", code=130)
    assert result.stdout == "" and result.stderr == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_warnings_are_sentences(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fit = Forecaster.fit

    def warn(task: Any, *args: Any, **kwargs: Any) -> Any:
        warnings.simplefilter("always")
        warnings.warn("Training was interrupted.", stacklevel=2)
        return fit(task, *args, **kwargs)

    monkeypatch.setattr(Forecaster, "fit", warn)
    result = run("train", "forecast", AIR, *QUICK, "--model", tmp_path / "x")
    assert result.stderr == "warning: Training was interrupted.\n"


def test_progress_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with _common.progress_bar("training") as progress:
        assert progress is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with _common.progress_bar("training") as progress:
        assert progress is not None
        progress(1, 2, 0.5)


def test_levels_and_json_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_level("80, 99.5") == (80, 99.5)
    _common.print_json({"a": float("nan"), "b": np.float32(0.5), "c": pd.Timestamp("2024-01-31")})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": 0.5, "c": "2024-01-31T00:00:00"}


def test_as_a_process(tmp_path: Path) -> None:
    """The real thing: nothing but JSON on standard output, no file unasked, exit code 2."""
    source = str(Path(longshort.__file__).parents[1].absolute())
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": source}

    def start(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "longshort.cli", *args]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120
        )

    result = start("forecast", AIR, *QUICK, "--n-windows", "1", "--json")
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)["forecast"]) == 3
    assert list(tmp_path.iterdir()) == []
    result = start("forecast", "none.csv", "--h", "3")
    assert result.returncode == 2 and result.stdout == ""
    assert "error: " in result.stderr and "Traceback" not in result.stderr
