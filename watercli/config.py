"""The typed configuration: YAML in, YAML out, unknown keys refused with the nearest known key.

One file describes everything: the recipe that ``prepare`` follows, the modalities, the model, and how it is
trained, evaluated and exported. A store and a run each carry the whole of it.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from watercli.errors import ConfigError, nearest
from watercli.transforms import TransformName


def _listed(value: object) -> object:
    """Let a single string stand where a list of strings is asked for."""
    return (value,) if isinstance(value, str) else value


def _iterated(value: object) -> Iterable[object]:
    """Let a single number or string stand where several are asked for."""
    return value if isinstance(value, list | tuple) else (value,)


def _json_file(value: object) -> object:
    """Let the name of a JSON file stand for its content."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(Path(value).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}); give an existing JSON file") from error
    except ValueError as error:
        raise ValueError(f"is no valid JSON ({error}); mend it") from error


Strings = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Marks = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(str(one) for one in _iterated(value)))]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
CheckName = Literal["range", "units", "dates", "flat", "jump", "outlier", "repeat", "runoff"]
MethodName = Literal[
    "simulation",
    "fine_tuned",
    "from_scratch",
    "corrected",
    "probe",
    "probe_untrained",
    "probe_shared",
    "probe_fused",
    "probe_network",
    "weather_ridge",
    "moving_average",
    "lstm",
    "gr4j",
    "nearest",
    "inverse_distance",
    "climatology",
    "persistence",
]
ProtocolName = Literal["reconstruction", "simulation", "ungauged", "forecast", "few_labels"]
LoggerName = Literal["tensorboard", "wandb", "mlflow"]
QuantityName = Literal["precipitation", "evaporation", "river_flow", "air_temperature", "soil_moisture"]


class Section(BaseModel):
    """Base of every section: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    """Training, validation and test periods: disjoint, in this order of time."""

    train: Period
    validation: Period
    test: Period

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        if not self.train.end < self.validation.start or not self.validation.end < self.test.start:
            raise ValueError("train, validation and test must follow each other without overlap")
        return self


class Table(Section):
    """How the reader ``table`` finds gauges, dates and values in CSV, Parquet or NetCDF."""

    layout: Literal["file", "long", "wide"] = "file"
    """One file for each gauge; or tables with a column of gauge ids; or tables with a column for each gauge."""
    file_name: str = "{gauge_id}"
    """How the files of layout ``file`` are named, without the ending: ``{gauge_id}`` stands for the id, ``*`` for
    anything."""
    gauge_id: str = "gauge_id"
    """Column or dimension of the gauge ids, for layout ``long``."""
    date: Strings = ("date",)
    """Column or dimension of the dates; or three columns of year, month and day."""
    date_format: str = "ISO8601"
    """How dates are written in text: ``ISO8601`` is 2000-01-31, or a format such as ``%d/%m/%Y``."""
    separator: Literal[",", ";", "tab", "space"] = ","
    """What separates the columns of a text table; ``space`` is any white space."""
    missing: Marks = ()
    """What means missing, beside an empty field, NaN and NA: ``[-999]``."""


class Daily(Section):
    """How values of a shorter step than a day become days."""

    how: Literal["sum", "mean", "max", "min"]
    """What a day is of its values: the sum of amounts, the mean of rates and states."""
    starts: Annotated[int, Field(ge=0, le=23)] = 0
    """Hour UTC at which a day begins; the day bears the date on which it begins."""
    stamp: Literal["start", "end"] | None = None
    """Whether a time is the beginning or the end of its step; null: by the bounds of time in the files."""
    accumulation: Literal["none", "since_midnight"] = "none"
    """``since_midnight``: every value is the sum since 00 UTC, stamped at its end, as ERA5-Land has them."""


class Source(Section):
    """Where a modality comes from."""

    reader: str
    """Name of the reader: grid, hadukgrid, camels_gb, camels_us, caravan, nrfa, table, grid_mean, pet, demo."""
    variable: str
    """Variable or column that is read; for ``grid_mean`` the grid modality, for ``pet`` the method."""
    files: Strings = ()
    """Glob patterns below the data folder."""
    units: str | None = None
    """Units of the source, where its files state none or wrong ones; null takes the files' own."""
    mean_of: Strings = ()
    """Variables whose mean stands for ``variable`` where the files lack it: ``[tasmax, tasmin]``; reader ``grid``."""
    daily: Daily | None = None
    """How sub-daily values become days; reader ``grid``, null for daily files."""
    of: dict[str, str] = {}
    """Series modalities that the reader ``pet`` computes from: ``{tmean: temperature}``."""
    gauge_id_prefix: str = ""
    """Stripped from the gauge ids of the files, so that they are those of the attribute tables."""
    table: Table = Table()
    """For the reader ``table``."""


class Modality(Section):
    """One modality: a daily ``grid`` (time, y, x) or a daily ``series`` per catchment."""

    kind: Literal["grid", "series"]
    """A daily field of the whole grid, or a daily series for each catchment."""
    units: str = "1"
    """Units in the store and in every figure; sources in other units of the same dimension are converted."""
    long_name: str = ""
    """What it is, in words."""
    source: Source | None = None
    """Where ``prepare`` reads it."""
    transform: TransformName = "identity"
    """Applied before standardisation, inverted before any score."""
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
    """Share of its observed tokens that is hidden from the encoder."""
    loss_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of its mean squared error in the sum."""
    loss: Literal["standardised", "nse"] = "standardised"
    """Space of predictions and errors. ``standardised``: that of the transform. ``nse``, for a series that is never
    negative: physical units, errors divided by the spread of the catchment's own training days, so that each catchment
    counts as it does in a mean of Nash-Sutcliffe efficiencies (Kratzert et al. 2019, doi:10.5194/hess-23-5089-2019)."""

    drained: bool = True
    """With ``model.fusion``, catchments read this grid on the patches that they drain. False where a series of the
    catchments says the same and more: a grid that is coarse, or begins years after it."""

    @model_validator(mode="after")
    def _drained_grid(self) -> Self:
        if not self.drained and self.kind != "grid":
            raise ValueError("drained is for a grid: a series is the catchment's own")
        return self

    @model_validator(mode="after")
    def _nse_of_series(self) -> Self:
        if self.loss == "nse" and self.kind != "series":
            raise ValueError("loss nse is for a series: a grid has no catchments")
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
    least_covered: Annotated[float, Field(gt=0, le=1)] = 0.5
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


class AttributeTable(Section):
    """A text table of catchment attributes, one row for each gauge; commas, semicolons, tabs or spaces separate."""

    files: Strings
    """Glob patterns below the data folder; several files are joined by gauge id."""
    gauge_id: str = "gauge_id"
    """Column of the gauge ids."""
    gauge_id_prefix: str = ""
    """Stripped from the ids of the table (Caravan writes ``camelsgb_11003``)."""


class Attribute(Section):
    """One static attribute: the column it is read from, its units, the transform before standardisation."""

    column: str
    """Column of the table."""
    units: str = "1"
    """Units of the column, for the record."""
    transform: TransformName = "identity"
    """Applied before standardisation."""
    equals: Marks = ()
    """Of a column of classes: the attribute is 1 where the column has one of these values, else 0."""

    @model_validator(mode="after")
    def _classes_as_they_are(self) -> Self:
        if self.equals and self.transform != "identity":
            raise ValueError("an attribute with 'equals' is 0 or 1; leave its transform out")
        return self


class Boundaries(Section):
    """Catchment boundaries: polygons in a shapefile, GeoPackage or GeoJSON."""

    files: Strings
    """Glob patterns below the data folder; of a shapefile, the ``.shp``."""
    gauge_id: str = "gauge_id"
    """Field of the gauge ids."""
    gauge_id_prefix: str = ""
    """Stripped from the ids of the file."""
    gauge_id_digits: Annotated[int, Field(ge=0)] = 0
    """Digits that ids have, where the file holds them as numbers without their leading zeros: 8 for CAMELS-US."""


class Catchments(Section):
    """Attribute tables and the columns that place a catchment on the map."""

    tables: tuple[AttributeTable, ...] = ()
    """Attribute tables; the first that has a value for a gauge gives it."""
    latitude: str = "gauge_lat"
    """Column of the gauge's latitude, degrees north."""
    longitude: str = "gauge_lon"
    """Column of the gauge's longitude, degrees east."""
    area: str = "area"
    """Column of the catchment's area in km2."""
    gauge_name: str | None = "gauge_name"
    """Column of the gauge's name; null if there is none."""
    attributes: dict[str, Attribute] = Field(min_length=1)
    """Static attributes that condition the series encoders, by name."""
    gauges: Strings = ()
    """Gauge ids to use; empty means every gauge that has series."""
    unmatched: Literal["refuse", "drop"] = "refuse"
    """What becomes of gauges without an attribute, or without a boundary where ``boundaries`` are given: an error that
    lists them, or left out with a counted warning."""
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
    missing: Annotated[float, Field(ge=0, lt=0.5)] = 0.03
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
    quantities: dict[str, QuantityName] = {}
    """What a modality measures, where its name and units do not tell: ``{upstream: river_flow}``."""


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

    @model_validator(mode="after")
    def _splits_inside(self) -> Self:
        if self.splits.train.start < self.period.start or self.splits.test.end > self.period.end:
            raise ValueError(
                f"splits ({self.splits.train.start} to {self.splits.test.end}) must lie inside period "
                f"({self.period.start} to {self.period.end})"
            )
        return self


class Shape(Section):
    """The domain's size where there is no store to read it from (``inspect`` of a configuration)."""

    grid: tuple[Positive, Positive]
    """Cells along y and x."""
    patch_size: tuple[Positive, Positive] = (10, 10)
    """Cells of a patch along y and x."""
    land_patches: Positive
    """Number of patches that are land."""
    attributes: Positive
    """Number of static attributes."""


class LayersByKind(Section):
    """Encoder layers that feed the weighted feature maps, for each kind."""

    grid: tuple[int, ...] | None = None
    series: tuple[int, ...] | None = None


class Memory(Section):
    """What a token knows of the days before it, beyond the window; see ``docs/model.md``."""

    time_constants: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = tuple(
        float(2**k) for k in range(10)
    )
    """Days after which a value has faded to 1/e, one for each moving average."""
    recent: Positive = 7
    """Latest days that are remembered one by one, the day itself included."""
    width: Positive = 256
    """Width of the network that reads the states."""


class ModelSection(Section):
    """Structure of the MultiModalMAE; see ``docs/model.md``."""

    width: Positive = 256
    """Width of the encoders."""
    decoder_width: Positive = 128
    """Width of the decoders."""
    heads: Positive = 8
    """Attention heads, in encoders and decoders."""
    mlp_ratio: Annotated[float, Field(ge=0.5)] = 4.0
    """Hidden width of an MLP over its width."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """On MLPs and projections; none inside attention, which would force its slow path."""
    grid_layers: Positive = 6
    """Layers of a grid encoder."""
    grid_attention: Literal["window", "day"] = "window"
    """Which patches attend to each other: those of all days of the window, or those of a day; then the encoder's cost
    grows linearly with the window, and what came before reaches a day through the memory."""
    grid_keys: Literal["window", "day"] = "window"
    """Which visible patches a masked one is predicted from: those of all days of the window, or those of its day; then
    the decoder's cost grows linearly too."""
    series_layers: Positive = 4
    """Layers of a series encoder."""
    decoder_layers: Positive = 4
    """Layers of a decoder, and so weighted feature maps."""
    use_cross_attn: bool = True
    """True: CrossMAE decoder; False: standard MAE decoder (self-attention over visible and masked tokens)."""
    use_weighted_fm: bool = True
    """Each decoder layer reads its own learned mixture of encoder layers; False: all read the last one."""
    use_fm_layers: tuple[int, ...] | LayersByKind | None = None
    """Layers that feed the maps: null for all; a list is for the grid encoders (series encoders keep all of theirs);
    ``{grid: [...], series: [...]}`` for both."""
    use_input: bool = False
    """The embedded input is one more layer that feeds the maps, the first."""
    decoder_self_attn: bool = False
    """CrossMAE decoder only: masked tokens also attend to each other."""
    fusion: Literal["none", "keys", "shared"] = "none"
    """none: each modality is predicted from itself; keys: a decoder also reads the others' tokens, a catchment those
    of the patches that it drains; shared: transformer layers mix these tokens first."""
    fusion_layers: Positive = 2
    """Transformer layers of shared fusion."""
    memory: Memory | None = None
    """Moving averages of what came before a day, at many time scales; null for none. ``{}`` takes the defaults."""
    causal: bool = False
    """True: features and predictions of a day see no later day, as simulation and forecast must."""
    kept_mask_ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of all tokens that is decoded and scored, drawn from the masked ones; null for every masked one."""


class DeepSpeedSection(Section):
    """What DeepSpeed is told when ``--gpus`` or ``--processes`` asks for it."""

    zero_stage: Literal[0, 1, 2, 3] = 0
    """What is spread over the processes: 0 nothing, 1 optimiser states, 2 also gradients, 3 also weights."""
    config: Annotated[dict[str, Any] | None, BeforeValidator(_json_file)] = None
    """DeepSpeed's own configuration, for what has no setting here: a JSON file, or its content; see
    ``docs/pretraining.md``."""


class Questions(Section):
    """Shares of the training windows by what they ask; what is left over masks all modalities at random."""

    of: Strings = ("riverflow",)
    """Modalities that simulations and forecasts ask for, one in each window."""
    simulation: Fraction = 0.0
    """The modality is hidden altogether, its past too; all others are shown: a river without a gauge."""
    forecast: Fraction = 0.0
    """Its last days are hidden; all others are shown, as if the weather were known."""
    blind_forecast: Fraction = 0.0
    """Its last days are hidden, and nothing is known of these days."""
    places: Fraction = 0.0
    """Whole patches and catchments of every modality are hidden, each by its mask ratio."""
    longest_lead: Positive = 7
    """Most days that a forecast asks for."""

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if self.asking + self.places > 1:
            raise ValueError("the shares add up to more than 1")
        return self

    @property
    def asking(self) -> float:
        """Share of the windows that ask for one modality."""
        return self.simulation + self.forecast + self.blind_forecast


class HiddenGauges(Section):
    """Gauges whose series gives nothing to training, statistics or validation: those to be predicted ungauged."""

    of: str = "riverflow"
    """The series that is hidden there."""
    folds: Annotated[int, Field(gt=1)] = 4
    """Number of folds."""
    by: Literal["rank", "region"] = "rank"
    """``rank``: a gauge's fold is its rank, by number, modulo the folds. ``region``: gauges of a fold lie together, so
    that a hidden one has none of the others beside it."""
    fold: Annotated[int, Field(ge=0)] | None = None
    """The fold that is hidden."""
    gauges: Strings = ()
    """Gauge ids that are hidden, in place of a fold."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.fold is None) == (not self.gauges):
            raise ValueError("give either fold or gauges")
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} must be below folds ({self.folds}); the first fold is 0")
        return self


class Train(Section):
    """Pretraining."""

    steps: Positive = 1000
    """Optimiser steps in all."""
    windows: Positive = 2
    """Windows in a step, over all processes."""
    catchments: Positive = 8
    """Catchments drawn for each window."""
    questions: Questions = Questions()
    """What the windows ask."""
    hidden_gauges: HiddenGauges | None = None
    """Gauges to be predicted ungauged; null for none."""
    attribute_noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of noise added to the standardised attributes while training, drawn for each catchment and
    window: with few gauges, a model else knows them by their attributes, and learns nothing for others."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Peak, after the warm-up."""
    min_learning_rate: Annotated[float, Field(ge=0)] = 1e-5
    """Where the cosine ends."""
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    """Steps of the linear warm-up."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """AdamW's; norms, biases, positions and mask tokens do not decay."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    """AdamW's decay of the first and second moments."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    averaging: Annotated[float, Field(ge=0)] | None = None
    """Power p of an average of the weights over all steps, which then is what is validated, saved and used: step t
    counts as t**p. It does not change training. null: the weights of the last step."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the matrix products; fp16 needs ``--gpus``."""
    accumulate: Positive = 1
    """Micro-batches that a step is cut into, to save memory."""
    activation_checkpointing: bool = False
    """True: a layer's activations are computed anew in the backward pass instead of being kept: less memory, about a
    third more time, the same losses."""
    validate_every: Positive = 100
    """Steps between two validations."""
    validation_windows: Positive = 16
    """Windows of the validation period that are scored, spread over it, always the same and equally masked."""
    checkpoint_every: Positive = 100
    """Steps between two checkpoints."""
    keep_checkpoints: Positive = 2
    """Newest checkpoints that are kept, beside the best."""
    log_every: Positive = 10
    """Steps between two rows of ``metrics.jsonl``."""
    loggers: Annotated[tuple[LoggerName, ...], BeforeValidator(_listed)] = ("tensorboard",)
    """What the rows of ``metrics.jsonl`` go to as well: ``tensorboard``, ``wandb``, ``mlflow``; ``[]`` for nothing."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read windows ahead, each with its own copy of the grids in memory; 0 reads in a thread of the
    training process."""
    prefetch: Annotated[int, Field(ge=0)] = 2
    """Steps that are read ahead, by each worker or by the thread; 0, without workers, reads when a step begins."""
    memory_gib: Annotated[float, Field(ge=0)] = 2.0
    """Grids that need no more than this are decoded into memory once; larger ones are read window by window."""
    deepspeed: DeepSpeedSection = DeepSpeedSection()
    """For ``--gpus`` and ``--processes``."""


class Embed(Section):
    """Export of embeddings."""

    since: dt.date | None = None
    """First date; null for the first that the store allows."""
    until: dt.date | None = None
    """Last date; null for the last that the store allows."""
    stride: Positive = 1
    """Days between two embeddings of a catchment."""
    catchments: Strings = ()
    """Gauge ids; empty for every catchment of the store."""
    modalities: Strings = ()
    """Modalities whose embeddings are written; empty for all that are not hidden."""
    hide: Strings = ("riverflow",)
    """Modalities that the encoder never sees; the default keeps river flow out of what will predict it."""
    causal: bool = True
    """True: nothing after a date is seen. False, for a run without ``model.causal``: the window lies around the date,
    and its later days are seen too."""
    pools: Annotated[tuple[Literal["last", "mean", "days"], ...], BeforeValidator(_listed), Field(min_length=1)] = (
        "last",
        "mean",
    )
    """How the days of a window become one embedding: the last day with a value; the mean over all such days; or each
    day by itself, ``lag_0`` being the date and ``lag_1`` the day before."""
    layers: bool = False
    """Also write what each encoder layer makes of a date, before the layers are weighted."""
    fused: bool = False
    """Also write, for each hidden series, the vector from which the model itself would predict it; needs
    ``model.fusion``."""
    patches: bool = False
    """Also write embeddings of the grids' land patches."""
    dtype: Literal["float16", "float32"] = "float32"
    """Of the numbers written."""
    format: Literal["zarr", "parquet"] = "zarr"
    """A Zarr store with all labels, or Parquet tables with a row for each catchment and date."""
    batch: Positive = 8
    """Windows encoded at once; fewer where there are very many catchments."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.since and self.until and self.until < self.since:
            raise ValueError(f"until {self.until} lies before since {self.since}")
        if self.format == "parquet" and self.dtype == "float16":
            raise ValueError("parquet takes float32 only, as most of its readers know no float16; set dtype to float32")
        return self


class Evaluate(Section):
    """What ``evaluate`` does."""

    protocols: Annotated[tuple[ProtocolName, ...], BeforeValidator(_listed)] = (
        "reconstruction",
        "simulation",
        "ungauged",
        "forecast",
        "few_labels",
    )
    """What is asked, as far as the run can answer. ``reconstruction``: masked values of all modalities;
    ``simulation``: flow, hidden, at gauges that training saw; ``ungauged``: at gauges that it did not see, if the run
    hides any; ``forecast``: flow of the coming days from the flow of the past; ``few_labels``: probes fitted to short
    records."""
    target: str = "riverflow"
    """The series that is judged: river flow."""
    methods: Annotated[tuple[MethodName, ...], BeforeValidator(_listed)] = tuple(
        name for name in get_args(MethodName) if name not in ("fine_tuned", "from_scratch")
    )
    """Methods of simulation, as ``docs/evaluation.md`` lists them; ``fine_tuned`` and ``from_scratch`` train the whole
    model once more and are left out unless named."""
    reconstruction_windows: Positive = 64
    """Windows of the test period whose masked values are reconstructed, spread over it."""
    probe_stride: Positive = 5
    """Days between two training (and validation) samples of the probe; every test day is scored."""
    alphas: tuple[Annotated[float, Field(gt=0)], ...] = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4)
    """Ridge penalties, chosen on the validation dates."""
    moving_average_steps: Positive = 3000
    """Steps of the moving-average network, and of the network on the embeddings."""
    lstm_steps: Positive = 500
    """Steps of the LSTM, of 32 years each."""
    fine_tune_steps: Positive = 500
    """Steps of the methods ``fine_tuned`` and ``from_scratch``."""
    label_years: tuple[Positive, ...] = (1, 2, 5)
    """Lengths of the records, in years up to the end of the training period, that ``few_labels`` tries, beside all."""
    longest_lead: Positive = 7
    """Days that a forecast looks ahead, at most the window less one day."""
    forecast_stride: Positive = 3
    """Days between two forecasts."""
    min_training_rows: Annotated[int, Field(gt=1)] = 60
    """A catchment with fewer training samples of the probe than this is not scored."""
    cache: bool = True
    """Keep embeddings and what the slow methods found in ``RUN/cache``, for the next evaluation."""


class Config(Section):
    """The whole configuration."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Names the run directory."""
    description: str = ""
    """What it is for, in words."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Governs all that is random."""
    recipe: Recipe | None = None
    """What ``prepare`` builds; null for a configuration that is only inspected or trained on another's store."""
    shape: Shape | None = None
    """The domain's size where there is no store."""
    modalities: dict[str, Modality] = Field(min_length=1)
    """The modalities, by name."""
    window: Annotated[int, Field(gt=1)] = 30
    """Days in a window."""
    model: ModelSection = ModelSection()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    embed: Embed = Embed()

    @model_validator(mode="after")
    def _asked_for_is_there(self) -> Self:
        asked = self.train.questions
        for name in asked.of if asked.asking else ():
            if name not in self.modalities:
                raise ValueError(
                    f"train.questions.of names '{name}', which is no modality{nearest(name, self.modalities)}"
                )
        hidden = self.train.hidden_gauges
        if hidden and hidden.of not in self.of_kind("series"):
            raise ValueError(f"train.hidden_gauges.of names '{hidden.of}', which is no series")
        return self

    def of_kind(self, kind: Literal["grid", "series"]) -> dict[str, Modality]:
        """Return the modalities of one kind, in their order."""
        return {name: modality for name, modality in self.modalities.items() if modality.kind == kind}

    def to_yaml(self) -> str:
        """Return the configuration as YAML that `parse` reads back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def config_folder() -> Path:
    """Return the folder of the shipped configurations (inside the wheel, or beside the sources)."""
    here = Path(__file__).resolve().parent
    inside = here / "configs"
    return inside if inside.is_dir() else here.parent / "configs"


def shipped() -> dict[str, Path]:
    """Return the shipped configurations by name."""
    return {path.stem: path for path in sorted(config_folder().glob("*.yaml"))}


def find(name: str) -> Path:
    """Return the file of a shipped configuration's name or of a path.

    Raises
    ------
    ConfigError
        If there is neither.
    """
    known = shipped()
    if name in known:
        return known[name]
    path = Path(name).expanduser()
    if path.is_file():
        return path
    raise ConfigError(f"No configuration '{name}': neither a shipped name nor a file{nearest(name, known)}")


def load(name: str, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration by shipped name or path and apply ``key.path=value`` overrides.

    Raises
    ------
    ConfigError
        If there is no such file, it is no YAML mapping, or a setting is unknown or out of range.
    """
    path = find(name)
    return parse(path.read_text(encoding="utf-8"), origin=str(path), overrides=overrides)


def parse(text: str, *, origin: str, overrides: Sequence[str] = ()) -> Config:
    """Parse a configuration's YAML text; ``origin`` names it in errors."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise ConfigError(f"{origin} is not valid YAML{line}; mend its syntax") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{origin} holds no settings; it must be a YAML mapping")
    return _validate(raw, origin, [_apply(raw, override) for override in overrides])


def with_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """Return the configuration with ``key.path=value`` overrides applied."""
    return parse(config.to_yaml(), origin="--set", overrides=overrides) if overrides else config


def _apply(raw: dict[str, Any], override: str) -> str:
    """Apply ``key.path=value`` and return the key."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override} is not of the form key.path=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from error
    *parents, last = key.strip().split(".")
    node = raw
    for parent in parents:
        child = node.setdefault(parent, {})
        if child is None:
            child = node[parent] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"--set {key}: '{parent}' is a value, not a section")
        node = child
    node[last] = value
    return key.strip()


def _validate(raw: dict[str, Any], origin: str, changed: Sequence[str]) -> Config:
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        # A misspelt key explains a missing one, so it is named first.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        # A union's branches put their type names into the location; settings are lower-case words.
        location = [part for part in first["loc"] if isinstance(part, int) or part.islower()]
        dotted = ".".join(str(part) for part in location)
        if any(f"{dotted}.".startswith(f"{key}.") or key.startswith(f"{dotted}.") for key in changed):
            origin = "--set"
        if first["type"] == "extra_forbidden":
            known = _known_keys(Config, location[:-1])
            raise ConfigError(f"Unknown setting '{dotted}' in {origin}{nearest(str(location[-1]), known)}") from None
        if first["type"] == "missing":
            raise ConfigError(f"Setting '{dotted}' is missing in {origin}; add it") from None
        given = first.get("input")
        shown = f" (is {given!r})" if isinstance(given, str | int | float | bool) else ""
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "literal_error" and isinstance(given, str):
            message = "no such choice" + nearest(given, re.findall(r"'([^']+)'", first["ctx"]["expected"]))
        raise ConfigError(f"Setting '{dotted}' in {origin}{shown}: {message[:1].lower()}{message[1:]}") from None


def _known_keys(section: Any, location: Iterable[str | int]) -> list[str]:
    """Return the keys of the section found by following ``location`` from ``section``."""
    for part in location:
        fields = getattr(_section_in(section), "model_fields", {})
        if get_origin(section) in (dict, tuple):  # this part is a mapping's key or an index
            section = section.__args__[-1] if get_origin(section) is dict else section.__args__[0]
        elif part in fields:
            section = fields[part].annotation
    return list(getattr(_section_in(section), "model_fields", {}))


def _section_in(annotation: Any) -> Any:
    """Return the section class inside ``X | None``, ``dict[str, X]`` or ``tuple[X, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _section_in(argument))), None)


def difference(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted settings in which two dumped configurations differ, as ``key: one -> other``."""
    found: list[str] = []
    for key in dict.fromkeys((*one, *other)):
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += difference(left, right, f"{prefix}{key}.")
        elif left != right:
            found.append(f"{prefix}{key}: {left} -> {right}")
    return found
