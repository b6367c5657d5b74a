"""What the commands share: errors, data, targets, the progress bar, output."""

from __future__ import annotations

import functools
import json
import math
import os
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from longshort._errors import DataError, LongshortError, SaveError
from longshort.cli._progress import progress_bar as progress_bar

if TYPE_CHECKING:
    import pandas as pd

INTERNAL, BAD_INPUT, INTERRUPTED = 1, 2, 130
PLOTS = (".png", ".svg", ".pdf")
TABLES = (".csv", ".tsv", ".parquet", ".jsonl")
SUFFIXES = {"--output": TABLES, "--plot": PLOTS, "--report": (".html", ".htm")}

# Options that several commands take.
Data = Annotated[str, typer.Argument(help="A file, or a built-in name such as air-passengers.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
]
Seed = Annotated[int, typer.Option(help="Decides on everything random.", min=0)]
Precision = Annotated[
    str | None, typer.Option(help="Of products in training: float32 or bfloat16.")
]
Epochs = Annotated[int | None, typer.Option(help="Most passes over the training data.", min=1)]
ValidationSplit = Annotated[
    float | None, typer.Option(help="Share that is held out to stop on; 0: all is learnt.")
]
NumMembers = Annotated[
    int | None, typer.Option(help="Networks, trained one after the other and averaged.", min=1)
]
IdCol = Annotated[str, typer.Option(help="Column that names the series or sequence.")]
TimeCol = Annotated[str, typer.Option(help="Column with the times, which order the rows.")]
TargetCol = Annotated[str, typer.Option(help="Column with the values to forecast.")]
LabelCol = Annotated[str, typer.Option(help="Column with the label of a sequence.")]

Command = TypeVar("Command", bound=Callable[..., None])


def check_validation(
    file: Path | str | None, split: float | None, option: str = "--validation"
) -> None:
    """Refuse two ways at once to say what training is stopped on.

    Raises:
        DataError: If both are given.
    """
    if None not in (file, split):
        raise DataError(f"--validation-split: is not used with {option}; leave one out.")


def guarded(command: Command) -> Command:
    """Make a command end with one sentence and an exit code where it would end with a traceback.

    Bad input, and a file that cannot be read or written, exit with 2; Ctrl-C with 130. Warnings
    are printed as sentences too. What nobody foresaw exits with 1 and one sentence; with
    LONGSHORT_DEBUG=1 in the environment its traceback comes first.
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                command(*args, **kwargs)
            except (BrokenPipeError, typer.Exit, typer.Abort, typer.BadParameter):
                raise
            except (LongshortError, OSError) as error:
                typer.echo(f"error: {error}", err=True)
                raise typer.Exit(BAD_INPUT) from None
            except KeyboardInterrupt:
                typer.echo("interrupted", err=True)
                raise typer.Exit(INTERRUPTED) from None
            except Exception as error:
                if os.environ.get("LONGSHORT_DEBUG") == "1":
                    traceback.print_exc()
                what = " ".join(f"{type(error).__name__}: {error}".split())
                typer.echo(f"internal error: {what}; please report it", err=True)
                raise typer.Exit(INTERNAL) from None

    return run  # type: ignore[return-value]


def _show_warning(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    typer.echo(f"warning: {message}", err=True)


def is_builtin(data: str) -> bool:
    """Return whether `data` can only be the name of a built-in set."""
    return not Path(data).exists() and Path(data).name == data and not Path(data).suffix


def read_series(
    data: str, id_col: str = "unique_id", time_col: str = "ds", target_col: str = "y"
) -> pd.DataFrame:
    """Read a table `unique_id, ds, y` from a path or by a built-in name."""
    from longshort.data import load_dataset, read_table

    named = {"unique_id": id_col, "ds": time_col, "y": target_col}
    options = {"unique_id": "--id-col", "ds": "--time-col", "y": "--target-col"}
    if is_builtin(data):
        table = load_dataset(data)
        given = [options[ours] for ours, theirs in named.items() if ours != theirs]
        if given:
            raise DataError(
                f"{data}: is a built-in set, whose columns have our names; leave out "
                f"{' and '.join(given)}."
            )
        return table
    for first, second in (("unique_id", "ds"), ("unique_id", "y"), ("ds", "y")):
        if named[first] == named[second]:
            raise DataError(
                f"{options[first]} and {options[second]}: both name the column {named[first]!r}; "
                "name a different one for each."
            )
    table = read_table(data, text=[id_col])
    for ours, theirs in named.items():
        if theirs not in table.columns and (ours, theirs) != ("unique_id", "unique_id"):
            raise DataError(
                f"{data}: there is no column {theirs!r}; name the right one with {options[ours]}. "
                f"It has {', '.join(map(str, table.columns))}."
            )
    # A column that already has one of our names and was not meant would appear twice.
    taken = {ours for ours, theirs in named.items() if ours != theirs}
    table = table.drop(columns=[c for c in taken if c in table and c not in named.values()])
    return table.rename(columns={theirs: ours for ours, theirs in named.items()})


def check_target(path: Path | None, option: str, suffixes: tuple[str, ...] = ()) -> None:
    """Find out before an hour of training that a file cannot be written.

    Raises:
        SaveError: If the folder is missing or not writable, the name is a folder's, or its
            extension is none of `suffixes` or needs what is not installed.
    """
    if path is None:
        return
    folder = path.parent
    if path.is_dir():
        raise SaveError(f"{option} {path}: is a folder; expected the name of a file.")
    system = Path("/proc") in folder.resolve().parents or folder.resolve() == Path("/dev")
    if system or (path.exists() and not path.is_file()):
        # The file is written beside its name and renamed, which would replace a device.
        raise SaveError(f"{option} {path}: is not a regular file; expected the name of one.")
    if suffixes and path.suffix.lower() not in suffixes:
        raise SaveError(f"{option} {path}: expected a name that ends in {', '.join(suffixes)}.")
    if path.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise SaveError(
            f"{option} {path}: writing parquet needs pyarrow; run pip install pyarrow, or name a "
            "csv file."
        )
    if not folder.is_dir():
        raise SaveError(f"{option} {path}: there is no folder {folder}; create it first.")
    if not os.access(path if path.exists() else folder, os.W_OK) or not os.access(folder, os.W_OK):
        raise SaveError(f"{option} {path}: no permission to write there.")


def check_targets(targets: dict[str, Path | None], inputs: Sequence[str | Path] = ()) -> None:
    """Check all that a command writes, by option, before it does anything.

    Raises:
        SaveError: As `check_target`; or if two targets are one file, or one is an input.
    """
    earlier = {str(path): f"the input {path}" for path in inputs if Path(path).exists()}
    for option, path in targets.items():
        if path is None:
            continue
        for other, what in earlier.items():
            if _same_file(path, other):
                raise SaveError(f"{option} {path}: would overwrite {what}; name another file.")
        earlier[str(path)] = f"what {option} writes"
    for option, path in targets.items():
        check_target(path, option, SUFFIXES.get(option, ()))


def _same_file(first: str | Path, second: str | Path) -> bool:
    if os.path.exists(first) and os.path.exists(second):
        return os.path.samefile(first, second)
    return os.path.realpath(first) == os.path.realpath(second)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a csv, tsv, jsonl or parquet file by its ending, whole or not at all.

    Times become text in jsonl and what `read_table` reads back in all of them.
    """
    from longshort.tasks._files import write_file

    kind = path.suffix.lower()
    if kind == ".parquet":
        write_file(path, lambda file: table.to_parquet(file, index=False))
        return
    if kind == ".jsonl":
        lines = (json.dumps(_plain(row), allow_nan=False) for row in records(table))
        text = "".join(f"{line}\n" for line in lines)
    else:
        text = table.to_csv(index=False, sep="\t" if kind == ".tsv" else ",")
    write_file(path, lambda file: file.write(text.encode()))


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON object; numbers that JSON lacks become null."""
    typer.echo(json.dumps(_plain(content), allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return str(value)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries."""
    return table.to_dict("records")


def print_columns(rows: list[list[str]]) -> None:
    """Print rows in aligned columns, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        typer.echo("  ".join(cells).rstrip())


def print_table(table: pd.DataFrame, most: int = 24) -> None:
    """Print the first `most` rows of a table in aligned columns."""
    shown = table.head(most)
    numbers = shown.select_dtypes("float").abs().to_numpy()
    largest = float(numbers.max()) if numbers.size else 0.0
    # Four digits of the largest number, and as many decimals for all: points stand in line.
    decimals = min(max(3 - math.floor(math.log10(largest)), 0), 12) if largest > 0 else 1
    cells = [[_cell(value, decimals) for value in row] for row in shown.itertuples(index=False)]
    print_columns([list(map(str, table.columns)), *cells])
    if len(table) > most:
        typer.echo(f"... {len(table) - most} more rows; --output FILE writes all.")


def _cell(value: Any, decimals: int) -> str:
    if isinstance(value, float):
        return f"{value:.{decimals}f}"
    if hasattr(value, "isoformat"):
        return value.isoformat().removesuffix("T00:00:00")
    return str(value)


@dataclass(frozen=True)
class SearchOptions:
    """What a search for texts takes, of sounds and of translations."""

    beam_size: Annotated[
        int | None,
        typer.Option(help="Candidates of the search. Default: 1 for sounds, else 5.", min=1),
    ] = None
