"""`longshort train TASK DATA --model FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from longshort.cli import _common as common
from longshort.cli import _text
from longshort.cli._common import (
    Data,
    Epochs,
    IdCol,
    Json,
    LabelCol,
    NumMembers,
    Precision,
    Seed,
    TimeCol,
    ValidationSplit,
)
from longshort.cli._forecast import given
from longshort.cli._forecast_data import read_tables
from longshort.cli._forecast_options import Exog, ModelOptions, TableOptions, make_forecaster
from longshort.cli._groups import expanded
from longshort.cli._language import train_language
from longshort.cli._tag import train_tag
from longshort.cli._transcribe import train_transcribe
from longshort.cli._translate import train_translate

Model = Annotated[Path, typer.Option(help="Save the model to this file.")]

train_app = typer.Typer(name="train", help="Train a model and save it to a file.")
train_app.command("tag")(train_tag)
train_app.command("transcribe")(train_transcribe)
train_app.command("translate")(train_translate)
train_app.command("language")(train_language)


@train_app.command("forecast")
@common.guarded
@expanded
def train_forecast(
    data: Data,
    model: Model,
    model_options: ModelOptions,
    table_options: TableOptions,
    as_json: Json = False,
) -> None:
    """Train a forecaster on a table with a column of times and one of values.

    With --futr-exog, rows of each series behind its last known value are the steps to come and
    left out; `predict` takes them.

    Example: `longshort train forecast sales.csv --h 28 --model sales.longshort`
    """
    common.check_targets({"--model": model}, inputs=[data, *given(table_options.static)])
    task = make_forecaster(model_options)
    tables = read_tables(data, table_options, Exog.of(task), ahead=False)
    series = tables.check(task, ahead=False)
    static = {} if tables.static is None else {"static_df": tables.static}
    with common.progress_bar("training") as progress:
        task.fit(series, progress=progress, **static)
    task.save(model)
    _say(task, model, as_json, min(task.losses_), "best validation loss")


@train_app.command("classify")
@common.guarded
def train_classify(
    data: Annotated[str, typer.Argument(help="An npz file or a table, one row a step.")],
    model: Model,
    units: Annotated[int | None, typer.Option(help="Size of each LSTM.", min=1)] = None,
    num_layers: Annotated[int | None, typer.Option(help="LSTM layers.", min=1)] = None,
    id_col: IdCol = "unique_id",
    time_col: TimeCol = "ds",
    label_col: LabelCol = "label",
    pooling: Annotated[
        str | None,
        typer.Option(help="last, attention, mean, max or max+mean: what of the steps decides."),
    ] = None,
    input_dropout: Annotated[
        float | None, typer.Option(help="Share of measurements dropped in training, below 1.")
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(help="Share of probability spread over all labels.")
    ] = None,
    num_members: NumMembers = None,
    validation_split: ValidationSplit = None,
    precision: Precision = None,
    epochs: Epochs = None,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Train a classifier of sequences.

    DATA is an npz file with X (n, T, D) and y (n,), or X (steps, D), lengths (n,) and y; or a
    table with one row a step: unique_id, ds, label, and the channels.

    Example: `longshort train classify gestures.csv --model gestures.longshort`
    """
    common.check_targets({"--model": model}, inputs=[data])
    from longshort._errors import DataError
    from longshort.data import read_sequences
    from longshort.tasks import SequenceClassifier
    from longshort.tasks._json import encode

    options: dict[str, Any] = {
        "units": units,
        "num_layers": num_layers,
        "pooling": pooling,
        "input_dropout": input_dropout,
        "label_smoothing": label_smoothing,
        "num_members": num_members,
        "validation_split": validation_split,
        "precision": precision,
        "epochs": epochs,
        "seed": seed,
    }
    task = SequenceClassifier(**{name: v for name, v in options.items() if v is not None})
    found = read_sequences(data, id_col=id_col, time_col=time_col, label_col=label_col)
    if found.y is None:
        raise DataError(f"{data}: has no labels to train on; add y (npz) or a column {label_col}.")
    try:
        encode(list(dict.fromkeys(found.y)), where="labels")
    except TypeError as error:
        raise DataError(f"{data}: {error}.") from None
    with common.progress_bar("training", loss_name="loss") as progress:
        task.fit(found.X, found.y, feature_names=found.features, progress=progress)
    task.save(model)
    _tell(task, model, as_json)


@train_app.command("text")
@common.guarded
@expanded
def train_text(
    data: Annotated[str, typer.Argument(help="A csv, tsv or jsonl file, also .gz.")],
    model: Model,
    options: _text.TextOptions,
    columns: _text.TextColumns,
    label_col: LabelCol = "label",
    validation: Annotated[
        Path | None, typer.Option(help="File to stop and calibrate on, instead of a part of DATA.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the training to this file (png, svg, pdf).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a classifier of texts.

    DATA has a column of texts and one of labels; with --label-sep, or lists in jsonl, a text may
    have several labels or none.

    Example: `longshort train text reviews.csv --model reviews.longshort`
    """
    task = _text.train(data, model, options, columns, label_col, validation, plot)
    _tell(task, model, as_json)


def _tell(task: Any, path: Path, as_json: bool) -> None:
    """Say how the training of a classifier ended."""
    if task.num_held_out_:
        _say(task, path, as_json, min(task.history_), "best validation loss")
    else:
        _say(task, path, as_json, task.history_[-1], "last training loss")


def _say(task: Any, path: Path, as_json: bool, loss: float, kind: str) -> None:
    if as_json:
        params = task.get_params()
        content = {"task": type(task).__name__, "model": path, "loss": loss, "params": params}
        common.print_json(content)
    else:
        typer.echo(f"{task!r}: {kind} {loss:.4f}. Written: {path}")
