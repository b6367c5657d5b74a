"""Readers of tagged sentences."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pytest

from longshort._errors import DataError
from longshort.data import read_conll, read_conllu
from longshort.data._conll import fill_conllu

CONLLU = """\
# newdoc
# text = Don't go
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVB\tMood=Imp\t0\troot\t_\t_
2\tn't\tnot\tPART\tRB\t_\t1\tadvmod\t_\t_
2.1\tyou\tyou\tPRON\t_\t_\t_\t_\t_\t_
3\tgo\tgo\tVERB\tVB\t_\t1\txcomp\t_\tSpaceAfter=No

# text = a b
1\ta b\t_\tX\t_\t_\t0\troot\t_\t_
"""


def test_conllu() -> None:
    found = read_conllu(io.StringIO(CONLLU))
    assert found.sentences == [["Do", "n't", "go"], ["a b"]]
    assert found.tags == [["AUX", "PART", "VERB"], ["X"]]
    assert read_conllu(io.StringIO(CONLLU), "xpos").tags == [["VB", "RB", "VB"], ["_"]]
    assert read_conllu(io.StringIO(CONLLU), None).tags is None


def test_features() -> None:
    found = read_conllu(io.StringIO(CONLLU), "upos", ["xpos", "lemma"])
    assert found.sentences == [[("Do", "VB", "do"), ("n't", "RB", "not"), ("go", "VB", "go")],
                               [("a b", "_", "_")]]  # fmt: skip
    with pytest.raises(DataError, match="upos is the tag, so it cannot be a feature"):
        read_conllu(io.StringIO(CONLLU), "upos", ["upos"])
    text = "# global.columns = FORM POS TAG\na X O\n"
    want = [[("a", "X")]]
    assert read_conll(io.StringIO(text), feature_cols=["POS"]).sentences == want
    assert read_conll(io.StringIO(text), 0, None, [-2]).sentences == want
    for column in ("TAG", 0):
        with pytest.raises(DataError, match="line 2: column . has the words or the tags"):
            read_conll(io.StringIO(text), feature_cols=[column])
    with pytest.raises(DataError, match=r"feature_cols: expected a list, got '12'; write \['12'\]"):
        read_conll(io.StringIO(text), feature_cols="12")
    with pytest.raises(DataError, match="features: expected a list, got 'xpos'"):
        read_conllu(io.StringIO(CONLLU), "upos", "xpos")
    with pytest.raises(DataError, match="line 1: a column that is read is empty"):
        read_conll(io.StringIO("a\t\tO\n"), feature_cols=[1])


def test_fill_conllu() -> None:
    lines = list(fill_conllu(io.StringIO(CONLLU), "upos", [["P", "Q", "R"], ["S"]]))
    assert read_conllu(lines_of(lines)).tags == [["P", "Q", "R"], ["S"]]
    restored = fill_conllu(lines_of(lines), "upos", [["AUX", "PART", "VERB"], ["X"]])
    assert list(restored) == CONLLU.splitlines()


def lines_of(lines: list[str]) -> Any:
    return io.StringIO("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("ending", [".txt", ".gz"])
def test_columns(tmp_path: Path, ending: str) -> None:
    """Spaces or tabs, Windows' line ends, a byte order mark, several empty lines, # as a word."""
    text = "\n-DOCSTART- -X- O\r\n\r\nAnn NNP B-PER\r\n# # O\r\n\r\n\r\nGo VB O"
    path = tmp_path / f"file{ending}"
    data = b"\xef\xbb\xbf" + text.encode()
    path.write_bytes(gzip.compress(data) if ending == ".gz" else data)
    found = read_conll(path)
    assert found == ([["Ann", "#"], ["Go"]], [["B-PER", "O"], ["O"]])
    assert read_conll(path, tag_col=1).tags == [["NNP", "#"], ["VB"]]
    assert read_conll(path, token_col="-3", tag_col=None) == (found.sentences, None)
    with open(path, "rb") as raw:
        stream = gzip.open(raw) if ending == ".gz" else raw
        assert read_conll(stream) == found


def test_columns_by_name() -> None:
    text = "# global.columns = TAG FORM\nX\ta b\nY\tc\n"
    found = read_conll(io.StringIO(text), "FORM", "TAG")
    assert found == ([["a b", "c"]], [["X", "Y"]])
    with pytest.raises(DataError, match=r"line 2: there is no column 'WORD' of TAG, FORM"):
        read_conll(io.StringIO(text), "WORD", "TAG")
    with pytest.raises(DataError, match=r"expected a column's number, got 'FORM'"):
        read_conll(io.StringIO("a X\n"), "FORM")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a X\nb Y\nc\n", r"f, line 3: expected 2 columns, as in line 1, got 1"),
        (b"a X\nb \xff\n", r"f, line 2: expected UTF-8, got the byte 0xff after 2 others"),
        (b"\n\n", r"f: expected at least one sentence, found none"),
        (b"a\n", r"f, line 1: words and tags are to come from one column"),
        (b"a\tX\n\tY\n", r"f, line 2: a column that is read is empty"),
        (b"# global.columns = A B C\na\tX\n", r"f, line 2: expected 3 columns, as named in line 1"),
    ],
)
def test_broken_columns(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_conll(tmp_path / "f")


LINE = "1\tDo\tdo\tAUX\tVB\t_\t0\troot\t_\t_\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a b\n", r"line 1: expected 10 fields parted by tabs, .* got 1"),
        (LINE + LINE, r"line 2: expected the word number 2, got '1'"),
        (LINE.replace("AUX", "_"), r"line 1: the word 'Do' has no upos"),
        (LINE.replace("AUX", ""), r"line 1: the field upos is empty"),
        ("# only\n", r"the stream: expected at least one sentence"),
    ],
)
def test_broken_conllu(content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_conllu(io.StringIO(content))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_conll(tmp_path / "none")
    (tmp_path / "plain.gz").write_text("a X\n")
    with pytest.raises(DataError, match="not a gzip file"):
        read_conll(tmp_path / "plain.gz")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a X\n" * 999)[:-20])
    with pytest.raises(DataError, match="cut off"):
        read_conll(tmp_path / "cut.gz")
    with pytest.raises(DataError, match=r"expected a field of lemma, .*Did you mean 'upos'\?"):
        read_conllu(tmp_path / "none", "UPOS")
    with pytest.raises(DataError, match="from 0 to 1, or from -1 .* got 7"):
        read_conll(io.StringIO("a X\n"), 7)
