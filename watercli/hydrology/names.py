"""Names of variables: which names of data sets, products and CF mean the same quantity."""

from __future__ import annotations

from collections.abc import Iterable

SYNONYMS: dict[str, tuple[str, ...]] = {
    "precipitation": (
        "precipitation", "precip", "prcp", "pr", "prec", "ppt", "rain", "rainfall", "tp", "total_precipitation",
        "total_precipitation_sum", "precipitation_flux", "precipitation_amount", "rainfall_flux", "rainfall_rate",
        "lwe_precipitation_rate", "lwe_thickness_of_precipitation_amount",
    ),
    "mean temperature": (
        "temperature", "temp", "tmean", "tavg", "tas", "t2m", "tair", "temperature_2m", "temperature_2m_mean",
        "mean_temperature", "air_temperature",
    ),
    "highest temperature": ("tmax", "tasmax", "temperature_2m_max", "maximum_temperature"),
    "lowest temperature": ("tmin", "tasmin", "temperature_2m_min", "minimum_temperature"),
    "potential evaporation": (
        "pet", "pe", "evap", "peva", "et0", "eto", "evpot", "potential_evaporation", "potential_evaporation_sum",
        "potential_evapotranspiration", "reference_evapotranspiration", "water_potential_evaporation_flux",
        "water_potential_evaporation_amount",
    ),
    "shortwave radiation": (
        "srad", "rsds", "ssrd", "shortwave_rad", "shortwave_radiation", "surface_downwelling_shortwave_flux_in_air",
    ),
    "longwave radiation": ("rlds", "strd", "longwave_radiation", "surface_downwelling_longwave_flux_in_air"),
    "vapour pressure": ("vp", "vapour_pressure", "vapor_pressure", "water_vapor_partial_pressure_in_air"),
    "day length": ("dayl", "day_length", "daylength", "duration_of_daylight"),
    "snow water": (
        "swe", "snow_water_equivalent", "snow_depth_water_equivalent_mean", "lwe_thickness_of_surface_snow_amount",
    ),
    "soil moisture": ("soil", "soil_moisture", "swvl1", "volume_fraction_of_condensed_water_in_soil"),
    "river flow": (
        "riverflow", "river_flow", "streamflow", "flow", "discharge", "discharge_spec", "discharge_vol", "qobs", "q",
        "q_obs", "runoff", "specific_discharge", "water_volume_transport_in_river_channel",
    ),
    "catchment area": ("area", "area_km2", "area_gages2", "catchment_area", "basin_area", "drainage_area"),
    "mean elevation": ("elevation", "elev_mean", "mean_elevation", "elevation_mean", "ele_mt_sav"),
    "latitude": ("latitude", "lat", "gauge_lat"),
    "longitude": ("longitude", "lon", "gauge_lon"),
}  # fmt: skip
"""By quantity: names in CAMELS data sets, Caravan, ERA5-Land and CMIP, and CF standard names.

A gauge's elevation is not its catchment's; a height that may be either is not listed.
"""
_QUANTITY = {name: quantity for quantity, names in SYNONYMS.items() for name in names}


def quantity_named(names: Iterable[str | None]) -> str | None:
    """Return the quantity of the first of a variable's names that is known; None if none is."""
    return next((_QUANTITY[name.lower()] for name in names if name and name.lower() in _QUANTITY), None)
