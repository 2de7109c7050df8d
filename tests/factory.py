"""Synthetic source files in the true formats, and a recipe that reads them: one factory for all tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml
from pyproj import Transformer

from watercli.config import Config, parse

START, END = "2001-01-01", "2001-12-31"
TRAINING_DAYS = 181
GAUGES = ("01001", "02002", "10003", "20004")
"""Ids with leading zeros, as text."""
Y = 300_000.0 + 10_000 * np.arange(12)
X = 400_000.0 + 10_000 * np.arange(9)
AIRY_TRANSVERSE_MERCATOR = {
    "grid_mapping_name": "transverse_mercator",
    "longitude_of_prime_meridian": 0.0,
    "semi_major_axis": 6377563.396,
    "semi_minor_axis": 6356256.909,
    "longitude_of_central_meridian": -2.0,
    "latitude_of_projection_origin": 49.0,
    "false_easting": 400000.0,
    "false_northing": -100000.0,
    "scale_factor_at_central_meridian": 0.9996012717,
}
RECIPE = """
name: synthetic
recipe:
  period: {start: 2001-01-01, end: 2001-12-31}
  splits:
    train: {start: 2001-01-01, end: 2001-06-30}
    validation: {start: 2001-07-01, end: 2001-09-30}
    test: {start: 2001-10-01, end: 2001-12-31}
  grid: {crs: EPSG:27700, patch_size: [4, 4], land_threshold: 0.5}
  catchments:
    tables:
      - {files: attributes/topographic.csv}
      - {files: attributes/caravan.csv, gauge_id_prefix: camelsgb_}
    attributes:
      area: {column: area, units: km2, transform: log}
      clay: {column: cly_pc_sav, units: "%"}
modalities:
  precip:
    kind: grid
    units: mm/day
    source: {reader: hadukgrid, variable: rainfall, files: rainfall/*.nc}
    transform: log1p
  evap:
    kind: series
    units: mm/day
    source: {reader: camels_gb, variable: pet, files: timeseries/*.csv}
  riverflow:
    kind: series
    units: mm/day
    source: {reader: camels_gb, variable: discharge_spec, files: timeseries/*.csv}
    transform: log
window_days: 10
"""


def config(**changes: Any) -> Config:
    """Return the synthetic recipe; ``changes`` are dotted settings with ``__`` for the dot."""
    overrides = [
        f"{key.replace('__', '.')}={yaml.safe_dump(value, default_flow_style=True).removesuffix('...' + chr(10))}"
        for key, value in changes.items()
    ]
    return parse(RECIPE, origin="the synthetic recipe", overrides=overrides)


def days(start: str = START, end: str = END) -> pd.DatetimeIndex:
    return pd.date_range(start, end, freq="D")


def sea() -> np.ndarray:
    """Return the sea of the synthetic grid ``[Y, X]``: its two eastern columns."""
    mask = np.zeros((len(Y), len(X)), dtype=bool)
    mask[:, -2:] = True
    return mask


def field(times: pd.DatetimeIndex, seed: int = 0) -> np.ndarray:
    """Return a gamma-distributed field ``[T, Y, X]``, NaN over the sea."""
    values = np.random.default_rng(seed).gamma(0.5, 4.0, (len(times), len(Y), len(X)))
    values[:, sea()] = np.nan
    return values


def write_grid(
    path: Path,
    times: pd.DatetimeIndex,
    values: np.ndarray,
    *,
    variable: str = "rainfall",
    units: str | None = "mm",
    cell_methods: str = "time: sum",
    packed: bool = False,
    south_first: bool = True,
    bounds: bool = True,
    mapping: dict[str, Any] | None = None,
    y: np.ndarray = Y,
    x: np.ndarray = X,
) -> Path:
    """Write a NetCDF file as HadUK-Grid publishes it: stamped 12:00, days from 09:00, 1e20 over the sea."""
    order = slice(None) if south_first else slice(None, None, -1)
    dims = ("time", "projection_y_coordinate", "projection_x_coordinate")
    noon = times + pd.Timedelta(hours=12)
    data = xr.Dataset({variable: (dims, values[:, order])})
    data[variable].attrs.update(
        {"grid_mapping": "transverse_mercator", "cell_methods": cell_methods} | ({"units": units} if units else {})
    )
    axis = {"axis": "Y", "standard_name": "projection_y_coordinate", "units": "m"}
    data = data.assign_coords(
        time=("time", noon, {"axis": "T", "standard_name": "time"}),
        projection_y_coordinate=(dims[1], y[order], axis),
        projection_x_coordinate=(
            dims[2],
            x,
            {"axis": "X", "standard_name": "projection_x_coordinate", "units": "m"},
        ),
    )
    data["transverse_mercator"] = ((), np.int32(0), mapping or AIRY_TRANSVERSE_MERCATOR)
    if bounds:
        data["time"].attrs["bounds"] = "time_bnds"
        edges = np.stack([times + pd.Timedelta(hours=9), times + pd.Timedelta(hours=33)], axis=1)
        data["time_bnds"] = (("time", "bnds"), edges)
    packing = {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -32768}
    encoding: dict[str, Any] = {variable: packing if packed else {"_FillValue": 1e20}}
    encoding["time"] = {"units": "hours since 1800-01-01", "dtype": "int64"}
    path.parent.mkdir(parents=True, exist_ok=True)
    data.to_netcdf(path, engine="netcdf4", encoding=encoding)
    return path


def write_months(folder: Path, times: pd.DatetimeIndex, values: np.ndarray, **options: Any) -> list[Path]:
    """Write one file for each month."""
    variable = options.get("variable", "rainfall")
    written = []
    for period, index in pd.Series(np.arange(len(times)), index=times).groupby(times.to_period("M")):
        rows = index.to_numpy()
        name = f"{variable}_hadukgrid_uk_10km_day_{period.start_time:%Y%m%d}-{period.end_time:%Y%m%d}.nc"
        written.append(write_grid(folder / name, times[rows], values[rows], **options))
    return written


def flows(times: pd.DatetimeIndex, seed: int) -> pd.DataFrame:
    """Return a gauge's record with the columns of CAMELS-GB; a block of flow is missing."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(index=pd.Index(times.strftime("%Y-%m-%d"), name="date"))
    frame["precipitation"] = rng.gamma(0.5, 4.0, len(times)).round(2)
    frame["pet"] = (1.5 + np.cos(2 * np.pi * (times.dayofyear - 190) / 365.25)).round(3)
    frame["temperature"] = (9 + rng.normal(0, 3, len(times))).round(2)
    frame["discharge_spec"] = rng.gamma(1.0, 1.0, len(times)).round(3)
    frame["discharge_vol"] = frame["discharge_spec"] * 2
    frame.iloc[40:55, frame.columns.get_loc("discharge_spec")] = np.nan
    return frame


def write_gauge(root: Path, gauge: str, frame: pd.DataFrame) -> Path:
    dates = pd.DatetimeIndex(frame.index)
    name = f"CAMELS_GB_hydromet_timeseries_{gauge}_{dates[0]:%Y%m%d}-{dates[-1]:%Y%m%d}.csv"
    path = root / "timeseries" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, na_rep="NaN")
    return path


def write_attributes(root: Path, gauges: Sequence[str] = GAUGES) -> None:
    """Write two tables: one keyed by gauge id, one by Caravan's prefixed id."""
    folder = root / "attributes"
    folder.mkdir(parents=True, exist_ok=True)
    places = [(Y[2] + 15_000 * i, X[2] + 6_000 * i) for i in range(len(gauges))]
    north, east = (np.array(axis) for axis in zip(*places, strict=True))
    lon, lat = Transformer.from_crs("EPSG:27700", "EPSG:4326", always_xy=True).transform(east, north)
    table = pd.DataFrame({"gauge_id": gauges, "gauge_name": [f"River {g}" for g in gauges]})
    table = table.assign(gauge_lat=lat, gauge_lon=lon, area=[150.0 * (i + 1) for i in range(len(gauges))])
    table.to_csv(folder / "topographic.csv", index=False)
    caravan = pd.DataFrame({"gauge_id": [f"camelsgb_{g}" for g in gauges]})
    caravan.assign(cly_pc_sav=[10.0 + 3 * i for i in range(len(gauges))]).to_csv(folder / "caravan.csv", index=False)


def data_folder(root: Path) -> Path:
    """Write a whole small data folder: one rain file, four gauges, two attribute tables."""
    times = days()
    write_grid(root / "rainfall" / "rainfall.nc", times, field(times), packed=True)
    for seed, gauge in enumerate(GAUGES):
        write_gauge(root, gauge, flows(times, seed))
    write_attributes(root)
    return root


def edit(path: Path, old: str, new: str) -> None:
    """Replace text in a file, which must hold it."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
