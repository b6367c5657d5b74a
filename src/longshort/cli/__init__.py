"""The command line: the `longshort` program and its commands."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from longshort.cli._forecast import forecast
from longshort.cli._info import info, print_version
from longshort.cli._language import generate
from longshort.cli._train import train_app
from longshort.cli._transcribe import stream
from longshort.cli._use import evaluate, predict

__all__ = ["app", "main"]

app = typer.Typer(
    help="Forecast series, classify sequences, read texts and speech with LSTM networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True),
    ] = False,
) -> None:
    pass


app.command()(forecast)
app.add_typer(train_app)
app.command()(predict)
app.command()(evaluate)
app.command()(generate)
app.command()(stream)
app.command()(info)


def main() -> None:
    """Run the command line; the entry point of the `longshort` command."""
    # Where there is TensorFlow, Keras imports it whatever the backend is, and it prints what it
    # thinks of the processor. The second variable would make it slower where it is the backend.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if os.environ.get("KERAS_BACKEND") != "tensorflow":
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
