"""The types of arguments: paths, dates, names and settings, and how they become the configuration's own types."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from watercli.config import Config, load, with_overrides
from watercli.errors import ConfigError

StrPath = str | os.PathLike[str]
Date = str | dt.date | np.datetime64
"""A day: ``"2014-10-01"``, a date, a datetime or a timestamp of numpy or pandas."""
Names = str | Iterable[str]
"""A name, or several."""
Settings = Mapping[str, Any] | Sequence[str]
"""Changes of single settings: ``{"train.steps": 400}``, or ``["train.steps=400"]`` as ``--set`` takes them."""

STORE = Path("store.zarr")
RUNS = Path("runs")


class EmbedOptions(TypedDict, total=False):
    """Options of embedding; the defaults are those of the run's configuration, section ``embed``."""

    since: Date | None
    """First date."""
    until: Date | None
    """Last date."""
    stride: int | None
    """Days between two dates."""
    catchments: Names | None
    """Gauge ids; by default all of the store."""
    modalities: Names | None
    """Modalities to embed; by default all that are not excluded."""
    excluded_inputs: Names | None
    """Modalities that the encoder never sees; by default river flow."""
    causal: bool | None
    """Whether the encoder sees no day after a date."""
    pooling: Names | None
    """Pooling of a window's days into an embedding: ``last``, ``mean``, ``days``."""
    layers: bool | None
    """Also each encoder layer's features."""
    decoder_state: bool | None
    """Also the decoder state of each excluded series."""
    patches: bool | None
    """Also embeddings of the grids' patches."""
    settings: Settings
    """Changes of other settings."""


class SimulateOptions(TypedDict, total=False):
    """Options of simulation; the defaults are those of the run's configuration, section ``simulate``."""

    since: Date | None
    """First date."""
    until: Date | None
    """Last date."""
    catchments: Names | None
    """Gauge ids; by default all of the store."""
    target: str | None
    """The series; by default ``evaluate.target`` of the run."""
    neighbours: str | None
    """Flow of other gauges that may be evidence: ``none``, ``past``, ``day`` or ``all``."""
    own_flow: str | None
    """Flow of the gauge itself that may be evidence: ``none``, ``before``, ``all`` or ``FROM..TO``."""
    measured: StrPath | None
    """A CSV file of single measurements that may be evidence: ``gauge_id``, ``date``, ``flow``."""
    fill: bool | None
    """Fill the gaps of the record."""
    init_time: Date | None
    """A forecast: the last day on which flow is known; ``FROM..TO``: an archive of forecasts."""
    lead_time: int | None
    """Days that are forecast."""
    stride: int | None
    """Days between two forecasts of an archive."""
    forecast_weather: str | None
    """Weather after ``init_time``: ``observed``, ``product`` or ``none``."""
    weather_only: bool | None
    """Also return the simulation without evidence."""
    settings: Settings
    """Changes of other settings."""


def as_date(value: Date, option: str) -> dt.date:
    """Return a day; ``option`` names it in the error.

    Raises
    ------
    ConfigError
        If it is no date.
    """
    try:
        # Pandas would read '02-03-2014', and guess whether 02 or 03 is the month.
        moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else pd.Timestamp(value)
        if pd.isna(moment):
            raise ValueError(value)
    except ValueError:
        raise ConfigError(f"{option} '{value}' is no date; write it as 2014-10-01") from None
    return moment.date()


def as_names(names: Names) -> list[str]:
    """Return a name or names as a list."""
    listed = names if isinstance(names, str) or hasattr(names, "__array__") else list(names)
    return [str(name) for name in np.asarray(listed).ravel()]


def as_overrides(settings: Settings) -> list[str]:
    """Return changes of settings as ``key=value``."""
    if isinstance(settings, Mapping):
        return [f"{key}={json.dumps(value, default=str)}" for key, value in settings.items()]
    return [settings] if isinstance(settings, str) else list(settings)


def in_section(section: str, **options: Any) -> list[str]:
    """Return options as overrides of a section's settings; those that are None are left out."""
    given = {f"{section}.{key}": _plain(key, value) for key, value in options.items() if value is not None}
    return as_overrides(given)


def _plain(key: str, value: Any) -> Any:
    """Return the JSON type of an option's value."""
    if key == "init_time" and isinstance(value, str) and ".." in value:
        return "..".join(as_date(day, "--init-time").isoformat() for day in value.split(".."))
    if key in ("since", "until", "init_time"):
        return as_date(value, f"--{key.replace('_', '-')}").isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value if isinstance(value, bool | int | float | str) else as_names(value)


def as_config(config: Config | StrPath, settings: Settings = ()) -> Config:
    """Return a configuration, given itself, by shipped name or by path, with settings changed."""
    changes = as_overrides(settings)
    return with_overrides(config, changes) if isinstance(config, Config) else load(os.fspath(config), changes)
