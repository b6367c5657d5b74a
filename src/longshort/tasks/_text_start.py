"""What the network of a text classifier begins with: word vectors, or a language model."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from longshort._errors import DataError
from longshort.data._vocabulary import Vocabulary
from longshort.data._word_vectors import read_word_vectors
from longshort.tasks._files import load
from longshort.tasks._language_model import LanguageModel
from longshort.tasks._text_classifier_params import members_of
from longshort.tasks._text_net import TextNetShape

if TYPE_CHECKING:
    from longshort.tasks._text_classifier import TextClassifier

# Hyper-parameters of which the language model's own count.
_TAKEN = ("units", "num_layers", "embedding_size", "vocabulary_size", "min_count", "lowercase")


@dataclass(frozen=True)
class Pretrained:
    """The beginning of a network that reads.

    Attributes:
        vocabulary: V tokens.
        embeddings: (V, E), their vectors.
        lstm: Of each layer kernel (D, 4H), recurrent kernel (H, 4H) and bias (4H,).
    """

    vocabulary: Vocabulary
    embeddings: np.ndarray
    lstm: list[list[np.ndarray]]

    @property
    def units(self) -> int:
        """H."""
        return int(self.lstm[0][1].shape[0])


def take_over(given: Any, task: TextClassifier) -> Pretrained:
    """Return the layers of a fitted language model for a classifier.

    Args:
        given: A LanguageModel, or the name of its file.
        task: The classifier. Hyper-parameters that the language model decides on must be left at
            their defaults or agree with it.

    Raises:
        DataError: If it is no language model, or does not agree.
        NotFittedError: If it is not fitted.
        FileFormatError: If the file cannot be read.
    """
    name = "the language model"
    if isinstance(given, str | os.PathLike):
        name = os.fspath(given)
        given = load(name)
    if not isinstance(given, LanguageModel):
        raise DataError(
            f"TextClassifier: pretrained: expected a LanguageModel or the name of its file, got a "
            f"{type(given).__name__}. Train one with LanguageModel(unit={task.unit!r}).fit(...)."
        )
    layers = Pretrained(**given.pretrained_layers())
    if given.unit != task.unit:
        raise DataError(
            f"TextClassifier: pretrained: {name} reads the unit {given.unit!r}, the classifier "
            f"{task.unit!r}. Use TextClassifier(unit={given.unit!r}) or a language model of "
            f"unit={task.unit!r}."
        )
    if task.vectors is not None:
        raise DataError(
            "TextClassifier: pretrained: the vectors of words come from the language model or from "
            "the file `vectors`, not from both. Leave one out."
        )
    defaults = inspect.signature(type(task).__init__).parameters
    own = {
        "units": layers.units,
        "num_layers": len(layers.lstm),
        "embedding_size": layers.embeddings.shape[1],
        "vocabulary_size": given.vocabulary_size,
        "min_count": given.min_count,
        "lowercase": layers.vocabulary.lowercase,
    }
    wrong = [
        f"{key}={getattr(task, key)!r} (there: {own[key]!r})"
        for key in _TAKEN
        if getattr(task, key) not in (defaults[key].default, own[key])
    ]
    if wrong:
        raise DataError(
            f"TextClassifier: pretrained: {name} decides on {', '.join(wrong)}. Leave that out."
        )
    return layers


def read_vectors(vocabulary: Vocabulary, task: TextClassifier) -> np.ndarray | None:
    """Return the vectors (V, E) that the file `task.vectors` gives to a vocabulary, or None.

    Raises:
        DataError: If the file cannot be used, or its vectors are of another size than the task's.
    """
    if task.vectors is None:
        return None
    rng = np.random.default_rng([task.seed, 3])
    table = read_word_vectors(task.vectors, vocabulary, rng)
    if task.embedding_size not in (None, table.shape[1]):
        raise DataError(
            f"TextClassifier: {task.vectors} has vectors of size {table.shape[1]}, "
            f"embedding_size is {task.embedding_size}. Leave embedding_size out."
        )
    return table


def sizes_of(
    task: TextClassifier,
    embeddings: np.ndarray | None,
    start: Pretrained | None,
    num_texts: int,
) -> dict[str, int]:
    """Return the sizes of a classifier's network: what was taken over, else the task's own."""
    ways = 2 if task.bidirectional else 1
    units, num_layers = task.units, task.num_layers
    if start is not None:
        units, num_layers, ways = start.units, len(start.lstm), 1
    size = task.embedding_size or (128 if embeddings is None else embeddings.shape[1])
    return {
        "embedding_size": size,
        "units": units,
        "num_layers": num_layers,
        "ways": ways,
        "num_members": members_of(task, num_texts),
    }


def shape_of(
    task: TextClassifier, sizes: dict[str, int], num_tokens: int, num_classes: int
) -> TextNetShape:
    """Return what the network is made of.

    Raises:
        ValueError: If `sizes`, which may come from a file, are not what `sizes_of` returns.
    """
    if set(sizes) != {"embedding_size", "units", "num_layers", "ways", "num_members"}:
        raise ValueError(f"sizes are {sorted(sizes)}")
    for name, value in sizes.items():
        if type(value) is not int or value < 1 or (name == "ways" and value > 2):
            raise ValueError(f"{name} is {value!r}")
    return TextNetShape(
        num_tokens=num_tokens,
        num_outputs=num_classes,
        embedding_size=sizes["embedding_size"],
        units=sizes["units"],
        num_layers=sizes["num_layers"],
        bidirectional=sizes["ways"] == 2,
        pooling=task.pooling,
        dropout=task.dropout,
        embedding_dropout=task.embedding_dropout,
    )
