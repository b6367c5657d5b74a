"""`longshort predict` and `longshort evaluate`: use a model that was saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longshort._errors import DataError
from longshort.cli import _common as common
from longshort.cli._common import Data, Json, LabelCol
from longshort.cli._forecast import Futr, given, print_scores
from longshort.cli._forecast_data import Tables, read_tables, refuse_for_classifier
from longshort.cli._forecast_options import Exog, TableOptions
from longshort.cli._groups import expanded
from longshort.cli._language import score_lines, score_text

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from longshort.data import SequenceSet

File = Annotated[Path, typer.Argument(help="A model that `train` or `forecast` saved.")]


@common.guarded
@expanded
def predict(
    file: File,
    data: Data,
    table_options: TableOptions,
    output: Annotated[
        Path | None, typer.Option(help="Write to this file (csv, tsv, parquet, jsonl).")
    ] = None,
    futr: Futr = None,
    label_col: LabelCol = "label",
    as_json: Json = False,
) -> None:
    """Predict with a saved model; prints csv where there is no --output.

    A forecaster with columns that are known ahead takes their values from --futr, or from the rows
    of each series behind its last known value.

    Example: `longshort predict sales.longshort new.csv --output forecast.csv`
    """
    static = table_options.static
    common.check_targets({"--output": output}, inputs=[file, data, *given(futr, static)])
    from longshort.tasks import Forecaster, LanguageModel, load

    task = load(file)
    if isinstance(task, Forecaster):
        tables = read_tables(data, table_options, Exog.of(task), futr, ahead=True, trained=True)
        with tables.spoken():
            table = task.predict(tables.past, futr_df=tables.futr, static_df=tables.static)
        tables.tell()
    elif isinstance(task, LanguageModel):
        refuse_for_classifier(table_options, futr, file)
        table = score_lines(task, data)
    else:
        refuse_for_classifier(table_options, futr, file)
        table = _labels(task, data, table_options, label_col)
    if output is not None:
        common.write_table(table, output)
    if as_json:
        common.print_json({"predictions": common.records(table), "output": output})
    elif output is not None:
        typer.echo(f"Written: {output} ({len(table)} rows)")
    else:
        typer.echo(table.to_csv(index=False), nl=False)


@common.guarded
@expanded
def evaluate(
    file: File,
    data: Data,
    table_options: TableOptions,
    n_windows: Annotated[int, typer.Option(help="Windows of a forecast to score.", min=1)] = 3,
    label_col: LabelCol = "label",
    as_json: Json = False,
) -> None:
    """Score a saved model on data with known answers, beside baselines.

    A forecaster is never scored on what it was trained on: where the windows overlap that, a
    fresh model is trained and scored.

    Example: `longshort evaluate gestures.longshort test.csv`
    """
    from longshort.data import read_sequences
    from longshort.tasks import Forecaster, LanguageModel, load

    task = load(file)
    scores: dict[str, Any]
    if isinstance(task, Forecaster):
        tables = read_tables(data, table_options, Exog.of(task), ahead=False, trained=True)
        scores, fresh = _score_forecaster(task, tables, n_windows)
    elif isinstance(task, LanguageModel):
        refuse_for_classifier(table_options, None, file)
        scores, fresh = score_text(task, data), False
    else:
        refuse_for_classifier(table_options, None, file)
        found = read_sequences(data, **_columns(table_options, label_col))
        if found.y is None:
            raise DataError(f"{data}: has no labels to score; add y (npz) or a {label_col} column.")
        scores, fresh = task.evaluate(_channels(task, found, data), found.y), False
    if as_json:
        common.print_json({**scores, "model": "fresh" if fresh else "saved"})
    elif isinstance(task, Forecaster):
        if fresh:
            typer.echo("The saved model has seen these windows: a fresh one was trained for them.")
        print_scores(scores, n_windows, task.h)
    else:
        common.print_columns([[k.replace("_", " "), f"{v:.4f}"] for k, v in scores.items()])


def _score_forecaster(
    task: Any, tables: Tables, n_windows: int
) -> tuple[dict[str, dict[str, float]], bool]:
    """Return the scores and whether they are those of a fresh model."""
    epochs: list[int] = []
    static = {} if tables.static is None else {"static_df": tables.static}
    with tables.spoken(), common.progress_bar("training a fresh model") as bar:

        def note(epoch: int, total: int, loss: float) -> None:
            epochs.append(epoch)
            if bar is not None:
                bar(epoch, total, loss)

        # It is called only where a model is trained.
        scores = task.evaluate(tables.past, n_windows=n_windows, progress=note, **static)
    tables.tell()
    return scores, bool(epochs)


def _channels(task: Any, found: SequenceSet, data: str) -> list[np.ndarray]:
    """Return the sequences with the channels in the order of training, found by their names."""
    names = task.feature_names_
    if names is None or found.features is None:
        return found.X
    missing, unknown = set(names) - set(found.features), set(found.features) - set(names)
    if missing or unknown:
        faults = [f"lacks {', '.join(sorted(missing))}"] if missing else []
        faults += [f"has the unknown {', '.join(sorted(unknown))}"] if unknown else []
        raise DataError(
            f"{data}: expected the channels that the model was trained on, but it "
            f"{' and '.join(faults)}."
        )
    order = [found.features.index(name) for name in names]
    return [x[:, order] for x in found.X]


def _columns(options: TableOptions, label_col: str) -> dict[str, Any]:
    return {"id_col": options.id_col, "time_col": options.time_col, "label_col": label_col}


def _labels(task: Any, data: str, options: TableOptions, label_col: str) -> pd.DataFrame:
    """Return a row a sequence: its name, its label and the probability of each class."""
    import pandas as pd

    from longshort.data import read_sequences

    found = read_sequences(data, **_columns(options, label_col), labels=False)
    probabilities = task.predict_proba(_channels(task, found, data))
    table = pd.DataFrame({"unique_id": found.ids})
    table["label"] = task.classes_[probabilities.argmax(axis=1)]
    for k, label in enumerate(task.classes_):
        table[f"p-{label}"] = probabilities[:, k]
    return table
