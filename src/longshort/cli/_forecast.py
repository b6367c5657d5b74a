"""`longshort forecast`: train, backtest, forecast and plot in one go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longshort._errors import DataError
from longshort.cli import _common as common
from longshort.cli._common import Data, Epochs, IdCol, Json, Seed, TargetCol, TimeCol

if TYPE_CHECKING:
    import pandas as pd

    from longshort.data import SeriesSet

Horizon = Annotated[int, typer.Option("--h", help="Steps to forecast.", min=1)]
Freq = Annotated[
    str | None,
    typer.Option(help="Step between rows, such as h, D, W, MS, or a number. Default: found out."),
]
InputSize = Annotated[
    int | None, typer.Option(help="Steps that the network looks back. Default: chosen.", min=1)
]
Level = Annotated[str, typer.Option(help="Prediction intervals in percent, with commas.")]
SeasonLength = Annotated[
    int | None, typer.Option(help="Steps in a season. Default: usual for the step.", min=1)
]
NumWindows = Annotated[
    int, typer.Option(help="Windows of h steps to test on; 0 for no test.", min=0)
]


@common.guarded
def forecast(
    data: Data,
    h: Horizon,
    freq: Freq = None,
    input_size: InputSize = None,
    level: Level = "80,95",
    season_length: SeasonLength = None,
    n_windows: NumWindows = 3,
    output: Annotated[Path | None, typer.Option(help="Write the forecast to this csv.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw it to this file (png, svg or pdf).")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write what the test found to this page (html).")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Save the model to this file.")] = None,
    id_col: IdCol = "unique_id",
    time_col: TimeCol = "ds",
    target_col: TargetCol = "y",
    epochs: Epochs = None,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Train, test on the last windows, forecast and plot.

    DATA is a table (csv, tsv, parquet, jsonl) with a column of times and one of values, and
    perhaps one that names the series.

    Example: `longshort forecast air-passengers --h 12 --plot forecast.png`

    Example: `longshort forecast sales.csv --h 28 --time-col date --target-col sold`

    Example: `longshort forecast sales.csv --h 28 --report report.html`
    """
    targets = {"--output": output, "--plot": plot, "--report": report, "--model": model}
    common.check_targets(targets, inputs=[data])
    if report is not None and not n_windows:
        raise DataError(
            f"--report {report}: is about the test, but --n-windows 0 leaves it out; use "
            "--n-windows 1 or more."
        )
    task = make_forecaster(h, freq, input_size, level, season_length, epochs, seed)
    from longshort.data import check_series
    from longshort.data._frequency import season_length_of
    from longshort.tasks import write_report
    from longshort.tasks._backtest import score

    series = check_series(common.read_series(data, id_col, time_col, target_col), freq=task.freq)

    # The test first: it is what finds out that the data are too short.
    scores = {}
    if n_windows:
        with common.progress_bar("testing") as progress:
            tested = task.cross_validation(series, n_windows, progress=progress)
        season = season_length_of(series.freq) if season_length is None else season_length
        scores = score(tested, series, season, task.level)
        # Before the training: whoever ends it early has the report.
        if report is not None:
            write_report(
                report,
                tested,
                series,
                scores=scores,
                level=task.level,
                season_length=season,
                title=f"Forecast of {Path(data).name}, {h} steps",
            )
    with common.progress_bar("training") as progress:
        task.fit(series, progress=progress)
    result = task.predict()

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
                "h": h,
                "forecast": common.records(result),
                "output": output,
                "plot": plot,
                "report": report,
                "model": model,
            }
        )
        return
    if scores:
        print_scores(scores, n_windows, h)
        typer.echo("")
    common.print_table(result)
    written = [str(path) for path in targets.values() if path is not None]
    if written:
        typer.echo(f"\nWritten: {', '.join(written)}")


def make_forecaster(
    h: int,
    freq: str | None,
    input_size: int | None,
    level: str,
    season_length: int | None,
    epochs: int | None,
    seed: int,
) -> Any:
    """Build a Forecaster from what options hold; None leaves its own default."""
    levels = parse_level(level)
    from longshort.tasks import Forecaster

    options: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    return Forecaster(
        h,
        input_size,
        freq=int(freq) if freq is not None and freq.isdecimal() else freq,
        season_length=season_length,
        level=levels,
        seed=seed,
        **options,
    )


def parse_level(text: str) -> tuple[int | float, ...]:
    """Read percents such as "80,95"."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < number < 100 for number in numbers):
        raise DataError(f"--level {text}: expected percents between 0 and 100, such as 80,95.")
    return tuple(int(number) if number == int(number) else number for number in numbers)


def draw(history: SeriesSet, result: pd.DataFrame, path: Path) -> None:
    """Draw the forecast to a file, without a display."""
    from longshort.tasks import plot_forecast
    from longshort.tasks._files import write_file

    figure = plot_forecast(history, result)
    kind = path.suffix[1:].lower()
    write_file(path, lambda file: figure.savefig(file, format=kind, dpi=150))


def print_scores(scores: dict[str, dict[str, float]], n_windows: int, h: int) -> None:
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
    typer.echo(
        f"Tested on the last {n_windows} windows of {h} steps, no value of which was seen in "
        "training.\nMASE: mean error, as a multiple of that of repeating the last season before "
        "the window."
    )
