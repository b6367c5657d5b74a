"""Real data at hand for tests; a test skips where it is missing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest


def data_path(name: str) -> Path:
    """Return a file below `LONGSHORT_DATA`, or skip the test."""
    folder = Path(os.environ.get("LONGSHORT_DATA") or "../shared/data")
    if not (folder / name).exists():
        pytest.skip(f"no {name} in {folder}; set LONGSHORT_DATA")
    return folder / name


def read_ts(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """Read a `.ts` file (UCR/UEA archive): sequences (T_i, D) and labels."""
    X, y = [], []
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith(("#", "@")):
            continue
        *channels, label = line.split(":")
        X.append(np.array([channel.split(",") for channel in channels], dtype=np.float32).T)
        y.append(label.strip())
    return X, y


def japanese_vowels(part: str) -> tuple[list[np.ndarray], list[str]]:
    """Read the "TRAIN" or "TEST" part: 12 channels, 7 to 29 steps, 9 speakers."""
    name = f"classification/JapaneseVowels/JapaneseVowels_{part}.ts"
    return read_ts(data_path(name))
