"""Sentences with a tag a word, from CoNLL-U files and from files of columns.

Both have one word a line, its fields beside each other, and an empty line after each sentence.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from longshort._errors import DataError
from longshort.data._faults import did_you_mean

FIELDS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
DOCUMENT = "-DOCSTART-"

Source = str | os.PathLike[str] | IO[Any]


class TaggedSet(NamedTuple):
    """What the readers found.

    Attributes:
        sentences: n lists of words, or of tuples of a word and its features where these were asked
            for.
        tags: n lists of as many tags, or None where none were asked for.
    """

    sentences: list[list[Any]]
    tags: list[list[str]] | None


def read_conllu(
    source: Source, field: str | None = "upos", features: Sequence[str] = ()
) -> TaggedSet:
    r"""Read a file in CoNLL-U, the format of Universal Dependencies.

    Comments, multiword tokens (1-2) and empty nodes (1.1) are left out: the words of the syntax
    remain.

    Args:
        source: A file, `.gz` too, or one that is open for reading (text or bytes).
        field: Which field is the tag: "upos", "xpos", "feats", "lemma", "deprel", "deps",
            "misc", "head"; None for words only.
        features: Fields that go with each word.

    Raises:
        DataError: If the file is missing, is not UTF-8, or a line breaks the format; the message
            has file and line.

    Source: https://universaldependencies.org/format.html

    Example:
        >>> import io
        >>> found = read_conllu(io.StringIO("1\tHi\thi\tINTJ\t_\t_\t0\troot\t_\t_\n"))
        >>> found.sentences, found.tags
        ([['Hi']], [['INTJ']])
    """
    place = None if field is None else _field(field)
    beside = [_field(name) for name in _listed(features, "features")]
    if place in beside:
        raise DataError(f"CoNLL-U: {field} is the tag, so it cannot be a feature of the word.")
    sentences: list[list[Any]] = [[]]
    tags: list[list[str]] = [[]]
    with _opened(source) as (lines, name):
        for number, line in lines:
            where = f"{name}, line {number}"
            if not line.strip():
                if sentences[-1]:
                    sentences.append([])
                    tags.append([])
                continue
            parts = _word(line, len(sentences[-1]), where)
            if parts is None:
                continue
            sentences[-1].append(_token(parts, 1, beside))
            if place is not None:
                if parts[place] == "_" and field == "upos":
                    raise DataError(f"{where}: the word {parts[1]!r} has no upos; fill it in.")
                tags[-1].append(parts[place])
    return _finished(sentences, None if place is None else tags, name)


def read_conll(
    source: Source,
    token_col: int | str = 0,
    tag_col: int | str | None = -1,
    feature_cols: Sequence[int | str] = (),
) -> TaggedSet:
    r"""Read a file of columns, such as those of the CoNLL shared tasks.

    Columns are parted by tabs where the first line has any, else by spaces. Lines with -DOCSTART-
    are left out. A first line `# global.columns = FORM TAG` names the columns (CoNLL-U Plus);
    there are no other comments, for # may be a word.

    Args:
        source: A file, `.gz` too, or one that is open for reading (text or bytes).
        token_col: Column of the words: its number, from 0, or from the end with -1 for the last;
            or its name.
        tag_col: Column of the tags, likewise; None for words only.
        feature_cols: Columns that go with each word, likewise.

    Raises:
        DataError: If the file is missing, is not UTF-8, or lines have different numbers of
            columns; the message has file and line.

    Example:
        >>> import io
        >>> read_conll(io.StringIO("Ann NNP B-PER\nran VBD O\n\nYes UH O\n")).tags
        [['B-PER', 'O'], ['O']]
        >>> read_conll(io.StringIO("Ann NNP B-PER"), feature_cols=[1]).sentences
        [[('Ann', 'NNP')]]
    """
    sentences: list[list[Any]] = [[]]
    tags: list[list[str]] = [[]]
    names: list[str] | None = None
    separator: str | None = None
    columns, token, tag, first = 0, 0, 0, 1
    wanted = _listed(feature_cols, "feature_cols")
    beside: list[int] = []
    read: list[int] = []
    with _opened(source) as (lines, name):
        for number, line in lines:
            where = f"{name}, line {number}"
            if number == 1 and line.startswith("# global.columns"):
                names = line.partition("=")[2].split()
                continue
            if not line.strip():
                if sentences[-1]:
                    sentences.append([])
                    tags.append([])
                continue
            if not columns:
                separator = "\t" if "\t" in line else None
            parts = line.split(separator)
            if parts[0] == DOCUMENT:
                continue
            if not columns:
                columns, first = len(parts), number
                if names is not None and len(names) != columns:
                    raise DataError(
                        f"{where}: expected {len(names)} columns, as named in line 1, got "
                        f"{columns}; name each column once."
                    )
                token = _column(token_col, columns, names, where)
                if tag_col is not None:
                    tag = _column(tag_col, columns, names, where)
                    if tag == token:
                        raise DataError(
                            f"{where}: words and tags are to come from one column, {token}, of "
                            f"{columns}; name another one for the tags."
                        )
                beside = [_column(each, columns, names, where) for each in wanted]
                if taken := {token, *([] if tag_col is None else [tag])}.intersection(beside):
                    raise DataError(
                        f"{where}: column {taken.pop()} has the words or the tags, so it cannot be "
                        "a feature of the word; name another one."
                    )
                read = [token, *beside, *([] if tag_col is None else [tag])]
            if len(parts) != columns:
                raise DataError(
                    f"{where}: expected {columns} columns, as in line {first}, got {len(parts)}; "
                    "give every word as many, and part sentences by an empty line."
                )
            if not all(parts[place] for place in read):
                raise DataError(f"{where}: a column that is read is empty; fill it in.")
            sentences[-1].append(_token(parts, token, beside))
            tags[-1].append(parts[tag])
    return _finished(sentences, None if tag_col is None else tags, name)


def fill_conllu(source: Source, field: str, tags: Iterable[list[str]]) -> Iterator[str]:
    """Return the lines of a CoNLL-U file with one field filled in, all else as it was.

    Args:
        source: A file that `read_conllu` has read.
        field: Name of the field.
        tags: A list a sentence, a tag a word.
    """
    place, rows = _field(field), iter(tags)
    row: list[str] = []
    done = 0
    with _opened(source) as (lines, name):
        for number, line in lines:
            if not line.strip():
                done = 0
            elif (parts := _word(line, done, f"{name}, line {number}")) is not None:
                if not done:
                    row = next(rows)
                parts[place] = row[done]
                done += 1
                line = "\t".join(parts)
            yield line


def _word(line: str, done: int, where: str) -> list[str] | None:
    """Return the fields of a line that is a word, or None for any other; `done` words before it."""
    if line.startswith("#"):
        return None
    parts = line.split("\t")
    if len(parts) != len(FIELDS):
        raise DataError(
            f"{where}: expected {len(FIELDS)} fields parted by tabs, as CoNLL-U has, got "
            f"{len(parts)}; is it a file of columns?"
        )
    if re.fullmatch(r"\d+-\d+|\d+\.\d+", parts[0]):
        return None
    if parts[0] != str(done + 1):
        raise DataError(
            f"{where}: expected the word number {done + 1}, got {parts[0]!r}; number the words "
            "of a sentence from 1, and put an empty line after each sentence."
        )
    if not all(parts):
        empty = FIELDS[parts.index("")]
        raise DataError(f"{where}: the field {empty} is empty; write _ where there is nothing.")
    return parts


def _field(name: str) -> int:
    if name in FIELDS[2:]:
        return FIELDS.index(name)
    near = did_you_mean(str(name), FIELDS[2:])
    hint = f" Did you mean {near!r}?" if near else ""
    raise DataError(f"CoNLL-U: expected a field of {', '.join(FIELDS[2:])}, got {name!r}.{hint}")


def _column(wanted: int | str, columns: int, names: list[str] | None, where: str) -> int:
    """Return the number of a column, from 0."""
    if isinstance(wanted, str) and not re.fullmatch(r"-?\d+", wanted):
        if names is None:
            raise DataError(
                f"{where}: expected a column's number, got {wanted!r}; only a first line such as "
                "'# global.columns = FORM TAG' gives columns names."
            )
        if wanted not in names:
            raise DataError(f"{where}: there is no column {wanted!r} of {', '.join(names)}.")
        return names.index(wanted)
    number = int(wanted)
    if not -columns <= number < columns:
        raise DataError(
            f"{where}: expected a column from 0 to {columns - 1}, or from -1 for the last to "
            f"{-columns}, got {number}."
        )
    return number % columns


def _listed(columns: Sequence[Any], name: str) -> list[Any]:
    if isinstance(columns, str):
        raise DataError(f"{name}: expected a list, got {columns!r}; write [{columns!r}].")
    return list(columns)


def _token(parts: list[str], place: int, beside: list[int]) -> str | tuple[str, ...]:
    """Return the word, with its features where there are any."""
    return (parts[place], *(parts[each] for each in beside)) if beside else parts[place]


def _finished(sentences: list[list[Any]], tags: list[list[str]] | None, name: str) -> TaggedSet:
    if not sentences[-1]:
        sentences.pop()
        if tags is not None:
            tags.pop()
    if not sentences:
        raise DataError(f"{name}: expected at least one sentence, found none.")
    return TaggedSet(sentences, tags)


@contextmanager
def _opened(source: Source) -> Iterator[tuple[Iterator[tuple[int, str]], str]]:
    """Give the lines with their numbers, without their ends, and what to call the file."""
    if hasattr(source, "read"):
        name = str(getattr(source, "name", "the stream"))
        yield _numbered(source, name), name
        return
    name = os.fspath(source)
    try:
        file: Any
        with gzip.open(name) if Path(name).suffix == ".gz" else open(name, "rb") as file:
            yield _numbered(file, name), name
    except FileNotFoundError:
        raise DataError(f"{name}: there is no such file.") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{name}: not a gzip file, or cut off ({error}). Copy it again.") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}.") from None


def _numbered(file: Any, name: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(file, 1):
        if isinstance(line, bytes):
            try:
                line = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{name}, line {number}: expected UTF-8, got the byte "
                    f"0x{error.object[error.start]:02x} after {error.start} others. Convert the "
                    "file, for example with iconv -f latin1 -t utf-8."
                ) from None
        yield number, line.rstrip("\r\n")
