"""Readers, methods and protocols by name: those built in, and those that installed packages add by entry points.

A name costs nothing: its record is imported when it is used. ``docs/guide/plugins.md`` shows a plug-in of each kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import EntryPoint, EntryPoints, distributions
from typing import Any, Generic, TypeVar

from watercli.errors import ConfigError, nearest

Record = TypeVar("Record")


@cache
def _installed() -> EntryPoints:
    """Return the entry points of all installed packages; looking them up takes some hundredths of a second."""
    return EntryPoints(point for package in distributions() for point in package.entry_points)


@dataclass(frozen=True)
class Group:
    """One kind of plug-in, as names only."""

    kind: str
    """In words, for messages."""
    name: str
    """Of the entry-point group."""
    built_in: Mapping[str, str]
    """``module:attribute`` by name, as an entry point has it."""

    @cached_property
    def entry_points(self) -> dict[str, EntryPoint]:
        """Entry points by name: the built-in ones first, which no package can replace."""
        known = {name: EntryPoint(name, place, self.name) for name, place in self.built_in.items()}
        for added in sorted(_installed().select(group=self.name), key=lambda point: point.name):
            known.setdefault(added.name, added)
        return known

    def in_words(self) -> str:
        """Return all names, as the commands' help shows them."""
        return f"{self.kind.capitalize()}s: {', '.join(self.entry_points)}."

    def check(self, name: str) -> str:
        """Return the name.

        Raises
        ------
        ValueError
            If nothing goes by it.
        """
        if name not in self.built_in and name not in self.entry_points:
            raise ValueError(f"no such {self.kind}{nearest(name, self.entry_points)}")
        return name


class Registry(Mapping[str, Record], Generic[Record]):
    """The records of a group by name, each imported when it is first read."""

    def __init__(self, group: Group, record: type[Record]) -> None:
        self.group, self.record = group, record
        self._loaded: dict[str, Record] = {}

    def __getitem__(self, name: str) -> Record:
        """Return a record.

        Raises
        ------
        ConfigError
            If there is none of that name, or a package's cannot be used.
        """
        if name not in self:
            raise ConfigError(f"There is no {self.group.kind} '{name}'{nearest(name, self)}")
        if name not in self._loaded:
            self._loaded[name] = self._load(self.group.entry_points[name])
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self.group.built_in or name in self.group.entry_points

    def __iter__(self) -> Iterator[str]:
        return iter(self.group.entry_points)

    def __len__(self) -> int:
        return len(self.group.entry_points)

    def add(self, name: str, record: Record) -> None:
        """Let a record go by a name in this process, as a notebook or a test does without a package of its own."""
        self.group.entry_points[name] = EntryPoint(name, "this process", self.group.name)
        self._loaded[name] = record

    def _load(self, point: EntryPoint) -> Record:
        try:
            record: Any = point.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"The {self.group.kind} '{point.name}' ({point.value}) cannot be imported: {error}; "
                              "mend or uninstall the package that adds it") from error  # fmt: skip
        place = f"The {self.group.kind} '{point.name}' ({point.value})"
        if not isinstance(record, self.record):
            expected = f"{self.record.__module__}.{self.record.__name__}"
            raise ConfigError(f"{place} is no {expected}; see docs/guide/plugins.md")
        own_name = getattr(record, "name", point.name)
        if own_name != point.name:
            raise ConfigError(f"{place} calls itself '{own_name}'; give both the same name")
        return record


READERS = Group(
    "reader",
    "watercli.readers",
    {
        "grid": "watercli.preparation.readers.grid:READER",
        "hadukgrid": "watercli.preparation.readers.hadukgrid:READER",
        "camels_gb": "watercli.preparation.readers.camels_gb:READER",
        "camels_us": "watercli.preparation.readers.camels_us:READER",
        "caravan": "watercli.preparation.readers.caravan:READER",
        "nrfa": "watercli.preparation.readers.nrfa:READER",
        "table": "watercli.preparation.readers.table:READER",
        "grid_mean": "watercli.preparation.readers.derived:GRID_MEAN",
        "pet": "watercli.preparation.readers.derived:PET",
        "demo": "watercli.preparation.readers.demo:READER",
    },
)
METHODS = Group(
    "method",
    "watercli.methods",
    {
        "simulation": "watercli.baselines.simulation:SIMULATION",
        "fine_tuned": "watercli.baselines.fine_tuning:FINE_TUNED",
        "from_scratch": "watercli.baselines.fine_tuning:FROM_SCRATCH",
        "evidence": "watercli.baselines.evidence:EVIDENCE",
        "neighbour_correction": "watercli.baselines.neighbours:NEIGHBOUR_CORRECTION",
        "probe": "watercli.baselines.probes:PROBE",
        "probe_untrained": "watercli.baselines.probes:PROBE_UNTRAINED",
        "probe_regional": "watercli.baselines.probes:PROBE_REGIONAL",
        "probe_decoder_state": "watercli.baselines.probes:PROBE_DECODER_STATE",
        "probe_mlp": "watercli.baselines.probes:PROBE_MLP",
        "weather_ridge": "watercli.baselines.probes:WEATHER_RIDGE",
        "ema_mlp": "watercli.baselines.ema_mlp:EMA_MLP",
        "lstm": "watercli.baselines.lstm:LSTM",
        "mean_of_models": "watercli.baselines.ensembles:MEAN_OF_MODELS",
        "boosted_trees": "watercli.baselines.boosted_trees:BOOSTED_TREES",
        "gr4j": "watercli.baselines.gr4j:GR4J",
        "gr4j_donors": "watercli.baselines.gr4j:GR4J_DONORS",
        "ema_mlp_neighbour_correction": "watercli.baselines.corrected_rivals:EMA_MLP",
        "lstm_neighbour_correction": "watercli.baselines.corrected_rivals:LSTM",
        "gr4j_neighbour_correction": "watercli.baselines.corrected_rivals:GR4J",
        "nearest": "watercli.baselines.neighbours:NEAREST",
        "inverse_distance": "watercli.baselines.neighbours:INVERSE_DISTANCE",
        "climatology": "watercli.baselines.climatology:CLIMATOLOGY",
        "persistence": "watercli.baselines.persistence:PERSISTENCE",
    },
)
"""In the order of the tables."""
ON_REQUEST = (
    "fine_tuned",
    "from_scratch",
    "boosted_trees",
    "gr4j_donors",
    "ema_mlp_neighbour_correction",
    "lstm_neighbour_correction",
    "gr4j_neighbour_correction",
)
"""Built-in methods that are left out unless named."""
PROTOCOLS = Group(
    "protocol",
    "watercli.protocols",
    {
        "reconstruction": "watercli.evaluation.reconstruction:RECONSTRUCTION",
        "simulation": "watercli.evaluation.simulation:SIMULATION",
        "ungauged": "watercli.evaluation.simulation:UNGAUGED",
        "forecast": "watercli.evaluation.forecast:FORECAST",
        "short_records": "watercli.evaluation.short_records:SHORT_RECORDS",
        "evidence": "watercli.evaluation.evidence:EVIDENCE",
        "gaps": "watercli.evaluation.gaps:GAPS",
        "regionalisation": "watercli.evaluation.downstream.regionalisation:REGIONALISATION",
        "seasons": "watercli.evaluation.downstream.seasons:SEASONS",
        "donors": "watercli.evaluation.downstream.donors:DONORS",
    },
)
"""In the order of the report."""
DOWNSTREAM = ("regionalisation", "seasons", "donors")
"""Built-in protocols that are left out unless named."""
