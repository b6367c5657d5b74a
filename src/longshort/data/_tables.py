"""Read a table from a file by its extension."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from longshort._errors import DataError

EXTENSIONS = (".csv", ".tsv", ".parquet", ".jsonl")


def read_table(path: str | os.PathLike[str], text: Sequence[str] = ()) -> pd.DataFrame:
    r"""Read a csv, tsv, parquet or jsonl file, told apart by its extension.

    Args:
        path: The file. csv and tsv are UTF-8 with a header line and may be compressed
            (`data.csv.gz`); jsonl holds one JSON object a line; parquet needs pyarrow.
        text: Columns of csv and tsv to keep as text, so that the name 001 stays 001.

    Returns:
        The table as it stands, with dates still as text; `check_series` reads them.

    Raises:
        DataError: The file is missing, empty, broken or of an unknown kind, or pyarrow is missing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "sales.csv"
    ...     _ = file.write_text("ds,y\n2024-01-01,3\n")
    ...     read_table(file).columns.tolist()
    ['ds', 'y']
    """
    file = Path(path)
    suffixes = [s.lower() for s in file.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    if file.is_dir():
        raise DataError(f"read_table: {str(file)!r} is a folder; expected a file.")
    if not file.exists():
        raise DataError(f"read_table: there is no file {str(file)!r}; check the path.")
    if kind not in EXTENSIONS:
        raise DataError(
            f"read_table: the extension of {file.name!r} is not known; expected one of "
            f"{', '.join(EXTENSIONS)}."
        )
    if file.stat().st_size == 0:
        raise DataError(f"read_table: the file {str(file)!r} is empty.")
    try:
        table = _read(file, kind, text)
    except ImportError:
        raise DataError(
            f"read_table: reading {file.name!r} needs pyarrow; run pip install pyarrow, or save "
            "the table as csv."
        ) from None
    except pd.errors.ParserWarning:
        raise DataError(
            f"read_table: {str(file)!r} has rows with more fields than its header; name every "
            "column, or remove the separators at the ends of the rows."
        ) from None
    except (ValueError, OSError, EOFError, RecursionError) as error:
        # pandas' ParserError and EmptyDataError, UnicodeDecodeError and pyarrow's ArrowInvalid
        # are ValueErrors all.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"read_table: {str(file)!r} cannot be read as {kind[1:]}: {first.rstrip('.')}."
        ) from error
    if table.empty:
        raise DataError(f"read_table: the file {str(file)!r} has no rows.")
    return table


def _read(file: Path, kind: str, text: Sequence[str]) -> pd.DataFrame:
    if kind == ".parquet":
        return pd.read_parquet(file)
    if kind == ".jsonl":
        rows = []
        with pd.io.common.get_handle(file, "r", encoding="utf-8", compression="infer") as handle:
            for number, line in enumerate(handle.handle, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"line {number} is no JSON ({error})") from None
                if not isinstance(row, dict):
                    raise ValueError(f"line {number} is no JSON object")
                rows.append(row)
        return pd.DataFrame(rows)
    with warnings.catch_warnings():
        # Left to itself pandas would take a surplus first field as the index, and shift the rest.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            file,
            sep="\t" if kind == ".tsv" else ",",
            encoding="utf-8-sig",
            index_col=False,
            dtype=dict.fromkeys(text, str),
        )
