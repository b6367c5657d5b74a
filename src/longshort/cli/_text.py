"""`longshort train text`, and what predict and evaluate do with its models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longshort._errors import DataError
from longshort.cli import _common as common
from longshort.cli._common import Epochs, NumMembers, Precision, Seed, ValidationSplit

if TYPE_CHECKING:
    import pandas as pd

    from longshort.data import TextSet

MOST_LABELS = 12  # of a table with a column for each


@dataclass(frozen=True)
class TextColumns:
    """How a file of texts is to be read."""

    text_col: Annotated[str, typer.Option(help="Column with the texts.")] = "text"
    label_sep: Annotated[
        str | None,
        typer.Option(help="What stands between labels, where a text may have several or none."),
    ] = None


@dataclass(frozen=True)
class TextOptions:
    """The hyper-parameters of a TextClassifier; None leaves its own default."""

    unit: Annotated[
        str | None, typer.Option(help="What is read one at a time: word, char or subword.")
    ] = None
    units: Annotated[int | None, typer.Option(help="Size of each LSTM.", min=1)] = None
    num_layers: Annotated[int | None, typer.Option(help="LSTM layers.", min=1)] = None
    embedding_size: Annotated[
        int | None, typer.Option(help="Size of the vector of a token.", min=1)
    ] = None
    vocabulary_size: Annotated[int | None, typer.Option(help="Most tokens.", min=5)] = None
    min_count: Annotated[
        int | None, typer.Option(help="Times that a token must occur to be known.", min=1)
    ] = None
    cased: Annotated[bool, typer.Option("--cased", help="Tell upper from lower case.")] = False
    max_tokens: Annotated[
        int | None, typer.Option(help="Tokens that are read of a text, from both ends.", min=2)
    ] = None
    pooling: Annotated[str | None, typer.Option(help="max+mean, max, mean, attention or last.")] = (
        None
    )
    dropout: Annotated[
        float | None, typer.Option(help="Share of channels dropped in training, below 1.")
    ] = None
    embedding_dropout: Annotated[
        float | None, typer.Option(help="Share of words dropped in training, below 1.")
    ] = None
    num_members: NumMembers = None
    ngrams: Annotated[
        int | None,
        typer.Option(help="Tokens of the linear part's longest runs; 0 for none.", min=0),
    ] = None
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Train as if all labels were equally frequent.")
    ] = False
    vectors: Annotated[
        str | None, typer.Option(help="Word vectors to begin with (word2vec or GloVe as text).")
    ] = None
    pretrained: Annotated[
        str | None,
        typer.Option(help="A language model to begin with, as `train language` saves them."),
    ] = None
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam at its highest.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Texts a training step.", min=1)] = None
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a better validation loss.", min=1)
    ] = None
    validation_split: ValidationSplit = None
    precision: Precision = None
    epochs: Epochs = None
    seed: Seed = 1

    def task(self, multi_label: bool) -> Any:
        """Build a TextClassifier and check its hyper-parameters."""
        from longshort.tasks import TextClassifier
        from longshort.tasks._text_classifier_params import check_params

        given = {
            name: value
            for name, value in vars(self).items()
            if name not in ("cased", "balanced", "pretrained") and value is not None
        }
        task = TextClassifier(
            lowercase=not self.cased,
            class_weight="balanced" if self.balanced else None,
            multi_label=multi_label,
            **given,
        )
        check_params(task)
        return task


def train(
    data: str,
    model: Path,
    options: TextOptions,
    columns: TextColumns,
    label_col: str,
    validation: Path | None,
    plot: Path | None,
) -> Any:
    """Train a TextClassifier on a file, save it, draw its training; return it."""
    common.check_validation(validation, options.validation_split)
    more_inputs = (validation, options.vectors, options.pretrained)
    inputs = [data, *(path for path in more_inputs if path is not None)]
    common.check_targets({"--model": model, "--plot": plot}, inputs=inputs)
    options.task(columns.label_sep is not None)  # what is wrong with them is said before reading
    found = read(data, columns, label_col)
    several = columns.label_sep is not None or any(isinstance(x, list) for x in found.labels or [])
    task = options.task(several)
    held = None
    if validation is not None:
        more = read(str(validation), columns, label_col)
        known = {x for label in found.labels or [] for x in _parts(label)}
        check_known(str(validation), more, known)
        held = more.texts, _as_sets(more.labels) if several else more.labels
    labels = _as_sets(found.labels) if several else found.labels
    try:
        with common.progress_bar("training", loss_name="loss") as progress:
            task.fit(
                found.texts,
                labels,
                validation_data=held,
                pretrained=options.pretrained,
                progress=progress,
            )
    except DataError as error:
        about = str(error).removeprefix("TextClassifier: ")
        raise DataError(f"{data}: {about}" if about.startswith("labels: ") else about) from None
    task.save(model)
    if plot is not None:
        draw(task, plot)
    return task


def draw(task: Any, path: Path) -> None:
    """Write the picture of the training."""
    from longshort.tasks import plot_training
    from longshort.tasks._files import write_file

    figure = plot_training(task)
    kind = path.suffix.lower()[1:]
    write_file(path, lambda file: figure.savefig(file, format=kind, dpi=150))


def read(data: str, columns: TextColumns, label_col: str | None) -> TextSet:
    """Read texts, and labels where `label_col` is given."""
    from longshort.data import read_texts

    return read_texts(data, columns.text_col, label_col, label_sep=columns.label_sep)


def predict(task: Any, data: str, columns: TextColumns) -> pd.DataFrame:
    """Return a row a text: its line in the file, its label and the probability of each class."""
    import pandas as pd

    found = read(data, columns, None)
    probabilities = task.predict_proba(found.texts)
    table = pd.DataFrame({"line": found.lines})
    chosen = task._decide(probabilities)
    if task.multi_label:
        table["labels"] = [(columns.label_sep or "|").join(map(str, labels)) for labels in chosen]
    else:
        table["label"] = chosen
    for k, label in enumerate(task.classes_):
        table[f"p-{label}"] = probabilities[:, k]
    return table


def evaluate(task: Any, data: str, columns: TextColumns, label_col: str) -> Any:
    """Return the report on a file with labels."""
    found = read(data, columns, label_col)
    known = set(task.classes_.tolist())
    if not all(isinstance(label, str) for label in known):
        raise DataError(
            f"{data}: labels in files are text, but the model was trained on others (such as "
            f"{next(x for x in task.classes_.tolist() if not isinstance(x, str))!r}); evaluate it "
            "in Python, or train it on a file."
        )
    check_known(data, found, known)
    labels = _as_sets(found.labels) if task.multi_label else found.labels
    if not task.multi_label and any(isinstance(label, list) for label in labels or []):
        raise DataError(f"{data}: has lists of labels, but the model gives one label a text.")
    return task.report(found.texts, labels)


def check_known(data: str, found: TextSet, known: set[Any]) -> None:
    """Raise a DataError with the line of the first label that did not occur in training."""
    for label, line in zip(found.labels or [], found.lines, strict=True):
        for one in _parts(label):
            if one not in known:
                names = sorted(map(str, known))
                raise DataError(
                    f"{data}: line {line}: the label {one!r} did not occur in training (labels "
                    f"there: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''})."
                )


def show(report: Any) -> None:
    """Print scores, the table of labels, and the confusion where it fits a terminal."""
    common.print_columns([[k.replace("_", " "), f"{v:.4f}"] for k, v in report.scores.items()])
    typer.echo("")
    rows = [["label", "precision", "recall", "F1", "count"]]
    for row in report.classes.itertuples(index=False):
        numbers = [f"{value:.4f}" for value in (row.precision, row.recall, row.f1)]
        rows.append([_short(row.label), *numbers, str(row.count)])
    common.print_columns(rows)
    if report.confusion is None or len(report.confusion) > MOST_LABELS:
        return
    typer.echo("\nTrue label by row, predicted label by column:")
    names = [_short(label) for label in report.confusion.index]
    counts = report.confusion.to_numpy().tolist()
    body = [[name, *map(str, row)] for name, row in zip(names, counts, strict=True)]
    common.print_columns([["", *names], *body])


def content(report: Any) -> dict[str, Any]:
    """Return a report as what JSON can hold."""
    classes = common.records(report.classes)
    found = {**report.scores, "classes": classes}
    if report.confusion is not None:
        found["confusion"] = {
            "labels": report.confusion.index.tolist(),
            "counts": report.confusion.to_numpy().tolist(),
        }
    return found


def _short(label: Any) -> str:
    text = " ".join(str(label).split())
    return text if len(text) <= 24 else f"{text[:23]}…"


def _parts(label: Any) -> Sequence[Any]:
    return label if isinstance(label, list) else [label]


def _as_sets(labels: list[Any] | None) -> list[list[Any]]:
    return [list(_parts(label)) for label in labels or []]
