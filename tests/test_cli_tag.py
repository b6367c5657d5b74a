"""The command line of the tagger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from longshort.cli import app
from longshort.data import read_conll, read_conllu
from longshort.tasks import Tagger, load

COLUMNS = "Ann NNP B-PER\nsaw VBD O\nRome NNP B-LOC\n\nthey PRP O\nleft VBD O\n\n" * 6
WORDS = (("Ann", "PROPN"), ("saw", "VERB"), ("Rome", "PROPN"))
CONLLU = "".join(
    f"# {i}\n"
    + "".join(
        f"{n}\t{word}\t_\t{tag}\t_\t_\t_\t_\t_\tx={i}\n" for n, (word, tag) in enumerate(WORDS, 1)
    )
    + "\n"
    for i in range(8)
)
SMALL = ("--units", "4", "--epochs", "2")


def run(*words: Any) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(*words: Any) -> str:
    result = run(*words)
    assert result.exit_code == 2, result.output
    return result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tags")
    (folder / "names.txt").write_text(COLUMNS)
    (folder / "words.conllu").write_text(CONLLU)
    result = run("train", "tag", folder / "names.txt", "--model", folder / "names", *SMALL)
    assert result.exit_code == 0, result.output
    assert "validation error (1 - F1 of spans)" in result.stdout
    return folder


def test_columns(folder: Path) -> None:
    """Predictions go to a file or the screen, a word and its tag a line."""
    names = folder / "names.txt"
    task = load(folder / "names")
    assert isinstance(task, Tagger) and task.units == 4
    output = folder / "out.txt"
    result = run("predict", folder / "names", names, "--output", output)
    assert result.exit_code == 0 and "12 sentences" in result.stdout
    found = read_conll(output)
    assert found.sentences == read_conll(names).sentences
    assert found.tags == task.predict(found.sentences)
    scores = json.loads(run("evaluate", folder / "names", names, "--json").stdout)
    want = task.evaluate(found.sentences, read_conll(names).tags)
    assert {name: scores[name] for name in want} == want
    assert all(len(error) == 3 for error in scores["errors"])


@pytest.mark.slow
def test_features(folder: Path) -> None:
    """Columns beside the words are read in training, prediction and evaluation."""
    names, model = folder / "names.txt", folder / "features"
    columns = ("--features", "1")
    assert run("train", "tag", names, "--model", model, *SMALL, *columns).exit_code == 0
    task = load(model)
    assert isinstance(task, Tagger) and task.num_features_ == 1
    result = run("predict", model, names, *columns, "--json")
    content = json.loads(result.stdout)
    found = read_conll(names, feature_cols=[1])
    assert content["sentences"] == read_conll(names).sentences
    assert content["tags"] == task.predict(found.sentences)
    scores = json.loads(run("evaluate", model, names, *columns, "--json").stdout)
    assert scores["f1"] == task.evaluate(found.sentences, found.tags or [])["f1"]
    assert "read with --features" in refused("predict", model, names)


@pytest.mark.slow
def test_screen(folder: Path) -> None:
    names = folder / "names.txt"
    content = json.loads(run("predict", folder / "names", names, "--json").stdout)
    lines = run("predict", folder / "names", names).stdout.splitlines()
    tags = [line.partition("\t")[2] for line in lines if line]
    assert tags == [tag for row in content["tags"] for tag in row]
    result = run("evaluate", folder / "names", names)
    assert result.exit_code == 0, result.output
    assert "baseline f1" in result.stdout and "LOC" in result.stdout


@pytest.mark.slow
def test_conllu(folder: Path) -> None:
    """The field is filled in, and all else stays."""
    data, model = folder / "words.conllu", folder / "words.longshort"
    result = run("train", "tag", data, "--model", model, *SMALL, "--validation", data, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["params"]["epochs"] == 2
    output = folder / "out.conllu"
    assert run("predict", model, data, "--output", output, "--field", "xpos").exit_code == 0
    assert read_conllu(output).tags == read_conllu(data).tags
    task = load(model)
    assert read_conllu(output, "xpos").tags == task.predict(read_conllu(data).sentences)
    assert output.read_text().count("x=7") == 3 and "# 7\n" in output.read_text()


def test_refused(folder: Path, tmp_path: Path) -> None:
    names, model = folder / "names.txt", folder / "names"
    (tmp_path / "ragged.txt").write_text("a X\nb\n")
    train = ("train", "tag")
    assert "ragged.txt, line 2: expected 2 columns" in refused(
        *train, tmp_path / "ragged.txt", "--model", tmp_path / "m"
    )
    assert "from 0 to 2" in refused(*train, names, "--model", tmp_path / "m", "--tag-col", 3)
    assert "leave out --token-col" in refused(
        *train, folder / "words.conllu", "--model", tmp_path / "m", "--tag-col", 1
    )
    assert "column 2 has the words or the tags" in refused(
        *train, names, "--model", tmp_path / "m", "--features", "1, 2"
    )
    assert "scheme must be" in refused(*train, names, "--model", tmp_path / "m", "--scheme", "X")
    assert "overwrite the input" in refused(*train, names, "--model", names)
    split = (names, "--model", tmp_path / "m", "--validation-split", 2)
    assert "validation_split must be" in refused(*train, *split)
    assert "is not used with --validation;" in refused(*train, *split, "--validation", names)
    assert "--wide: is for a forecaster" in refused("predict", model, names, "--wide")
    assert "overwrite the input" in refused("predict", model, names, "--output", names)


def test_word_vectors(folder: Path, tmp_path: Path) -> None:
    vectors = tmp_path / "v.txt"
    vectors.write_text("ann 1 2 3\nrome 0.5 1 2\n")
    options = ("--vectors", vectors, "--word-size", "3", "--model", tmp_path / "x", *SMALL)
    result = run("train", "tag", folder / "names.txt", *options)
    assert result.exit_code == 0, result.output
    assert (load(tmp_path / "x").vectors, load(tmp_path / "x").word_size) == (str(vectors), 3)
    same = ("--vectors", vectors, "--model", vectors, *SMALL)
    assert "v.txt" in refused("train", "tag", folder / "names.txt", *same)
