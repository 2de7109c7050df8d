"""Reading many small files, against reading each once with pandas or xarray: what `prepare` adds to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from tests import factory
from watercli.config import Config
from watercli.preparation.build import requests
from watercli.preparation.joined_sources import joined
from watercli.preparation.readers.registry import READERS
from watercli.preparation.readers.sources import Sources

GAUGES, YEARS = 300, 10
CELLS = 60
Tasks = dict[str, Callable[[], object]]


def table_tasks(folder: Path) -> Tasks:
    """Write ten years of rain and flow of 300 gauges, a CSV each; return what reads both variables of all."""
    days = factory.days("2001-01-01", f"{2000 + YEARS}-12-31")
    rng = np.random.default_rng(0)
    for gauge in range(GAUGES):
        values = rng.gamma(1.0, 5.0, (len(days), 2)).round(2)
        pd.DataFrame(values, index=days, columns=["rain", "flow"]).to_csv(
            folder / f"{gauge:04d}.csv", index_label="date"
        )
    source = {"reader": "table", "files": "*.csv"}
    config = factory.config(
        modalities={
            name: {"kind": "series", "units": "mm/day", "source": source | {"variable": name}}
            for name in ("rain", "flow")
        }
    )
    paths = sorted(folder.glob("*.csv"))

    def read() -> None:
        sources = Sources(folder)
        for request in requests(config, sources).values():
            joined(request)

    return {
        "pandas reads each file": lambda: [pd.read_csv(path, parse_dates=["date"]) for path in paths],
        "the reader table": read,
    }


def day_tasks(folder: Path) -> Tasks:
    """Write a year of rain, a NetCDF file for each day; return what reads all."""
    days = factory.days("2001-01-01", "2001-12-31")
    y, x = 2500 + 5000.0 * np.arange(CELLS), 2500 + 5000.0 * np.arange(CELLS)
    rain = np.random.default_rng(0).gamma(0.5, 4.0, (len(days), CELLS, CELLS))
    paths = [
        factory.write_grid(folder / f"{day:%Y%m%d}.nc", days[[number]], rain[[number]], y=y, x=x)
        for number, day in enumerate(days)
    ]
    source = {"reader": "grid", "variable": "rainfall", "files": "*.nc"}
    modality = {"kind": "grid", "units": "mm/day", "source": source}
    config: Config = factory.config(modalities={"rain": modality}, recipe__catchments=None)

    def once() -> None:
        xr.concat([xr.load_dataset(path, engine="netcdf4")["rainfall"] for path in paths], dim="time")

    return {
        "xarray reads each file": once,
        "the reader grid": lambda: READERS["grid"].read(requests(config, Sources(folder))["rain"]).load(),
    }
