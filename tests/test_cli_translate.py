"""`longshort train translate`, and a translator in `predict` and `evaluate`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from longshort.tasks import load
from test_cli import refused, run, run_json
from test_translator import reversed_digits

QUICK = ("--unit", "word", "--units", 4, "--embedding-size", 4, "--epochs", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translate")
    sources, targets = reversed_digits(40, 0)
    (folder / "a.txt").write_text("\n".join(sources) + "\n")
    (folder / "b.txt").write_text("\n".join(targets) + "\n")
    table = pd.DataFrame({"source": sources, "translation": targets})
    table.to_csv(folder / "both.tsv", sep="\t", index=False)
    files, model = (folder / "a.txt", folder / "b.txt"), folder / "it.longshort"
    shown = run("train", "translate", *files, "--model", model, *QUICK).stdout
    assert "best validation loss" in shown and "nats a token" in shown
    return folder


@pytest.mark.slow
def test_train_from_a_table(folder: Path, tmp_path: Path) -> None:
    options = ("--validation-source", folder / "both.tsv", "--no-joint", "--attention", "dot")
    content = run_json(
        *("train", "translate", folder / "both.tsv", "--model", tmp_path / "x", *QUICK),
        *(*options, "--batch-size", 16, "--seed", 3, "--input-feeding"),
    )
    task = load(tmp_path / "x")
    assert content["params"] == task.get_params() and task.num_held_out_ == 40
    assert (task.attention, task.joint, task.seed) == ("dot", False, 3) and task.input_feeding


def test_predict_and_evaluate(folder: Path) -> None:
    pytest.importorskip("sacrebleu")
    model, options = folder / "it.longshort", ("--beam-size", 3, "--length-penalty", 0.5)
    texts = (folder / "a.txt").read_text().splitlines()
    wanted = load(model).n_best(texts, 2, beam_size=3, length_penalty=0.5)
    rows = run_json("predict", model, folder / "a.txt", *options, "--num-best", 2)["predictions"]
    assert [row["translation"] for row in rows] == [text for one in wanted for text, _ in one]
    assert [row["line"] for row in rows][:3] == [1, 1, 2]
    rows = run_json("predict", model, folder / "both.tsv", *options)["predictions"]
    assert [(row["line"], row["translation"]) for row in rows][:2] == [
        (2, wanted[0][0][0]),
        (3, wanted[1][0][0]),
    ]
    scores = run_json("evaluate", model, folder / "both.tsv", *options)
    files = (folder / "a.txt", "--reference", folder / "b.txt")
    assert run_json("evaluate", model, *files, *options) == scores
    assert "nats per token" in run("evaluate", model, *files, *options).stdout


def test_bad_input(folder: Path, tmp_path: Path) -> None:
    model, a = folder / "it.longshort", folder / "a.txt"
    (tmp_path / "short.txt").write_text("1\n")
    (tmp_path / "empty.txt").write_text("")
    train = ("train", "translate", a)
    new = ("--model", tmp_path / "new")
    assert "a.txt has 40 lines and" in refused(*train, tmp_path / "short.txt", *new)
    assert "expected a second file" in refused(*train, *new)
    assert "give --validation-source" in refused(*train, a, *new, "--validation-target", a)
    assert "units must be even" in refused(*train, a, *new, "--units", 3)
    assert "precision must be one of" in refused(*train, a, *new, "--precision", "half")
    split = ("--validation-split", 2)
    assert "validation_split must be" in refused(*train, a, *new, *split)
    both = (*split, "--validation-source", a, "--validation-target", a)
    assert "is not used with --validation-source;" in refused(*train, a, *new, *both)
    assert "would overwrite" in refused(*train, a, "--model", a)
    assert "--reference: is for evaluate" in refused("predict", model, a, "--reference", a)
    assert "--num-best: is for predict" in refused("evaluate", model, a, "--num-best", 2)
    assert "found none" in refused("predict", model, tmp_path / "empty.txt")
    assert "--bonus: is for a transcriber" in refused("predict", model, a, "--bonus", 1)
    assert "--label-sep: is for a classifier" in refused("predict", model, a, "--label-sep", ",")
    assert "--wide: is for a forecaster" in refused("predict", model, a, "--wide")
