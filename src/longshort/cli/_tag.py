"""What the commands do for a tagger: read sentences, train, write tags, print scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longshort._errors import DataError
from longshort.cli import _common as common
from longshort.cli._common import Epochs, Json, NumMembers, Precision, Seed, ValidationSplit
from longshort.cli._groups import expanded

if TYPE_CHECKING:
    from longshort.data import TaggedSet

Col = Annotated[
    str | None,
    typer.Option(help="Column of the words: its number, from 0 (the default), or its name."),
]
TagCol = Annotated[
    str | None,
    typer.Option(help="Column of the tags, likewise; -1, the last, is the default."),
]
Features = Annotated[
    str | None,
    typer.Option(
        help="Columns (or fields of CoNLL-U) that go with each word, likewise, with commas between."
    ),
]
Field = Annotated[
    str | None,
    typer.Option(help="Field of CoNLL-U that is the tag (upos, xpos, ...); upos is the default."),
]


@dataclass(frozen=True)
class WordOptions:
    """Where in DATA the words are, and which field the tags go to."""

    token_col: Col = None
    features: Features = None
    field: Field = None


@dataclass(frozen=True)
class TagOptions:
    """Where in DATA the words and the tags are."""

    token_col: Col = None
    tag_col: TagCol = None
    features: Features = None
    field: Field = None


@common.guarded
@expanded
def train_tag(
    data: Annotated[str, typer.Argument(help="CoNLL-U, or columns, a word a line; also .gz.")],
    model: Annotated[Path, typer.Option(help="Save the model to this file.")],
    options: TagOptions,
    validation: Annotated[
        str | None, typer.Option(help="A file to stop on, instead of a part of DATA.")
    ] = None,
    validation_split: ValidationSplit = None,
    units: Annotated[int | None, typer.Option(help="Size of each LSTM.", min=1)] = None,
    num_layers: Annotated[int | None, typer.Option(help="LSTM layers.", min=1)] = None,
    scheme: Annotated[
        str, typer.Option(help="How tags mark spans: auto, none, IOB1, IOB2, BIOES.")
    ] = "auto",
    vectors: Annotated[
        str | None, typer.Option(help="Word vectors to begin with (word2vec or GloVe as text).")
    ] = None,
    word_size: Annotated[int | None, typer.Option(help="Values of a word's vector.", min=1)] = None,
    num_members: NumMembers = None,
    precision: Precision = None,
    epochs: Epochs = None,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Train a tagger of words: parts of speech, chunks, names.

    DATA is a file in CoNLL-U (its name ends in .conllu or .conllu.gz, or --field is given), or one
    of columns with a word a line and an empty line after each sentence.

    Example: `longshort train tag chunks.txt --tag-col 2 --model chunks.longshort`
    """
    common.check_validation(validation, validation_split)
    inputs = [data, *(path for path in (validation, vectors) if path is not None)]
    common.check_targets({"--model": model}, inputs=inputs)
    from longshort.tasks import Tagger

    given: dict[str, Any] = {
        "units": units,
        "num_layers": num_layers,
        "word_size": word_size,
        "vectors": vectors,
        "num_members": num_members,
        "validation_split": validation_split,
        "precision": precision,
        "epochs": epochs,
        "seed": seed,
    }
    task = Tagger(
        scheme=None if scheme == "none" else scheme,
        **{name: value for name, value in given.items() if value is not None},
    )
    found = read_tagged(data, options)
    held: Any = None if validation is None else read_tagged(validation, options)
    name = "loss" if held is None and task.validation_split == 0 else "error"
    with common.progress_bar("training", loss_name=name) as progress:
        task.fit(found.sentences, found.tags or [], validation_data=held, progress=progress)
    task.save(model)
    held_out = bool(task.num_held_out_)
    loss = min(task.history_) if held_out else task.history_[-1]
    if as_json:
        params = task.get_params()
        common.print_json({"task": "Tagger", "model": model, "loss": loss, "params": params})
        return
    kind = "last training loss"
    if held_out:
        kind = "validation error " + ("(1 - F1 of spans)" if task.scheme_ else "(wrong tags)")
    typer.echo(f"{task!r}: {kind} {loss:.4f}. Written: {model}")


def read_tagged(data: str, options: TagOptions | WordOptions) -> TaggedSet:
    """Read DATA as the options say, with tags where they are `TagOptions`."""
    from longshort.data import read_conll, read_conllu

    tagged = isinstance(options, TagOptions)
    features = [part.strip() for part in options.features.split(",")] if options.features else []
    columns = [options.token_col, options.tag_col if isinstance(options, TagOptions) else None]
    if is_conllu(data, options):
        if any(column is not None for column in columns):
            raise DataError(
                f"{data}: is CoNLL-U, which has its words in one place; leave out --token-col and "
                "--tag-col, and name the tag with --field."
            )
        return read_conllu(data, (options.field or "upos") if tagged else None, features)
    token, tag = columns
    return read_conll(data, token or 0, (tag or -1) if tagged else None, features)


def is_conllu(data: str, options: TagOptions | WordOptions) -> bool:
    """Return whether DATA is CoNLL-U: by its name, or because a field was named."""
    return data.lower().endswith((".conllu", ".conllu.gz")) or options.field is not None


def predict(task: Any, data: str, options: WordOptions, output: Path | None, as_json: bool) -> None:
    """Write DATA with tags: CoNLL-U with the field filled in, else a word and its tag a line."""
    from longshort.data._conll import fill_conllu
    from longshort.tasks._files import write_file
    from longshort.tasks._tagger_input import words_of

    found = read_tagged(data, options).sentences
    tags = task.predict(found)
    sentences = words_of(found)
    if is_conllu(data, options):
        lines = list(fill_conllu(data, options.field or "upos", tags))
    else:
        pairs = zip(sentences, tags, strict=True)
        lines = [
            line
            for words, row in pairs
            for line in (*(f"{w}\t{t}" for w, t in zip(words, row, strict=True)), "")
        ]
    text = "".join(f"{line}\n" for line in lines)
    if output is not None:
        write_file(output, lambda file: file.write(text.encode()))
    if as_json:
        common.print_json({"sentences": sentences, "tags": tags, "output": output})
    elif output is not None:
        typer.echo(f"Written: {output} ({len(sentences)} sentences)")
    else:
        typer.echo(text, nl=False)


def evaluate(task: Any, data: str, options: TagOptions) -> dict[str, Any]:
    """Return the scores, and under "errors" the most frequent ones."""
    from longshort.tasks._span_scores import frequent_errors
    from longshort.tasks._tagger_input import words_of

    found = read_tagged(data, options)
    predicted = task.predict(found.sentences)
    scores = task._score(words_of(found.sentences), found.tags, predicted)
    return {**scores, "errors": frequent_errors(found.tags or [], predicted)}


def show(content: dict[str, Any]) -> None:
    """Print scores of words, of spans by type, and errors."""
    scores = {name: value for name, value in content.items() if name != "errors"}
    plain = {name: score for name, score in scores.items() if "-" not in name}
    common.print_columns([[name.replace("_", " "), f"{v:.4f}"] for name, v in plain.items()])
    kinds = [name.removeprefix("f1-") for name in scores if name.startswith("f1-")]
    if kinds:
        typer.echo("")
        names = ["precision", "recall", "f1"]
        rows = [[kind, *(f"{scores[f'{n}-{kind}']:.4f}" for n in names)] for kind in kinds]
        common.print_columns([["type", *names], *rows])
    if content["errors"]:
        typer.echo("")
        rows = [[a, b, str(count)] for a, b, count in content["errors"]]
        common.print_columns([["true", "predicted", "words"], *rows])
