"""`longshort train transcribe` and `longshort stream`; predict and evaluate with a transcriber."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longshort._errors import DataError
from longshort.cli import _common as common
from longshort.cli._common import Epochs, Json, Precision, SearchOptions, Seed, ValidationSplit

if TYPE_CHECKING:
    import pandas as pd

SOUNDS = (".wav", ".flac", ".ogg")


@dataclass(frozen=True)
class AudioOptions:
    """How recordings are found and searched."""

    path_col: Annotated[
        str, typer.Option(help="Column with the paths of recordings, from the table's folder.")
    ] = "path"
    ngram_weight: Annotated[
        float | None, typer.Option(help="What the n-gram model counts in the search.")
    ] = None
    bonus: Annotated[float, typer.Option(help="For each label in the search, in nats.")] = 0.0

    def search(self, options: SearchOptions) -> dict[str, Any]:
        """Return the arguments of a search."""
        given = {name: v for name, v in vars(self).items() if name != "path_col"}
        return given | {"beam_size": options.beam_size or 1}


@common.guarded
def train_transcribe(
    data: Annotated[Path, typer.Argument(help="Table with path and text (csv, tsv, jsonl).")],
    model: Annotated[Path, typer.Option(help="Save the model to this file.")],
    path_col: Annotated[
        str, typer.Option(help="Column with the paths of recordings, from DATA's folder.")
    ] = "path",
    text_col: Annotated[str, typer.Option(help="Column with what is said.")] = "text",
    validation: Annotated[
        Path | None, typer.Option(help="Table to stop on, instead of a part of DATA.")
    ] = None,
    unit: Annotated[str, typer.Option(help="What a label is: char or word.")] = "char",
    units: Annotated[int | None, typer.Option(help="Size of each LSTM.", min=1)] = None,
    num_layers: Annotated[int | None, typer.Option(help="LSTM layers.", min=1)] = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Read forward only, for `longshort stream`.")
    ] = False,
    sample_rate: Annotated[
        int | None, typer.Option(help="Samples a second. Default: those of the first recording.")
    ] = None,
    refuse_other_rates: Annotated[
        bool, typer.Option("--refuse-other-rates", help="Do not resample recordings.")
    ] = False,
    reduction: Annotated[
        int | None, typer.Option(help="Frames of 10 ms to a step: 1, 2, 4 or 8.")
    ] = None,
    augment: Annotated[
        bool, typer.Option(help="Change tempo and frequencies, hide stripes of both.")
    ] = True,
    ngram: Annotated[
        int | None, typer.Option(help="Order of a model of labels for the search.", min=0)
    ] = None,
    num_members: Annotated[
        int | None,
        typer.Option(help="Networks, trained one after the other, that agree on a text.", min=1),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Of Adam at its highest; less for few recordings, if not given."),
    ] = None,
    validation_split: ValidationSplit = None,
    batch_size: Annotated[int | None, typer.Option(help="Recordings a step.", min=1)] = None,
    precision: Precision = None,
    epochs: Epochs = None,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Train a transcriber of speech on recordings and what is said in them.

    DATA has a row for each recording: its path, from the folder of DATA, and its text.

    Example: `longshort train transcribe clips.tsv --model speech.longshort`
    """
    if streaming and num_members is not None and num_members > 1:
        raise DataError("--num-members: with --streaming there is one network; leave it out.")
    common.check_validation(validation, validation_split)
    common.check_targets({"--model": model}, inputs=[data, *([validation] if validation else [])])
    from longshort.tasks import Transcriber

    given: dict[str, Any] = {
        "units": units,
        "num_layers": num_layers,
        "sample_rate": sample_rate,
        "reduction": reduction,
        "ngram": ngram,
        "num_members": num_members,
        "learning_rate": learning_rate,
        "validation_split": validation_split,
        "batch_size": batch_size,
        "precision": precision,
        "epochs": epochs,
        "seed": seed,
    }
    task = Transcriber(
        unit=unit,
        bidirectional=not streaming,
        resample=not refuse_other_rates,
        augment=augment,
        **{name: value for name, value in given.items() if value is not None},
    )
    clips = read(str(data), path_col, text_col)
    held = None if validation is None else read(str(validation), path_col, text_col)
    name = "loss" if held is None and task.validation_split == 0 else "error"
    start = time.monotonic()
    with (
        naming_lines(clips, *([held] if held else [])),
        common.progress_bar("training", loss_name=name) as progress,
    ):
        pair = None if held is None else (held.paths, held.texts)
        task.fit(clips.paths, clips.texts, validation_data=pair, progress=progress)
    seconds = time.monotonic() - start
    task.save(model)
    error, kind = min(task.history_), "share of wrong labels in the validation part"
    if not task.num_held_out_:
        error, kind = task.history_[-1], "last training loss"
    if as_json:
        content = {"task": "Transcriber", "model": model, name: error, "seconds": seconds}
        common.print_json({**content, "params": task.get_params()})
    else:
        typer.echo(f"{task!r}: {kind} {error:.4f} after {seconds:.0f} s. Written: {model}")


@dataclass(frozen=True)
class Clips:
    """A table of recordings: its file, and of each row the path, the text, and the line."""

    data: str
    paths: list[str]
    texts: list[str]
    lines: list[int]


@contextmanager
def naming_lines(*tables: Clips) -> Iterator[None]:
    """Put the table and the line before an error that begins with a recording of theirs."""
    try:
        yield
    except DataError as error:
        for clips in tables:
            for path, line in zip(clips.paths, clips.lines, strict=False):  # a folder has none
                if str(error).startswith(f"{path}: "):
                    raise DataError(f"{clips.data}, line {line}: {error}") from None
        raise


def read(data: str, path_col: str, text_col: str | None) -> Clips:
    """Return a table's rows; a path that is no file is refused with its line."""
    from longshort.data._text_files import read_texts

    if path_col == text_col:
        raise DataError(f"{data}: paths and texts must be two columns, got {path_col} for both.")
    found = read_texts(data, path_col, text_col)
    paths = [Path(data).parent / name for name in found.texts]
    for path, line in zip(paths, found.lines, strict=True):
        if not path.is_file():
            raise DataError(f"{data}, line {line}: there is no recording {path}.")
    texts = [str(text) for text in found.labels or ()]
    return Clips(data, [str(path) for path in paths], texts, found.lines)


def sounds(data: str, path_col: str) -> Clips:
    """Return the recordings that DATA is or names: a sound file, a folder of them, a table."""
    path = Path(data)
    if path.suffix.lower() in SOUNDS:
        return Clips(data, [data], [], [])
    if path.is_dir():
        found = sorted(str(p) for p in path.iterdir() if p.suffix.lower() in SOUNDS)
        if not found:
            raise DataError(f"{data}: has no sound files ({', '.join(SOUNDS)}).")
        return Clips(data, found, [], [])
    return read(data, path_col, None)


def predict(task: Any, data: str, options: AudioOptions, search: SearchOptions) -> pd.DataFrame:
    """Return a row a recording: its path and its text."""
    import pandas as pd

    clips = sounds(data, options.path_col)
    with naming_lines(clips):
        texts = task.predict(clips.paths, **options.search(search))
    return pd.DataFrame({"path": clips.paths, "text": texts})


def evaluate(
    task: Any, data: str, options: AudioOptions, search: SearchOptions, text_col: str
) -> dict[str, float]:
    """Return the scores of a table of recordings and texts."""
    clips = read(data, options.path_col, text_col)
    with naming_lines(clips):
        scores: dict[str, float] = task.evaluate(clips.paths, clips.texts, **options.search(search))
    return scores


@common.guarded
def stream(
    file: Annotated[Path, typer.Argument(help="A transcriber that was trained with --streaming.")],
    sound: Annotated[Path, typer.Argument(help="A sound file.")],
    chunk: Annotated[float, typer.Option(help="Seconds that come at once.", min=0.001)] = 0.25,
    beam_size: Annotated[int, typer.Option(help="Candidates of the search.", min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Transcribe a recording as if it came in chunks, and say how fast that is.

    Prints the text each time that it grows, with the second of the recording that it was known in.

    Example: `longshort stream speech.longshort talk.wav --chunk 0.1`
    """
    from longshort.data._audio import read_audio, resample
    from longshort.tasks import Transcriber, load

    task = load(file)
    if not isinstance(task, Transcriber):
        raise DataError(f"{file}: is a {type(task).__name__}, which takes no sound.")
    transcript = task.stream(beam_size=beam_size)
    samples, rate = read_audio(sound)
    samples = resample(samples, rate, task.sample_rate_)
    size = max(1, round(chunk * task.sample_rate_))
    grown: list[dict[str, Any]] = []
    slowest, text = 0.0, ""
    for first in range(0, len(samples), size):
        start = time.perf_counter()
        now = transcript.push(samples[first : first + size])
        slowest = max(slowest, time.perf_counter() - start)
        if now != text:
            text = now
            at = min(first + size, len(samples)) / task.sample_rate_
            grown.append({"seconds": at, "text": text})
            if not as_json:
                typer.echo(f"{at:7.2f}  {text}")
    text = transcript.end()
    factor = transcript.real_time_factor
    if as_json:
        found = {"text": text, "grown": grown, "real_time_factor": factor, "slowest": slowest}
        common.print_json(found)
        return
    typer.echo(f"{'':7}  {text}" if not grown or grown[-1]["text"] != text else "", nl=False)
    typer.echo(
        f"\nReal-time factor {factor:.4f}; the slowest chunk of {chunk:g} s took "
        f"{1000 * slowest:.1f} ms."
    )
