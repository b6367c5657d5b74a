"""`longshort train language` and `longshort generate`; how a language model predicts and scores."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longshort._errors import DataError
from longshort.cli import _common as common
from longshort.cli._common import Epochs, Json, Precision, Seed, ValidationSplit
from longshort.cli._progress import show_seconds

if TYPE_CHECKING:
    import pandas as pd

    from longshort.tasks import LanguageModel

_ROUND = 0.25  # seconds between two looks at a progress bar


@common.guarded
def train_language(
    data: Annotated[Path, typer.Argument(help="Plain text in UTF-8, or its .gz.")],
    model: Annotated[Path, typer.Option(help="Save the model to this file.")],
    unit: Annotated[str, typer.Option(help="What a token is: char, word or subword.")] = "char",
    validation: Annotated[
        Path | None, typer.Option(help="Text to stop on, instead of the beginning of DATA.")
    ] = None,
    validation_split: ValidationSplit = None,
    units: Annotated[int | None, typer.Option(help="Size of each LSTM.", min=1)] = None,
    num_layers: Annotated[int | None, typer.Option(help="LSTM layers.", min=1)] = None,
    embedding_size: Annotated[
        int | None, typer.Option(help="Values of a token's vector.", min=1)
    ] = None,
    vocabulary_size: Annotated[int | None, typer.Option(help="Most tokens.", min=5)] = None,
    num_sampled: Annotated[
        int | None, typer.Option(help="Tokens that stand for all in a training step.", min=1)
    ] = None,
    dropout: Annotated[float | None, typer.Option(help="Share of outputs dropped.")] = None,
    weight_drop: Annotated[
        float | None, typer.Option(help="Share of recurrent weights dropped.")
    ] = None,
    sequence_length: Annotated[
        int | None, typer.Option(help="Steps through which gradients go back.", min=1)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Parts side by side.", min=1)] = None,
    epochs: Epochs = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its highest.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Time for training.")] = None,
    precision: Precision = None,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Train a language model on a file of text.

    The beginning of the text, a twentieth, is held out to stop on; with --validation-split 0 the
    model learns from that too. `evaluate` scores it on text of your choice.

    Example: `longshort train language book.txt --model book.longshort`
    """
    common.check_validation(validation, validation_split)
    inputs = [data] if validation is None else [data, validation]
    common.check_targets({"--model": model}, inputs=inputs)
    from longshort.tasks import LanguageModel

    given: dict[str, Any] = {
        "units": units,
        "num_layers": num_layers,
        "embedding_size": embedding_size,
        "vocabulary_size": vocabulary_size,
        "num_sampled": num_sampled,
        "dropout": dropout,
        "weight_drop": weight_drop,
        "sequence_length": sequence_length,
        "batch_size": batch_size,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "max_minutes": max_minutes,
        "precision": precision,
        "validation_split": validation_split,
        "seed": seed,
    }
    task = LanguageModel(unit=unit, **{name: v for name, v in given.items() if v is not None})
    began = time.monotonic()
    with training_bar() as bar:
        task.fit(data, validation_text=validation, **bar)
    task.save(model)
    seconds = time.monotonic() - began
    loss, kind = min(task.history_), "best validation loss"
    if not task.num_held_out_:
        loss, kind = task.history_[-1], "last training loss"
    if as_json:
        content = {"task": "LanguageModel", "model": model, "loss": loss, "seconds": seconds}
        common.print_json({**content, "params": task.get_params()})
    else:
        typer.echo(
            f"{task!r}: {kind} {loss:.4f} nats a token after {show_seconds(seconds)}. "
            f"Written: {model}"
        )


@common.guarded
def generate(
    file: Annotated[Path, typer.Argument(help="A language model that `train` saved.")],
    prompt: Annotated[str, typer.Option(help="What the text begins with.")] = "",
    max_tokens: Annotated[int, typer.Option(help="Most tokens to generate.", min=1)] = 200,
    temperature: Annotated[
        float, typer.Option(help="Below 1 likelier, above stranger text; 0: the likeliest.")
    ] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Draw from the likeliest k tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest tokens of this probability.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this string; may be given several times.")
    ] = None,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    r"""Write text that goes on from a prompt, as it is generated.

    In --prompt and --stop `\n` stands for the end of a line.

    Example: `longshort generate book.longshort --prompt "It was" --max-tokens 300`
    """
    from longshort.tasks import LanguageModel, load

    task = load(file)
    if not isinstance(task, LanguageModel):
        raise DataError(
            f"{file}: is a {type(task).__name__}, which generates no text; expected a "
            "LanguageModel from `longshort train language`."
        )
    prompt = prompt.replace("\\n", "\n")
    pieces = task.stream(
        prompt,
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=[text.replace("\\n", "\n") for text in stop or []],
    )
    if as_json:
        common.print_json({"prompt": prompt, "text": "".join(pieces)})
        return
    for piece in pieces:
        typer.echo(piece, nl=False)
        sys.stdout.flush()
    typer.echo()


def score_text(task: LanguageModel, data: str) -> dict[str, Any]:
    """Return the scores of a file as one text."""
    return {**task.evaluate(Path(data))}


def score_lines(task: LanguageModel, data: str) -> pd.DataFrame:
    """Return a row a line of a file that is not empty: its number, tokens, score, and text."""
    from longshort.data._text_files import iter_lines

    lines = [(i, line) for i, line in enumerate(iter_lines(data), 1) if line.strip()]
    if not lines:
        raise DataError(f"{data}: expected at least one line of text, found none.")
    table = task.predict([line for _, line in lines])
    table.insert(0, "line", [number for number, _ in lines])
    table["text"] = [line for _, line in lines]
    return table


@contextmanager
def training_bar() -> Iterator[dict[str, Callable[..., None]]]:
    """Give `progress` and `on_step` for `fit`, which draw a bar with tokens a second on a terminal.

    Nothing where standard error is no terminal.
    """
    if not sys.stderr.isatty():
        yield {}
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    epoch, speed = "", Speed()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("training", total=None, state="preparing")

        def progress(number: int, epochs: int, loss: float) -> None:
            nonlocal epoch
            epoch = f"epoch {number}/{epochs} ended at {loss:.4f}, "

        def on_step(done: int, total: int, loss: float) -> None:
            if text := speed.after(done, total):
                state = f"{epoch}loss {loss:.3f}, {text}"
                bar.update(line, completed=done, total=total, state=state)

        yield {"progress": progress, "on_step": on_step}


class Speed:
    """Tokens a second of a training, and the time that it still takes at most.

    Args:
        clock: Returns seconds.

    Example:
        >>> seconds = iter([0.0, 10.0, 12.0])
        >>> speed = Speed(lambda: next(seconds))
        >>> speed.after(1000, 9000), speed.after(3000, 9000), speed.after(5000, 9000)
        ('', '200 tokens/s, at most 30 s left', '333 tokens/s, at most 12 s left')
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.first: tuple[int, float] | None = None
        self.last = 0.0

    def after(self, done: int, total: int) -> str:
        """Return the speed in words, or nothing where there is no news yet."""
        now = self.clock()
        if self.first is None:  # the first step compiles
            self.first, self.last = (done, now), now
            return ""
        if now - self.last < _ROUND:
            return ""
        self.last = now
        rate = (done - self.first[0]) / (now - self.first[1])
        return f"{rate:,.0f} tokens/s, at most {show_seconds((total - done) / rate)} left"
