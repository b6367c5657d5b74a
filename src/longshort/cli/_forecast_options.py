"""The options of a forecaster and of the tables around it, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from longshort._errors import DataError
from longshort.cli._common import Epochs, IdCol, Seed, TargetCol, TimeCol


@dataclass(frozen=True)
class TableOptions:
    """How DATA and the files beside it are to be read."""

    id_col: IdCol = "unique_id"
    time_col: TimeCol = "ds"
    target_col: TargetCol = "y"
    wide: Annotated[
        bool, typer.Option("--wide", help="DATA has a column of times and one for each series.")
    ] = False
    static: Annotated[
        Path | None, typer.Option(help="Table of the static covariates, a row for each series.")
    ] = None


@dataclass(frozen=True)
class ModelOptions:
    """The hyper-parameters of a Forecaster; None leaves its own default."""

    h: Annotated[int, typer.Option("--h", help="Steps to forecast.", min=1)]
    freq: Annotated[
        str | None,
        typer.Option(
            help="Step between rows, such as h, D, W, MS, or a number. Default: found out."
        ),
    ] = None
    input_size: Annotated[
        int | None, typer.Option(help="Steps that the network looks back. Default: chosen.", min=1)
    ] = None
    level: Annotated[str, typer.Option(help="Prediction intervals in percent, with commas.")] = (
        "80,95"
    )
    season_length: Annotated[
        int | None, typer.Option(help="Steps in a season. Default: usual for the step.", min=1)
    ] = None
    futr_exog: Annotated[
        str | None, typer.Option(help="Columns that are known ahead, with commas.")
    ] = None
    hist_exog: Annotated[
        str | None, typer.Option(help="Columns that are known up to the last row, with commas.")
    ] = None
    stat_exog: Annotated[
        str | None, typer.Option(help="Columns of --static, with commas; numbers or text.")
    ] = None
    calendar: Annotated[
        bool, typer.Option("--calendar", help="Tell the network hour, weekday, month and so on.")
    ] = False
    recursive: Annotated[
        bool,
        typer.Option("--recursive", help="Forecast step by step instead of all steps at once."),
    ] = False
    distribution: Annotated[
        str | None,
        typer.Option(help="Normal, StudentT or NegativeBinomial (counts). Default: quantiles."),
    ] = None
    units: Annotated[
        int | None, typer.Option(help="Size of each LSTM. Default: by the data.", min=1)
    ] = None
    dropout: Annotated[
        float | None, typer.Option(help="Share of features dropped in training, below 1.")
    ] = None
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam at its highest.")] = None
    num_members: Annotated[
        int | None, typer.Option(help="Networks that are averaged, of each kind.", min=1)
    ] = None
    epochs: Epochs = None
    seed: Seed = 1


@dataclass(frozen=True)
class Exog:
    """The covariates by name: known ahead, known up to now, of a series."""

    futr: tuple[str, ...] = ()
    hist: tuple[str, ...] = ()
    stat: tuple[str, ...] = ()

    @classmethod
    def of(cls, task: Any) -> Exog:
        """Return those of a Forecaster."""
        lists = (task.futr_exog_list, task.hist_exog_list, task.stat_exog_list)
        return cls(*(tuple(names) for names in lists))


def make_forecaster(options: ModelOptions) -> Any:
    """Build a Forecaster and check its hyper-parameters, before any data are read.

    Raises:
        DataError: An option cannot be used, or two of them not together.
    """
    levels = parse_level(options.level)
    futr, hist, stat = (
        parse_names(text, option)
        for text, option in (
            (options.futr_exog, "--futr-exog"),
            (options.hist_exog, "--hist-exog"),
            (options.stat_exog, "--stat-exog"),
        )
    )
    if options.recursive and hist:
        raise DataError(
            "--recursive: a forecast step by step cannot know the --hist-exog of the steps to "
            "come; leave one of the two out."
        )
    from longshort.data._columns import check_exog_lists
    from longshort.tasks import Forecaster
    from longshort.tasks._forecaster_params import check_params

    check_exog_lists(**{"--futr-exog": futr, "--hist-exog": hist, "--stat-exog": stat})
    given: dict[str, Any] = {
        name: value
        for name in ("distribution", "units", "dropout", "learning_rate", "num_members", "epochs")
        if (value := getattr(options, name)) is not None
    }
    freq = options.freq
    task = Forecaster(
        options.h,
        options.input_size,
        freq=int(freq) if freq is not None and freq.isdecimal() else freq,
        season_length=options.season_length,
        futr_exog_list=futr,
        hist_exog_list=hist,
        stat_exog_list=stat,
        calendar=options.calendar,
        recursive=options.recursive,
        level=levels,
        seed=options.seed,
        **given,
    )
    check_params(task.get_params())
    return task


def parse_level(text: str) -> tuple[int | float, ...]:
    """Read percents such as "80,95"."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < number < 100 for number in numbers):
        raise DataError(f"--level {text}: expected percents between 0 and 100, such as 80,95.")
    return tuple(int(number) if number == int(number) else number for number in numbers)


def parse_names(text: str | None, option: str) -> list[str]:
    """Read names of columns such as "price,promo"; None is none of them."""
    if text is None:
        return []
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise DataError(f"{option} {text!r}: expected names of columns, such as price,promo.")
    return names
