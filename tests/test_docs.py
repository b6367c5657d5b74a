"""Examples in docstrings run; public names are what `__all__` says; versions agree."""

import doctest
import functools
import importlib
import pkgutil
import re
import shlex
import tomllib
import warnings
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import longshort
from longshort.cli import app
from longshort.tasks import Tagger, Translator
from longshort.tasks._language_training import LanguagePlan
from longshort.tasks._net_training import TrainPlan

ROOT = Path(__file__).parent.parent
MODULES = ["longshort"] + [
    module.name
    for module in pkgutil.walk_packages(longshort.__path__, "longshort.")
    if not module.name.endswith(("__main__", "liblongshort_kernels"))
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    names = {"np": np, "keras": keras, "longshort": longshort}
    result = doctest.testmod(
        importlib.import_module(name), extraglobs=names, optionflags=doctest.ELLIPSIS
    )
    assert result.failed == 0


@pytest.mark.parametrize("name", ["longshort", *(f"longshort.{p}" for p in longshort._PACKAGES)])
def test_public_names_are_there_sorted_and_documented(name):
    module = importlib.import_module(name)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for public in module.__all__:
        assert getattr(module, public).__doc__, public
    public = {n for n in dir(module) if not n.startswith("_")} - {"annotations"}
    imported = {n for n in public - set(module.__all__) if not is_module(module, n)}
    assert imported == set()


def is_module(module, name):
    return type(getattr(module, name)) is type(re)


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert longshort.__version__ == version("longshort") == project["version"] == newest[1]


def test_readme_examples(tmp_path, monkeypatch):
    """The README's Python blocks, but for the two that need what a reader has."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    own = [b for b in blocks if "longshort.tasks" in b]
    assert len(own) == 5
    for block in own:
        exec(block, {})
    layer = longshort.layers.LSTM(4)
    layer.build((None, 5, 3))
    model = longshort.layers.Sequential([layer])
    names = {"layer": layer, "x": np.zeros(3), "model": model, "longshort": longshort}
    if longshort.ops.choose_path().name == "kernel":
        exec(next(b for b in blocks if "layer.stream" in b), names)
        assert names["h"].shape == (1, 4)
    assert longshort.load("model.longshort").predict().shape == (12, 7)


def test_language_page(tmp_path, monkeypatch):
    """Its blocks in their order, with one epoch a training."""
    monkeypatch.chdir(tmp_path)
    plan = LanguagePlan.of
    quick = staticmethod(lambda *args, **given: plan(*args, **(given | {"epochs": 1})))
    monkeypatch.setattr(LanguagePlan, "of", quick)
    names = {}
    commands = run_blocks("language.md", names)
    assert commands == ["train", "evaluate", "predict", "generate", "generate"]
    assert names["layers"]["embeddings"].shape[1] == 64


def run_blocks(page, names):
    """Run the blocks of a page in docs/ in their order, Python and commands; return the latter."""
    commands = []
    text = (ROOT / "docs" / page).read_text()
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M):
        if language == "python":
            exec(block, names)
            continue
        for line in block.replace("\\\n", " ").splitlines():
            program, *words = shlex.split(line)
            assert program == "longshort"
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, result.output
            commands.append(words[0])
    return commands


@pytest.mark.slow
def test_forecasting_page(tmp_path, monkeypatch):
    """Its blocks in their order, Python and commands, with one epoch a training."""
    monkeypatch.chdir(tmp_path)
    plan = TrainPlan.of
    quick = staticmethod(lambda *args, **given: plan(*args, **(given | {"epochs": 1})))
    monkeypatch.setattr(TrainPlan, "of", quick)
    commands = run_blocks("forecasting.md", {})
    assert commands == ["forecast", "train", "predict"]
    written = {path.name for path in tmp_path.iterdir()}
    assert {"forecast.csv", "forecast.png", "report.html", "next.csv"} <= written


@pytest.mark.slow
def test_text_page(tmp_path, monkeypatch):
    """Its blocks in their order, Python and commands, with small networks."""
    monkeypatch.chdir(tmp_path)
    start = longshort.tasks.TextClassifier.__init__
    quick = {"epochs": 1, "num_members": 1}
    monkeypatch.setattr(
        longshort.tasks.TextClassifier,
        "__init__",
        functools.wraps(start)(lambda self, **given: start(self, **(given | quick))),
    )
    names = {}
    for command in run_blocks("text.md", names):
        assert command in ("train", "evaluate", "predict")
    assert names["model"].predict(["brake"]).shape == (1,)
    written = {path.name for path in tmp_path.iterdir()}
    assert {"notes.longshort", "training.png", "labels.csv", "why.html"} <= written


@pytest.mark.slow
def test_tagging_page(tmp_path, monkeypatch):
    """Its blocks in their order, Python and commands, with one epoch a training."""
    monkeypatch.chdir(tmp_path)
    fit = Tagger.fit

    def quick(self, *args, **given):
        self.epochs = 1
        return fit(self, *args, **given)

    monkeypatch.setattr(Tagger, "fit", quick)
    commands = list(run_blocks("tagging.md", {}))
    assert commands == ["train", "evaluate", "predict"]
    assert (tmp_path / "tagged.txt").read_text().startswith("Maria\t")


@pytest.mark.slow
def test_speech_page(tmp_path, monkeypatch):
    """Its blocks in their order, Python and commands."""
    pytest.importorskip("soundfile")
    monkeypatch.chdir(tmp_path)
    names = {}
    with warnings.catch_warnings():
        # The command trains for two epochs only.
        warnings.filterwarnings("ignore", "Transcriber. the network says nothing")
        commands = run_blocks("speech.md", names)
    assert commands == ["train", "evaluate", "predict", "stream"]
    assert names["scores"]["wer"] < 0.2 and names["found"][0] == names["transcript"].text


@pytest.mark.slow
def test_translation_page(tmp_path, monkeypatch):
    """Its blocks in their order, Python and commands, with two epochs a training."""
    pytest.importorskip("sacrebleu")
    monkeypatch.chdir(tmp_path)
    fit = Translator.fit

    def quick(self, *args, **given):
        self.epochs = 2
        return fit(self, *args, **given)

    monkeypatch.setattr(Translator, "fit", quick)
    names = {}
    assert run_blocks("translation.md", names) == ["train", "predict", "predict", "evaluate"]
    assert len(names["translations"]) == 78 and (tmp_path / "alignment.png").exists()
