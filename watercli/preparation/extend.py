"""``prepare --append``: later days for a store, while its earlier ones stay as they are, byte for byte.

A copy of the store is extended, which shares the files of the old one (hard links): what is not written to is not
copied. It replaces the old store when it is whole. Statistics, land, coverage and attributes are those of the old
store, as the training period lies before the new days.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr

from watercli.config import Config, Period, difference
from watercli.errors import ConfigError, DataError
from watercli.log import log
from watercli.output import zarr_files
from watercli.output.atomic import link
from watercli.output.resumable import Work
from watercli.preparation import align, write
from watercli.preparation.build import determining, fingerprint, read
from watercli.preparation.grids import pad, write_field
from watercli.preparation.quality.records import Quality
from watercli.preparation.readers import demo, forecast
from watercli.preparation.readers.forecast_grid import Catchments
from watercli.preparation.readers.request import Request
from watercli.preparation.readers.sources import Sources
from watercli.store import FORECAST, Store


def check(config: Config, store: Store) -> Period | None:
    """Return the days that a configuration adds to a store; None if the store ends where its period does.

    Raises
    ------
    ConfigError
        If its period ends earlier, or it is not the store's own in all that determines its earlier days.
    """
    assert config.recipe is not None
    if demo.is_used(config):
        raise ConfigError("The demo domain is generated as a whole; prepare it again with a later recipe.period.end")
    changes = difference(_fixed(store.config), _fixed(config))
    if changes:
        raise ConfigError(
            f"--append: {changes[0]} against {store.path}; only recipe.period.end, the later splits and the files may "
            "differ, so change it back or prepare another store"
        )
    last, end = store.times[-1], pd.Timestamp(config.recipe.period.end)
    if end == last:
        return None
    if end < last:
        raise ConfigError(
            f"{store.path} ends on {last:%Y-%m-%d}, after recipe.period.end; set that to a later day to append"
        )
    return Period(start=(last + pd.Timedelta(days=1)).date(), end=config.recipe.period.end)


def _fixed(config: Config) -> dict[str, Any]:
    """Return what may not differ between a store and what extends it."""
    content: dict[str, Any] = json.loads(json.dumps(determining(config)))
    del content["recipe"]["period"]["end"]
    del content["recipe"]["splits"]["validation"], content["recipe"]["splits"]["test"]
    for table in (content["recipe"]["catchments"] or {}).get("tables", ()):
        del table["files"]
    for modality in content["modalities"].values():
        del modality["source"]["files"]
        modality.get("forecast", {}).pop("files", None)
    return content


@dataclass
class Extension:
    """A store that is being extended in a folder of its own."""

    config: Config
    store: Store
    new: Period
    work: Work
    quality: Quality

    def write(self, modality_requests: dict[str, Request], sources: Sources) -> None:
        """Make the extended store.

        Raises
        ------
        DataError
            If no modality has a day to add, or its files do not fit the store.
        """
        self._share()
        changed, any_new = 0, False
        for name, request in modality_requests.items():
            data = read(request, self.quality)
            if request.modality.kind == "grid":
                any_new |= self._grid(request, data)
            else:
                differing, has_new = self._series(name, data)
                changed, any_new = changed + differing, any_new or has_new
        if not any_new:
            raise DataError(f"No file holds a day from {self.new.start} to {self.new.end}; add the files of those days")
        first = len(self.store.times)
        times = _resized(self.work.store / "time", 0, len(self._days))
        times[first:] = np.arange(first, first + len(self._days))
        self._forecasts(sources)
        self._finish(sources, changed)

    def _forecasts(self, sources: Sources) -> None:
        """Write the forecasts that the files hold beside those that the store has, in place of them where both do."""
        products = forecast.find(self.config, sources)
        if not products:
            return
        old = {f"{name}{FORECAST}": data.load() for name, data in self.store.forecasts.items()}
        assert self.config.recipe is not None
        catchments = Catchments.of(self.store.dataset, self.config.recipe, sources)
        new = forecast.read(products, catchments, self.quality)
        both = forecast.joined_with(new, old).drop_vars("catchment")
        for name in both.variables:
            shutil.rmtree(self.work.store / str(name))
        write.append(self.work.store, both.assign_attrs(self.store.dataset.attrs).drop_encoding())

    @property
    def _days(self) -> pd.DatetimeIndex:
        return align.days(self.new)

    def _share(self) -> None:
        for old in (self.work.store, self.work.folder / "blocks"):
            shutil.rmtree(old, ignore_errors=True)  # an extension is short: it is begun anew, not continued
        shutil.copytree(self.store.path, self.work.store, copy_function=link)
        zarr_files.unfinish(self.work.store)

    def _new_days(self, name: str, data: xr.DataArray) -> tuple[xr.DataArray, bool]:
        """Return the new days, and whether any is in the files; said if none is."""
        has_new = bool(len(data.indexes["time"].intersection(self._days)))
        if not has_new:
            log.warning("%s has no date from %s to %s: these days are missing", name, self.new.start, self.new.end)
        return data.reindex(time=self._days), has_new

    def _grid(self, request: Request, data: xr.DataArray) -> bool:
        name, first = request.modality_name, len(self.store.times)
        new, has_new = self._new_days(name, data)
        padded, _ = pad(new.assign_attrs(data.attrs), self.store.patch_size)
        place = self.store.dataset[name].assign_attrs(crs_wkt=self.store.dataset.attrs["crs_wkt"])
        align.check_grid(name, padded.assign_attrs(data.attrs), (f"{name} in {self.store.path}", place), self._crs)
        land = self.store.dataset["land_fraction"].values > 0
        array = _resized(self.work.store / name, 0, len(self._days))
        shard = (array.shards or array.chunks)[0]
        # Two blocks must not write to one shard: the first ends where the shard begun in the old store does.
        begun = min(-first % shard, len(self._days))
        rest = len(self._days) - begun
        sizes = [begun] * (begun > 0) + [shard] * (rest // shard) + [rest % shard] * (rest % shard > 0)
        kept = padded.where(xr.DataArray(land, dims=("y", "x"))).chunk({"time": tuple(sizes), "y": -1, "x": -1})
        request.sources.use(request.paths)
        self.work.marks(name).mkdir(parents=True)
        rules = self.quality.rules(name, np.zeros(len(self._days), dtype=np.bool_))
        summary = write_field(request, kept.drop_vars(list(kept.coords)), self.work, rules, first)
        self.quality.grid(name, summary, self._days)
        self.quality.count_missing(name, self._days, summary.count, int(land.sum()))
        return has_new

    @property
    def _crs(self) -> Any:
        assert self.config.recipe is not None
        return align.target_crs(self.config.recipe)

    def _series(self, name: str, data: xr.DataArray) -> tuple[int, bool]:
        """Write the new days of a series; return how many training values its files have otherwise than the store."""
        gauges = self.store.gauge_ids
        absent = [gauge for gauge in gauges if gauge not in set(map(str, data["catchment"].values))]
        if absent:
            log.warning("%s: %d of %d catchments are in no file, their new days are missing (%s)", name, len(absent),
                        len(gauges), ", ".join(absent[:5]))  # fmt: skip
        data = self.quality.series(name, data.reindex(catchment=gauges)).astype(np.float32)
        new, has_new = self._new_days(name, data)
        values = new.transpose("catchment", "time").to_numpy()
        array = _resized(self.work.store / name, 1, len(self._days))
        array[:, len(self.store.times) :] = values
        present = np.asarray((~np.isnan(values)).sum(axis=0))
        self.quality.count_missing(name, self._days, present, len(gauges))
        old = self.store.dataset[name].load()
        reread = data.reindex(time=self.store.times).transpose("catchment", "time")
        covered = self.store.times.isin(data.indexes["time"]) & ~np.isin(gauges, absent)[:, None]
        differing = (old.values != reread.values) & ~(np.isnan(old.values) & np.isnan(reread.values)) & covered
        if differing.any():
            log.warning("%s: %s earlier values would be others now; the store keeps its own", name,
                        f"{int(differing.sum()):,}")  # fmt: skip
        return int(differing[:, self.store.period("train")].sum()), has_new

    def _finish(self, sources: Sources, changed: int) -> None:
        attributes = self.store.dataset.attrs
        records = {str(record["name"]): record for record in json.loads(attributes["sources"])}
        now = {str(record["name"]): record for record in sources.records()}
        replaced = [
            name for name, record in now.items() if name in records and record["sha256"] != records[name]["sha256"]
        ]
        train = self.store.config.recipe.splits.train if self.store.config.recipe else self.new
        if changed:
            log.warning("Statistics would have changed: %s values of the training period differ; prepare anew to take "
                        "them", f"{changed:,}")  # fmt: skip
        else:
            log.info("Statistics are unchanged: the training period (%s to %s) lies before the new days", train.start,
                     train.end)  # fmt: skip
        if replaced:
            log.info(
                "%d source files are no longer those that the store was made of; its earlier days stay", len(replaced)
            )
        group = zarr.open_group(self.work.store, mode="r+", use_consolidated=False)
        assert self.config.recipe is not None
        group.attrs.update(
            {
                "config": self.config.to_yaml(),
                "splits": json.dumps(self.config.recipe.splits.model_dump(mode="json")),
                "sources": json.dumps([record for _, record in sorted((records | now).items())]),
                "fingerprint": fingerprint(self.config, list(now.values()), extended=self.store.fingerprint),
                "ancestry": [*attributes.get("ancestry", []), self.store.fingerprint],
                "quality": json.dumps(self._joined(json.loads(attributes.get("quality", "{}")))),
                "created": self.work.created,
            }
        )
        zarr_files.finish(self.work.store)

    def _joined(self, before: dict[str, Any]) -> dict[str, Any]:
        """Return what was found in the new days beside what was found before, and the missing shares of all years.

        Those of the year of the seam are weighted by its days.
        """
        counts = self.quality.counts()
        counts["earlier_findings"] = [*before.get("earlier_findings", []), before.get("findings", {})]
        for name, dropped in before.get("set_to_missing", {}).items():
            new = counts["set_to_missing"].get(name, {})
            both = {check: dropped.get(check, 0) + new.get(check, 0) for check in dropped | new}
            counts["set_to_missing"] = counts["set_to_missing"] | {name: both}
        seam = self.store.times[-1].year
        days = {
            part: int((index.year == seam).sum()) for part, index in (("old", self.store.times), ("new", self._days))
        }
        for name, old in before.get("missing", {}).items():
            new = counts["missing"].get(name, {})
            both = old | new
            if str(seam) in old and str(seam) in new:
                shares = old[str(seam)] * days["old"] + new[str(seam)] * days["new"]
                both[str(seam)] = round(shares / (days["old"] + days["new"]), 6)
            counts["missing"][name] = both
        return counts


def _resized(path: Path, axis: int, more: int) -> Any:
    """Return an array that is longer along an axis; what it holds is not touched."""
    array = zarr.open_array(path, mode="r+")
    array.resize(tuple(size + more * (number == axis) for number, size in enumerate(array.shape)))
    return array
