"""What a hydrologist would look at before believing the data; nothing is altered unless ``recipe.quality`` says so."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from cf_xarray.units import units as registry
from numpy.typing import NDArray

from watercli.config import CheckName, Config
from watercli.errors import ConfigError, DataError, nearest
from watercli.hydrology.quantities import Quantity, quantity_of
from watercli.hydrology.units import parse
from watercli.log import log
from watercli.preparation import align
from watercli.preparation.blocks import Rules, Summary
from watercli.preparation.quality import checks, marks, sequence

GRID = "grid"
"""What stands in place of a gauge id in a finding about a grid."""
LEAST_REPEATS = 10
"""Cells and days in which one impossible value of a grid must come to look like a mark of missing values."""
RUNOFF_LEAST_DAYS = 365
"""Days on which both rain and flow must be known for their ratio to mean anything."""


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong, in one variable of one catchment or grid."""

    variable: str
    where: str
    """Gauge id, or "grid"."""
    check: CheckName
    days: int
    first: str
    last: str
    detail: str


@dataclass
class Quality:
    """Looks at a configuration's modalities as they pass, and gathers what it finds."""

    config: Config
    since: pd.Timestamp | None = None
    """Earlier days are looked at, as the rules need them, but not reported: a store has them already."""
    findings: list[Finding] = field(default_factory=list)
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    """Values set to missing, by variable and check."""
    missing: dict[str, dict[str, float]] = field(default_factory=dict)
    """Share of the values that is missing in each year of the store, by variable; of grids, over land."""

    def __post_init__(self) -> None:
        assert self.config.recipe is not None
        self.recipe = self.config.recipe
        self.settings = self.recipe.quality
        stated, modalities = self.settings.quantities, self.config.modalities
        for name in stated:
            if name not in modalities:
                raise ConfigError(f"recipe.quality.quantities: no modality '{name}'{nearest(name, modalities)}")
        self.quantities: dict[str, Quantity] = {}
        for name, modality in modalities.items():
            quantity = quantity_of(name, modality, stated.get(name))
            if quantity is not None:
                self.quantities[name] = quantity
            elif name in stated:
                raise ConfigError(
                    f"recipe.quality.quantities: '{name}' is in {modality.units}, which cannot be {stated[name]}; "
                    "mend one of the two"
                )
            else:
                log.info("%s: what it measures is not known, so its range is not checked; say it in "
                         "recipe.quality.quantities", name)  # fmt: skip

    def dates(self, name: str, index: pd.DatetimeIndex) -> None:
        """Look for dates that the sources leave out between their first and last one.

        Raises
        ------
        DataError
            If a date comes twice: which one holds is not for us to say.
        """
        doubled = index[index.duplicated()]
        if len(doubled):
            raise DataError(
                f"{len(doubled)} dates of '{name}' come twice, first {doubled[0]:%Y-%m-%d}; keep one of each"
            )
        calendar = align.days(self.recipe.period)
        absent = calendar[(calendar > index.min()) & (calendar < index.max())].difference(index)
        if len(absent):
            self._add(name, "all", "dates", absent, f"{len(absent):,} dates are in no file")

    def rules(self, name: str, training: NDArray[np.bool_]) -> Rules:
        """Return how a grid is looked at while it is written."""
        limits = self._limits(name) or (-np.inf, np.inf)
        return Rules(training, limits, "range" in self.settings.to_missing)

    def series(self, name: str, data: xr.DataArray) -> xr.DataArray:
        """Look at a series ``(catchment, time)``; return it, without what is to be set to missing."""
        data = data.transpose("catchment", "time")
        values, index = data.to_numpy(), pd.DatetimeIndex(data.indexes["time"])
        wrong = self._masks(name, values, index)
        for check, mask in wrong.items():
            for row in np.flatnonzero(mask.any(axis=1)):
                seen = values[row, mask[row]]
                detail = f"{seen.min():.4g} to {seen.max():.4g} {self._units(name)}"
                self._add(name, str(data["catchment"].values[row]), check, index[mask[row]], detail)
        values = self._without_marks(name, data, values, index)
        for gauge, series in zip(data["catchment"].values, values, strict=True):
            self._mean(name, str(gauge), series, index)
        for check in self.settings.to_missing:
            if check in wrong and wrong[check].any():
                self.dropped.setdefault(name, {})[check] = int(wrong[check][:, self._reported(index)].sum())
                data = data.where(~wrong[check])
        return data

    def grid(
        self, name: str, summary: Summary, index: pd.DatetimeIndex, attributes: Mapping[Hashable, Any] | None = None
    ) -> None:
        """Look at what was summed up of a grid; ``index`` ``[T]`` holds its days, ``attributes`` how units changed."""
        outside, units = summary.outside, self._units(name)
        if outside.any():
            self._add(name, GRID, "range", index[outside > 0], f"{outside.sum():,} values in cells")
            if "range" in self.settings.to_missing:
                self.dropped.setdefault(name, {})["range"] = int(outside.sum())
        same = (summary.checksum[1:] == summary.checksum[:-1]) & (summary.count[1:] > 0) & (summary.mean[1:] != 0)
        if same.any():
            self._add(name, GRID, "repeat", index[1:][same], "the whole field equals that of the day before")
        if self._is(name, "air_temperature"):
            leap = checks.jump(summary.mean[None], self._kelvin(name))[0]
            if leap.any():
                self._add(name, GRID, "jump", index[leap], f"mean of the grid to {summary.mean[leap][0]:.4g} {units}")
        marks = self._marks_of_grid(name, summary, index, attributes or {})
        in_all, of_marks = int(summary.count.sum()), sum(count for _, count in marks)
        if marks and in_all > of_marks and "range" not in self.settings.to_missing:  # which took them out
            total = np.nansum(summary.mean * summary.count) - sum(value * count for value, count in marks)
            self._mean(name, GRID, np.array([total / (in_all - of_marks)]), index[:1])
        else:
            self._mean(name, GRID, summary.mean, index)

    def _marks_of_grid(
        self, name: str, summary: Summary, index: pd.DatetimeIndex, attributes: Mapping[Hashable, Any]
    ) -> list[tuple[float, int]]:
        """Report impossible values that come again and again, and return each with its count."""
        possible = int(summary.count.sum()) > int(summary.outside.sum())
        repeated = [(value, int(count)) for value, count in summary.repeated if count >= LEAST_REPEATS and possible]
        sources = self.config.modalities[name].source
        for value, count in repeated:
            own = (value - attributes.get("source_offset", 0.0)) / attributes.get("source_scale", 1.0)
            is_own = not sources or sources[0].daily is not None or "regridding" in attributes or own == value
            extreme = "" if is_own else f" ({own:.7g} in the files)"
            detail = (
                f"{value:.7g} {self._units(name)}{extreme} in {count:,} cells: a missing mark? Name it in "
                f"modalities.{name}.source.missing_values, or set recipe.quality.to_missing to [range]"
            )
            self._add(name, GRID, "mark", index[summary.outside > 0], detail)
        return repeated

    def count_missing(self, name: str, index: pd.DatetimeIndex, present: NDArray[np.integer], places: int) -> None:
        """Keep the share of missing values in each year; ``present`` ``[T]`` of ``places`` have one."""
        by_year = pd.Series(1 - present / places, index=index.year).groupby(level=0).mean()
        self.missing[name] = {str(year): round(float(share), 6) for year, share in by_year.items()}

    def runoff(self, flow: xr.DataArray, rain: xr.DataArray) -> None:
        """Compare a flow with the rain, ``(catchment, time)`` and in mm/day both, on the days that have both."""
        both = flow.notnull() & rain.notnull()  # noqa: PD004  (xarray knows no other name)
        index = pd.DatetimeIndex(flow.indexes["time"])
        ratio = flow.where(both).sum("time") / rain.where(both).sum("time")
        for gauge, mask, share in zip(flow["catchment"].values, both.values, ratio.values, strict=True):
            if mask.sum() >= RUNOFF_LEAST_DAYS and share > 1:
                self._add(
                    str(flow.name), str(gauge), "runoff", index[mask], f"{share:.2f} times the rain of {rain.name}"
                )

    def sequences(self, flow: xr.DataArray, rain: xr.DataArray | None) -> None:
        """Look for stretches of a flow, and whole records, that are shifted by days or by a factor.

        They are compared with other flows and the rain, both ``(catchment, time)``.
        """
        values, index = flow.transpose("catchment", "time").to_numpy(), pd.DatetimeIndex(flow.indexes["time"])
        neighbours = sequence.alike(values)
        found: list[tuple[CheckName, sequence.Stretch]] = []

        def add(check: CheckName, stretches: Iterable[sequence.Stretch]) -> None:
            """Take what is found of records of which nothing of the kind is known."""
            known = {stretch.row for name, stretch in found if name == check}
            found.extend((check, stretch) for stretch in stretches if stretch.row not in known)

        add("factor", sequence.factors(values, neighbours))
        around, words = sequence.of_neighbours(values, neighbours), "its neighbours' flow"
        add("shift", sequence.shifts(values, around, index, words))
        add("shift", sequence.whole_shifts(values, around, words))
        if rain is not None:
            amounts, words = rain.transpose("catchment", "time").to_numpy().clip(0), f"its {rain.name}"
            add("shift", sequence.shifts(values, np.log1p(amounts), index, words))
            add("shift", sequence.whole_shifts(values, np.log1p(amounts), words, only_earlier=True))
            in_mm = self.in_mm(flow).transpose("catchment", "time").to_numpy()
            add("factor", sequence.whole_factors(in_mm, amounts, neighbours))
        for check, stretch in found:
            gauge = str(flow["catchment"].values[stretch.row])
            self._add(str(flow.name), gauge, check, index[stretch.days], stretch.detail)

    def in_mm(self, data: xr.DataArray) -> xr.DataArray:
        """Return a flux in mm/day; a discharge by the area (km2) that goes with it."""
        unit = parse(self._units(str(data.name)))
        if unit.check("[length]**3/[time]"):
            converted = data * (unit.to("m3/s").magnitude * 86.4) / data["area"]
        else:
            converted = data * unit.to("mm/day").magnitude
        renamed: xr.DataArray = converted.rename(data.name)
        return renamed

    def named(self, quantity: str, kind: str | None = None) -> list[str]:
        """Return the modalities that measure a quantity."""
        return [
            name
            for name, measured in self.quantities.items()
            if measured.name == quantity and kind in (None, self.config.modalities[name].kind)
        ]

    def counts(self) -> dict[str, Any]:
        """Return what the store says of its quality: places and days by variable and check, shares missing by year."""
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for finding in self.findings:
            row = counts.setdefault(finding.variable, {}).setdefault(finding.check, {"places": 0, "days": 0})
            row["places"] += 1
            row["days"] += finding.days
        return {"findings": counts, "set_to_missing": self.dropped, "missing": self.missing}

    def _masks(self, name: str, values: checks.Series, index: pd.DatetimeIndex) -> Mapping[CheckName, checks.Mask]:
        masks: dict[CheckName, checks.Mask] = {}
        limits = self._limits(name)
        if limits is not None:
            masks["range"] = checks.beyond(values, limits)
        if self._is(name, "river_flow"):
            masks["flat"] = checks.flat(values, self.settings.flat_days)
            masks["spike"] = sequence.spike(values)
            masks["outlier"] = checks.outlier(values, index)
        if self._is(name, "air_temperature"):
            masks["jump"] = checks.jump(values, self._kelvin(name))
        return masks

    def _without_marks(
        self, name: str, data: xr.DataArray, values: checks.Series, index: pd.DatetimeIndex
    ) -> checks.Series:
        """Return values without those that look like marks of missing ones, which are reported."""
        source = (data.attrs["source_least"], data.attrs["source_greatest"]) if "source_least" in data.attrs else None
        suspects = marks.suspects(values, self._limits(name), source)
        for row, value, days in marks.repeated(values, suspects):
            extreme = "" if source is None else f" ({source[int(value > 0)]:g} in the files)"
            detail = (
                f"{value:.7g} {self._units(name)}{extreme} again and again: a missing mark? Name it in "
                f"modalities.{name}.source.missing_values, or set recipe.quality.to_missing to [range]"
            )
            self._add(name, str(data["catchment"].values[row]), "mark", index[days], detail)
            values = np.where(suspects & (values == value), np.nan, values)
        return values

    def _mean(self, name: str, where: str, values: checks.Series, index: pd.DatetimeIndex) -> None:
        """Look whether a record's mean is one that the quantity can have in these units."""
        seen = ~np.isnan(values)
        quantity, units = self.quantities.get(name), self._units(name)
        if quantity is None or not seen.any():
            return
        mean, (least, greatest) = float(values[seen].mean()), quantity.usual_in(units)
        if not least <= mean <= greatest:
            detail = f"a mean of {mean:.3g} {units}: are these the units? (usual: {least:g} to {greatest:g})"
            self._add(name, where, "units", index[seen], detail)

    def _limits(self, name: str) -> tuple[float, float] | None:
        return self.quantities[name].possible_in(self._units(name)) if name in self.quantities else None

    def _units(self, name: str) -> str:
        return self.config.modalities[name].units

    def _is(self, name: str, quantity: str) -> bool:
        return name in self.quantities and self.quantities[name].name == quantity

    def _kelvin(self, name: str) -> float:
        """Return the greatest change from day to day in the modality's units."""
        one_kelvin, two_kelvin = (
            registry.Quantity(value, "kelvin").to(parse(self._units(name)).units).magnitude for value in (1.0, 2.0)
        )
        return float(self.settings.jump * (two_kelvin - one_kelvin))

    def _reported(self, index: pd.DatetimeIndex) -> NDArray[np.bool_]:
        return np.asarray(index >= self.since) if self.since is not None else np.ones(len(index), dtype=np.bool_)

    def _add(self, name: str, where: str, check: CheckName, days: pd.DatetimeIndex, detail: str) -> None:
        days = days[self._reported(days)]
        if check not in self.settings.ignore and len(days):
            first, last = f"{days[0]:%Y-%m-%d}", f"{days[-1]:%Y-%m-%d}"
            self.findings.append(Finding(name, where, check, len(days), first, last, detail))
