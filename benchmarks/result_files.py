"""Rows of figures in the files of results/, of which one run replaces its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def rows_of(path: Path) -> Rows:
    return json.loads(path.read_text())["rows"] if path.exists() else []


def write(path: Path, rows: Rows, published: Rows, keys: Sequence[str]) -> None:
    """Put rows into the file, in place of those that agree with any of them in all `keys`.

    Those of other data stay, and so does the order of data.
    """

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row.get(name) for name in keys)

    groups: dict[tuple[Any, ...], Rows] = {}
    for row in rows_of(path):
        groups.setdefault(key(row), []).append(row)
    for row in rows:
        groups[key(row)] = []
    for row in rows:
        groups[key(row)].append(row)
    everything = [row for group in groups.values() for row in group]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"rows": everything, "published": published}, indent=1) + "\n")
