"""Forecast products: series of weather by gauge, day of issue and lead time, in NetCDF, Zarr or text tables.

Gridded ones, by latitude and longitude, become means over catchments.

Shapes: C gauges, I days of issue, L lead times in days.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pint
import xarray as xr

from watercli.config import Config, ForecastProduct, Modality
from watercli.errors import ConfigError, DataError, nearest
from watercli.hydrology.units import parse, stated_in
from watercli.log import log, track
from watercli.preparation import units
from watercli.preparation.quality.records import Quality
from watercli.preparation.readers import forecast_grid, ids, missing, netcdf
from watercli.preparation.readers.forecast_grid import Catchments
from watercli.preparation.readers.sources import Sources
from watercli.store import FORECAST, FORECAST_DIMS

PACKING = 2e-5
"""Share of the greatest amount since the issue below which a day's amount is rounding: 16 bits pack no finer."""


@dataclass(frozen=True)
class ProductFiles:
    """The forecast product of a modality, its files found."""

    name: str
    """Of the modality."""
    modality: Modality
    product: ForecastProduct
    sources: Sources
    paths: Sequence[Path]

    @property
    def setting(self) -> str:
        """The section of the configuration that holds the product, for messages."""
        return f"modalities.{self.name}.forecast"

    @property
    def dims(self) -> tuple[str, str, str]:
        """Names in the files of gauge ids, days of issue and lead times."""
        return self.product.gauge_id, self.product.init_time, self.product.lead_time

    def gauge_id(self, gauge: str) -> str:
        """Return an id of the files as the recipe knows it."""
        product = self.product
        return ids.own(gauge, product.gauge_id_prefix, product.gauge_id_digits, product.gauge_id_new_prefix)


def find(config: Config, sources: Sources) -> list[ProductFiles]:
    """Return the forecast product of each modality that has one.

    Raises
    ------
    ConfigError, DataError
        If files are not there, or the name that the product has in the store is another modality's.
    """
    products = []
    for name, modality in config.modalities.items():
        if modality.forecast is None:
            continue
        if f"{name}{FORECAST}" in config.modalities:
            raise ConfigError(
                f"Modality '{name}{FORECAST}' has the name that the forecasts of '{name}' have in the store; rename it"
            )
        paths = sources.find(modality.forecast.files, f"modalities.{name}.forecast.files")
        products.append(ProductFiles(name, modality, modality.forecast, sources, paths))
    return products


def read(products: Sequence[ProductFiles], catchments: Catchments, quality: Quality) -> xr.Dataset:
    """Return the forecasts of catchments, ``(catchment, init_time, lead_time)`` each, NaN where missing.

    Values are in the units of the modalities; ``init_time`` holds days and ``lead_time`` days from 1 on: a value is of
    the day ``init_time + lead_time``. All products are on the days of issue and lead times of any.

    Raises
    ------
    DataError
        If a file is no such product, or has none of the gauges.
    """
    forecasts = {f"{files.name}{FORECAST}": _within(_read(files, catchments), files, quality) for files in products}
    dataset = xr.Dataset(dict(zip(forecasts, xr.align(*forecasts.values(), join="outer"), strict=True)))
    dataset["init_time"].attrs |= {"standard_name": "forecast_reference_time", "long_name": "day of issue"}
    dataset["lead_time"].attrs |= {"standard_name": "forecast_period", "units": "day"}
    return dataset


def _read(files: ProductFiles, catchments: Catchments) -> xr.DataArray:
    """Return the forecasts of all files, those of later files where earlier ones have none."""
    gauges = [str(gauge) for gauge in catchments.gauges.index]
    paths = track(files.paths, f"Reading {files.name}{FORECAST}")
    pieces = [piece for path in paths for piece in _of_file(files, path, catchments)]
    known = {str(gauge) for piece in pieces for gauge in piece["catchment"].values}
    if not known & set(gauges):
        hint = ids.hint(str(gauges[0]), known, "recipe.catchments.tables", files.setting) if gauges and known else ""
        raise DataError(
            f"The forecasts of '{files.name}' are of none of the store's {len(gauges)} gauges"
            f"{f' ({hint})' if hint else ''}; mend {files.setting}.gauge_id_prefix or its files"
        )
    if absent := [gauge for gauge in gauges if gauge not in known]:
        log.warning("%s: %d of %d catchments have no forecast (%s)", files.name, len(absent), len(gauges),
                    ", ".join(absent[:5]))  # fmt: skip
    joined = _joined(pieces, gauges)
    issued = joined.indexes["init_time"]
    log.info("%s: forecasts issued on %d days from %s to %s, %d to %d days ahead", files.name, len(issued),
             f"{issued[0]:%Y-%m-%d}", f"{issued[-1]:%Y-%m-%d}", *joined["lead_time"].values[[0, -1]])  # fmt: skip
    return joined.assign_attrs(
        units=files.modality.units,
        long_name=f"forecast of {files.modality.long_name or files.name}",
    )


def _joined(pieces: Sequence[xr.DataArray], gauges: Sequence[str]) -> xr.DataArray:
    issues, leads = (
        pd.Index(np.unique(np.concatenate([piece[dim].values for piece in pieces]))) for dim in FORECAST_DIMS[1:]
    )
    indices = pd.Index(np.array(gauges, dtype=object)), issues, leads
    coords: dict[str, pd.Index] = dict(zip(FORECAST_DIMS, indices, strict=True))
    values = np.full([len(index) for index in coords.values()], np.nan, dtype=np.float32)
    for piece in pieces:
        known = piece.isel(catchment=np.isin(piece["catchment"].values, gauges))
        at = np.ix_(*(index.get_indexer(pd.Index(known[dim].values)) for dim, index in coords.items()))
        values[at] = np.where(np.isnan(values[at]), known.values, values[at])
    return xr.DataArray(values, coords, FORECAST_DIMS)


def _of_file(files: ProductFiles, path: Path, catchments: Catchments) -> Iterator[xr.DataArray]:
    """Yield what a file holds: of some gauges, days of issue and lead times from one day on."""
    files.sources.use([path])
    name = files.sources.name(path)
    with _opened(files, path, name) as dataset:
        data = _selected(files, _by_gauge(files, dataset, name, catchments), name)
        given = units.stated(files.product.units, stated_in(data.attrs), f"'{data.name}' in {name}", _saying(files))
        # As of any series, an amount is of its day.
        data = data.assign_attrs({"cell_methods": "time: sum"} | data.attrs)
        data = units.convert(data, given, files.modality.units, f"'{files.product.variable}' in {name}", _saying(files))
        if files.product.accumulated:
            data = by_day(data)
        ahead = data.sel(lead_time=data["lead_time"] >= 1)
        if ahead.size:
            yield ahead.astype(np.float32).load()
        else:
            log.warning("%s: %s holds no forecast of a day after its issue, and is left out", files.name, name)


def _saying(files: ProductFiles) -> units.Say:
    return lambda _, message: log.info("%s: %s", files.name, message)


def by_day(accumulated: xr.DataArray) -> xr.DataArray:
    """Return amounts of days from amounts since the issue; missing where the day before is no lead time."""
    lead_time = accumulated["lead_time"]
    before = accumulated.reindex(lead_time=lead_time - 1).assign_coords(lead_time=lead_time)
    amounts = accumulated - before.where(lead_time > 0, 0)
    noise = PACKING * float(np.abs(accumulated).max())
    return amounts.where((np.abs(amounts) > noise) | np.isnan(amounts), 0).assign_attrs(accumulated.attrs)


@contextmanager
def _opened(files: ProductFiles, path: Path, name: str) -> Iterator[xr.Dataset]:
    address = files.sources.address(path)
    if Path(address).suffix.lower() in (*netcdf.ENDINGS, ".zarr"):
        kind, options = netcdf.reading(address)
        try:
            with xr.open_dataset(address, decode_cf=False, **options) as raw:
                yield netcdf.decoded(raw)
        except (OSError, RuntimeError, ValueError) as error:
            raise netcdf.refused(path, name, kind) from error
        return
    yield _table(files, path, name)


def _table(files: ProductFiles, path: Path, name: str) -> xr.Dataset:
    """Return a text table with a row for each gauge, day of issue and lead time."""
    try:
        table = pd.read_csv(path, dtype={files.product.gauge_id: str})
    except (OSError, ValueError) as error:
        raise DataError(f"{name} cannot be read as a table of forecasts; write it as CSV, NetCDF or Zarr") from error
    for column in (*files.dims, files.product.variable):
        if column not in table:
            raise DataError(
                f"{name} has no column '{column}'{nearest(column, map(str, table.columns))}; {files.setting} names "
                "its columns"
            )
    gauge, issued, _ = files.dims
    table[issued] = pd.to_datetime(table[issued], format="ISO8601", errors="coerce")
    if table[[gauge, issued]].isna().any(axis=None):
        raise DataError(f"{name} has a row without a gauge id, or without a day of issue such as 2014-10-01; mend it")
    rows = table.set_index(list(files.dims))[files.product.variable]
    if rows.index.has_duplicates:
        raise DataError(f"{name} holds a lead time of a forecast twice; keep one row")
    return xr.Dataset({files.product.variable: xr.DataArray.from_series(pd.to_numeric(rows, errors="coerce"))})


def _by_gauge(files: ProductFiles, dataset: xr.Dataset, name: str, catchments: Catchments) -> xr.Dataset:
    """Return a dataset by gauge: a gridded variable in it becomes means over catchments."""
    variable, gauge_id = files.product.variable, files.product.gauge_id
    if gauge_id in dataset.variables or variable not in dataset.variables:
        return dataset
    axes = forecast_grid.axes_of(dataset[variable])
    if axes is None:
        return dataset
    data = missing.valid(dataset[variable], f"'{variable}' in {name}", _saying(files), files.product.missing_values)
    return forecast_grid.areal_means(data, axes, catchments, gauge_id).to_dataset(name=variable)


def _selected(files: ProductFiles, dataset: xr.Dataset, name: str) -> xr.DataArray:
    """Return the variable as ``(catchment, init_time, lead_time)``, its marks of missing values gone."""
    variable = files.product.variable
    for label in (variable, *files.dims):
        if label not in dataset.variables:
            raise DataError(
                f"{name} has no variable '{label}'{nearest(label, map(str, dataset.variables))}; {files.setting} "
                "names its variables"
            )
    labels = [dataset[label] for label in files.dims]
    data = missing.valid(dataset[variable], f"'{variable}' in {name}", _saying(files), files.product.missing_values)
    along = [label.dims[0] if label.ndim == 1 else str(label.name) for label in labels]
    data = data.expand_dims([dim for dim in along if dim not in data.dims])
    further = [str(dim) for dim in data.dims if dim not in along]
    if further or len(set(along)) < len(along) or any(label.ndim > 1 for label in labels):
        raise DataError(
            f"'{variable}' in {name} has the dims ({', '.join(map(str, data.dims))}); it needs one for each of gauges, "
            "days of issue and lead times, and no other: take the mean of an ensemble first"
        )
    if files.product.accumulated:
        data, labels[2] = _whole_days(data, labels[2], name)
    gauges = [files.gauge_id(gauge) for gauge in _gauges(labels[0])]
    coords: dict[str, pd.Index] = {
        "catchment": pd.Index(np.array(gauges, dtype=object)),
        "init_time": _issued(labels[1], name),
        "lead_time": pd.Index(_leads(files, labels[2], name)),
    }
    for dim, index in coords.items():
        if index.has_duplicates:
            raise DataError(f"{name} holds a value of {dim} twice; keep one")
    return xr.DataArray(data.transpose(*along).data, coords, FORECAST_DIMS, name=variable, attrs=data.attrs)


def _gauges(labels: xr.DataArray) -> list[str]:
    """Return gauge ids as text, whole numbers without a fraction."""
    if labels.dtype.kind == "f":
        return [f"{label:.0f}" for label in np.atleast_1d(labels.values)]
    return netcdf.as_text(labels)


def _issued(labels: xr.DataArray, name: str) -> pd.DatetimeIndex:
    """Return the days of issue."""
    values = np.atleast_1d(labels.values)
    if values.dtype.kind != "M":
        raise DataError(f"'{labels.name}' in {name} holds no dates of the standard calendar; mend its units")
    times = pd.DatetimeIndex(values).as_unit("ns")
    hours = sorted(set(times - times.normalize()))
    if len(hours) > 1:
        raise DataError(
            f"{name} holds forecasts of {len(hours)} hours of the day ('{labels.name}'); keep one run of each day"
        )
    return times.normalize()


def _leads(files: ProductFiles, labels: xr.DataArray, name: str) -> np.ndarray:
    """Return lead times in days, each that of the day that it labels, ``[L]``."""
    days = _days(labels, name)
    if not _is_whole(days).all():
        raise DataError(f"'{labels.name}' in {name} holds lead times that are no whole days; make days of them first")
    return np.round(days).astype(np.int64) - (files.product.label == "end")


def _whole_days(data: xr.DataArray, labels: xr.DataArray, name: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the amounts since the issue that end with a day, and their lead times."""
    if not labels.ndim:
        return data, labels
    at = {labels.dims[0]: _is_whole(_days(labels, name))}
    return data.isel(at), labels.isel(at)


def _days(labels: xr.DataArray, name: str) -> np.ndarray:
    values = np.atleast_1d(labels.values)
    if values.dtype.kind == "m":
        return values / np.timedelta64(1, "D")
    return values.astype(np.float64) * _in_days(str(labels.attrs.get("units", "day")), labels, name)


def _is_whole(days: np.ndarray) -> np.ndarray:
    whole: np.ndarray = np.isfinite(days) & (np.abs(days - np.round(days)) < 1e-3)
    return whole


def _in_days(unit: str, labels: xr.DataArray, name: str) -> float:
    try:
        return float(parse(unit).to("day").magnitude)
    except (pint.PintError, ValueError) as error:
        raise DataError(
            f"'{labels.name}' in {name} is in '{unit}', which is no time; state its units as hours or days"
        ) from error


def _within(data: xr.DataArray, files: ProductFiles, quality: Quality) -> xr.DataArray:
    """Return forecasts without values that are physically impossible, which are counted, of days of the recipe."""
    quantity = quality.quantities.get(files.name)
    if quantity is None:
        return data
    least, greatest = quantity.possible_in(files.modality.units)
    outside = (data < least) | (data > greatest)
    if outside.any():
        log.warning("%s: %s forecast values lie outside %g to %g %s and are taken as missing", files.name,
                    f"{int(outside.sum()):,}", least, greatest, files.modality.units)  # fmt: skip
    return data.where(~outside)


def joined_with(new: xr.Dataset, old: Mapping[str, xr.DataArray]) -> xr.Dataset:
    """Return forecasts with earlier ones of the same gauges beside them; what both hold is as in the new."""
    plain = {name: data.reset_coords(drop=True) for name, data in old.items()}  # without the places of gauges
    return new.combine_first(xr.Dataset(plain))
