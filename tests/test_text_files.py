"""Texts from files: what they hold, and what is said about those that are broken."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from longshort._errors import DataError
from longshort.data import read_texts
from longshort.data._text_files import iter_lines

TEXTS = ['He said "no", twice', "Zoë,\tand\nyou", '"Jaws" is a film', "日本 ", '"all"']
LABELS = ["a", "b", "a", "0", "c"]


def write(path: Path, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.jsonl", "x.JSONL.gz"])
def test_what_was_written_comes_back(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({"id": range(5), "kind": LABELS, "review": TEXTS})
    content = table.to_csv(index=False)
    if "json" in name.lower():
        content = "".join(f"{json.dumps(row)}\n" for row in table.to_dict("records"))
    path = write(tmp_path / name, content)
    found = read_texts(path, "review", "kind")
    assert found.texts == TEXTS and found.labels == LABELS
    assert found.lines == ([1, 2, 3, 4, 5] if "json" in name.lower() else [2, 3, 5, 6, 7])
    assert read_texts(path, "review", None).labels is None


def test_tsv(tmp_path: Path) -> None:
    """Quotation marks at one end belong to the text."""
    lines = ["text\tlabel", '"Jaws" is\ta', 'a "film"\tb', '"so ""it"" is"\tb', '"\ta', ""]
    for name in ("x.tsv", "x.tsv.gz"):
        found = read_texts(write(tmp_path / name, "\r\n".join(lines)))
        assert found.texts == ['"Jaws" is', 'a "film"', 'so "it" is', '"']
        assert found.labels == ["a", "b", "b", "a"] and found.lines == [2, 3, 4, 5]


def test_plain_text(tmp_path: Path) -> None:
    path = write(tmp_path / "x.txt", "\ufeffone\r\n\n two \nlast")
    found = read_texts(path, label_col=None)
    assert found.texts == ["one", " two ", "last"] and found.lines == [1, 3, 4]
    assert list(iter_lines(path)) == ["one", "", " two ", "last"]
    assert list(iter_lines(path, keep_ends=True)) == ["one\n", "\n", " two \n", "last"]
    assert list(iter_lines(write(tmp_path / "x.gz", "é\n"))) == ["é"]
    with pytest.raises(DataError, match="plain text has no labels; write a csv"):
        read_texts(path)


def test_labels(tmp_path: Path) -> None:
    rows = [{"text": "x", "label": label} for label in ("a", 3, True, 0.5, ["a", 1], [])]
    path = write(tmp_path / "x.jsonl", "\n".join(map(json.dumps, rows)))
    assert read_texts(path).labels == ["a", "3", "true", "0.5", ["a", "1"], []]
    path = write(tmp_path / "x.csv", "text,label\nx,a| b\nx,\nx,c\n")
    assert read_texts(path, label_sep="|").labels == [["a", "b"], [], ["c"]]


def test_a_long_text(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    text = "word " * 200_000 + "end"
    for name in ("x.csv", "x.tsv", "x.jsonl"):
        row = json.dumps({"text": text, "label": "a"})
        sep = "\t" if name == "x.tsv" else ","
        content = row if name == "x.jsonl" else f"label{sep}text\na{sep}{text}\n"
        assert read_texts(write(tmp_path / name, content)).texts == [text]
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "", "is empty"),
        ("x.csv", "text,label\n", "at least one text, found none"),
        ("x.csv", "text,kind\nx,a\n", "there is no column 'label'; .*--label-col.* has text, kind"),
        ("x.csv", "text,label,text\nx,a,x\n", "there are two columns 'text'"),
        ("x.csv", 'text,label\n"x\ny",a\nz,\n', "line 4: the label is empty. Fill it or drop"),
        ("x.csv", "text,label\nx,a\n  ,b\n", "line 3: the text is empty. Fill it or drop the row"),
        ("x.csv", "text,label\nx,a\nx,y,b\n", "line 3: expected 2 fields as in the header, got 3"),
        ("x.csv", 'text,label\nx,a\n"x,b\nx,a\n', "line 3: cannot be read as csv.*quotation mark"),
        ("x.csv", b"text,label\nx,a\ncaf\xe9,b\n", r"line 3 is not UTF-8 \(byte 0xE9 at place 4\)"),
        ("x.tsv", "text\tlabel\nx\n", "line 2: expected 2 fields as in the header, got 1"),
        ("x.tsv", "", "is empty"),
        ("x.jsonl", '{"text": "x", "label": "a"}\n{"text"\n', "line 2: is no JSON"),
        ("x.jsonl", "[1]\n", "line 1: expected a JSON object"),
        ("x.jsonl", '\n{"text": "x"}\n', "line 2: there is no key 'label'.* It has text"),
        ("x.jsonl", '{"text": 3, "label": "a"}', "line 1: the text is no string"),
        ("x.jsonl", '{"text": null, "label": "a"}', "line 1: the text is empty"),
        ("x.jsonl", '{"text": "x", "label": null}', "line 1: the label is empty"),
        ("x.jsonl", '{"text": "x", "label": {}}', "line 1: the label is a dict, expected a string"),
        ("x.jsonl", '{"text": "x", "label": NaN}', "line 1: the label is empty"),
        ("x.txt", "\n \n", "at least one text, found none"),
        ("x.txt", b"\xff\xfea\x00", r"line 1 is not UTF-8 \(byte 0xFF at place 1\)"),
        ("x.doc", "x", "ends in .csv, .tsv, .jsonl, .txt, or in one of these and .gz"),
    ],
)
def test_refused(tmp_path: Path, name: str, content: Any, message: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=f"{re.escape(str(path))}.*{message}"):
        read_texts(path, label_col=None if name == "x.txt" else "label")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_texts(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="is a folder; expected a file"):
        read_texts(tmp_path / "folder.csv")
    whole = gzip.compress(b"text,label\n" + b"".join(b"word%d,a\n" % i for i in range(9999)))
    for broken in (whole[:-500], b"no gzip", whole[:200] + b"x" * 200 + whole[400:]):
        (tmp_path / "x.csv.gz").write_bytes(broken)
        with pytest.raises(DataError, match=r"x.csv.gz: (cannot be read after line \d+|line \d+)"):
            read_texts(tmp_path / "x.csv.gz")
    with pytest.raises(DataError, match="different columns, got 'text'"):
        read_texts(tmp_path / "x.csv", label_col="text")
