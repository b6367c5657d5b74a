"""`longshort info` and `longshort --version`."""

from __future__ import annotations

from typing import Any

import typer

from longshort.cli._common import Json, guarded, print_columns, print_json


def print_version(wanted: bool) -> None:
    """Print the version and leave, where it is wanted."""
    if wanted:
        import longshort

        typer.echo(longshort.__version__)
        raise typer.Exit


@guarded
def info(as_json: Json = False) -> None:
    """Say what is installed, and on which path an LSTM runs and why.

    Example: `longshort info`
    """
    import longshort
    from longshort import ops

    content: dict[str, Any] = {"version": longshort.__version__, **ops.info()}
    if as_json:
        print_json(content)
    else:
        print_columns([[key.replace("_", " "), str(value)] for key, value in content.items()])
