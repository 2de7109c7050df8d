"""What ``prepare`` reads and builds: modalities and their sources, grid, catchments, periods, checks."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_serializer, model_validator

from watercli.config.base import (
    CheckName,
    Marks,
    Positive,
    QuantityName,
    ReaderName,
    Section,
    Strings,
    in_a_list,
)
from watercli.transforms import TransformName


class Period(Section):
    """First and last day, both included."""

    start: dt.date
    end: dt.date

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"end {self.end} lies before start {self.start}")
        return self


class Splits(Section):
    """Training, validation and test periods: in any order of time, without a day in common."""

    train: Period
    validation: Period
    test: Period

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        names = sorted(("train", "validation", "test"), key=lambda name: getattr(self, name).start)
        for earlier, later in pairwise(names):
            if getattr(self, later).start <= getattr(self, earlier).end:
                raise ValueError(f"{earlier} and {later} overlap; no two periods may share a day")
        return self

    @property
    def span(self) -> Period:
        """From the first day of the earliest period to the last day of the latest."""
        periods = self.train, self.validation, self.test
        return Period(start=min(period.start for period in periods), end=max(period.end for period in periods))


class TextFormat(Section):
    """How a text table is written."""

    decimal: Literal[".", ","] = "."
    """Decimal sign of the numbers."""
    skip_lines: Annotated[int, Field(ge=0)] = 0
    """Lines above the names of the columns that are left out."""
    lines_below_names: Annotated[int, Field(ge=0)] = 0
    """Lines between the names of the columns and the values that are left out, such as one of units."""
    comment: str = "#"
    """What begins a line that is left out wherever it stands; empty for none."""
    transposed: bool = False
    """True: each line holds what is usually a column, its name first: days or gauges lie side by side."""
    sheet: str | None = None
    """Sheet of an Excel workbook (``.xlsx``); null: the first that is not empty."""


class Table(TextFormat):
    """How the reader ``table`` finds gauges, dates and values in CSV, Parquet or NetCDF."""

    layout: Literal["file", "long", "wide"] = "file"
    """One file for each gauge; or tables with a column of gauge ids; or tables with a column for each gauge."""
    file_name: str = "{gauge_id}"
    """How the files of layout ``file`` are named, without the ending: ``{gauge_id}`` stands for the id, ``*`` for
    anything."""
    gauge_id: str = "gauge_id"
    """Column or dimension of the gauge ids, for layout ``long``."""
    date: Strings = ("date",)
    """Column or dimension of the dates. Or several columns: date and time; year, month and day, and the hour; or what
    ``date_format`` says, with a space between them: ``[year, doy]`` by ``%Y %j``."""
    day_of_year: str | None = None
    """Column or dimension of the day of the year, 1 to 365 or 366, in place of ``date``: a climatology, which becomes
    a daily series over the recipe's period. Where there is no day 366, it is as day 365."""
    date_format: str = "ISO8601"
    """How dates are written in text: ``ISO8601`` is 2000-01-31, or a format such as ``%d/%m/%Y``."""
    separator: Literal[",", ";", "|", "tab", "space"] = ","
    """What separates the columns of a text table; ``space`` is any white space."""
    where: dict[str, Marks] = Field(default_factory=dict)
    """Rows that are read, by the values of other columns: ``{quality: [A, "A:e"]}``; the days of all others are
    missing. Layouts ``file`` and ``long``."""
    missing_values: Marks = ()
    """What means missing, beside an empty field, NaN and NA: ``[-999]``; as ``source.missing_values``."""


class Daily(Section):
    """How values of a shorter step than a day become days."""

    aggregation: Literal["sum", "mean", "max", "min"]
    """What a day is of its values: the sum of amounts, the mean of rates and states."""
    day_start_hour: Annotated[int, Field(ge=0, le=23)] = 0
    """Hour UTC at which a day begins; the day bears the date on which it begins."""
    label: Literal["start", "end"] | None = None
    """Whether a time labels the beginning or the end of its step; null: by the bounds of time in the files."""
    accumulation: Literal["none", "since_midnight", "since_start"] = "none"
    """``since_midnight``: every value is the sum since 00 UTC, stamped at its end, as ERA5-Land has them.
    ``since_start``: the sum since the start of a simulation, as WRF has them; where it falls, it begins anew."""


class Source(Section):
    """Where a modality comes from."""

    reader: ReaderName
    """Name of the reader: grid, hadukgrid, camels_gb, camels_us, caravan, nrfa, table, grid_mean, pet, demo, or that of
    a plug-in."""
    variable: str
    """Variable or column that is read; for ``grid_mean`` the grid modality, for ``pet`` the method."""
    files: Strings = ()
    """Glob patterns below the data folder."""
    units: str | None = None
    """Units of the source, where its files state none or wrong ones; null takes the files' own."""
    missing_values: Marks = ()
    """What means missing, beside an empty field, NaN, NA and what the files declare: ``[-999, Ice]``, in the units of
    the files. In grids, numbers."""
    mean_of: Strings = ()
    """Variables whose mean is taken, ``[tasmax, tasmin]``: of a grid where the files lack ``variable``, of a series
    always."""
    daily: Daily | None = None
    """How sub-daily values become days; readers ``grid`` and ``table``, null for daily files."""
    inputs: dict[str, str] = Field(default_factory=dict)
    """Series modalities that the reader ``pet`` computes from: ``{tmean: temperature}``."""
    gauge_id_prefix: str = ""
    """Stripped from the gauge ids of the files, so that they are those of the attribute tables."""
    gauge_id_new_prefix: str = ""
    """Put before them after that: ``gb_``, where two sources have the same id for different catchments."""
    gauge_id_digits: Annotated[int, Field(ge=0)] = 0
    """Digits that gauge ids have, where the files hold them as numbers without their leading zeros: 8 for
    CAMELS-US."""
    table: Table = Table()
    """For the reader ``table``."""


class ForecastProduct(Section):
    """Archived or operational forecasts of a series: NetCDF or Zarr with dimensions of gauges, days of issue and lead
    times, or a text table with a column of each.

    A grid of latitude and longitude in place of gauges becomes areal means: over the catchments' boundaries, or discs.
    """

    variable: str
    """Variable or column that is read."""
    files: Strings
    """Glob patterns below the data folder, or URLs; of a Zarr store, its folder. A later file gives what those before
    it lack."""
    units: str | None = None
    """Units of the product, where its files state none or wrong ones; null takes the files' own."""
    missing_values: Marks = ()
    """What means missing, as ``source.missing_values``."""
    gauge_id: str = "gauge_id"
    """Variable, dimension or column of the gauge ids: ``basin`` in Caravan MultiMet."""
    init_time: str = "init_time"
    """Variable, dimension or column of the days of issue: ``date`` in Caravan MultiMet."""
    lead_time: str = "lead_time"
    """Variable, dimension or column of the lead times: time differences, or numbers in the units that they state; days
    where they state none."""
    label: Literal["start", "end"] = "start"
    """Whether a lead time labels the beginning or the end of its day. ``start``: a lead of one day from 1 May is 2 May.
    ``end``: it is 1 May."""
    accumulated: bool = False
    """Values are amounts since the issue, as ECMWF's precipitation: those of days are their differences. Lead times
    that are no whole days are left out. It goes with ``label: end``."""
    gauge_id_prefix: str = ""
    """Stripped from the gauge ids of the files."""
    gauge_id_new_prefix: str = ""
    """Put before them after that, as ``source.gauge_id_new_prefix``."""
    gauge_id_digits: Annotated[int, Field(ge=0)] = 0
    """Digits that gauge ids have, as ``source.gauge_id_digits``."""

    @model_validator(mode="after")
    def _accumulated_to_the_end(self) -> Self:
        if self.accumulated and self.label != "end":
            raise ValueError("accumulated: an amount since the issue ends with its lead time; set label to end")
        return self


class Modality(Section):
    """One modality: a daily ``grid`` (time, y, x) or a daily ``series`` per catchment."""

    kind: Literal["grid", "series"]
    """A daily field of the whole grid, or a daily series for each catchment."""
    units: str = "1"
    """Units in the store and in every figure; sources in other units of the same dimension are converted."""
    long_name: str = ""
    """What it is, in words."""
    source: Annotated[tuple[Source, ...], BeforeValidator(in_a_list)] = ()
    """Where ``prepare`` reads it. Of a series, a list of sources: each gives the catchments and days that those before
    it do not have."""
    forecast: ForecastProduct | None = None
    """Forecasts of a series of weather: what ``simulate --init-time`` takes as the weather of the days after it."""
    transform: TransformName = "identity"
    """Applied before standardisation, inverted before any score."""
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
    """Share of its observed tokens that is hidden from the encoder."""
    loss_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of its mean squared error in the sum."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability with which training takes it as absent from a catchment's window (a grid: from the window). Above 0
    it is optional: a model knows what its absence means, and simulates catchments and stores without it."""
    loss: Literal["mse", "basin_averaged_nse"] = "mse"
    """Training loss. ``mse``: mean squared error in the standardised space of the transform. ``basin_averaged_nse``,
    for a series: squared error in physical units over the variance of the catchment's own training days, so that each
    catchment counts as it does in a mean of Nash-Sutcliffe efficiencies (Kratzert et al. 2019,
    doi:10.5194/hess-23-5089-2019)."""
    non_negative: bool | None = None
    """Predictions are never negative, by a softplus; with ``loss: basin_averaged_nse``, whose predictions are in
    physical units. null: true where the transform is ``log`` or ``sqrt``, which only such quantities have."""

    feeds_catchments: bool = True
    """With ``model.cross_modal_attention``, catchments see this grid on the patches that they overlap. False where a
    series of the catchments says the same and more: a grid that is coarse, or begins years after it."""

    @field_serializer("source")
    def _one_as_itself(self, sources: tuple[Source, ...]) -> Any:
        """Write one source as it is usually written, so that ``--set`` reaches its settings."""
        plain = [source.model_dump(mode="json") for source in sources]
        return plain if len(plain) > 1 else next(iter(plain), None)

    @model_validator(mode="after")
    def _one_source_of_grids(self) -> Self:
        if self.kind == "grid" and len(self.source) > 1:
            raise ValueError("source: a list of sources is for a series; a grid has one")
        return self

    @model_validator(mode="after")
    def _forecast_of_series(self) -> Self:
        if self.forecast is not None and self.kind != "series":
            raise ValueError("forecast: a product is of a series; a gridded product becomes one by areal means")
        return self

    @model_validator(mode="after")
    def _grid_that_feeds(self) -> Self:
        if not self.feeds_catchments and self.kind != "grid":
            raise ValueError("feeds_catchments is for a grid: a series is the catchment's own")
        return self

    @property
    def is_non_negative(self) -> bool:
        """Whether predictions are held at zero or above."""
        if self.loss != "basin_averaged_nse":
            return False
        return self.transform in ("log", "sqrt") if self.non_negative is None else self.non_negative

    @model_validator(mode="after")
    def _loss_of_series(self) -> Self:
        if self.loss == "basin_averaged_nse" and self.kind != "series":
            raise ValueError("loss basin_averaged_nse is for a series: a grid has no catchments")
        if self.non_negative and self.loss != "basin_averaged_nse":
            raise ValueError("non_negative needs loss basin_averaged_nse, whose predictions are in physical units")
        return self


class GridSpec(Section):
    """The target grid: its coordinate reference system and how it is cut into patches."""

    crs: str = "EPSG:27700"
    """Coordinate reference system, as an EPSG code or WKT; without bounds, the grids must be in it."""
    bounds: tuple[float, float, float, float] | None = None
    """Outer edges of the target grid, west, south, east, north, in units of the CRS; null takes the grid of the
    sources, which must then be one."""
    cell: Annotated[float, Field(gt=0)] | None = None
    """Side of a target cell, in units of the CRS; with ``bounds``."""
    min_covered: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of a target cell that source cells with a value must cover for it to have one; with ``bounds``."""
    patch_size: tuple[Positive, Positive] = (10, 10)
    """Cells along y and x."""
    land_threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A patch is land if at least this fraction of its cells is."""

    @model_validator(mode="after")
    def _whole_cells(self) -> Self:
        if self.bounds is None or self.cell is None:
            if self.bounds is not None or self.cell is not None:
                raise ValueError("bounds and cell make the target grid together; give both or neither")
            return self
        west, south, east, north = self.bounds
        cells = (north - south) / self.cell, (east - west) / self.cell
        if min(cells) < 1.5 or any(abs(one - round(one)) > 1e-6 * one for one in cells):
            raise ValueError(f"bounds {list(self.bounds)} do not hold a whole number of cells of {self.cell:g}")
        return self


class AttributeTable(TextFormat):
    """A table of catchment attributes, one row for each gauge: text separated by commas, semicolons, tabs or spaces, an
    Excel workbook, Parquet, or the variables of a NetCDF file along its gauge ids."""

    files: Strings
    """Glob patterns below the data folder; several files are joined by gauge id."""
    gauge_id: str = "gauge_id"
    """Column of the gauge ids."""
    gauge_id_prefix: str = ""
    """Stripped from the ids of the table (Caravan writes ``camelsgb_11003``)."""
    gauge_id_new_prefix: str = ""
    """Put before them after that, as ``source.gauge_id_new_prefix``."""
    gauge_id_digits: Annotated[int, Field(ge=0)] = 0
    """Digits that ids have, where the table holds them as numbers without their leading zeros: 8 for CAMELS-US."""
    missing_values: Marks = ()
    """What means missing, beside an empty field, NaN and NA: ``[-999, no data]``."""


ClimateIndex = Literal[
    "p_mean",
    "t_mean",
    "pet_mean",
    "aridity",
    "p_seasonality",
    "frac_snow",
    "high_prec_freq",
    "high_prec_dur",
    "low_prec_freq",
    "low_prec_dur",
]
CLIMATE_UNITS: dict[ClimateIndex, str] = {
    "p_mean": "mm/day",
    "t_mean": "degC",
    "pet_mean": "mm/day",
    "aridity": "1",
    "p_seasonality": "1",
    "frac_snow": "1",
    "high_prec_freq": "day/year",
    "high_prec_dur": "day",
    "low_prec_freq": "day/year",
    "low_prec_dur": "day",
}


class Attribute(Section):
    """One static attribute: where it comes from, its units, the transform before standardisation."""

    column: Strings = ()
    """Column of the tables; of several, the first that has a value for a catchment gives it."""
    climate: ClimateIndex | None = None
    """In place of a column: an index that is computed from the catchment's own weather of the training period, by the
    definitions of CAMELS (Addor et al. 2017, doi:10.5194/hess-21-5293-2017). ``p_mean``, ``t_mean``, ``pet_mean``:
    mean precipitation, temperature, potential evaporation. ``aridity``: ratio of the means of potential evaporation and
    precipitation. ``p_seasonality``: -1 (winter) to 1 (summer) and beyond, by sine curves. ``frac_snow``: share of the
    precipitation that falls on days of 0 degrees C or colder. ``high_prec_freq``, ``high_prec_dur``: days a year of at
    least 5 times the mean precipitation, and mean length of their spells. ``low_prec_freq``, ``low_prec_dur``: the
    same of days with less than 1 mm."""
    units: str = "1"
    """Units of the column, which a model that reads another store converts; 1 if nobody says. An index has its own."""
    transform: TransformName = "identity"
    """Applied before standardisation."""
    one_hot: Marks = ()
    """Of a column of classes: the attribute is 1 where the column has one of these values, else 0."""

    @model_validator(mode="before")
    @classmethod
    def _units_of_index(cls, given: Any) -> Any:
        index = given.get("climate") if isinstance(given, dict) else None
        return {"units": CLIMATE_UNITS[index], **given} if index in CLIMATE_UNITS else given

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if bool(self.column) == (self.climate is not None):
            raise ValueError("give either column or climate")
        if self.climate is not None and self.units != CLIMATE_UNITS[self.climate]:
            raise ValueError(f"units: {self.climate} is in {CLIMATE_UNITS[self.climate]}; leave units out")
        if self.climate is not None and self.one_hot:
            raise ValueError("one_hot: is for a column of classes, not for a climate index")
        return self

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        return f"climate index {self.climate}" if self.climate else f"column '{' or '.join(self.column)}'"

    @model_validator(mode="after")
    def _classes_as_they_are(self) -> Self:
        if self.one_hot and self.transform != "identity":
            raise ValueError("an attribute with 'one_hot' is 0 or 1; leave its transform out")
        return self


class Boundaries(Section):
    """Catchment boundaries: polygons in a shapefile, GeoPackage or GeoJSON."""

    files: Strings
    """Glob patterns below the data folder; of a shapefile, the ``.shp``."""
    gauge_id: str = "gauge_id"
    """Field of the gauge ids."""
    gauge_id_prefix: str = ""
    """Stripped from the ids of the file."""
    gauge_id_new_prefix: str = ""
    """Put before them after that, as ``source.gauge_id_new_prefix``."""
    gauge_id_digits: Annotated[int, Field(ge=0)] = 0
    """Digits that ids have, where the file holds them as numbers without their leading zeros: 8 for CAMELS-US."""


class Catchments(Section):
    """Attribute tables and the columns that place a catchment on the map."""

    tables: tuple[AttributeTable, ...] = ()
    """Attribute tables; the first that has a value for a gauge gives it."""
    latitude: Strings = ("gauge_lat",)
    """Column of the gauge's latitude, degrees north; of several, the first that has a value."""
    longitude: Strings = ("gauge_lon",)
    """Column of the gauge's longitude, degrees east; of several, the first that has a value."""
    area: Strings = ("area",)
    """Column of the catchment's area; of several, the first that has a value."""
    area_units: str = "km2"
    """Units of that column, where its file states none; the store has km2."""
    gauge_name: str | None = "gauge_name"
    """Column of the gauge's name. Gauges have no name where it is null, or left out and in no table."""
    attributes: dict[str, Attribute] = Field(min_length=1)
    """Static attributes that condition the series encoders, by name."""
    allow_flow_attributes: bool = False
    """True: attributes that were computed from flow, such as the mean flow, may be inputs where gauges are held out."""
    downstream_id: str | None = None
    """Column of the id of the next gauge downstream, empty where there is none. Gauges on the same river are then
    preferred where flow of other gauges is evidence."""
    groups: dict[str, str] = Field(default_factory=dict)
    """Classes of the catchments, by name, and the column of each: ``{huc_02: huc_02}``. They are no inputs of the
    model; ``train.held_out_gauges.by`` may name one."""
    gauges: Marks = ()
    """Gauge ids to use, or text files below the data folder (``*.txt``) with one id a line; empty means every gauge
    that has series."""
    on_missing: Literal["error", "drop", "keep"] = "error"
    """What becomes of gauges without an attribute, or without a boundary where ``boundaries`` are given. ``error``: an
    error that lists them. ``drop``: they are left out with a counted warning. ``keep``: the attribute is missing, which
    the model is told; place, area and boundary are needed all the same."""
    boundaries: Boundaries | None = None
    """Polygons that weather is taken from; null takes discs of the catchments' areas around their gauges."""


class DemoDomain(Section):
    """Size of the generated domain of the reader ``demo``."""

    cells: tuple[Annotated[int, Field(ge=20)], Annotated[int, Field(ge=20)]] = (54, 42)
    """Cells along y and x."""
    cell_km: Annotated[float, Field(gt=0)] = 5.0
    """Side of a cell in kilometres."""
    catchments: Annotated[int, Field(ge=4)] = 24
    """Number of gauges."""
    missing_fraction: Annotated[float, Field(ge=0, lt=0.5)] = 0.03
    """Share of the days of each series that gaps take."""


class Quality(Section):
    """What ``prepare`` looks for in the data, and what it does about it: nothing, if it is not told."""

    ignore: tuple[CheckName, ...] = ()
    """Checks whose findings do not count, neither in the report nor for ``--strict``."""
    to_missing: tuple[Literal["range", "flat", "jump", "outlier"], ...] = ()
    """Checks whose days are set to missing; of grids, range alone: the values in question, not the whole day."""
    flat_days: Annotated[int, Field(gt=1)] = 10
    """Days on which one flow above zero must be repeated to look like a filled gap."""
    jump: Annotated[float, Field(gt=0)] = 20.0
    """Change of temperature from one day to the next that is not believed, in kelvin."""
    quantities: dict[str, QuantityName] = Field(default_factory=dict)
    """What a modality measures, where its name and units do not tell: ``{upstream: river_flow}``."""


class Dataset(Section):
    """Where data come from, and on what terms: a model that learnt from them says so."""

    licence: str
    """Licence, by its SPDX name if it has one: ``OGL-UK-3.0``, ``CC-BY-4.0``."""
    citation: str
    """How to cite it, with its DOI."""


class Recipe(Section):
    """What ``prepare`` builds: period, splits, grid, catchments."""

    period: Period
    """Days of the store."""
    splits: Splits
    """Training, validation and test periods; statistics come from the first alone."""
    grid: GridSpec = GridSpec()
    """The target grid."""
    catchments: Catchments | None = None
    """Attribute tables and gauges; null for grids alone."""
    demo: DemoDomain | None = None
    """Size of the generated domain; only for the reader demo."""
    quality: Quality = Quality()
    """What is looked for in the data, and what is done about it."""
    datasets: dict[str, Dataset] = Field(default_factory=dict)
    """Licence and citation of each data set that is read, by its name; every model trained on it carries them."""

    @model_validator(mode="after")
    def _splits_inside(self) -> Self:
        span = self.splits.span
        if span.start < self.period.start or span.end > self.period.end:
            raise ValueError(
                f"splits ({span.start} to {span.end}) must lie inside period ({self.period.start} to {self.period.end})"
            )
        return self
