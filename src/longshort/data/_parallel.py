"""Texts and their translations, from two files side by side or from one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from longshort._errors import DataError
from longshort.data._text_files import iter_lines, read_texts

if TYPE_CHECKING:
    import os

TABLES = (".csv", ".tsv", ".jsonl")


class ParallelSet(NamedTuple):
    """Texts and their translations.

    Attributes:
        sources: n texts.
        targets: n texts.
    """

    sources: list[str]
    targets: list[str]


def is_table(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is read as a table: by its extension, before .gz if there is that.

    >>> is_table("pairs.tsv.gz"), is_table("train.de.gz")
    (True, False)
    """
    suffixes = [suffix.lower() for suffix in Path(path).suffixes if suffix.lower() != ".gz"]
    return bool(suffixes) and suffixes[-1] in TABLES


def read_parallel(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    source_col: str = "source",
    target_col: str = "translation",
) -> ParallelSet:
    r"""Read texts and their translations.

    Args:
        source: A file with a text a line (UTF-8, any extension, also .gz); or, without `target`,
            a csv, tsv or jsonl file with both, as `read_texts` takes it.
        target: A file with the translation of each line. Lines that are empty in both files are
            left out.
        source_col: Column of the texts in a table.
        target_col: Column of their translations in a table.

    Raises:
        DataError: If a file is missing, empty, broken or no UTF-8; if one has more lines than the
            other, or a text has no translation; the message has file and line.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     one, two = (pathlib.Path(folder) / name for name in ("it.de", "it.en"))
        ...     _ = one.write_text("Haus\nBaum\n"), two.write_text("house\ntree\n")
        ...     read_parallel(one, two)
        ParallelSet(sources=['Haus', 'Baum'], targets=['house', 'tree'])
    """
    if target is None:
        if not is_table(source):
            raise DataError(
                f"{source}: expected a second file with the translation of each line, or one table "
                f"({', '.join(TABLES)}) with both."
            )
        found = read_texts(source, source_col, target_col)
        return ParallelSet(found.texts, [str(text) for text in found.labels or []])
    sides = [list(iter_lines(path)) for path in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise DataError(
            f"{source} has {len(sides[0])} lines and {target} {len(sides[1])}; expected a "
            "translation for each line."
        )
    pairs = ParallelSet([], [])
    for line, (text, translation) in enumerate(zip(*sides, strict=True), 1):
        if not text.strip() and not translation.strip():
            continue
        for path, one in ((source, text), (target, translation)):
            if not one.strip():
                raise DataError(
                    f"{path}: line {line} is empty, but the other file's is not. Fill it or drop "
                    "the line in both."
                )
        pairs.sources.append(text)
        pairs.targets.append(translation)
    if not pairs.sources:
        raise DataError(f"{source} and {target}: expected at least one text, found none.")
    return pairs
