"""`longshort predict` and `longshort evaluate`: use a model that was saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longshort._errors import DataError
from longshort.cli import _common as common
from longshort.cli import _tag, _text, _transcribe, _translate
from longshort.cli._common import Data, Json, LabelCol, SearchOptions
from longshort.cli._forecast import Futr, given, print_scores
from longshort.cli._forecast_data import Tables, read_tables, refuse_for_classifier
from longshort.cli._forecast_options import Exog, TableOptions
from longshort.cli._groups import expanded
from longshort.cli._language import score_lines, score_text
from longshort.cli._tag import TagOptions, WordOptions
from longshort.cli._text import TextColumns
from longshort.cli._transcribe import AudioOptions
from longshort.cli._translate import TranslationOptions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from longshort.data import SequenceSet

File = Annotated[Path, typer.Argument(help="A model that `train` or `forecast` saved.")]


@dataclass(frozen=True)
class Given:
    """What `predict` and `evaluate` were asked."""

    task: Any
    file: Path
    data: str
    tables: TableOptions
    columns: TextColumns
    tags: WordOptions | TagOptions
    audio: AudioOptions
    search: SearchOptions
    translation: TranslationOptions
    label_col: str
    futr: Path | None = None
    n_windows: int = 0


@dataclass(frozen=True)
class Scored:
    """What `evaluate` found: for JSON, and printed for people."""

    content: dict[str, Any]
    show: Callable[[], None]


@common.guarded
@expanded
def predict(
    file: File,
    data: Data,
    table_options: TableOptions,
    columns: TextColumns,
    words: WordOptions,
    audio: AudioOptions,
    search: SearchOptions,
    translation: TranslationOptions,
    output: Annotated[
        Path | None,
        typer.Option(help="Write to this file (csv, tsv, parquet, jsonl; tags: any name)."),
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
    from longshort.tasks import Tagger, load

    inputs: list[str | Path] = [file, data, *given(futr, static)]
    task = load(file)
    groups = (table_options, columns, words, audio, search, translation)
    asked = Given(task, file, data, *groups, label_col, futr)
    if isinstance(task, Tagger):
        common.check_targets({"--output of tags": output}, inputs=inputs)
        _refuse_for_tagger(asked)
        _tag.predict(task, data, words, output, as_json)
        return
    common.check_targets({"--output": output}, inputs=inputs)
    table = _use_of(asked.task, _PREDICT)(asked)
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
    columns: TextColumns,
    tags: TagOptions,
    audio: AudioOptions,
    search: SearchOptions,
    translation: TranslationOptions,
    n_windows: Annotated[int, typer.Option(help="Windows of a forecast to score.", min=1)] = 3,
    label_col: LabelCol = "label",
    as_json: Json = False,
) -> None:
    """Score a saved model on data with known answers, beside baselines.

    A forecaster is never scored on what it was trained on: where the windows overlap that, a
    fresh model is trained and scored.

    Example: `longshort evaluate gestures.longshort test.csv`
    """
    from longshort.tasks import load

    task = load(file)
    groups = (table_options, columns, tags, audio, search, translation)
    asked = Given(task, file, data, *groups, label_col, None, n_windows)
    scored = _use_of(asked.task, _EVALUATE)(asked)
    if as_json:
        common.print_json({"model": "saved", **scored.content})
    else:
        scored.show()


def _use_of(task: Any, uses: Mapping[str, Callable[[Given], Any]]) -> Callable[[Given], Any]:
    """Return what a command does with a task, found by its class or a base of it."""
    for base in type(task).__mro__:
        if base.__name__ in uses:
            return uses[base.__name__]
    raise DataError(
        f"the file holds a {type(task).__name__}, with which this command can do nothing; it takes "
        f"{', '.join(uses)}."
    )


def _predict_forecast(asked: Given) -> pd.DataFrame:
    _refuse_text_options(asked)
    exog = Exog.of(asked.task)
    tables = read_tables(asked.data, asked.tables, exog, asked.futr, ahead=True, trained=True)
    with tables.spoken():
        table = asked.task.predict(tables.past, futr_df=tables.futr, static_df=tables.static)
    tables.tell()
    return table


def _predict_sequences(asked: Given) -> pd.DataFrame:
    refuse_for_classifier(asked.tables, asked.futr, asked.file)
    _refuse_text_options(asked)
    return _labels(asked.task, asked.data, asked.tables, asked.label_col)


def _predict_texts(asked: Given) -> pd.DataFrame:
    refuse_for_classifier(asked.tables, asked.futr, asked.file)
    _refuse_row_options(asked)
    _refuse(asked, asked.tags, type(asked.tags)(), "a tagger")
    return _text.predict(asked.task, asked.data, asked.columns)


def _predict_lines(asked: Given) -> pd.DataFrame:
    refuse_for_classifier(asked.tables, asked.futr, asked.file)
    _refuse_row_options(asked)
    _refuse_text_options(asked)
    return score_lines(asked.task, asked.data)


def _evaluate_forecast(asked: Given) -> Scored:
    _refuse_text_options(asked)
    exog = Exog.of(asked.task)
    tables = read_tables(asked.data, asked.tables, exog, ahead=False, trained=True)
    scores, fresh = _score_forecaster(asked.task, tables, asked.n_windows)

    def show() -> None:
        if fresh:
            typer.echo("The saved model has seen these windows: a fresh one was trained for them.")
        print_scores(scores, asked.n_windows, asked.task.h)

    return Scored({**scores, "model": "fresh" if fresh else "saved"}, show)


def _evaluate_sequences(asked: Given) -> Scored:
    from longshort.data import read_sequences

    refuse_for_classifier(asked.tables, None, asked.file)
    _refuse_text_options(asked)
    task, data, label_col = asked.task, asked.data, asked.label_col
    found = read_sequences(data, **_columns(asked.tables, label_col))
    if found.y is None:
        raise DataError(f"{data}: has no labels to score; add y (npz) or a {label_col} column.")
    scores = task.evaluate(_channels(task, found, data), found.y)
    rows = [[k.replace("_", " "), f"{v:.4f}"] for k, v in scores.items()]
    return Scored(scores, lambda: common.print_columns(rows))


def _evaluate_texts(asked: Given) -> Scored:
    refuse_for_classifier(asked.tables, None, asked.file)
    _refuse_row_options(asked)
    _refuse(asked, asked.tags, type(asked.tags)(), "a tagger")
    report = _text.evaluate(asked.task, asked.data, asked.columns, asked.label_col)
    return Scored(_text.content(report), lambda: _text.show(report))


def _evaluate_tags(asked: Given) -> Scored:
    _refuse_for_tagger(asked)
    assert isinstance(asked.tags, TagOptions)
    content = _tag.evaluate(asked.task, asked.data, asked.tags)
    return Scored(content, lambda: _tag.show(content))


def _evaluate_language(asked: Given) -> Scored:
    refuse_for_classifier(asked.tables, None, asked.file)
    _refuse_row_options(asked)
    _refuse_text_options(asked)
    scores = score_text(asked.task, asked.data)
    rows = [[k.replace("_", " "), f"{v:.4f}"] for k, v in scores.items()]
    return Scored(scores, lambda: common.print_columns(rows))


def _predict_sounds(asked: Given) -> pd.DataFrame:
    _refuse_for_transcriber(asked)
    return _transcribe.predict(asked.task, asked.data, asked.audio, asked.search)


def _evaluate_sounds(asked: Given) -> Scored:
    _refuse_for_transcriber(asked)
    column = asked.columns.text_col
    scores = _transcribe.evaluate(asked.task, asked.data, asked.audio, asked.search, column)
    rows = [[k, f"{v:.4f}"] for k, v in scores.items()]
    return Scored(scores, lambda: common.print_columns(rows))


def _predict_translations(asked: Given) -> pd.DataFrame:
    _refuse_for_translator(asked)
    return _translate.predict(asked.task, asked.data, asked.translation, asked.search)


def _evaluate_translations(asked: Given) -> Scored:
    _refuse_for_translator(asked)
    scores = _translate.evaluate(asked.task, asked.data, asked.translation, asked.search)
    rows = [[k.replace("_", " "), f"{v:.4f}"] for k, v in scores.items()]
    return Scored(scores, lambda: common.print_columns(rows))


_PREDICT = {
    "Forecaster": _predict_forecast,
    "LanguageModel": _predict_lines,
    "SequenceClassifier": _predict_sequences,
    "TextClassifier": _predict_texts,
    "Transcriber": _predict_sounds,
    "Translator": _predict_translations,
}
_EVALUATE = {
    "Forecaster": _evaluate_forecast,
    "LanguageModel": _evaluate_language,
    "SequenceClassifier": _evaluate_sequences,
    "Tagger": _evaluate_tags,
    "TextClassifier": _evaluate_texts,
    "Transcriber": _evaluate_sounds,
    "Translator": _evaluate_translations,
}


def _refuse_text_options(asked: Given) -> None:
    """Refuse options that only a model of texts, a tagger or a transcriber has a use for."""
    _refuse_search_options(asked)
    _refuse(asked, asked.columns, TextColumns(), "a model of texts")
    _refuse(asked, asked.tags, type(asked.tags)(), "a tagger")


def _refuse_row_options(asked: Given) -> None:
    """Refuse options that only a model of series, sequences or sounds has a use for."""
    _refuse_search_options(asked)
    _refuse(asked, asked.tables, TableOptions(), "series or sequences")


def _refuse_search_options(asked: Given) -> None:
    """Refuse options that only a transcriber or a translator has a use for."""
    _refuse(asked, asked.audio, AudioOptions(), "a transcriber")
    _refuse(asked, asked.search, SearchOptions(), "a transcriber or a translator")
    _refuse(asked, asked.translation, TranslationOptions(), "a translator")


def _refuse_for_translator(asked: Given) -> None:
    refuse_for_classifier(asked.tables, asked.futr, asked.file)
    _refuse(asked, asked.tables, TableOptions(), "series or sequences")
    _refuse(asked, asked.tags, type(asked.tags)(), "a tagger")
    _refuse(asked, asked.audio, AudioOptions(), "a transcriber")
    _refuse(asked, asked.columns, TextColumns(), "a classifier of texts or a transcriber")


def _refuse_for_transcriber(asked: Given) -> None:
    refuse_for_classifier(asked.tables, asked.futr, asked.file)
    _refuse(asked, asked.tables, TableOptions(), "series or sequences")
    _refuse(asked, asked.tags, type(asked.tags)(), "a tagger")
    _refuse(asked, asked.translation, TranslationOptions(), "a translator")
    if asked.columns.label_sep is not None:
        raise DataError(f"--label-sep: is for a model of texts, but {asked.file} holds sounds.")


def _refuse_for_tagger(asked: Given) -> None:
    refuse_for_classifier(asked.tables, asked.futr, asked.file)
    _refuse_row_options(asked)
    _refuse(asked, asked.columns, TextColumns(), "a model of texts")


def _refuse(asked: Given, found: Any, default: Any, whose: str) -> None:
    for field in fields(default):
        if getattr(found, field.name) != getattr(default, field.name):
            option = f"--{field.name.replace('_', '-')}"
            name = type(asked.task).__name__
            raise DataError(f"{option}: is for {whose}, but {asked.file} holds a {name}.")


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
