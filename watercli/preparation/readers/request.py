"""What a reader gets, and what all readers share.

A reader is a function of a `Request` that returns a daily ``xarray.DataArray`` in the modality's units: dims
``(time, y, x)`` with the attributes ``crs_wkt`` and ``day``, or ``(catchment, time)`` with ``day``; NaN is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from watercli.config import Config, GridSpec, Modality, Recipe, Source
from watercli.errors import ConfigError
from watercli.log import log
from watercli.preparation.readers import attributes, ids, netcdf
from watercli.preparation.readers.sources import Sources, unreadable

RECORDED = ("regridding", "derived")
"""Attributes in which a reader says what it has done to the data, kept in the store."""


@dataclass(frozen=True)
class Context:
    """What there is when a series is derived from other modalities."""

    requests: Mapping[str, Request]
    """All modalities."""
    series: Mapping[str, xr.DataArray]
    """The series that are read already."""
    gauges: Sequence[str]
    """Gauges of series from files; empty if there are none."""


def _layout(source: Source) -> Source:
    """Return what determines how a file is read, whichever of its variables is."""
    return source.model_copy(update={"variable": "", "units": None, "mean_of": ()})


@dataclass(frozen=True)
class Request:
    """One source of a modality to read."""

    config: Config
    modality_name: str
    sources: Sources
    paths: Sequence[Path]
    """Files that the source's patterns match; empty for a reader that needs none."""
    source: Source
    setting: str
    """The section of the configuration that holds the source, for messages."""
    further: tuple[Request, ...] = ()
    """The modality's further sources, each for what those before it do not have."""
    is_part: bool = False
    """Whether the modality has several sources: gauges that this one lacks may be in another."""
    said: set[str] = field(default_factory=set)
    context: Context | None = None
    """For readers that derive a series from other modalities."""

    @property
    def modality(self) -> Modality:
        """The modality's settings."""
        return self.config.modalities[self.modality_name]

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        recipe = self.config.recipe
        assert recipe is not None
        return recipe

    @property
    def grid(self) -> GridSpec:
        """The target grid."""
        return self.recipe.grid

    @property
    def gauges(self) -> tuple[str, ...]:
        """Gauge ids of the recipe; empty means all."""
        return self.recipe.catchments.gauges if self.recipe.catchments else ()

    @property
    def may_lack_gauges(self) -> bool:
        """Whether gauges of the recipe may be absent: in another source, or not needed as the modality is optional."""
        return self.is_part or self.modality.dropout > 0

    @property
    def all_paths(self) -> set[Path]:
        """Files of all sources of the modality."""
        return {*self.paths, *(path for request in self.further for path in request.paths)}

    @property
    def readers(self) -> set[str]:
        """Names of the readers of all sources of the modality."""
        return {request.source.reader for request in (self, *self.further)}

    def each_variable(self) -> list[Request]:
        """Return a request for each of ``source.mean_of``; none if the source has no mean."""
        sources = (self.source.model_copy(update={"variable": name, "mean_of": ()}) for name in self.source.mean_of)
        return [replace(self, source=source) for source in sources]

    @property
    def missing_values(self) -> tuple[str, ...]:
        """What means missing in the files, in their units."""
        return (*self.source.missing_values, *self.source.table.missing_values)

    @property
    def columns(self) -> tuple[str, ...]:
        """Variables that this and other modalities take from the same files, which are so read once."""
        sources = (source for modality in self.config.modalities.values() for source in modality.source)
        alike = (source for source in sources if _layout(source) == _layout(self.source))
        return tuple(dict.fromkeys(name for source in alike for name in source.mean_of or (source.variable,)))

    def gauge_id(self, gauge: str) -> str:
        """Return an id of the files as the recipe knows it."""
        source = self.source
        return ids.own(gauge, source.gauge_id_prefix, source.gauge_id_digits, source.gauge_id_new_prefix)

    def area(self, gauges: Sequence[str]) -> NDArray[np.float64]:
        """Return the catchments' areas in km2 by the attribute tables; NaN for one to be dropped."""
        return self.places(gauges)["@area"].reindex(list(gauges)).to_numpy(dtype=np.float64)

    def places(self, gauges: Sequence[str] | None) -> pd.DataFrame:
        """Return latitude, longitude and area of gauges as `attributes.select` does; None means all of the tables.

        Raises
        ------
        ConfigError
            If there are no tables.
        DataError
            If a gauge has none.
        """
        catchments = self.recipe.catchments
        if catchments is None or not catchments.tables:
            raise ConfigError(
                f"'{self.modality_name}' needs to know the catchments; name their tables in recipe.catchments.tables"
            )
        tables = attributes.read_tables(catchments, self.sources)
        return attributes.select(tables, catchments, attributes.gauges_of(tables) if gauges is None else gauges, [])

    def say(self, topic: str, message: str, level: int = logging.INFO) -> None:
        """Log what was taken for granted, once for each topic: hundreds of monthly files are alike."""
        if topic not in self.said:
            self.said.add(topic)
            log.log(level, "%s: %s", self.modality_name, message)

    def warn(self, message: str) -> None:
        """Log a warning about the modality."""
        log.warning("%s: %s", self.modality_name, message)

    def name(self, path: Path) -> str:
        """Return a file's name relative to the data folder."""
        return self.sources.name(path)


def name_unreadable(request: Request, cause: Exception) -> None:
    """After reading has failed half-way, read file by file, and raise the error that names the damaged one.

    Raises
    ------
    DataError
        If there is such a file.
    """
    for path in request.paths:
        address = request.sources.address(path)
        kind, options = netcdf.reading(address)
        try:
            with xr.open_dataset(address, decode_timedelta=False, **options) as dataset:
                for data in dataset.data_vars.values():
                    data.load()
        except Exception:
            raise unreadable(request.name(path), kind) from cause


@contextmanager
def naming_unreadable(request: Request) -> Iterator[None]:
    """Where values are read: what HDF5 raises on damaged data becomes the error that names the file."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        name_unreadable(request, error)
        raise


def described(name: str, modality: Modality, data: xr.DataArray) -> dict[str, str]:
    """Return the CF attributes of a modality's variable in the store."""
    description = {"units": modality.units, "long_name": modality.long_name or name, "day": str(data.attrs["day"])}
    description |= {key: str(data.attrs[key]) for key in RECORDED if key in data.attrs}
    return description | ({"grid_mapping": "crs"} if modality.kind == "grid" else {})


def ordered(gauges: Iterable[str]) -> list[str]:
    """Return gauge ids in the order of their numbers, ids that are no numbers last."""
    return sorted(gauges, key=lambda gauge: (not gauge.isdecimal(), int(gauge) if gauge.isdecimal() else 0, gauge))
