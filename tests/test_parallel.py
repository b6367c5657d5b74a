"""Texts and their translations from files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from longshort._errors import DataError
from longshort.data import read_parallel


def test_two_files_and_tables(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "it.de.gz", "wt", encoding="utf-8") as file:
        file.write("Öl\n\nein Haus\n")
    (tmp_path / "it.en").write_text("oil\n \na house\n")
    wanted = (["Öl", "ein Haus"], ["oil", "a house"])
    assert read_parallel(tmp_path / "it.de.gz", tmp_path / "it.en") == wanted
    (tmp_path / "it.tsv").write_text("de\ten\nÖl\toil\nein Haus\ta house\n", encoding="utf-8")
    found = read_parallel(tmp_path / "it.tsv", source_col="de", target_col="en")
    assert found == wanted


def test_what_cannot_be_used(tmp_path: Path) -> None:
    files = {"a": "one\ntwo\n", "b": "eins\n", "c": "eins\n\n", "d": "\n", "e.tsv": "source\nx\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "f").write_bytes(b"one\n\xff\n")
    cases = {
        ("a", "b"): "a has 2 lines and .*b 1; expected a translation for each line",
        ("a", "c"): "c: line 2 is empty",
        ("d", "d"): "expected at least one text, found none",
        ("a", "f"): "f: line 2 is not UTF-8",
        ("a", "g"): "g: there is no such file",
        ("a", None): "a: expected a second file",
        ("e.tsv", None): "there is no column 'translation'",
    }
    for (one, two), message in cases.items():
        with pytest.raises(DataError, match=message):
            read_parallel(tmp_path / one, None if two is None else tmp_path / two)
