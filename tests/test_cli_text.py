"""`longshort train text`, and predict and evaluate with its models."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from longshort.tasks import TextClassifier, load
from test_cli import refused, run, run_json

ROWS = [("good film", "yes"), ("bad film", "no"), ("so good", "yes"), ("so bad", "no")] * 8
QUICK = (
    *("--units", 4, "--embedding-size", 4, "--epochs", 12, "--learning-rate", 0.1),
    *("--batch-size", 16, "--dropout", 0.1, "--embedding-dropout", 0.0),
    *("--num-members", 1),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    table = pd.DataFrame(ROWS, columns=["text", "label"])
    table.to_csv(folder / "train.csv", index=False)
    table[:8].rename(columns={"text": "review"}).to_csv(folder / "test.tsv", index=False, sep="\t")
    (folder / "new.txt").write_text("a good one\n\nbad\n")
    run("train", "text", folder / "train.csv", "--model", folder / "text.longshort", *QUICK)
    return folder


def test_train(folder: Path, tmp_path: Path) -> None:
    train, model, plot = folder / "train.csv", tmp_path / "x.longshort", tmp_path / "x.png"
    options = ("--epochs", 1, "--cased", "--unit", "char", "--balanced", "--pooling", "max")
    content = run_json(
        *("train", "text", train, "--model", model, "--plot", plot, "--units", 2, *options),
        *("--validation", train, "--embedding-size", 2, "--embedding-dropout", 0.3),
        *("--num-members", 1),
    )
    assert content["task"] == "TextClassifier" and content["loss"] > 0
    params = content["params"]
    assert params["class_weight"] == "balanced" and params["lowercase"] is False
    assert params["embedding_dropout"] == 0.3 and params["pooling"] == "max"
    assert plot.read_bytes().startswith(b"\x89PNG")
    task = load(model)
    assert isinstance(task, TextClassifier) and task.num_held_out_ == 32


def test_predict_and_evaluate(folder: Path) -> None:
    model = folder / "text.longshort"
    rows = run_json("predict", model, folder / "new.txt")["predictions"]
    assert [row["line"] for row in rows] == [1, 3]
    assert [row["label"] for row in rows] == ["yes", "no"]
    assert rows[0]["p-yes"] + rows[0]["p-no"] == pytest.approx(1)
    columns = ("--text-col", "review")
    scores = run_json("evaluate", model, folder / "test.tsv", *columns)
    assert scores["accuracy"] == 1 and scores["model"] == "saved"
    assert scores["confusion"] == {"labels": ["no", "yes"], "counts": [[4, 0], [0, 4]]}
    assert scores["classes"][1] == {
        **{"label": "yes", "precision": 1, "recall": 1},
        **{"f1": 1, "count": 4},
    }
    shown = run("evaluate", model, folder / "test.tsv", *columns).stdout
    assert "calibration error" in shown and "True label by row" in shown
    assert [line.split() for line in shown.splitlines()][-3:] == [
        *(["no", "yes"], ["no", "4", "0"], ["yes", "0", "4"]),
    ]


def test_several_labels(tmp_path: Path) -> None:
    rows = [("good", "a|b"), ("bad", "b"), ("so", "")] * 8
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(tmp_path / "x.csv", index=False)
    model = tmp_path / "x.longshort"
    options = ("--label-sep", "|")
    run("train", "text", tmp_path / "x.csv", "--model", model, *options, *QUICK)
    assert load(model).multi_label
    found = run_json("predict", model, tmp_path / "x.csv")["predictions"]
    assert [row["labels"] for row in found[:3]] == ["a|b", "b", ""]
    scores = run_json("evaluate", model, tmp_path / "x.csv", *options)
    assert scores["micro_f1"] == 1 and "confusion" not in scores
    assert "subset accuracy" in run("evaluate", model, tmp_path / "x.csv", *options).stdout
    lists = [{"text": t, "label": s.split("|") if s else []} for t, s in rows]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, lists)))
    assert run_json("evaluate", model, tmp_path / "x.jsonl")["micro_f1"] == 1


def test_bad_input(folder: Path, tmp_path: Path) -> None:
    model, path, target = folder / "text.longshort", tmp_path / "x.csv", tmp_path / "m"
    train = ("train", "text", path, "--model", target)

    def write(content: str | bytes) -> None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    write("text,label\na,yes\nb,maybe\n")
    assert "x.csv: line 3: the label 'maybe' did not occur" in refused("evaluate", model, path)
    other = ("--validation", path, *QUICK)
    text = refused("train", "text", folder / "train.csv", "--model", target, *other)
    assert "x.csv: line 3: the label 'maybe' did not occur" in text
    write(b"text,label\na,yes\nb\xff,no\n")
    assert "x.csv: line 3 is not UTF-8" in refused(*train)
    write("text,label\na,yes\nb,\n")
    assert "x.csv: line 3: the label is empty" in refused(*train)
    write("text,label\na,yes\n,no\n")
    assert "x.csv: line 3: the text is empty" in refused(*train)
    write("text,label\na,yes\nb,yes\n")
    assert "x.csv: labels: expected at least 2 different labels, got 'yes'" in refused(*train)
    write("review,label\na,yes\n")
    assert "no column 'text'; name that of the texts as text_col (--text-col)" in refused(*train)
    assert "plain text has no labels" in refused("evaluate", model, folder / "new.txt")
    assert "unit must be one of" in refused(*train[:2], path, *train[3:], "--unit", "line")
    split = ("--validation-split", 2)
    assert "validation_split must be" in refused(*train, *split)
    assert "is not used with --validation;" in refused(*train, *split, "--validation", path)
    assert "would overwrite the input" in refused("train", "text", path, "--model", path)
    assert "--wide: is for" in refused("predict", model, path, "--wide")
    assert "--time-col: is for series or seq" in refused("predict", model, path, "--time-col", "t")
    assert not target.exists()
