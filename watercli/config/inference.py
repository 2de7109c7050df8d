"""What is exported."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from watercli.config.base import Positive, Section, Strings, listed

OWN_FLOW = re.compile(r"none|before|all|\d{4}-\d{2}-\d{2}\.\.\d{4}-\d{2}-\d{2}")


def _own_flow(value: str) -> str:
    if not OWN_FLOW.fullmatch(value):
        raise ValueError("no such choice; known: none, before, all, or a period such as 2012-01-01..2012-12-31")
    for day in value.split("..") if ".." in value else ():
        dt.date.fromisoformat(day)
    return value


def _init_time(value: Any) -> Any:
    """Return days of issue as text: one, or ``FROM..TO``."""
    if value is None or not isinstance(value, str):
        return value.isoformat() if isinstance(value, dt.date) else value
    try:
        days = [dt.date.fromisoformat(day) for day in value.split("..")]
    except ValueError:
        raise ValueError("no date; write it as 2014-10-01, or the first and the last with .. between them") from None
    if len(days) > 2 or days != sorted(days):
        raise ValueError("write one day, or the first and the last such as 2012-01-01..2012-12-31")
    return value


class Selection(Section):
    """Dates and catchments of an export."""

    since: dt.date | None = None
    """First date; null for the first that the store allows."""
    until: dt.date | None = None
    """Last date; null for the last that the store allows."""
    catchments: Strings = ()
    """Gauge ids; empty for every catchment of the store."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since and self.until and self.until < self.since:
            raise ValueError(f"until {self.until} lies before since {self.since}")
        return self


class Simulate(Selection):
    """Simulation of a series that is excluded from the model's inputs, and its correction by known flow."""

    target: str | None = None
    """The series to simulate; null for ``evaluate.target``."""
    neighbours: Literal["none", "past", "day", "all"] | None = None
    """Flow of other gauges of the store that may be evidence. ``none``; ``past``: up to the day before; ``day``: up to
    the day itself; ``all``: gaps of up to a week in their records are interpolated too. null: ``day`` if the run has an
    evidence head, otherwise ``none``."""
    own_flow: Annotated[str, AfterValidator(_own_flow)] = "none"
    """Flow of the gauge itself that may be evidence for a day. ``none``; ``before``: on all days before; ``all``: on
    all other days; ``FROM..TO``: on the other days of a period."""
    measured: Path | None = None
    """A CSV file of single measurements that may be evidence for all other days: columns ``gauge_id``, ``date`` and
    ``flow``, in the units of the target."""
    init_time: Annotated[str | None, BeforeValidator(_init_time)] = None
    """A forecast: the last day on which any flow is known, and on which the weather forecast is issued. ``FROM..TO``:
    an archive of forecasts from every ``stride``-th day."""
    lead_time: Positive = 10
    """Days that are forecast after ``init_time``."""
    stride: Positive = 1
    """Days between two forecasts of an archive."""
    forecast_weather: Literal["observed", "product", "none"] | None = None
    """Weather of the days after ``init_time``. ``observed``: the store's, as if the weather forecast were perfect;
    ``product``: the latest forecast product issued by then, and nothing where it has no value; ``none``: nothing. null:
    ``product`` if the store has one for an input of the model, otherwise ``observed``."""
    fill: bool = False
    """Fill the gaps of the record: what is observed stays; all other flow, earlier and later, is evidence."""
    weather_only: bool = False
    """Also write the simulation without evidence."""

    @property
    def is_archive(self) -> bool:
        """Whether forecasts of several days of issue are to be made."""
        return ".." in (self.init_time or "")

    @property
    def issues(self) -> list[dt.date]:
        """Days of issue of the forecasts; empty if there are none."""
        if self.init_time is None:
            return []
        first, *last = (dt.date.fromisoformat(day) for day in self.init_time.split(".."))
        days = ((last or [first])[0] - first).days
        return [first + dt.timedelta(days=day) for day in range(0, days + 1, self.stride)]

    @property
    def uses_flow(self) -> bool:
        """Whether settings other than the defaults ask for evidence."""
        return (
            self.neighbours not in (None, "none")
            or self.own_flow != "none"
            or self.fill
            or bool(self.measured or self.init_time)
        )

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if self.fill and (self.init_time or self.own_flow != "none"):
            raise ValueError("fill takes all flow as evidence; leave out own_flow and init_time")
        if self.init_time and (self.since or self.until):
            raise ValueError("init_time and lead_time choose the dates; leave out since and until")
        if self.forecast_weather and not self.init_time:
            raise ValueError("forecast_weather: is for a forecast; give init_time too")
        return self


class Embed(Selection):
    """Export of embeddings."""

    stride: Positive = 1
    """Days between two embeddings of a catchment."""
    modalities: Strings = ()
    """Modalities whose embeddings are written; empty for all that are not excluded."""
    excluded_inputs: Strings = ("riverflow",)
    causal: bool = True
    """True: the encoder sees nothing after a date. False, for a run without ``model.causal``: the window lies around
    the date, and the encoder sees its later days too."""
    pooling: Annotated[tuple[Literal["last", "mean", "days"], ...], BeforeValidator(listed), Field(min_length=1)] = (
        "last",
        "mean",
    )
    """Pooling of a window's days into an embedding. ``last``: the last day with a value. ``mean``: the mean over all
    such days. ``days``: each day by itself, ``lag_0`` being the date and ``lag_1`` the day before."""
    layers: bool = False
    """Also write what each encoder layer makes of a date, before the layers are weighted."""
    decoder_state: bool = False
    """Also write the last decoder state of each excluded series, from which the model would predict it; needs
    ``model.cross_modal_attention``."""
    patches: bool = False
    """Also write embeddings of the grids' land patches."""
    dtype: Literal["float16", "float32"] | None = None
    """Of the numbers written. Null: float16 in Zarr, which keeps three significant digits in half the room, and float32
    elsewhere: in memory, in Parquet and in one file."""
    format: Literal["zarr", "parquet"] = "zarr"
    """A Zarr store with all labels, or Parquet tables with a row for each catchment and date."""
    batch_size: Positive = 8
    """Windows encoded at once; fewer where there are very many catchments."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.format == "parquet" and self.dtype == "float16":
            raise ValueError("parquet takes float32 only, as most of its readers know no float16; set dtype to float32")
        return self
