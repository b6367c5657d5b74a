"""`longshort train transcribe`, `stream`, and predict and evaluate with a transcriber."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from longshort.tasks import load
from test_cli import refused, run, run_json
from test_transcriber import RATE, recordings

soundfile = pytest.importorskip("soundfile")
QUICK = ("--unit", "word", "--units", 32, "--epochs", 30, "--no-augment")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of tones for words, and a model of them."""
    folder = tmp_path_factory.mktemp("speech")
    (folder / "clips").mkdir()
    audio, texts = recordings(32, 0)
    for i, x in enumerate(audio):
        soundfile.write(folder / "clips" / f"{i:02}.wav", x, RATE)
    rows = [(f"clips/{i:02}.wav", text) for i, text in enumerate(texts)]
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
    assert task.num_held_out_ == 32 and not task.bidirectional and task.sample_rate_ == 8_000
    model = tmp_path / "x.longshort"
    command = ("train", "transcribe", folder / "clips.tsv", "--model", model, "--units", 2)
    options = ("--epochs", 1, "--batch-size", 8, "--sample-rate", 4_000, "--num-layers", 2)
    content = run_json(*command, *options, "--validation-split", 0)
    assert content["task"] == "Transcriber" and content["params"]["batch_size"] == 8
    other = load(model)
    assert other.num_held_out_ == 0 and content["loss"] == other.history_[-1]
    assert other.sample_rate_ == 4_000
    assert other.alphabet_ == tuple(sorted(set("".join(recordings(32, 0)[1]))))


def test_predict_and_evaluate(folder: Path) -> None:
    model, texts = folder / "it.longshort", recordings(32, 0)[1][:4]
    columns = ("--path-col", "file")
    rows = run_json("predict", model, folder / "test.csv", *columns)["predictions"]
    assert [row["text"] for row in rows] == texts
    rows = run_json("predict", model, folder / "clips", "--beam-size", 4)["predictions"]
    assert [row["text"] for row in rows][:4] == texts
    shown = run("predict", model, folder / "clips" / "01.wav").stdout
    assert shown.endswith(f"01.wav,{texts[1]}\n")
    options = (*columns, "--text-col", "said")
    scores = run_json("evaluate", model, folder / "test.csv", *options)
    assert scores == {"model": "saved", "wer": 0, "cer": 0, "exact": 1, "silent": 0}
    assert "wer" in run("evaluate", model, folder / "test.csv", *options).stdout


def test_stream(folder: Path) -> None:
    sound = folder / "clips" / "03.wav"
    found = run_json("stream", folder / "it.longshort", sound, "--chunk", 0.05)
    text = recordings(32, 0)[1][3]
    assert found["text"] == found["grown"][-1]["text"] == text and found["real_time_factor"] > 0
    shown = run("stream", folder / "it.longshort", sound).stdout
    assert text in shown and "Real-time factor" in shown


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
    assert "there is one network" in refused(*train, "--streaming", "--num-members", 3)
    assert f"rows.csv, line 3: {tmp_path / 'gone.wav'}: cannot" in refused(*train)
    assert "rows.csv, line 3: " in refused("predict", model, tmp_path / "rows.csv")
    (tmp_path / "gone.wav").write_bytes((clips / "02.wav").read_bytes())
    held = pd.DataFrame({"path": ["gone.wav"], "text": ["loud"]})
    held.to_csv(tmp_path / "held.csv", index=False)
    options = ("--validation", tmp_path / "held.csv", "--unit", "word")
    message = refused("train", "transcribe", folder / "clips.tsv", *train[3:], *options)
    assert "held.csv, line 2: " in message and "holds the words 'loud'" in message
    both = ("--validation", folder / "clips.tsv", "--validation-split", 0)
    assert "is not used with --validation;" in refused(*train, *both)
    wrong = ("--unit", "x", "--precision", "half")
    message = refused(*train[:2], folder / "clips.tsv", *train[3:], *wrong)
    assert "precision must be one of" in message and "unit must be one of" in message
    (tmp_path / "empty").mkdir()
    assert "has no sound files" in refused("predict", model, tmp_path / "empty")
    assert "--wide: is for a forecaster" in refused("predict", model, clips, "--wide")
    assert "--label-sep" in refused("predict", model, clips, "--label-sep", ",")
    assert "two columns" in refused("evaluate", model, folder / "clips.tsv", "--text-col", "path")
