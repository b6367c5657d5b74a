"""The program that everyone learns, as the README shows it, on JapaneseVowels."""

import re
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

from datasets import japanese_vowels

README = Path(__file__).parent.parent / "README.md"


def snippet():
    text = README.read_text()
    return next(b for b in re.findall(r"```python\n(.*?)```", text, re.S) if "Sequential()" in b)


@pytest.fixture(scope="module")
def problem():
    """Arrays by the names of the program; padded on the left, scaled by the training part."""
    (train, labels), (test, test_labels) = japanese_vowels("TRAIN"), japanese_vowels("TEST")
    stacked = np.concatenate(train)
    mean, std = stacked.mean(0), stacked.std(0)

    def padded(sequences):
        scaled = [(s - mean) / std for s in sequences]
        return keras.utils.pad_sequences(scaled, maxlen=29, dtype="float32")

    classes = sorted(set(labels))

    def one_hot(values):
        return keras.utils.to_categorical([classes.index(v) for v in values], len(classes))

    X, y = padded(train), one_hot(labels)
    held = np.random.default_rng(0).permutation(len(X)) < len(X) // 10
    names = {
        "X_train": X[~held], "y_train": y[~held], "X_val": X[held], "y_val": y[held],
        "time_steps": 29, "input_dim": 12, "output_dim": len(classes),
        "num_epochs": 60, "batch_size": 16,
    }  # fmt: skip
    return names, padded(test), one_hot(test_labels)


def test_the_program_everyone_learns(problem):
    names, X_test, y_test = problem
    keras.utils.set_random_seed(1)
    with warnings.catch_warnings():
        # Keras would rather have an Input layer than input_shape.
        warnings.filterwarnings("ignore", "Do not pass an `input_shape`")
        exec(snippet(), names)
    model = names["model"]
    assert type(model.layers[0]).__module__ == "longshort.layers._lstm"
    _, accuracy = model.evaluate(X_test, y_test, verbose=0)
    assert accuracy >= 0.95
