"""`longshort train translate`; predict and evaluate with a translator."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longshort._errors import DataError
from longshort.cli import _common as common
from longshort.cli._common import Epochs, Json, Precision, SearchOptions, Seed, ValidationSplit
from longshort.cli._groups import expanded
from longshort.cli._progress import show_seconds

if TYPE_CHECKING:
    import pandas as pd

SourceCol = Annotated[str, typer.Option(help="Column with the texts to translate, in a table.")]
TranslationCol = Annotated[str, typer.Option(help="Column with translations, in a table.")]


@dataclass(frozen=True)
class TranslatorOptions:
    """The hyper-parameters of a Translator; None leaves its own default."""

    unit: Annotated[str | None, typer.Option(help="What a token is: subword, word or char.")] = None
    units: Annotated[int | None, typer.Option(help="Size of each LSTM, even.", min=2)] = None
    num_layers: Annotated[int | None, typer.Option(help="Layers of the encoder.", min=1)] = None
    embedding_size: Annotated[
        int | None, typer.Option(help="Values of a token's vector.", min=1)
    ] = None
    attention: Annotated[str | None, typer.Option(help="additive, general or dot.")] = None
    input_feeding: Annotated[
        bool | None,
        typer.Option(
            "--input-feeding", help="The decoder reads what its last step found; slower to train."
        ),
    ] = None
    vocabulary_size: Annotated[int | None, typer.Option(help="Most tokens.", min=5)] = None
    min_count: Annotated[
        int | None, typer.Option(help="Times that a token must occur to be known.", min=1)
    ] = None
    dropout: Annotated[float | None, typer.Option(help="Share of values dropped.")] = None
    label_smoothing: Annotated[
        float | None, typer.Option(help="Share of probability spread over all tokens.")
    ] = None
    max_length: Annotated[
        int | None, typer.Option(help="Longer training pairs, in tokens, are left out.", min=1)
    ] = None
    batch_size: Annotated[int | None, typer.Option(help="Pairs a step.", min=1)] = None
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam at its highest.")] = None
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a better validation loss.", min=1)
    ] = None
    max_minutes: Annotated[float | None, typer.Option(help="Time for training.")] = None
    precision: Precision = None
    validation_split: ValidationSplit = None
    epochs: Epochs = None
    seed: Seed = 1

    def task(self, joint: bool) -> Any:
        """Build a Translator."""
        from longshort.tasks import Translator

        given = {name: value for name, value in vars(self).items() if value is not None}
        return Translator(joint=joint, **given)


@dataclass(frozen=True)
class TranslationOptions:
    """How files of texts to translate are read, and what else the search takes."""

    source_col: SourceCol = "source"
    translation_col: TranslationCol = "translation"
    reference: Annotated[
        Path | None, typer.Option(help="File with the translation of each line, to score with.")
    ] = None
    length_penalty: Annotated[
        float | None, typer.Option(help="0: short translations, 1: nearly the mean of tokens.")
    ] = None
    coverage_penalty: Annotated[
        float | None, typer.Option(help="What it costs to leave parts of the source out.")
    ] = None
    no_repeat_ngram_size: Annotated[
        int | None, typer.Option(help="No run of so many tokens comes twice.", min=0)
    ] = None
    num_best: Annotated[
        int, typer.Option(help="Translations of each text, with their scores.", min=1)
    ] = 1

    def search(self, options: SearchOptions) -> dict[str, Any]:
        """Return the arguments of a search that were given."""
        names = ("length_penalty", "coverage_penalty", "no_repeat_ngram_size")
        found = {name: getattr(self, name) for name in names} | vars(options)
        return {name: value for name, value in found.items() if value is not None}


@common.guarded
@expanded
def train_translate(
    source: Annotated[Path, typer.Argument(help="Texts, one a line (or .gz); or a table.")],
    model: Annotated[Path, typer.Option(help="Save the model to this file.")],
    options: TranslatorOptions,
    target: Annotated[
        Path | None, typer.Argument(help="Translations, line by line; none for a table.")
    ] = None,
    source_col: SourceCol = "source",
    translation_col: TranslationCol = "translation",
    validation_source: Annotated[
        Path | None, typer.Option(help="Texts to stop on, instead of a part of SOURCE.")
    ] = None,
    validation_target: Annotated[Path | None, typer.Option(help="Their translations.")] = None,
    joint: Annotated[bool, typer.Option(help="One vocabulary for both languages.")] = True,
    as_json: Json = False,
) -> None:
    """Train a translator on texts and their translations.

    SOURCE and TARGET have a text a line, as their .gz too; or SOURCE alone is a csv, tsv or jsonl
    file with a column of each.

    Example: `longshort train translate train.de.gz train.en.gz --model de-en.longshort`
    """
    from longshort.data._parallel import read_parallel

    given = (source, target, validation_source, validation_target)
    common.check_targets({"--model": model}, inputs=[path for path in given if path is not None])
    columns = {"source_col": source_col, "target_col": translation_col}
    held = None
    if validation_target is not None and validation_source is None:
        raise DataError("--validation-target: give --validation-source too.")
    common.check_validation(validation_source, options.validation_split, "--validation-source")
    if validation_source is not None:
        held = read_parallel(validation_source, validation_target, **columns)
    pairs = read_parallel(source, target, **columns)
    task = options.task(joint)
    began = time.monotonic()
    with common.progress_bar("training") as progress:
        task.fit(*pairs, validation_data=held, progress=progress)
    task.save(model)
    seconds = time.monotonic() - began
    loss, kind = min(task.history_), "best validation loss"
    if not task.num_held_out_:
        loss, kind = task.history_[-1], "last training loss"
    if as_json:
        content = {"task": "Translator", "model": model, "loss": loss, "seconds": seconds}
        common.print_json({**content, "params": task.get_params()})
    else:
        typer.echo(
            f"{task!r}: {kind} {loss:.4f} nats a token after {show_seconds(seconds)}. "
            f"Written: {model}"
        )


def predict(
    task: Any, data: str, options: TranslationOptions, search: SearchOptions
) -> pd.DataFrame:
    """Return a row a translation: the line, the text, its translation and the score."""
    import pandas as pd

    from longshort.data._parallel import is_table
    from longshort.data._text_files import iter_lines, read_texts

    if options.reference is not None:
        raise DataError("--reference: is for evaluate; predict translates without one.")
    if is_table(data):
        found = read_texts(data, options.source_col, None)
        texts, lines = found.texts, found.lines
    else:
        texts = list(iter_lines(data))
        lines = list(range(1, len(texts) + 1))
    if not texts:
        raise DataError(f"{data}: expected at least one text, found none.")
    best = task.n_best(texts, options.num_best, **options.search(search))
    rows = [
        (line, text, translation, score)
        for line, text, each in zip(lines, texts, best, strict=True)
        for translation, score in each
    ]
    return pd.DataFrame(rows, columns=["line", "source", "translation", "score"])


def evaluate(
    task: Any, data: str, options: TranslationOptions, search: SearchOptions
) -> dict[str, float]:
    """Return the scores of a file of texts, with references beside it or in it."""
    from longshort.data._parallel import read_parallel

    if options.num_best != 1:
        raise DataError("--num-best: is for predict; evaluate scores the best translation.")
    columns = {"source_col": options.source_col, "target_col": options.translation_col}
    pairs = read_parallel(data, options.reference, **columns)
    try:
        scores: dict[str, float] = task.evaluate(*pairs, **options.search(search))
    except ImportError as error:
        raise DataError(str(error)) from None
    return scores
