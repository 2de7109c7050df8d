"""The store's contract: names, dimensions, units and attributes of the Zarr store, and how it is opened.

A Zarr v3 store, which ``xarray.open_zarr(path)`` opens:

======================  ==============================  ====================================================
variable                dims                            content
======================  ==============================  ====================================================
each grid modality      ``time, y, x``                  physical units; NaN over the sea or where missing
each series modality    ``catchment, time``             physical units; NaN = missing
``static``              ``catchment, attribute``        untransformed; NaN = missing; ``attribute_units`` and
                                                        ``attribute_transform`` go with it
``land_fraction``       ``y, x``                        0 over the sea and in the padding
``coverage``            ``grid, y, x``                  share of the training days on which a cell has a value
``patch_weight``        ``catchment, patch``            share of a catchment's area in each patch; rows sum to 1
``statistics``          ``variable, transform, statistic``  of the training period only
``static_statistics``   ``attribute, statistic``        of the transformed attributes
``crs``                 scalar                          CF grid mapping
======================  ==============================  ====================================================

Coordinates: ``time`` (days, at midnight; a day is the source's own, see each variable's ``day`` attribute), ``y``,
``x`` (cell centres, padded at their ends to full patches), ``catchment`` (gauge ids, strings), ``gauge_name``,
``latitude``, ``longitude``, ``area`` (km2), ``group_<name>`` (each of ``recipe.catchments.groups``, text), ``gauge_y``,
``gauge_x`` (in the grid's CRS), ``patch`` (row-major index), ``patch_y``, ``patch_x`` (patch centres), ``patch_land``
(True: a land patch).

Root attributes: those of `ROOT_ATTRIBUTES`; ``config``, ``sources`` and ``splits`` are JSON or YAML text. A store that
was altered, or copied in part, is known by its checksums and its manifest; see `watercli.output.manifest`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from watercli.config import Config, Period, parse
from watercli.errors import ConfigError, DataError, nearest
from watercli.output import zarr_files
from watercli.transforms import TransformName

SCHEMA_VERSION = 2
GROUP = "group_"
"""Prefix of the coordinate of a group of ``recipe.catchments.groups``."""
STATISTICS = ("mean", "std", "min", "max", "count", "missing")
"""Order along ``statistic``: ``count`` is the number of observed values, ``missing`` the share of missing ones."""
GRID_DIMS = ("time", "y", "x")
SERIES_DIMS = ("catchment", "time")
FORECAST_DIMS = ("catchment", "init_time", "lead_time")
FORECAST = "_forecast"
"""Ending of the variable that holds the forecasts of a modality."""
CHUNK_DAYS = 10
"""Days of a grid's chunk: 8 to 10 suited random windows best when measured (188 windows/s; 30 days: 125)."""
SHARD_DAYS = 360
"""Days of a grid's shard, so that decades are tens of files instead of thousands."""
ROOT_ATTRIBUTES = (
    "Conventions",
    "schema_version",
    "config",
    "sources",
    "splits",
    "patch_size",
    "padding",
    "crs_wkt",
    "fingerprint",
    "watercli_version",
    "created",
)


def grid_shard(days: int) -> int:
    """Return the days of a grid's shard: a multiple of a chunk, no more than a record of ``days`` needs."""
    return min(SHARD_DAYS, -(-days // CHUNK_DAYS) * CHUNK_DAYS)


@dataclass(frozen=True)
class Store:
    """An opened, validated store; every array is read lazily."""

    path: Path
    dataset: xr.Dataset
    config: Config
    """The configuration that the store was prepared with."""

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Store:
        """Open and validate a store.

        Raises
        ------
        ConfigError
            If ``path`` does not exist.
        DataError
            If it is no finished store of this schema version, or not as it was written.
        """
        path = Path(path)
        if not path.exists():
            raise ConfigError(f"No store at {path}; make one with 'watercli prepare --out {path}'")
        dataset = zarr_files.open_checked(path)
        missing = [name for name in ROOT_ATTRIBUTES if name not in dataset.attrs]
        if missing:
            raise DataError(f"{path} is no store of watercli (it lacks the attribute '{missing[0]}'); prepare it again")
        if dataset.attrs["schema_version"] != SCHEMA_VERSION:
            raise DataError(
                f"{path} has schema version {dataset.attrs['schema_version']}, this watercli reads "
                f"{SCHEMA_VERSION}; prepare it again"
            )
        store = cls(path, dataset, parse(dataset.attrs["config"], origin=f"the configuration in {path}"))
        store._check_modalities()
        return store

    def _check_modalities(self) -> None:
        for name, modality in self.config.modalities.items():
            dims = GRID_DIMS if modality.kind == "grid" else SERIES_DIMS
            if name not in self.dataset:
                raise DataError(f"{self.path} lacks its variable '{name}'; prepare it again")
            if self.dataset[name].dims != dims:
                raise DataError(f"'{name}' in {self.path} has dims {self.dataset[name].dims}, not {dims}")
            if modality.forecast is not None and f"{name}{FORECAST}" not in self.dataset:
                raise DataError(f"{self.path} lacks its variable '{name}{FORECAST}'; prepare it again")

    @property
    def forecasts(self) -> dict[str, xr.DataArray]:
        """Forecast products, ``(catchment, init_time, lead_time)``, by the name of the modality that they forecast."""
        return {
            name: self.dataset[f"{name}{FORECAST}"]
            for name, modality in self.config.modalities.items()
            if modality.forecast is not None
        }

    @property
    def fingerprint(self) -> str:
        """Hash of sources, recipe and schema: stores of the same fingerprint hold the same data."""
        return str(self.dataset.attrs["fingerprint"])

    @property
    def times(self) -> pd.DatetimeIndex:
        """Days of the store."""
        return pd.DatetimeIndex(self.dataset["time"].values)

    @property
    def gauge_ids(self) -> list[str]:
        """Gauge ids, in the order of the dimension ``catchment``; empty if the store has no catchments."""
        return [str(gauge) for gauge in self.dataset["catchment"].values] if "catchment" in self.dataset else []

    @property
    def downstream_ids(self) -> list[str]:
        """Id of the next gauge downstream of each gauge, empty where there is none; empty if the store does not say."""
        return [str(gauge) for gauge in self.dataset["downstream_id"].values] if "downstream_id" in self.dataset else []

    @property
    def attribute_names(self) -> list[str]:
        """Names of the static attributes."""
        return [str(name) for name in self.dataset["attribute"].values] if "attribute" in self.dataset else []

    @cached_property
    def has_attribute_gaps(self) -> bool:
        """Whether some catchment lacks an attribute."""
        return "static" in self.dataset and bool(np.isnan(self.dataset["static"].values).any())

    @property
    def patch_size(self) -> tuple[int, int]:
        """Cells of a patch along y and x."""
        height, width = self.dataset.attrs["patch_size"]
        return int(height), int(width)

    @property
    def grid_shape(self) -> tuple[int, int] | None:
        """Cells along y and x, padding included; None if the store has no grid."""
        return (self.dataset.sizes["y"], self.dataset.sizes["x"]) if "y" in self.dataset.sizes else None

    @cached_property
    def land_patches(self) -> NDArray[np.int64]:
        """Row-major indices of the land patches, ascending; empty if the store has no grid."""
        if "patch_land" not in self.dataset:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(self.dataset["patch_land"].values.astype(bool))

    @cached_property
    def patch_weight(self) -> NDArray[np.float32]:
        """``[catchment, patch]`` over all patches; rows sum to 1."""
        weights: NDArray[np.float32] = self.dataset["patch_weight"].values.astype(np.float32)
        return weights

    def period(self, split: str) -> slice:
        """Return the half-open range of day indices of ``train``, ``validation`` or ``test``.

        Raises
        ------
        ConfigError
            If the store has no such split.
        """
        splits: dict[str, Any] = json.loads(self.dataset.attrs["splits"])
        if split not in splits:
            raise ConfigError(f"No split '{split}' in {self.path}{nearest(split, splits)}")
        period = Period.model_validate(splits[split])
        first, last = self.times.searchsorted([pd.Timestamp(period.start), pd.Timestamp(period.end)])
        return slice(int(first), int(last) + 1)

    def statistics(self, name: str, transform: TransformName) -> tuple[float, float]:
        """Return mean and standard deviation of a modality in a transform's space, of the training period."""
        statistics = self.dataset["statistics"].sel(variable=name, transform=transform)
        return float(statistics.sel(statistic="mean")), float(statistics.sel(statistic="std"))
