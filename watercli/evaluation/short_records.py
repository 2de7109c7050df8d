"""Short records: the skill of a probe that is fitted to one year of flow, to two, to the whole training period.

The encoder has seen no flow of held-out gauges: there the record is truly short. At other gauges, only the probe's
record is short.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from watercli.baselines.features import Features
from watercli.baselines.registry import METHODS
from watercli.baselines.ridge import Task
from watercli.data.windows import Indices
from watercli.evaluation.protocol import Case, Protocol
from watercli.evaluation.simulation import cannot_score, make_task
from watercli.hydrology.scores import Summary, summarise
from watercli.hydrology.scores import nse as nash_sutcliffe
from watercli.log import log

PROBES = ("probe_decoder_state", "probe", "probe_untrained", "weather_ridge")
"""Probes that are fitted to short records, in the order of the table."""
DAYS_IN_YEAR = 365.25


def in_words(years: int | None) -> str:
    """Return the length of a record in words; None is all of it."""
    return "all years" if years is None else f"{years} year" + "s" * (years > 1)


@dataclass(frozen=True)
class ShortRecords:
    """Efficiencies of probes by the length of the record they were fitted to."""

    years: list[int | None]
    """None: the whole training period."""
    rows: list[int]
    """Training rows of a catchment, the median."""
    scores: dict[str, list[Summary]]
    """By method and length; over the catchments that have a score at every length and by every method."""
    nse: xr.DataArray
    """``(method, years, catchment)``, years 0 being all."""
    held_out: bool
    """The catchments gave no flow to training."""


def judge_short_records(features: Features, task: Task, notes: list[str]) -> ShortRecords | None:
    """Fit the probes to the last years of training alone; None, with a note, if no record is long enough."""
    context = features.context
    methods = [name for name in PROBES if context.cross_modal or not METHODS[name].needs_cross_modal_attention]
    dates = context.dates.train
    span = dates[-1] - dates[0] if len(dates) else 0
    years: list[int | None] = [
        *(length for length in context.settings.record_years if span > (length + 0.5) * DAYS_IN_YEAR),
        None,
    ]
    tasks = [_shortened(task, dates, length) for length in years]
    rows = [int(np.median(part.rows.sum(1)[part.chosen])) if part.chosen.any() else 0 for part in tasks]
    nse = xr.concat([_efficiencies(features, part, methods, length) for part, length in zip(tasks, years, strict=True)],
                    "years").transpose("method", "years", "catchment")  # fmt: skip
    nse = nse.where(nse.count(("method", "years")) == nse.sizes["method"] * nse.sizes["years"])
    if not int(nse.count()):
        notes.append("Short records are left out: no catchment has enough flow in the shortest one")
        return None
    nse = nse.assign_coords(
        method=np.array(methods, dtype=object),
        years=[length or 0 for length in years],
        catchment=np.array(context.store.gauge_ids, dtype=object),
    )
    seed = context.config.seed
    scores = {
        name: [summarise(nse.sel({"method": name}).isel(years=number).values, seed) for number in range(len(years))]
        for name in methods
    }
    return ShortRecords(years, rows, scores, nse, context.ungauged)


def _shortened(task: Task, dates: Indices, length: int | None) -> Task:
    """Return the task with the last ``length`` years of training dates; None keeps all."""
    first = 0 if length is None else int(np.searchsorted(dates, dates[-1] - length * DAYS_IN_YEAR, side="right"))
    complete = task.complete.copy()
    complete[:, :first] = False
    shortened = replace(task, complete=complete)
    return replace(shortened, chosen=task.chosen & (shortened.rows.sum(1) >= 2))


def _efficiencies(features: Features, task: Task, methods: list[str], length: int | None) -> xr.DataArray:
    """Return the NSE ``(method, catchment)`` of the probes fitted to a task."""
    log.info("Fitting probes to %s of flow", in_words(length))
    fits = [fit(features, task) for name in methods if (fit := METHODS[name].fit) is not None]
    simulated = xr.DataArray(np.stack([fit.simulated for fit in fits]), dims=("method", "catchment", "time"))
    return nash_sutcliffe(simulated, xr.DataArray(task.physical[:, task.test], dims=("catchment", "time")))


def _run(case: Case) -> ShortRecords | None:
    task = make_task(case.context, case.features, {}, probes=True)
    return judge_short_records(case.features, task, case.notes)


SHORT_RECORDS = Protocol(name="short_records", run=_run, slow=True, nothing_to_score=cannot_score)
