"""A text classifier that begins with a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longshort._errors import DataError, FileFormatError, NotFittedError
from longshort.tasks import LanguageModel, TextClassifier, load
from test_cli import refused, run_json
from test_cli_text import QUICK, ROWS
from test_text_classifier import SMALL, X, Y, some_texts

# What the language model decides on is left out.
OPTIONS = {name: SMALL[name] for name in SMALL if name not in ("units", "embedding_size")}


@pytest.fixture(scope="module")
def language() -> LanguageModel:
    """It has read more texts than have labels, and so knows that the two words are words."""
    model = LanguageModel(
        6, unit="word", num_layers=2, embedding_size=5, lowercase=True, epochs=1, batch_size=4
    )
    return model.fit([*X, "a marvellous film", "so marvellous"])


@pytest.fixture(scope="module")
def saved(language: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("language") / "l.longshort"
    language.save(path)
    return path


def weights(task: TextClassifier) -> list[np.ndarray]:
    """Embedding, then kernel, recurrent kernel and bias of each layer."""
    return [np.array(v.value) for v in task.model_.weights[:7]]


def test_begins_with_exactly_these_weights(language: LanguageModel, saved: Path) -> None:
    still: dict[str, Any] = OPTIONS | {"epochs": 1, "learning_rate": 1e-30, "num_layers": 2}
    layers = language.pretrained_layers()
    expected = [layers["embeddings"], *(w for layer in layers["lstm"] for w in layer)]
    task = TextClassifier(**still).fit(X, Y, pretrained=language)
    assert task.vocabulary_.tokens == language.vocabulary_.tokens
    for mine, theirs in zip(weights(task), expected, strict=True):
        assert (mine == theirs).all()


def test_learns_and_stands_alone(language: LanguageModel, tmp_path: Path) -> None:
    path = tmp_path / "l.longshort"
    language.save(path)
    task = TextClassifier(**OPTIONS).fit(X, Y, pretrained=path)
    path.unlink()
    texts, labels = some_texts(60, seed=1)
    assert task.evaluate(texts, labels)["accuracy"] >= 0.95
    moved = weights(task)[0] - language.pretrained_layers()["embeddings"]
    assert np.abs(moved).max() > 0.01
    task.save(tmp_path / "x.longshort")
    again = load(tmp_path / "x.longshort")
    assert (again.predict_proba(texts) == task.predict_proba(texts)).all()
    assert again.explain("a superb film").tokens == ["a", "superb", "film"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"unit": "char"}, "reads the unit 'word', the classifier 'char'. Use TextClassifier"),
        ({"units": 8}, r"the language model decides on units=8 \(there: 6\). Leave that out"),
        ({"num_layers": 3, "min_count": 2}, r"num_layers=3 \(there: 2\), min_count=2"),
        ({"lowercase": False}, r"lowercase=False \(there: True\)"),
        ({"vectors": "v.txt"}, "from the language model or from the file `vectors`, not from both"),
    ],
)
def test_refused(language: LanguageModel, params: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TextClassifier(**params).fit(X, Y, pretrained=language)


def test_refused_starts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a LanguageModel or the name of its file, got a"):
        TextClassifier().fit(X, Y, pretrained=3)
    with pytest.raises(NotFittedError, match="this LanguageModel has not been fitted"):
        TextClassifier().fit(X, Y, pretrained=LanguageModel())
    with pytest.raises(FileFormatError, match="there is no such file"):
        TextClassifier().fit(X, Y, pretrained=tmp_path / "x")


def test_command(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *map(",".join, ROWS)]))
    options = [value for pair in zip(QUICK[::2], QUICK[1::2], strict=True) for value in pair]
    options = options[4:]  # without the sizes
    model = tmp_path / "x.longshort"
    train = ("train", "text", tmp_path / "t.csv", "--model", model, *options)
    run_json(*train, "--pretrained", saved)
    assert load(model)._sizes["units"] == 6
    assert "expected a LanguageModel" in refused(
        *train[:3], "--model", tmp_path / "y", "--pretrained", model
    )
    assert "--model" in refused(*train[:3], "--model", saved, "--pretrained", saved)
