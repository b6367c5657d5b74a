"""What mixed_bfloat16 costs in accuracy: the same training, float32 against bfloat16.

    python benchmarks/bfloat16_accuracy.py            # needs the data that LONGSHORT_DATA names

JapaneseVowels: LSTM(128) and softmax, 60 epochs, no selection; accuracy on the test part.
tinyshakespeare: Embedding, LSTM(256), softmax over characters, the given number of steps; nats per
character on the last tenth. Same seeds, same batches, same initial weights for both types.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

import keras
import numpy as np

import longshort  # noqa: F401  # first: it chooses Keras' backend
from longshort.layers import LSTM

POLICIES = ("float32", "mixed_bfloat16")


def read_sequences(file: Path) -> tuple[list[np.ndarray], np.ndarray]:
    lines = [line for line in file.read_text().splitlines() if line and line[0] not in "#@"]
    parts = [line.split(":") for line in lines]
    X = [np.array([channel.split(",") for channel in part[:-1]], "f4").T for part in parts]
    return X, np.array([int(part[-1]) - 1 for part in parts])


def japanese_vowels(folder: Path, seed: int) -> float:
    name = "classification/JapaneseVowels/JapaneseVowels_{}.ts"
    (train, y), (test, y_test) = (
        read_sequences(folder / name.format(p)) for p in ("TRAIN", "TEST")
    )
    stacked = np.concatenate(train)

    def padded(sequences: list[np.ndarray]) -> np.ndarray:
        scaled = [(s - stacked.mean(0)) / stacked.std(0) for s in sequences]
        return keras.utils.pad_sequences(scaled, maxlen=29, dtype="float32")

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((29, 12)), LSTM(128), keras.layers.Dense(9, "softmax", dtype="float32")]
    )
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    model.fit(padded(train), y, batch_size=16, epochs=60, verbose=0)
    return model.evaluate(padded(test), y_test, verbose=0)[1]


def tinyshakespeare(folder: Path, seed: int, steps: int) -> float:
    text = (folder / "language/tinyshakespeare.txt").read_text()
    characters = sorted(set(text))
    index = {c: i for i, c in enumerate(characters)}
    ids = np.array([index[c] for c in text], "int32")
    cut = len(ids) * 9 // 10
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, cut - 101, size=64 * steps)
    windows = ids[starts[:, None] + np.arange(101)]
    held = ids[cut : cut + (len(ids) - cut - 1) // 100 * 100 + 1]
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((100,), dtype="int32"),
            keras.layers.Embedding(len(characters), 64),
            LSTM(256, return_sequences=True),
            keras.layers.Dense(len(characters), dtype="float32"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, optimizer=keras.optimizers.Adam(3e-3, clipnorm=1.0))
    model.fit(windows[:, :-1], windows[:, 1:], batch_size=64, epochs=1, shuffle=False, verbose=0)
    X, y = held[:-1].reshape(-1, 100), held[1:].reshape(-1, 100)
    return model.evaluate(X, y, batch_size=64, verbose=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500, help="of training on tinyshakespeare")
    arguments = parser.parse_args()
    folder = Path(os.environ.get("LONGSHORT_DATA", "../shared/data"))
    if not folder.is_dir():
        sys.exit(f"no data in {folder}; set LONGSHORT_DATA")
    for name, train in (
        ("JapaneseVowels, accuracy", lambda seed: japanese_vowels(folder, seed)),
        ("tinyshakespeare, nats", lambda seed: tinyshakespeare(folder, seed, arguments.steps)),
    ):
        for policy in POLICIES:
            keras.config.set_dtype_policy(policy)
            values = [train(seed) for seed in range(arguments.seeds)]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            each = " ".join(f"{value:.4f}" for value in values)
            print(f"{name:26} {policy:15} {each}  mean {np.mean(values):.4f} sd {spread:.4f}")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
