"""The command line: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
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
from longshort.cli import _common, app, main
from longshort.cli._forecast_options import parse_level
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
    assert {line.split()[0] for line in lines[1:6]} == {
        "LSTM",
        "Naive",
        "SeasonalNaive",
        "Drift",
        "Linear",
    }
    assert lines[1].endswith("best") and "best" not in "".join(lines[2:5])
    assert "last 3 windows of 3 steps, no value of which was seen" in result.stdout
    assert result.stderr == ""
    table = pd.read_csv(paths[0])
    assert table.columns.tolist() == ["unique_id", "ds", "LSTM", "LSTM-lo-80", "LSTM-hi-80"]
    assert len(table) == 3
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert isinstance(load(paths[2]), Forecaster)
    assert sorted(tmp_path.iterdir()) == sorted(paths)


@pytest.mark.slow
def test_forecast_json(folder: Path) -> None:
    names = ("--time-col", "day", "--target-col", "sold")
    content = run_json("forecast", folder / "sales.csv", *QUICK, *names, "--n-windows", 2)
    assert content["n_windows"] == 2
    assert len(content["forecast"]) == 3
    assert set(content["backtest"]) == {"LSTM", "Naive", "SeasonalNaive", "Drift", "Linear"}
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
    assert scores["LSTM"]["mase"] > 0 and scores["model"] == "fresh"
    printed = run("evaluate", model, AIR, "--n-windows", 1).stdout
    assert "last 1 windows" in printed and "a fresh one was trained" in printed
    t = np.arange(48)
    new = pd.DataFrame({"ds": pd.date_range("2030", periods=48, freq="MS"), "y": 5.0 + t % 5})
    new.to_csv(tmp_path / "new.csv", index=False)
    assert run_json("evaluate", model, tmp_path / "new.csv")["model"] == "saved"
    assert "fresh" not in run("evaluate", model, tmp_path / "new.csv").stdout


def test_classify(folder: Path) -> None:
    model = folder / "seq.longshort"
    assert isinstance(load(model), SequenceClassifier)
    rows = run_json("predict", model, folder / "unknown.csv")["predictions"]
    assert [row["unique_id"] for row in rows] == [f"s{i}" for i in range(20)]
    assert rows[0]["label"] in ("low", "high")
    assert rows[0]["p-low"] + rows[0]["p-high"] == pytest.approx(1)
    scores = run_json("evaluate", model, folder / "sequences.csv")
    assert scores["majority_accuracy"] == 0.5 and scores["model"] == "saved"
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
    for args in (
        ["forecast", AIR],
        ["forecast", AIR, "--h", "0"],
        ["bench"],
        ["train"],
        ["train", "x"],
    ):
        assert run(*args, code=2).stdout == ""


def test_bad_targets_are_found_before_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("trained before the targets were checked")

    monkeypatch.setattr(Forecaster, "fit", fit)
    monkeypatch.setattr(Forecaster, "cross_validation", fit)
    for option in ("--output", "--plot", "--model"):
        lost = tmp_path / "none" / ("f.csv" if option == "--output" else "f.png")
        assert f"{option} {lost}: there is no folder" in refused(
            "forecast", AIR, *QUICK, option, lost
        )
    assert "ends in .png" in refused("forecast", AIR, *QUICK, "--plot", tmp_path / "f.txt")
    assert "ends in .csv" in refused("forecast", AIR, *QUICK, "--output", tmp_path / "f.xlsx")
    same = tmp_path / "a.png"
    assert "--plot" in refused("forecast", AIR, *QUICK, "--output", same, "--plot", same)
    sales = folder / "sales.csv"
    before = sales.read_bytes()
    assert "--output" in refused("forecast", sales, *QUICK, "--output", sales)
    assert sales.read_bytes() == before
    assert "no folder" in refused("train", "forecast", AIR, *QUICK, "--model", lost)
    assert "no folder" in refused("train", "classify", AIR, "--model", lost)
    monkeypatch.setattr(os, "access", lambda *args: False)
    assert "no permission" in refused("forecast", AIR, *QUICK, "--output", tmp_path / "f.csv")
    assert list(tmp_path.iterdir()) == []


def test_channels_go_by_their_names(folder: Path, tmp_path: Path) -> None:
    model, table = folder / "seq.longshort", pd.read_csv(folder / "sequences.csv")
    assert load(model).feature_names_ == ["a", "b"]
    other = tmp_path / "other.csv"
    table.rename(columns={"a": "c"}).to_csv(other, index=False)
    for command in ("predict", "evaluate"):
        assert "it lacks a and has the unknown c." in refused(command, model, other)
    task = load(model)
    task.feature_names_ = ["b", "a"]  # fitted with the names in another order
    task.save(tmp_path / "swapped.longshort")
    table.rename(columns={"a": "b", "b": "a"}).to_csv(other, index=False)
    rows = run_json("predict", tmp_path / "swapped.longshort", other)
    assert rows == run_json("predict", model, folder / "sequences.csv")


def test_labels_do_not_matter_to_predict(folder: Path, tmp_path: Path) -> None:
    table = pd.read_csv(folder / "sequences.csv")
    expected = run("predict", folder / "seq.longshort", folder / "unknown.csv").stdout
    for labels in (None, np.arange(len(table))):
        table.assign(label=labels).to_csv(tmp_path / "x.csv", index=False)
        assert run("predict", folder / "seq.longshort", tmp_path / "x.csv").stdout == expected


def test_nothing_is_overwritten_unasked(folder: Path, tmp_path: Path) -> None:
    air, sales = folder / "air.longshort", folder / "sales.csv"
    before = sales.read_bytes(), air.read_bytes()
    link = tmp_path / "link.csv"
    link.symlink_to(sales)
    for target in (sales, link, folder / ".." / folder.name / "sales.csv"):
        text = refused("train", "forecast", sales, *QUICK, "--model", target)
        assert f"--model {target}: would overwrite the input {sales}" in text
    assert "overwrite the input" in refused("train", "classify", sales, "--model", sales)
    assert "overwrite the input" in refused("predict", air, sales, "--output", sales)
    assert "overwrite the input" in refused("predict", air, sales, "--output", air)
    assert (sales.read_bytes(), air.read_bytes()) == before
    same = {"--output": tmp_path / "a.png", "--plot": tmp_path / "a.png", "--model": None}
    with pytest.raises(longshort.SaveError, match="--plot .* overwrite what --output writes"):
        _common.check_targets(same)
    with pytest.raises(longshort.SaveError, match="ends in .png"):
        _common.check_targets({"--plot": tmp_path / "a.txt"})


@pytest.mark.parametrize("device", ["/dev/null", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_devices_are_refused(folder: Path, device: str) -> None:
    if not Path(device).exists():
        pytest.skip(f"there is no {device} here")
    air = folder / "air.longshort"
    assert "not a regular file" in refused("predict", air, AIR, "--output", device)
    assert "not a regular file" in refused("train", "forecast", AIR, *QUICK, "--model", device)


def test_what_cannot_be_trained_is_found_before(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = ("--model", tmp_path / "x.longshort")
    train = ("train", "classify")
    for units in (10**9, 65_537):
        text = refused(*train, folder / "sequences.csv", *target, "--units", units)
        assert "units must be a whole number from 1 to 65536" in text
    monkeypatch.setattr(SequenceClassifier, "fit", None)
    path, X = tmp_path / "data.npz", np.ones((2, 3, 1))
    np.savez(path, X=X, y=np.array([1j, 2]))
    assert "labels[0] is a builtins.complex" in refused(*train, path, *target)
    np.savez(path, X=X, y=np.array(["2024-01-31", "2024-02-29"], dtype="M8[ns]"))
    assert "labels cannot be of datetime64[ns]" in refused(*train, path, *target)


@pytest.mark.slow
def test_bytes_labels_and_the_loss_that_is_told(folder: Path, tmp_path: Path) -> None:
    path, model = tmp_path / "data.npz", tmp_path / "x.longshort"
    np.savez(path, X=np.ones((2, 3, 1)), y=np.array([b"up", b"down"]))
    result = run("train", "classify", path, "--model", model, "--units", 1, "--epochs", 1)
    assert load(model).classes_.tolist() == ["down", "up"]
    assert "last training loss" in result.stdout and "validation" not in result.stdout
    result = run(
        *("train", "classify", folder / "sequences.csv", "--model", model),
        *("--units", 1, "--epochs", 1),
    )
    assert "best validation loss" in result.stdout


def test_columns(tmp_path: Path) -> None:
    path = tmp_path / "swapped.csv"
    times = pd.date_range("2020", periods=20).astype(str)
    pd.DataFrame({"y": times, "ds": np.arange(20.0)}).to_csv(path, index=False)
    table = _common.read_series(str(path), time_col="y", target_col="ds")
    assert table["ds"].tolist() == list(times) and table["y"].tolist() == list(range(20))
    for options, message in (
        (("--id-col", "ds"), "--id-col and --time-col: both name the column 'ds'"),
        (("--time-col", "y"), "--time-col and --target-col: both name the column 'y'"),
    ):
        assert message in refused("forecast", path, *QUICK, *options)
    text = refused("forecast", AIR, *QUICK, "--time-col", "day", "--id-col", "name")
    assert "leave out --id-col and --time-col" in text


def test_what_nobody_foresaw(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(Forecaster, "fit", fail)
    command = ("train", "forecast", AIR, *QUICK, "--model", tmp_path / "x")
    monkeypatch.delenv("LONGSHORT_DEBUG", raising=False)
    result = run(*command, code=1)
    sentence = "internal error: ZeroDivisionError: two lines; please report it\n"
    assert result.stdout == "" and result.stderr == sentence
    monkeypatch.setenv("LONGSHORT_DEBUG", "1")
    result = run(*command, code=1)
    assert result.stderr.startswith("Traceback") and result.stderr.endswith(sentence)


def test_greetings_of_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longshort.cli.app", lambda: None)
    level, options = "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"
    for name in (level, options):
        monkeypatch.setenv(name, "1")
    main()
    assert (os.environ[level], os.environ[options]) == ("1", "1")
    for name in (level, options):
        monkeypatch.delenv(name)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    main()
    assert os.environ[level] == "2" and options not in os.environ
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    main()
    assert os.environ[options] == "0"


@pytest.mark.filterwarnings("always")
def test_ctrl_c_in_training(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bar:
        def __enter__(self) -> Any:
            return lambda *call: signal.raise_signal(signal.SIGINT)

        def __exit__(self, *error: object) -> None:
            pass

    monkeypatch.setattr(_common, "progress_bar", lambda *args, **kwargs: Bar())
    target = tmp_path / "x.longshort"
    result = run("train", "classify", folder / "sequences.csv", "--model", target, "--units", 1)
    assert "warning: Training was interrupted after 1 of 80 epochs" in result.stderr
    assert len(load(target).history_) == 1


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
    paths = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": paths}

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
