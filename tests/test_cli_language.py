"""`longshort train language`, `generate`, and a language model in `predict` and `evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from longshort.cli import _language, app
from longshort.tasks import load

TEXT = "the cat sat on the mat.\n" * 20


def run(*args: Any, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language")
    (folder / "cats.txt").write_text(TEXT)
    (folder / "more.txt").write_text("the mat\n\nthe cat sat.\n")
    (folder / "broken.txt").write_bytes(b"one\n\xff\n")
    result = run(
        *("train", "language", folder / "cats.txt", "--model", folder / "cats.longshort"),
        *("--units", 4, "--epochs", 1, "--sequence-length", 16),
    )
    assert "LanguageModel(units=4, sequence_length=16, epochs=1): best validation" in result.stdout
    assert result.stderr == ""
    return folder


@pytest.mark.slow
def test_train_options(folder: Path) -> None:
    result = run(
        *("train", "language", folder / "cats.txt", "--model", folder / "two.longshort", "--json"),
        *("--unit", "word", "--units", 4, "--num-layers", 2, "--embedding-size", 3),
        *(
            "--vocabulary-size",
            9,
            "--dropout",
            0.1,
            "--weight-drop",
            0.2,
            "--batch-size",
            2,
            "--num-sampled",
            5,
        ),
        *("--sequence-length", 8, "--learning-rate", 0.01, "--max-minutes", 1, "--epochs", 1),
        *("--seed", 3, "--validation", folder / "more.txt"),
    )
    content = json.loads(result.stdout)
    params = load(folder / "two.longshort").get_params()
    assert content["params"] == params
    given = {"unit": "word", "num_layers": 2, "weight_drop": 0.2, "max_minutes": 1, "seed": 3}
    assert given.items() <= params.items()


def test_train_on_all(folder: Path) -> None:
    options = ("--units", 4, "--epochs", 1, "--validation-split", 0)
    files = (folder / "cats.txt", "--model", folder / "all.longshort")
    assert "last training loss" in run("train", "language", *files, *options).stdout
    assert load(folder / "all.longshort").num_held_out_ == 0
    both = (*options, "--validation", folder / "more.txt")
    assert (
        "--validation-split: is not used" in run("train", "language", *files, *both, code=2).stderr
    )


def test_generate(folder: Path) -> None:
    args = ("generate", folder / "cats.longshort", "--prompt", "mat.\\n", "--max-tokens", 12)
    text = load(folder / "cats.longshort").generate("mat.\n", max_tokens=12, temperature=0.5)
    result = run(*args, "--temperature", 0.5)
    assert result.stdout == f"{text}\n" and result.stderr == ""
    content = json.loads(run(*args, "--temperature", 0.5, "--json").stdout)
    assert content == {"prompt": "mat.\n", "text": text}
    cut = run(*args, "--temperature", 0.5, "--stop", text[4:6], "--stop", "zzz").stdout
    assert cut == f"{text[: text.index(text[4:6])]}\n"
    run(*args, "--top-k", 2, "--top-p", 0.5, "--seed", 3)


def test_evaluate_and_predict(folder: Path) -> None:
    model, data = folder / "cats.longshort", folder / "more.txt"
    scores = json.loads(run("evaluate", model, data, "--json").stdout)
    expected = load(model).evaluate(data)
    assert expected.items() <= scores.items()
    assert "nats per token" in run("evaluate", model, data).stdout
    run("predict", model, data, "--output", folder / "scores.csv")
    table = pd.read_csv(folder / "scores.csv")
    assert table["line"].tolist() == [1, 3]
    assert table["text"].tolist() == ["the mat", "the cat sat."]
    assert table["num_tokens"].tolist() == [7, 12]


def test_refused(folder: Path) -> None:
    model = folder / "cats.longshort"
    new = ("--model", folder / "new.longshort")
    cases = {
        "line 2 is not UTF-8": ("train", "language", folder / "broken.txt", *new),
        "no such file": ("train", "language", folder / "nothing.txt", *new),
        "unit must be one of": ("train", "language", folder / "cats.txt", *new, "--unit", "x"),
        "precision must be": ("train", "language", folder / "cats.txt", *new, "--precision", "x"),
        "would overwrite": (
            "train",
            "language",
            folder / "cats.txt",
            "--model",
            folder / "cats.txt",
        ),
        "temperature must be": ("generate", model, "--temperature", -1),
        "top_p must be": ("generate", model, "--top-p", 2),
        "line 2": ("evaluate", model, folder / "broken.txt"),
        "static: is for a forecaster": ("predict", model, folder / "more.txt", "--static", "x"),
    }
    for match, args in cases.items():
        result = run(*args, code=2)
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
        assert match in result.stderr and result.stdout == ""


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(_language.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(_language, "_ROUND", 0.0)
    with _language.training_bar() as calls:
        for done in (10, 20, 30):
            calls["on_step"](done, 100, 2.0)
        calls["progress"](1, 3, 1.5)
        calls["on_step"](40, 100, 2.0)
    captured = capsys.readouterr()
    assert captured.out == "" and "tokens/s" in captured.err
