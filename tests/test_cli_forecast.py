"""The forecasting commands with covariates, wide tables and files beside DATA."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from longshort.cli import _common, app
from longshort.data import read_table
from longshort.tasks import Forecaster, load

H, STEPS = 3, 40
QUICK = ("--h", H, "--input-size", 8, "--epochs", 1, "--units", 4, "--level", 80)
NAMES = ("--id-col", "shop", "--time-col", "day", "--target-col", "sold")
EXOG = ("--futr-exog", "promo", "--hist-exog", "visits", "--stat-exog", "region")


def run(*args: Any, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def refused(*args: Any) -> str:
    """Run, expect exit code 2 and one sentence; return it."""
    result = run(*args, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr


def two_shops(steps: int = STEPS) -> pd.DataFrame:
    """Sales of two shops with names of their own, and some empty cells; by day, then by shop."""
    t = np.arange(steps)
    days = pd.date_range("2024-01-01", periods=steps).astype(str)
    parts = []
    for k, shop in enumerate(("001", "b")):
        promo = (t * (k + 2) % 5 == 0) * 1
        sold = np.round(20 + 5.0 * (t % 7) + 9 * promo + k, 1)
        sold[4 + k] = np.nan
        part = {"shop": shop, "day": days, "sold": sold, "promo": promo, "visits": t % 6}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts).sort_values(["day", "shop"], ignore_index=True)


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sales, with the steps to come in a file and in the table, and a model."""
    folder = tmp_path_factory.mktemp("shops")
    table = two_shops(STEPS + H)
    past = table[: 2 * STEPS]
    past.to_csv(folder / "sales.csv", index=False)
    ahead = table[2 * STEPS :]
    # Another order of rows and columns, and days of the past: neither matters.
    plan = pd.concat([ahead, past[-4:]])[["promo", "day", "shop"]].iloc[::-1]
    plan.to_csv(folder / "plan.csv", index=False)
    both = pd.concat([past, ahead.assign(sold=np.nan, visits=np.nan)])
    both.to_csv(folder / "both.csv", index=False)
    (folder / "shops.csv").write_text("shop,region,size\n001,north,3\nb,south,5\n")
    run(
        *("train", "forecast", folder / "sales.csv", *QUICK, *NAMES, *EXOG),
        *("--static", folder / "shops.csv", "--model", folder / "m.longshort"),
    )
    return folder


def test_steps_to_come_from_a_file_or_from_data(shops: Path, tmp_path: Path) -> None:
    model, static = shops / "m.longshort", ("--static", shops / "shops.csv")
    options = ("--futr", shops / "plan.csv", *static, *NAMES)
    expected = run("predict", model, shops / "sales.csv", *options).stdout
    lines = expected.splitlines()
    assert lines[0] == "unique_id,ds,LSTM,LSTM-lo-80,LSTM-hi-80"
    assert [line.split(",")[:2] for line in lines[1:]] == [
        [shop, f"2024-02-{day}"] for shop in ("001", "b") for day in (10, 11, 12)
    ]
    result = run("predict", model, shops / "both.csv", *static, *NAMES)
    assert result.stdout == expected and result.stderr == ""
    # The whole command, which takes the same model; and the steps to come matter.
    plan = read_table(shops / "plan.csv", text=["shop"])
    plan.assign(promo=1 - plan["promo"]).to_csv(tmp_path / "other.csv", index=False)
    options = ("--futr", tmp_path / "other.csv", *static, *NAMES)
    assert run("predict", model, shops / "sales.csv", *options).stdout != expected
    result = run(
        *("forecast", shops / "both.csv", *QUICK, *EXOG, *NAMES, *static, "--n-windows", 0),
        *("--output", tmp_path / "f.csv"),
    )
    assert (tmp_path / "f.csv").read_text() == expected


@pytest.mark.slow
def test_rows_to_come_are_left_out_where_nothing_is_forecast(shops: Path, tmp_path: Path) -> None:
    static = ("--static", shops / "shops.csv")
    result = run("evaluate", shops / "m.longshort", shops / "both.csv", *NAMES, *static, "--json")
    assert result.stderr == (
        f"note: left out {2 * H} rows of {shops / 'both.csv'} behind the last known y: steps to "
        "come.\n"
    )
    same = run("evaluate", shops / "m.longshort", shops / "sales.csv", *NAMES, *static, "--json")
    assert json.loads(same.stdout) == json.loads(result.stdout)
    assert json.loads(same.stdout)["model"] == "fresh"
    model = load(shops / "m.longshort")
    assert model.futr_exog_list == ["promo"] and model.tail_.ids == ["001", "b"]


def test_steps_to_come_that_are_missing(
    shops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fit", "cross_validation"):
        monkeypatch.setattr(Forecaster, name, None)  # all is found before the training
    command = ("forecast", *QUICK, *NAMES, "--futr-exog", "promo")
    text = refused(*command, shops / "sales.csv")
    assert "from --futr FILE or from rows of" in text and "no series has any." in text
    both = read_table(shops / "both.csv", text=["shop"])
    data = tmp_path / "data.csv"
    both[:-1].to_csv(data, index=False)
    text = refused(*command, data)
    assert f"error: {data}, rows behind the last known y: series 'b' lacks 1 of the 3" in text
    both[(both["shop"] == "b") | both["sold"].notna() | (both["day"] < "2024-02-01")].to_csv(
        data, index=False
    )
    assert "behind the last known y; series '001' has none." in refused(*command, data)
    one = both[both["shop"] == "b"][:-H]
    one.drop(columns="shop").to_csv(data, index=False)
    names = ("--time-col", "day", "--target-col", "sold", "--futr-exog", "promo")
    assert "last known y; it has none." in refused("forecast", *QUICK, *names, data)
    plan = read_table(shops / "plan.csv", text=["shop"])
    plan[plan["day"] != "2024-02-11"].to_csv(data, index=False)
    text = refused(*command, shops / "sales.csv", "--futr", data)
    assert text.startswith(f"error: --futr {data}: 2 faults: (1) series '001' lacks 1 of the 3")


def test_options_and_columns_that_do_not_fit(shops: Path, tmp_path: Path) -> None:
    sales, plan, static = shops / "sales.csv", shops / "plan.csv", shops / "shops.csv"
    command = ("forecast", sales, *QUICK, *NAMES)
    text = refused(*command, "--futr-exog", "prom", "--futr", plan)
    assert "no column 'prom' (--futr-exog); did you mean 'promo'?" in text
    assert "no column 'visit' (--hist-exog)" in refused(*command, "--hist-exog", "visit")
    text = refused(*command, "--stat-exog", "area", "--static", static)
    assert f"{static}: there is no column 'area' (--stat-exog); it has shop, region" in text
    assert "name them with --futr-exog" in refused(*command, "--futr", plan)
    assert "name them with --stat-exog" in refused(*command, "--static", static)
    assert "with --static FILE" in refused(*command, "--stat-exog", "region")
    text = refused(*command, "--recursive", "--hist-exog", "visits")
    assert "cannot know the --hist-exog" in text
    assert "such as price,promo" in refused(*command, "--futr-exog", "promo,")
    assert "twice" in refused(*command, "--hist-exog", "visits,visits")
    text = refused(*command, "--futr-exog", "promo", "--hist-exog", "promo", "--futr", plan)
    assert "--hist-exog: 'promo' is in --futr-exog as well" in text
    assert "is the column of --target-col" in refused(*command, "--hist-exog", "sold")
    assert "dropout must be" in refused(*command, "--dropout", 2)
    assert "learning_rate must be" in refused(*command, "--learning-rate", -1)
    for name in ("--refit", "--conformal"):
        assert f"{name}: needs the test" in refused(*command, name, "--n-windows", 0)
    kept = refused(*command, "--conformal", "--model", shops / "x.longshort")
    assert "intervals of the network" in kept
    futr = (*command, "--futr-exog", "promo", "--futr")
    assert "there is no file" in refused(*futr, tmp_path / "none.csv")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    text = refused(*futr, tmp_path / "broken.parquet")
    assert "cannot be read" in text or "pyarrow" in text
    (tmp_path / "plan.csv").write_text("day,promo\n2024-02-10,1\n")
    assert "no column 'shop' (--id-col)" in refused(*futr, tmp_path / "plan.csv")
    (tmp_path / "shops.csv").write_text("shop,region\n001,north\n")
    text = refused(*command, "--stat-exog", "region", "--static", tmp_path / "shops.csv")
    assert text.startswith(f"error: --static {tmp_path / 'shops.csv'}: there is no row")
    table = read_table(sales)
    table.loc[5, "promo"] = np.nan
    table.to_csv(tmp_path / "hole.csv", index=False)
    text = refused("forecast", tmp_path / "hole.csv", *QUICK, *NAMES, *futr[-3:], plan)
    assert "in row 5 of series" in text and "leave it out of --futr-exog" in text
    for target in (plan, static):
        options = (*EXOG[:2], *EXOG[4:], "--futr", plan, "--static", static, "--output", target)
        assert "would overwrite the input" in refused(*command, *options)


def test_empty_values_at_the_end_are_told(
    shops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[Any] = []

    def cross_validation(task: Any, series: Any, *args: Any, **options: Any) -> None:
        ends.extend(t[-1] for t in series.times)
        raise ZeroDivisionError

    monkeypatch.setattr(Forecaster, "cross_validation", cross_validation)
    result = run("forecast", shops / "both.csv", *QUICK, *NAMES, code=1)
    assert ends == [pd.Timestamp("2024-02-12")] * 2
    assert result.stderr.startswith(
        f"note: {shops / 'both.csv'} ends with rows without a y, {2 * H} in all; they count as "
        "missing values of the past.\n"
    )


@pytest.mark.slow
def test_files_for_a_saved_model(shops: Path, tmp_path: Path) -> None:
    model, sales = shops / "m.longshort", shops / "sales.csv"
    text = refused("predict", model, sales, *NAMES, "--futr", shops / "plan.csv")
    assert "the model was trained with --stat-exog region: pass the table" in text
    t = np.arange(30)
    pd.DataFrame({"ds": t, "y": t % 4}).to_csv(tmp_path / "plain.csv", index=False)
    plain = tmp_path / "plain.longshort"
    run("train", "forecast", tmp_path / "plain.csv", *QUICK, "--model", plain)
    for option in ("--futr", "--static"):
        text = refused("predict", plain, tmp_path / "plain.csv", option, shops / "plan.csv")
        assert f"{option} {shops / 'plan.csv'}: the model was trained without" in text


@pytest.mark.slow
def test_wide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = two_shops().rename(columns={"shop": "unique_id", "day": "ds", "sold": "y"})
    wide = long.pivot(index="ds", columns="unique_id", values="y").reset_index(names="day")
    data, model = tmp_path / "wide.csv", tmp_path / "m.longshort"
    wide.to_csv(data, index=False)
    long.to_csv(tmp_path / "long.csv", index=False)
    run("train", "forecast", data, "--wide", "--time-col", "day", *QUICK, "--model", model)
    expected = run("predict", model, tmp_path / "long.csv").stdout
    assert run("predict", model, data, "--wide", "--time-col", "day").stdout == expected
    monkeypatch.setattr(Forecaster, "fit", None)
    command = ("forecast", data, "--wide", *QUICK)
    assert "no column 'ds' (--time-col)" in refused(*command)
    command = (*command, "--time-col", "day")
    assert "cannot hold the covariates promo" in refused(*command, "--futr-exog", "promo")
    assert "--target-col: has no meaning" in refused(*command, "--target-col", "sold")
    assert "--id-col: has no meaning" in refused(*command, "--id-col", "shop")
    assert "leave out --wide" in refused("forecast", tmp_path / "long.csv", "--wide", *QUICK)
    assert "leave out --wide" in refused("forecast", "air-passengers", "--wide", *QUICK)
    wide.assign(note="x").to_csv(data, index=False)
    assert f"{data}: column 'note' is not a number" in refused(*command)


def test_options_reach_the_model(
    shops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    class Stop(Exception):
        pass

    def cross_validation(task: Any, data: Any, n_windows: int, **options: Any) -> None:
        made.append((task.get_params(), n_windows, options["refit"]))
        raise Stop

    monkeypatch.setattr(Forecaster, "cross_validation", cross_validation)
    run(
        *("forecast", shops / "both.csv", "--h", H, *NAMES, "--futr-exog", "promo"),
        *("--calendar", "--recursive", "--units", 7, "--dropout", 0.5, "--learning-rate", 0.01),
        *("--num-members", 2, "--refit", "--n-windows", 4, "--freq", "D", "--seed", 5),
        code=1,
    )
    [(params, n_windows, refit)] = made
    assert n_windows == 4 and refit is True
    expected = {
        **{"calendar": True, "recursive": True, "units": 7, "dropout": 0.5, "num_members": 2},
        **{"learning_rate": 0.01, "futr_exog_list": ["promo"], "freq": "D", "seed": 5, "h": H},
    }
    assert {name: params[name] for name in expected} == expected


class Bar:
    """A progress bar whose first call is Ctrl-C."""

    def __enter__(self) -> Any:
        return lambda *call: signal.raise_signal(signal.SIGINT)

    def __exit__(self, *error: object) -> None:
        pass


@pytest.mark.filterwarnings("always")
def test_ctrl_c_in_the_training_writes_all(
    shops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_common, "progress_bar", lambda *args, **kwargs: Bar())
    paths = [tmp_path / name for name in ("f.csv", "f.png", "m.longshort")]
    options = zip(("--output", "--plot", "--model"), paths, strict=True)
    words = [word for option in options for word in option]
    result = run(
        *("forecast", shops / "both.csv", *QUICK[:-4], "--epochs", 9, "--futr-exog", "promo"),
        *(*NAMES, "--n-windows", 0, *words),
    )
    assert "warning: Forecaster: training was interrupted" in result.stderr
    assert "the best weights so far (epoch" in result.stderr
    assert f"Written: {', '.join(map(str, paths))}" in result.stdout
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert len(load(paths[2]).losses_) == 2


def test_ctrl_c_in_the_test_writes_nothing(
    shops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_common, "progress_bar", lambda *args, **kwargs: Bar())
    result = run(
        *("forecast", shops / "both.csv", *QUICK, "--futr-exog", "promo", *NAMES),
        *("--output", tmp_path / "f.csv", "--report", tmp_path / "r.html"),
        code=130,
    )
    assert result.stdout == ""
    assert result.stderr == (
        "interrupted in the test: nothing was written; --n-windows 0 leaves the test out\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_conformal_intervals(shops: Path) -> None:
    """All windows of a series have the same width at a step, that of an error of the test."""
    command = ("forecast", shops / "sales.csv", *QUICK, *NAMES, "--json", "--n-windows", 3)
    own, other = (json.loads(run(*command, *more).stdout) for more in ((), ("--conformal",)))
    assert own["backtest"] == other["backtest"]
    for a, b in zip(own["forecast"], other["forecast"], strict=True):
        assert a["LSTM"] == b["LSTM"] and a["LSTM-lo-80"] != b["LSTM-lo-80"]
        width = [b["LSTM-hi-80"] - b["LSTM"], b["LSTM"] - b["LSTM-lo-80"]]
        assert width[0] == pytest.approx(width[1]) and width[0] > 0


@pytest.mark.slow
def test_refit_is_said(shops: Path) -> None:
    result = run("forecast", shops / "sales.csv", *QUICK, *NAMES, "--refit", "--n-windows", 2)
    assert "windows of 3 steps, each by a model trained anew on what comes before" in result.stdout


@pytest.mark.slow
def test_search_sees_what_comes_before_the_test(shops: Path, monkeypatch, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def auto(h: int, series: Any, **options: Any) -> Any:
        seen.update(options, h=h, lengths=[len(y) for y in series.values])
        found = Forecaster(h, input_size=8, level=(80,), units=5, epochs=1, seed=options["seed"])
        found.trials_ = pd.DataFrame({"number": [0, 1]})
        return found

    monkeypatch.setattr(Forecaster, "auto", staticmethod(auto))
    command = ("forecast", shops / "sales.csv", *QUICK[:6], "--level", 80, *NAMES)
    kept = tmp_path / "search.db"
    result = run(*command, "--n-windows", 2, "--tune", 9, "--tune-file", kept, "--json")
    assert json.loads(result.stdout)["tuned"] == "Tried 2 settings; best: units 5."
    assert seen["h"] == H and seen["lengths"] == [STEPS - 2 * H] * 2
    assert seen["time_budget"] == 9 and seen["storage"] == kept and seen["seed"] == 1
    assert seen["input_size"] == 8 and seen["epochs"] == 1 and "units" not in seen
    assert "--tune SECONDS" in refused(*command, "--tune-file", kept)
    assert "distribution must be one of" in refused(*command, "--distribution", "Gauss")
