"""Texts and their labels from files, a line at a time; every fault with its line."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from longshort._errors import DataError

if TYPE_CHECKING:
    import os

KINDS = (".csv", ".tsv", ".jsonl", ".txt")
_QUOTED = re.compile(r'"((?:[^"]|"")*)"', re.DOTALL)


class TextSet(NamedTuple):
    """What `read_texts` found.

    Attributes:
        texts: n texts.
        labels: n labels, lists of labels where a separator was given or a JSON list was found, or
            None where none were asked for.
        lines: n numbers of the lines on which the rows begin, from 1.
    """

    texts: list[str]
    labels: list[Any] | None
    lines: list[int]


def read_texts(
    path: str | os.PathLike[str],
    text_col: str = "text",
    label_col: str | None = "label",
    *,
    label_sep: str | None = None,
) -> TextSet:
    r"""Read texts and their labels from a file, told apart by its extension, also of .gz.

    - csv with a header line, quoted where needed (RFC 4180).
    - tsv with a header line. A row is a line; a field counts as quoted only where it is quoted
      throughout, so that texts may begin with a quotation mark.
    - jsonl: one JSON object a line; a label is a string, number, true or false, or a list of these.
    - txt: one text a line, no labels; empty lines are left out.

    All are UTF-8. Labels become str, so that a model does not depend on the kind of file.

    Args:
        path: The file.
        text_col: Column or key with the text.
        label_col: Column or key with the label; None reads no labels.
        label_sep: What stands between the labels of a text that may have several or none, as in
            `sports|politics`; labels are then lists.

    Returns:
        texts, labels and lines; see TextSet.

    Raises:
        DataError: If the file is missing, empty, broken or no UTF-8, a column is missing, or a text
            or a label is empty; the message has file and line.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "reviews.csv"
        ...     _ = file.write_text('label,text\ngood,"I liked it, a lot."\n')
        ...     read_texts(file)
        TextSet(texts=['I liked it, a lot.'], labels=['good'], lines=[2])
    """
    kind = _kind(path)
    if label_col == text_col:
        raise DataError(f"{path}: texts and labels must be in different columns, got {text_col!r}.")
    if kind == ".txt":
        if label_col is not None:
            raise DataError(
                f"{path}: plain text has no labels; write a csv, tsv or jsonl file with the "
                f"columns {text_col} and {label_col}."
            )
        rows: Iterator[tuple[int, dict[str, Any]]] = (
            (line, {text_col: text}) for line, text in _numbered(path) if text.strip()
        )
    else:
        read = {".csv": _csv_rows, ".tsv": _tsv_rows, ".jsonl": _json_rows}[kind]
        rows = read(path, [name for name in (text_col, label_col) if name is not None])
    found = TextSet([], None if label_col is None else [], [])
    for line, row in rows:
        text = row[text_col]
        if not isinstance(text, str) or not text.strip():
            what = "is empty" if text is None or isinstance(text, str) else "is no string"
            raise DataError(f"{path}: line {line}: the {text_col} {what}. Fill it or drop the row.")
        found.texts.append(text)
        found.lines.append(line)
        if found.labels is not None:
            name = f"{path}: line {line}: the label"
            found.labels.append(_label(row[str(label_col)], label_sep, name))
    if not found.texts:
        raise DataError(f"{path}: expected at least one text, found none.")
    return found


def iter_lines(path: str | os.PathLike[str], *, keep_ends: bool = False) -> Iterator[str]:
    """Give the lines of a UTF-8 text file or its .gz one at a time: it may be larger than memory.

    Args:
        path: The file.
        keep_ends: Whether a line keeps the line feed at its end; else it is cut off. A carriage
            return before it is always cut off.

    Raises:
        DataError: If the file is missing or damaged, or a line is no UTF-8; the message has its
            number.
    """
    for _, line in _numbered(path, keep_ends=keep_ends):
        yield line


def _kind(path: str | os.PathLike[str]) -> str:
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    if kind not in KINDS:
        raise DataError(
            f"{path}: expected a file of texts that ends in {', '.join(KINDS)}, or in one of these "
            f"and .gz."
        )
    return kind


def _numbered(
    path: str | os.PathLike[str], *, keep_ends: bool = False
) -> Iterator[tuple[int, str]]:
    """Give each line with its number, from 1."""
    file = Path(path)
    if not file.is_file():
        what = "is a folder; expected a file" if file.is_dir() else "there is no such file"
        raise DataError(f"{path}: {what}.")
    number = 0
    try:
        with gzip.open(file) if file.suffix.lower() == ".gz" else open(file, "rb") as handle:
            for number, raw in enumerate(handle, 1):
                if number == 1:
                    raw = raw.removeprefix(b"\xef\xbb\xbf")  # as Excel writes it
                try:
                    line = raw.decode()
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{path}: line {number} is not UTF-8 (byte 0x{raw[error.start]:02X} at "
                        f"place {error.start + 1}). Convert the file, for example with "
                        "iconv -f LATIN1 -t UTF-8."
                    ) from None
                body = line.rstrip("\r\n")
                yield number, f"{body}\n" if keep_ends and line.endswith("\n") else body
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "damaged or cut off"
        raise DataError(f"{path}: cannot be read after line {number}: {reason}.") from None


def _csv_rows(
    path: str | os.PathLike[str], wanted: list[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader((f"{line}\n" for _, line in _numbered(path)), strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            with _long_fields():
                row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise DataError(
                f"{path}: line {line}: cannot be read as csv: {error}. Look for a quotation mark "
                "too many in the row that begins there."
            ) from None
        if header is None:
            header = _checked_header(path, row, wanted)
        elif row:
            yield line, _fields(path, line, header, row)
    if header is None:
        raise DataError(f"{path}: is empty.")


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let a field of a csv have any length; by itself the module takes 131,072 characters."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _tsv_rows(
    path: str | os.PathLike[str], wanted: list[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    header: list[str] | None = None
    for line, text in _numbered(path):
        row = [_unquoted(field) for field in text.split("\t")]
        if header is None:
            header = _checked_header(path, row, wanted)
        elif text:
            yield line, _fields(path, line, header, row)
    if header is None:
        raise DataError(f"{path}: is empty.")


def _unquoted(field: str) -> str:
    match = _QUOTED.fullmatch(field) if field.startswith('"') else None
    return match[1].replace('""', '"') if match else field


def _checked_header(
    path: str | os.PathLike[str], header: list[str], wanted: list[str]
) -> list[str]:
    for name in wanted:
        if header.count(name) != 1:
            what = "there is no column" if name not in header else "there are two columns"
            raise DataError(
                f"{path}: {what} {name!r}; name that of the texts as text_col (--text-col), that "
                f"of the labels as label_col (--label-col). It has {', '.join(header)[:200]}."
            )
    return header


def _fields(
    path: str | os.PathLike[str], line: int, header: list[str], row: list[str]
) -> dict[str, Any]:
    if len(row) != len(header):
        raise DataError(
            f"{path}: line {line}: expected {len(header)} fields as in the header, got {len(row)}. "
            "Look for a separator too many, or a quotation mark, in this row or the one before."
        )
    return dict(zip(header, row, strict=True))


def _json_rows(
    path: str | os.PathLike[str], wanted: list[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in _numbered(path):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            what = getattr(error, "msg", "nested too deeply")
            raise DataError(f"{path}: line {line}: is no JSON ({what}).") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {line}: expected a JSON object, as {{...}}.")
        missing = [name for name in wanted if name not in row]
        if missing:
            raise DataError(
                f"{path}: line {line}: there is no key {missing[0]!r}; name that of the texts as "
                "text_col (--text-col), that of the labels as label_col (--label-col). It has "
                f"{', '.join(row)[:200]}."
            )
        yield line, row


def _label(value: Any, separator: str | None, name: str) -> Any:
    if isinstance(value, list):
        return [_one_label(item, name) for item in value]
    if separator is not None:
        parts = [] if value is None else _one_label(value, name, empty=True).split(separator)
        return [part.strip() for part in parts if part.strip()]
    return _one_label(value, name)


def _one_label(value: Any, name: str, *, empty: bool = False) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)) and value == value:
        text = str(value).strip()
        if text or empty:
            return text
    elif value is not None and value == value:
        raise DataError(f"{name} is a {type(value).__name__}, expected a string or a number.")
    raise DataError(f"{name} is empty. Fill it or drop the row.")
