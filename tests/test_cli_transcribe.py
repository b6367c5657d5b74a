"""`longshort train transcribe`, `stream`, and predict and evaluate with a transcriber."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from longshort.tasks import load
from test_cli import refused, run, run_json

soundfile = pytest.importorskip("soundfile")
QUICK = ("--unit", "word", "--units", 32, "--epochs", 60, "--learning-rate", 0.01, "--no-augment")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of one tone or another, and a model of them."""
    folder = tmp_path_factory.mktemp("speech")
    (folder / "clips").mkdir()
    rng, rows = np.random.default_rng(0), []
    for i in range(16):
        word, hertz = (("low", 400), ("high", 2_000))[i % 2]
        tone = 0.3 * np.sin(2 * np.pi * hertz * rng.normal(1, 0.02) * np.arange(2_400) / 8_000)
        x = np.concatenate([rng.normal(0, 0.01, 800), tone, rng.normal(0, 0.01, 800)])
        soundfile.write(folder / "clips" / f"{i:02}.wav", x, 8_000)
        rows.append((f"clips/{i:02}.wav", word))
    pd.DataFrame(rows, columns=["path", "text"]).to_csv(folder / "clips.tsv", sep="\t", index=False)
    names = ["file", "said"]
    pd.DataFrame(rows[:4], columns=names).to_csv(folder / "test.csv", index=False)
    table = folder / "clips.tsv"
    options = ("--validation", table, "--streaming", "--reduction", 4, "--ngram", 2)
    run("train", "transcribe", table, "--model", folder / "it.longshort", *QUICK, *options)
    return folder


@pytest.mark.filterwarnings("ignore:Transcriber. the network says nothing")
def test_train(folder: Path, tmp_path: Path) -> None:
    task = load(folder / "it.longshort")
    assert task.num_held_out_ == 16 and not task.bidirectional and task.sample_rate_ == 8_000
    model = tmp_path / "x.longshort"
    command = ("train", "transcribe", folder / "clips.tsv", "--model", model, "--units", 2)
    options = ("--epochs", 1, "--batch-size", 8, "--sample-rate", 4_000, "--num-layers", 2)
    content = run_json(*command, *options)
    assert content["task"] == "Transcriber" and content["params"]["batch_size"] == 8
    assert load(model).alphabet_ == tuple("ghilow") and load(model).sample_rate_ == 4_000


def test_predict_and_evaluate(folder: Path) -> None:
    model, texts = folder / "it.longshort", ["low", "high"] * 2
    columns = ("--path-col", "file")
    rows = run_json("predict", model, folder / "test.csv", *columns)["predictions"]
    assert [row["text"] for row in rows] == texts
    rows = run_json("predict", model, folder / "clips", "--beam-size", 4)["predictions"]
    assert [row["text"] for row in rows][:4] == texts
    assert run("predict", model, folder / "clips" / "01.wav").stdout.endswith("01.wav,high\n")
    options = (*columns, "--text-col", "said")
    scores = run_json("evaluate", model, folder / "test.csv", *options)
    assert scores == {"model": "saved", "wer": 0, "cer": 0, "exact": 1, "silent": 0}
    assert "wer" in run("evaluate", model, folder / "test.csv", *options).stdout


def test_stream(folder: Path) -> None:
    sound = folder / "clips" / "03.wav"
    found = run_json("stream", folder / "it.longshort", sound, "--chunk", 0.05)
    assert found["text"] == "high" and found["real_time_factor"] > 0
    assert [one["text"] for one in found["grown"]] == ["high"]
    shown = run("stream", folder / "it.longshort", sound).stdout
    assert "high" in shown and "Real-time factor" in shown


def test_bad_input(folder: Path, tmp_path: Path) -> None:
    model, clips = folder / "it.longshort", folder / "clips"
    rows = pd.DataFrame({"path": [str(clips / "01.wav"), "gone.wav"], "text": ["low", "high"]})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    train = ("train", "transcribe", tmp_path / "rows.csv", "--model", tmp_path / "x")
    assert "rows.csv, line 3: there is no recording" in refused(*train)
    rows.assign(text=["low", ""]).to_csv(tmp_path / "rows.csv", index=False)
    assert "line 3" in refused(*train)
    (tmp_path / "gone.wav").write_text("no sound")
    rows.to_csv(tmp_path / "rows.csv", index=False)
    assert "gone.wav: cannot be read as sound" in refused(*train)
    assert "unit must be one of" in refused(
        *train[:2], folder / "clips.tsv", *train[3:], "--unit", "x"
    )
    (tmp_path / "empty").mkdir()
    assert "has no sound files" in refused("predict", model, tmp_path / "empty")
    assert "--wide: is for a forecaster" in refused("predict", model, clips, "--wide")
    assert "--label-sep" in refused("predict", model, clips, "--label-sep", ",")
    assert "two columns" in refused("evaluate", model, folder / "clips.tsv", "--text-col", "path")
