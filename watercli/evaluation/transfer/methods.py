"""What a study of transfer compares: each method learns from local gauges, and simulates those that are judged.

Shapes: C catchments of a cell's store, D days of the store, T days that are judged.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

from watercli.baselines import gr4j, lstm
from watercli.baselines.informed import Informed
from watercli.baselines.mlp import Regional
from watercli.baselines.neighbours import distances
from watercli.baselines.untrained import Untrained
from watercli.baselines.weather import catchment_weather
from watercli.config import Config, with_overrides
from watercli.data.evidence import FlowErrors, Network
from watercli.errors import ConfigError
from watercli.evaluation.study import finished
from watercli.log import log
from watercli.output.atomic import written_file, written_folder
from watercli.output.tensors import write_tensors
from watercli.run.checkpoint import Checkpoint
from watercli.run.directory import open_run
from watercli.run.evidence import load_evidence
from watercli.run.parent import Parent, write_checkpoint
from watercli.run.simulator import Simulator
from watercli.store import Store
from watercli.training.finetune import RATE, fine_tuning
from watercli.training.pretrain import CONFIG, another_experiment, pretrain

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
YEARS_BEFORE = 3
"""Years before the judged period over which the evidence head knows simulation and local flow."""


@dataclass(frozen=True)
class Cell:
    """One cell of the study's table: a method, what it learns from, and a seed."""

    method: str
    gauges: int
    """Local gauges."""
    years: int | None
    """Of their record; None: the whole training period."""
    seed: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.method}-{self.record}"

    @property
    def record(self) -> str:
        """What is learnt from, in a name."""
        years = "" if self.years is None else f"-{self.years}years"
        return f"{self.gauges}gauges{years}-seed{self.seed}"


@dataclass(frozen=True)
class Case:
    """All that a method needs to fill a cell."""

    cell: Cell
    parent: Parent
    parent_store: Store | None
    """A store with the flow of the parent's gauges."""
    store: Store
    """Local and judged gauges alone."""
    local: tuple[str, ...]
    target: str
    period: str
    settings: tuple[str, ...]
    """Changes of the fine-tuning's settings, ``key=value``."""
    folder: Path
    """Of the study."""

    @property
    def days(self) -> slice:
        """Judged days, along D."""
        return self.store.period(self.period)

    @property
    def is_local(self) -> Flags:
        """``[C]``."""
        return np.isin(self.store.gauge_ids, self.local)

    @property
    def local_flow(self) -> Floats:
        """Flow that may be learnt from, ``[C, D]``: NaN at gauges that are judged."""
        flow = self.store.dataset[self.target].values.astype(np.float64)
        return np.where(self.is_local[:, None], flow, np.nan)

    @property
    def judged(self) -> list[str]:
        """Gauge ids."""
        return [gauge for gauge in self.store.gauge_ids if gauge not in self.local]

    @property
    def inputs(self) -> list[str]:
        """The modalities that the model's simulation reads, for methods without the model."""
        return [name for name in self.parent.checkpoint.structure.read_by(self.target) if name != self.target]

    @cached_property
    def finetuning(self) -> Config:
        """The fine-tuning's configuration: judged gauges are held out."""
        held_out = json.dumps({"target": self.target, "gauges": self.judged})
        own = (f"seed={self.cell.seed}", f"train.held_out_gauges={held_out}")
        return fine_tuning(self.parent, self.store, (*own, *self.settings))

    @property
    def scratch(self) -> Config:
        """The same from random weights, at the learning rate of the parent's pretraining."""
        train, config = self.parent.checkpoint.config.train, self.finetuning
        rates = (f"train.{name}={getattr(train, name)}" for name in ("learning_rate", "min_learning_rate"))
        return with_overrides(config, [*rates, "finetune.layers=all", "finetune.parent_share=0"]).model_copy(
            update={"name": config.name.replace("-finetuned", "-scratch")}
        )


def _trained(case: Case, config: Config, kind: str, parent: Parent) -> Checkpoint:
    """Train in a run directory of the study, or go on with it; return the best checkpoint."""
    run = case.folder / "runs" / f"{kind}-{case.cell.record}"
    begun = (run / CONFIG).is_file()
    if begun and (reason := another_experiment(config, case.store, run)):
        raise ConfigError(f"{reason}; choose another --out")
    if not (begun and finished(run, config)):
        pretrain(config, case.store, run, resume=begun, parent=parent)
    return open_run(run)


def _simulated(case: Case, checkpoint: Checkpoint, days: slice) -> Floats:
    """Return the model's simulation of all catchments, ``[C, days]``."""
    return Simulator(checkpoint, case.store, case.target)(np.arange(days.start, days.stop)).flow


def as_is(case: Case) -> Floats:
    """Return the flow by the parent, ``[C, T]``, as do the methods below."""
    return _simulated(case, case.parent.checkpoint, case.days)


def finetuned(case: Case) -> Floats:
    """Return the flow by the parent, fine-tuned on the local gauges."""
    return _simulated(case, _child(case), case.days)


def _child(case: Case) -> Checkpoint:
    return _trained(case, case.finetuning, "finetuned", case.parent)


def from_scratch(case: Case) -> Floats:
    """Return the flow by the same structure and scaling, trained on the local gauges from random weights."""
    return _simulated(case, _trained(case, case.scratch, "from_scratch", _untrained(case)), case.days)


def _untrained(case: Case) -> Parent:
    """Return the parent with random weights, kept in the study's folder."""
    folder = case.folder / f"untrained-seed{case.cell.seed}"
    parent = case.parent.checkpoint
    if not folder.is_dir():
        seeded = replace(parent, config=with_overrides(parent.config, [f"seed={case.cell.seed}"]))
        weights = Untrained.of(seeded).model().state_dict()
        with written_folder(folder) as partial:
            partial.mkdir()
            write_checkpoint(partial, parent, weights)
    return Parent(f"{case.parent.name}, untrained", Checkpoint.read(folder), case.parent.names)


def as_is_informed(case: Case) -> Floats | None:
    """Return the flow by the parent, informed by the local gauges' flow of the day."""
    return _informed(case, case.parent.checkpoint)


def finetuned_informed(case: Case) -> Floats | None:
    """Return the flow by the fine-tuned model, informed likewise."""
    return _informed(case, _child(case))


def _informed(case: Case, checkpoint: Checkpoint) -> Floats | None:
    fitted = load_evidence(case.parent.checkpoint, case.target)
    if fitted is None or not {"latitude", "longitude", "area"} <= set(case.store.dataset.variables):
        return None
    days, test = slice(max(case.days.start - round(365.25 * YEARS_BEFORE), 0), case.days.stop), case.days
    errors = FlowErrors(
        Network.of(case.store),
        _simulated(case, checkpoint, days),
        case.local_flow[:, days].astype(np.float32),
        case.store.times[days].dayofyear.to_numpy().astype(np.float64),
        fitted.offset,
        np.zeros(len(case.store.gauge_ids), dtype=bool),
    )
    informed = Informed(fitted, errors, case.is_local)
    judged = np.arange(test.start, test.stop) - days.start
    flow = np.full((len(case.is_local), len(judged)), np.nan)
    for catchment in np.flatnonzero(~case.is_local):
        flow[catchment] = informed.estimate(int(catchment), judged, neighbours=True).flow
    return flow


def lstm_from_scratch(case: Case) -> Floats:
    """Return the flow by the LSTM, fitted to the local gauges."""
    settings = case.parent.checkpoint.config.evaluate
    fitted = lstm.fit(_weather(case, case.store), _regional(case), settings.lstm_steps, settings.lstm_width)
    return fitted.simulate(slice(None), case.days)


def lstm_finetuned(case: Case) -> Floats | None:
    """Return the flow by the LSTM, fitted to the parent's gauges, then to the local ones at a lower rate."""
    start = _pretrained_lstm(case)
    if start is None:
        return None
    steps, regional = case.finetuning.train.steps, replace(_regional(case), all_flagged=True)
    fitted = lstm.fit(_weather(case, case.store), regional, steps, start=start, rate=lstm.RATE * RATE)
    return fitted.simulate(slice(None), case.days)


def _weather(case: Case, store: Store) -> Floats:
    return catchment_weather(store, case.parent.checkpoint.scaling, case.inputs, slice(0, len(store.times)))


def _regional(case: Case) -> Regional:
    return _regional_of(case, case.store, case.local_flow)


def _regional_of(case: Case, store: Store, flow: Floats) -> Regional:
    parent = case.parent.checkpoint
    noise = parent.config.train.attribute_noise_std
    return Regional(parent.scaling.static(store), flow, store.period("train"), noise, case.cell.seed)


def _pretrained_lstm(case: Case) -> lstm.Fitted | None:
    """Return the LSTM of the parent's gauges, kept in the study's folder; None where their flow is not at hand."""
    store, parent = case.parent_store, case.parent.checkpoint
    if store is None:
        log.warning("The LSTM is not pretrained: --parent-store does not say where the flow of the parent's gauges is")
        return None
    is_trained = np.isin(store.gauge_ids, sorted(set(parent.gauges) - set(parent.held_out_gauges)))
    store = replace(store, dataset=store.dataset.isel(catchment=np.flatnonzero(is_trained)))
    flow = store.dataset[case.target].values.astype(np.float64)
    regional = replace(_regional_of(case, store, flow), all_flagged=True)
    settings = parent.config.evaluate
    weather, file = _weather(case, store), case.folder / f"lstm-seed{case.cell.seed}.safetensors"
    if file.is_file():
        fitted = lstm.Fitted.begun(weather, regional, settings.lstm_width)
        fitted.network.load_state_dict(load_file(file))
    else:
        fitted = lstm.fit(weather, regional, settings.lstm_steps, settings.lstm_width)
        with written_file(file) as partial:
            write_tensors(fitted.network.state_dict(), partial)
    return fitted


def gr4j_donors(case: Case) -> Floats | None:
    """Return the flow by GR4J with the parameters of the nearest local gauges."""
    checkpoint, days = case.parent.checkpoint, slice(0, case.days.stop)
    weather = gr4j.forcing(case.store, checkpoint.config, checkpoint.scaling, case.inputs, days)
    if isinstance(weather, str) or checkpoint.config.modalities[case.target].units != "mm/day":
        log.warning("GR4J is left out: %s", weather if isinstance(weather, str) else f"'{case.target}' is no mm/day")
        return None
    times, flow, train = case.store.times[days], case.local_flow[:, days], case.store.period("train")
    usable = gr4j.can_calibrate(weather, flow, train)
    if not usable.any():
        log.warning("GR4J is left out: no local gauge has %d days of flow after the first year", gr4j.MIN_DAYS)
        return None
    parameters = gr4j.calibrated(weather, times, flow, train, usable)
    nearest = np.argsort(np.where(usable, distances(case.store), np.inf), axis=1, kind="stable")
    donors = {c: row[: min(gr4j.GAUGES, int(usable.sum()))] for c, row in enumerate(nearest)}
    return gr4j.with_donors(weather, times, parameters, donors)[:, case.days]


@dataclass(frozen=True)
class Method:
    """A row of the table."""

    label: str
    simulate: Callable[[Case], Floats | None]
    """Returns ``[C, T]`` in physical units; None where it cannot serve."""
    learns: bool = True
    """It needs local gauges."""


METHODS = {
    "as_is": Method("pretrained, as it is", as_is, learns=False),
    "as_is_informed": Method("pretrained, informed by the local gauges' flow of the day", as_is_informed),
    "finetuned": Method("fine-tuned", finetuned),
    "finetuned_informed": Method("fine-tuned, informed likewise", finetuned_informed),
    "from_scratch": Method("the same structure from scratch", from_scratch),
    "lstm": Method("LSTM from scratch", lstm_from_scratch),
    "lstm_finetuned": Method("LSTM, pretrained and fine-tuned", lstm_finetuned),
    "gr4j_donors": Method("GR4J with donors' parameters", gr4j_donors),
}
"""By the names that ``--methods`` takes."""
