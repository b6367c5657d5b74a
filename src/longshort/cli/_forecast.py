"""`longshort forecast`: train, backtest, forecast and plot in one go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longshort._errors import DataError
from longshort.cli import _common as common
from longshort.cli._common import Data, Json
from longshort.cli._forecast_data import read_tables
from longshort.cli._forecast_options import Exog, ModelOptions, TableOptions, make_forecaster
from longshort.cli._groups import expanded

if TYPE_CHECKING:
    import pandas as pd

    from longshort.data import SeriesSet

NumWindows = Annotated[
    int, typer.Option(help="Windows of h steps to test on; 0 for no test.", min=0)
]

Futr = Annotated[
    Path | None,
    typer.Option(help="Table of the steps to come, with the columns that are known ahead."),
]


@common.guarded
@expanded
def forecast(
    data: Data,
    model_options: ModelOptions,
    n_windows: NumWindows = 3,
    refit: Annotated[
        bool, typer.Option("--refit", help="Train anew before each window of the test.")
    ] = False,
    conformal: Annotated[
        bool,
        typer.Option("--conformal", help="Intervals by the errors of the test's windows."),
    ] = False,
    tune: Annotated[
        float | None,
        typer.Option(help="Search better settings for so many seconds, before the test."),
    ] = None,
    tune_file: Annotated[
        Path | None,
        typer.Option(help="Keep the search in this file, and go on with it where it exists."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Write the forecast to this file (csv, tsv, parquet, jsonl)."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw it to this file (png, svg or pdf).")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write what the test found to this page (html).")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Save the model to this file.")] = None,
    futr: Futr = None,
    *,
    table_options: TableOptions,
    as_json: Json = False,
) -> None:
    """Train, test on the last windows, forecast and plot.

    DATA is a table (csv, tsv, parquet, jsonl) with a column of times and one of values, and
    perhaps one that names the series. An empty value is a missing one. With --futr-exog and
    without --futr, the rows of each series behind its last known value are the steps to come.

    Example: `longshort forecast air-passengers --h 12 --plot forecast.png`

    Example: `longshort forecast sales.csv --h 28 --time-col date --target-col sold`

    Example: `longshort forecast sales.csv --h 28 --futr-exog price,promo --futr plan.csv`

    Example: `longshort forecast sales.csv --h 28 --report report.html`
    """
    targets = {"--output": output, "--plot": plot, "--report": report, "--model": model}
    common.check_targets(targets, inputs=[data, *given(futr, table_options.static)])
    if report is not None and not n_windows:
        raise DataError(
            f"--report {report}: is about the test, but --n-windows 0 leaves it out; use "
            "--n-windows 1 or more."
        )
    for name, wanted in (("--refit", refit), ("--conformal", conformal)):
        if wanted and not n_windows:
            raise DataError(f"{name}: needs the test, but --n-windows 0 leaves it out; drop one.")
    if conformal and model is not None:
        raise DataError(
            f"--model {model}: would keep the intervals of the network, not those of --conformal; "
            "drop one."
        )
    if tune_file is not None and tune is None:
        raise DataError("--tune-file: is about a search; say how long: --tune SECONDS.")
    from longshort.tasks import conformal_intervals

    task = make_forecaster(model_options)
    tables = read_tables(data, table_options, Exog.of(task), futr, ahead=True)
    series = tables.check(task, ahead=True)
    static = {} if tables.static is None else {"static_df": tables.static}

    tried = ""
    if tune is not None:
        task, tried = tuned(task, series, n_windows, tune, tune_file, static)
    # The test first: it is what finds out that the data are too short.
    scores: dict[str, dict[str, float]] = {}
    if n_windows:
        rounds = n_windows if refit else 1
        with stopped_in_the_test(), common.progress_bar("testing", rounds) as progress:
            tested = task.cross_validation(
                series, n_windows, refit=refit, progress=progress, **static
            )
        # The report before the training: whoever ends it early has it.
        scores = score_test(task, tested, series, report, Path(data).name)
    with common.progress_bar("training") as progress:
        task.fit(series, progress=progress, **static)
    with tables.spoken():
        result = task.predict(futr_df=tables.futr)
        if conformal:
            result = conformal_intervals(result, tested, task.level)

    # The model first: it took longest to make.
    if model is not None:
        task.save(model)
    if output is not None:
        common.write_table(result, output)
    if plot is not None:
        draw(series, result, plot)

    if as_json:
        common.print_json(
            {
                "backtest": scores,
                "n_windows": n_windows,
                "refit": refit,
                "tuned": tried,
                "h": task.h,
                "forecast": common.records(result),
                "output": output,
                "plot": plot,
                "report": report,
                "model": model,
            }
        )
        return
    if tried:
        typer.echo(f"{tried}\n")
    if scores:
        print_scores(scores, n_windows, task.h, refit=refit)
        typer.echo("")
    common.print_table(result)
    written = [str(path) for path in targets.values() if path is not None]
    if written:
        typer.echo(f"\nWritten: {', '.join(written)}")


def given(*paths: Path | None) -> list[Path]:
    """Return those of `paths` that are not None."""
    return [path for path in paths if path is not None]


def tuned(
    task: Any,
    series: SeriesSet,
    n_windows: int,
    seconds: float,
    file: Path | None,
    static: dict[str, Any],
) -> tuple[Any, str]:
    """Return a forecaster with the best settings found on what comes before the test, and a line.

    What the user has set is not searched.
    """
    from longshort.tasks import Forecaster
    from longshort.tasks._backtest import cutoffs

    if n_windows:
        series = series.head(cutoffs(series, task.h, n_windows, task.h)[:, 0].tolist())
    usual = Forecaster(task.h).get_params()
    own = {n: v for n, v in task.get_params().items() if v != usual[n] and n not in ("h", "seed")}
    given_seed = {"seed": task.seed, "storage": file, "time_budget": seconds}
    found = Forecaster.auto(task.h, series, **given_seed, **static, **own)
    best = Forecaster(**found.get_params())
    changed = {n: v for n, v in best.get_params().items() if v != usual[n] and n not in own}
    changed.pop("seed", None)
    settings = ", ".join(f"{n} {v:.3g}" if isinstance(v, float) else f"{n} {v}"
                         for n, v in changed.items())  # fmt: skip
    return best, f"Tried {len(found.trials_)} settings; best: {settings or 'the defaults'}."


@contextmanager
def stopped_in_the_test() -> Iterator[None]:
    """End with a sentence where Ctrl-C comes during the test: nothing is worth keeping yet."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(
            "interrupted in the test: nothing was written; --n-windows 0 leaves the test out",
            err=True,
        )
        raise typer.Exit(common.INTERRUPTED) from None


def score_test(
    task: Any, tested: pd.DataFrame, series: SeriesSet, report: Path | None, name: str
) -> dict[str, dict[str, float]]:
    """Return the scores of a backtest, and write the page about it."""
    from longshort.data._frequency import season_length_of
    from longshort.tasks import write_report
    from longshort.tasks._backtest import score

    season = season_length_of(series.freq) if task.season_length is None else task.season_length
    scores = score(tested, series, season, task.level)
    if report is not None:
        write_report(
            report,
            tested,
            series,
            scores=scores,
            level=task.level,
            season_length=season,
            title=f"Forecast of {name}, {task.h} steps",
        )
    return scores


def draw(history: SeriesSet, result: pd.DataFrame, path: Path) -> None:
    """Draw the forecast to a file, without a display."""
    from longshort.tasks import plot_forecast
    from longshort.tasks._files import write_file

    figure = plot_forecast(history, result)
    kind = path.suffix[1:].lower()
    write_file(path, lambda file: figure.savefig(file, format=kind, dpi=150))


def print_scores(
    scores: dict[str, dict[str, float]], n_windows: int, h: int, *, refit: bool = False
) -> None:
    """Print the test as a table, best first by MASE, and how it was made."""
    mase = {name: row["mase"] for name, row in scores.items()}
    names = sorted(mase, key=lambda name: (mase[name] != mase[name], mase[name]))  # NaN last
    inside = [key for key in scores.get("LSTM", {}) if key.startswith("coverage-")]
    rows = [["", "MASE", "sMAPE", *(f"in {key.removeprefix('coverage-')} %" for key in inside), ""]]
    for name in names:
        row = scores[name]
        cells = [f"{row['mase']:.3f}", f"{row['smape']:.2f}"]
        cells += [f"{row[key]:.0%}" if key in row else "-" for key in inside]
        rows.append([name, *cells, "best" if name == names[0] else ""])
    common.print_columns(rows)
    unseen = (
        "each by a model trained anew on what comes before it."
        if refit
        else "no value of which was seen in training."
    )
    typer.echo(
        f"Tested on the last {n_windows} windows of {h} steps, {unseen}\n"
        "MASE: mean error, as a multiple of that of repeating the last season before "
        "the window."
    )
