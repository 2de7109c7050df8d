"""The built-in demo domain: an invented island, its weather, its soils and the rivers of two dozen catchments.

Weather is that of `demo_weather`; potential evaporation is by Oudin et al. (2005, Journal of
Hydrology 303, 290-306, doi:10.1016/j.jhydrol.2004.08.026) as ``pyet`` has it; soil moisture and river flow come from
`watercli.hydrology.gr4j`, whose parameters follow the static attributes and stay within the 80 % ranges of table 1
in Perrin, Michel & Andréassian (2003): X1 100-1200 mm, X3 20-300 mm, X4 1.1-2.9 days (X2 is kept between -1 and 0).

Everything is drawn from ``config.seed``. Shapes: ``T`` days, ``Y X`` cells, ``N`` catchments.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import pyet
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from watercli.config import Config, DemoDomain, Period
from watercli.errors import ConfigError, nearest
from watercli.hydrology.areal_mean import areal_mean
from watercli.hydrology.gr4j import Parameters, gr4j, production
from watercli.preparation import units
from watercli.preparation.geometry import disc, disc_radius
from watercli.preparation.readers import demo_weather
from watercli.preparation.readers.reader import Reader
from watercli.preparation.readers.request import Request

Array = NDArray[np.floating]

VERSION = 1
"""Part of a store's fingerprint; raise it whenever the generated values change."""
CRS_NAME = "EPSG:27700"
ORIGIN = (400_000.0, 250_000.0)
"""Northing and easting of the domain's south-west corner in metres: the middle of Great Britain."""
WARM_UP_DAYS = 365
"""Days simulated before the period and discarded, so that the first state is forgotten."""
CELLS_AT_ONCE = 512
"""Cells whose soils are worked on at a time."""
GAP_DAYS = 20.0
"""Mean length of a gap in a record."""


@dataclass(frozen=True)
class Domain:
    """The generated domain: ``data`` holds the variables by name, ``attributes`` one row for each catchment."""

    data: xr.Dataset
    attributes: pd.DataFrame


def is_used(config: Config) -> bool:
    """Whether a modality of the configuration is generated here."""
    return any(source.reader == "demo" for modality in config.modalities.values() for source in modality.source)


def read(request: Request) -> xr.DataArray:
    """Return a variable of the demo domain, ``(time, y, x)`` or ``(catchment, time)``, with its units.

    Raises
    ------
    ConfigError
        If the domain has no such variable.
    """
    data, variable = domain(request.config).data, request.source.variable
    if variable not in data:
        raise ConfigError(f"The demo domain has no variable '{variable}'{nearest(variable, map(str, data.data_vars))}")
    field = data[variable]
    if ("catchment" in field.dims) != (request.modality.kind == "series"):
        raise ConfigError(
            f"'{variable}' of the demo domain is no {request.modality.kind}; mend "
            f"modalities.{request.modality_name}.kind"
        )
    return units.convert(
        field, field.attrs["units"], request.modality.units, f"'{variable}' of the demo domain", request.say
    )


def domain(config: Config) -> Domain:
    """Return the demo domain of a configuration."""
    assert config.recipe is not None
    return _generate(config.recipe.demo or DemoDomain(), config.recipe.period, config.seed)


@lru_cache(maxsize=1)
def _generate(size: DemoDomain, period: Period, seed: int) -> Domain:
    rng = np.random.default_rng(seed)
    start = pd.Timestamp(period.start) - pd.Timedelta(days=WARM_UP_DAYS)
    times = pd.date_range(start, period.end, freq="D")
    y = ORIGIN[0] + 1000 * size.cell_km * (np.arange(size.cells[0]) + 0.5)
    x = ORIGIN[1] + 1000 * size.cell_km * (np.arange(size.cells[1]) + 0.5)
    altitude, land = demo_weather.terrain(size.cells, size.cell_km, rng)
    permeable = demo_weather.GaussianFields(size.cells, 40 / size.cell_km).draw(1, rng)[0]
    latitude = _latitude(y, x)
    sites, shares = _sites(y, x, land, size.catchments, rng)
    rain = demo_weather.rain(times, altitude, size.cell_km, rng)
    temperature = demo_weather.temperature(times, altitude, size.cell_km, rng)
    attributes = _attributes(sites, shares, altitude, permeable, rain.mean(axis=0), rng)

    soil = _soil(times, rain, temperature, latitude, permeable, land)
    pet = potential_evaporation(times, _daily_means(temperature, shares), attributes["gauge_lat"].to_numpy())
    flow, _ = gr4j(_daily_means(rain, shares), pet, _parameters(attributes, _catchment_means(permeable, shares)))

    kept = slice(WARM_UP_DAYS, None)
    grids = {"precip": _on_land(rain[kept], land), "soil": soil[kept]}
    del rain  # one of the two large arrays goes before the other is copied
    grids["temp"] = _on_land(temperature[kept], land)
    grids["soil"][gaps(len(times) - WARM_UP_DAYS, size.missing_fraction, rng)] = np.nan
    series = {"evap": pet[kept].T, "riverflow": flow[kept].T}
    for values in series.values():
        for record in values:
            record[gaps(len(record), size.missing_fraction, rng)] = np.nan
    return Domain(_dataset(times[kept], y, x, list(attributes["gauge_id"]), grids, series), attributes)


def _dataset(
    times: pd.DatetimeIndex, y: Array, x: Array, gauges: list[str], grids: dict[str, Array], series: dict[str, Array]
) -> xr.Dataset:
    source_units = {"precip": "mm/day", "soil": "1", "temp": "degC", "evap": "mm/day", "riverflow": "mm/day"}
    data = xr.Dataset(coords={"time": times, "y": y, "x": x, "catchment": np.array(gauges, dtype=object)})
    for name, values in grids.items():
        data[name] = (("time", "y", "x"), values)
    for name, values in series.items():
        data[name] = (("catchment", "time"), values.astype(np.float32))
    for name, unit in source_units.items():
        data[name].attrs.update(units=unit, crs_wkt=CRS(CRS_NAME).to_wkt(), day="00:00 to 24:00 (generated)")
    return data


def potential_evaporation(times: pd.DatetimeIndex, temperature: Array, latitude: Array) -> Array:
    """Return Oudin's potential evaporation ``[T, N]`` in mm/day from temperature (deg C) and latitude (degrees)."""
    celsius = xr.DataArray(temperature, dims=("time", "place"), coords={"time": times})
    pet = pyet.oudin(celsius, xr.DataArray(np.deg2rad(latitude), dims=("place",)))
    return np.asarray(pet.transpose("time", "place"), dtype=np.float64)


def _soil(
    times: pd.DatetimeIndex,
    rain: Array,
    temperature: Array,
    latitude: Array,
    permeable: Array,
    land: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return soil moisture ``[T, Y, X]`` as a share of the store, NaN over the sea."""
    soil = np.full(rain.shape, np.nan, np.float32)
    rows, columns = np.nonzero(land)
    for cells in demo_weather.blocks_of(len(rows), CELLS_AT_ONCE):
        y, x = rows[cells], columns[cells]
        pet = potential_evaporation(times, temperature[:, y, x], latitude[y, x])
        soil[:, y, x] = production(rain[:, y, x], pet, _store_capacity(permeable[y, x]))[1]
    return soil


def _on_land(field: Array, land: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a field ``[T, Y, X]`` in float32, NaN over the sea."""
    values = field.astype(np.float32)
    values[:, ~land] = np.nan
    return values


def _latitude(y: Array, x: Array) -> Array:
    east, north = np.meshgrid(x, y)
    _, latitude = Transformer.from_crs(CRS_NAME, "EPSG:4326", always_xy=True).transform(east, north)
    return np.asarray(latitude)


def _sites(
    y: Array, x: Array, land: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, Array]:
    """Place gauges on land, away from each other: ``gauge_y``, ``gauge_x``, ``area``, and cell shares ``[N, Y, X]``."""
    rows, columns = np.nonzero(land)
    order = rng.permutation(len(rows))
    areas = np.exp(rng.uniform(np.log(80), np.log(1500), size=len(order)))
    spacing = np.sqrt(land.sum() / count) * 0.6
    chosen: list[tuple[float, float, float]] = []
    shares: list[Array] = []
    for tolerance in (spacing, spacing / 2, 0.5):  # crowd the gauges only where the land is short
        for index in order:
            if len(chosen) == count:
                break
            centre = float(y[rows[index]]), float(x[columns[index]])
            if any(np.hypot(centre[0] - b, centre[1] - a) < tolerance * (y[1] - y[0]) for b, a, _ in chosen):
                continue
            cells = disc(y, x, centre, disc_radius(areas[index], centre[0], CRS(CRS_NAME))) * land
            if cells.sum() > 0.85:
                chosen.append((*centre, float(areas[index])))
                shares.append(cells / cells.sum())
    if len(chosen) < count:
        raise ConfigError(
            f"Only {len(chosen)} of {count} catchments fit on the demo domain's land; enlarge recipe.demo.cells "
            "or lower recipe.demo.catchments"
        )
    return pd.DataFrame(chosen, columns=["gauge_y", "gauge_x", "area"]), np.stack(shares)


def _catchment_means(field: Array, shares: Array) -> Array:
    """Return the catchments' means ``[..., N]`` of a field ``[..., Y, X]``."""
    return areal_mean(field.reshape(*field.shape[:-2], -1), shares.reshape(len(shares), -1))


def _daily_means(field: Array, shares: Array) -> Array:
    """Return the catchments' means ``[T, N]`` of a field ``[T, Y, X]``."""
    return np.concatenate([_catchment_means(field[days], shares) for days in demo_weather.blocks_of(len(field))])


def _attributes(
    sites: pd.DataFrame, shares: Array, altitude: Array, permeable: Array, mean_rain: Array, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the attribute table: the eleven of the published British catchment descriptors, and name and id.

    DPSBAR (mean drainage path slope, m/km), PROPWET (share of time that soils are wet) and BFIHOST (base flow index
    from soils) are those of the Flood Estimation Handbook in name and range only.
    """
    table = pd.DataFrame({"gauge_id": [f"{1001 * (i + 1):05d}" for i in range(len(sites))]})
    table["gauge_name"] = [f"Demo catchment {i + 1}" for i in range(len(sites))]
    to_degrees = Transformer.from_crs(CRS_NAME, "EPSG:4326", always_xy=True)
    table["gauge_lon"], table["gauge_lat"] = to_degrees.transform(sites["gauge_x"], sites["gauge_y"])
    table["area"] = sites["area"]
    mean_altitude = _catchment_means(altitude, shares)
    spread = np.sqrt(_catchment_means(altitude**2, shares) - mean_altitude**2) + 0.15 * mean_altitude
    for name, deviate in (("min", -1.8), ("10", -1.3), ("50", -0.1), ("90", 1.3), ("max", 2.2)):
        table[f"elev_{name}"] = np.maximum(mean_altitude + deviate * spread, 2.0 + deviate + 1.8)
    table["dpsbar"] = 15 + 0.25 * spread + 0.15 * mean_altitude
    table["propwet"] = np.clip(0.15 + 0.12 * (_catchment_means(mean_rain, shares) - 0.5), 0.2, 0.8)
    softness = _catchment_means(permeable, shares) + rng.normal(0, 0.1, len(sites))
    table["bfihost"] = 0.25 + 0.65 / (1 + np.exp(-1.2 * softness))
    return table


def _store_capacity(permeable: Array) -> Array:
    """Return X1 in mm: deep stores where the ground is permeable."""
    return np.asarray(np.clip(350 * np.exp(0.6 * permeable), 100, 1200))


def _parameters(attributes: pd.DataFrame, permeable: Array) -> Parameters:
    """Tie GR4J's parameters to attributes: deep and slow where permeable, quick where small and steep."""
    bfi = attributes["bfihost"].to_numpy()
    slope, area = attributes["dpsbar"].to_numpy(), attributes["area"].to_numpy()
    return Parameters(
        x1=_store_capacity(permeable),
        x2=-(bfi**2),
        x3=np.clip(20 * np.exp(3.2 * (bfi - 0.25)), 20, 300),
        x4=np.clip(1.1 + 0.25 * np.log(area / 80) + 8 / slope, 1.1, 2.9),
    )


def gaps(days: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return the days ``[T]`` that blocks of geometric length take, ``share`` of all on average."""
    missing = np.zeros(days, dtype=np.bool_)
    while missing.mean() < share:
        start = int(rng.integers(days))
        missing[start : start + rng.geometric(1 / GAP_DAYS)] = True
    return missing


READER = Reader(read, ("grid", "series"), needs_files=False)
