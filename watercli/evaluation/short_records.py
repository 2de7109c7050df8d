"""Short records: how good a probe becomes with one year of flow, with two, with all there is.

At gauges that were hidden in training, the encoder has never seen their flow, so that the record is short in earnest;
at others it is the probe's record alone that is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from watercli.baselines.probes import HEADS, Inputs
from watercli.baselines.registry import FUSED
from watercli.baselines.ridge import Task
from watercli.hydrology.scores import Summary, nse, summarise
from watercli.log import log

LABELS: dict[str, str] = {
    FUSED: "linear probe on fused features",
    "probe": "linear probe on embeddings",
    "probe_untrained": "the same on the model before training",
    "weather_ridge": "ridge on raw weather",
}
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
    """By head and length; over the catchments that have a score at every length and with every head."""
    nse: xr.DataArray
    """``(head, years, catchment)``, years 0 being all."""
    hidden: bool
    """The catchments were hidden in training."""


def judge_few_labels(inputs: Inputs, task: Task, notes: list[str]) -> ShortRecords | None:
    """Fit the probes to the last years of training alone, or note why it cannot be done."""
    context = inputs.context
    labels = [head for head in LABELS if head != FUSED or inputs.fusion]
    dates = context.dates.train
    years: list[int | None] = [
        one for one in context.settings.record_years if len(dates) and dates[-1] - dates[0] > (one + 0.5) * DAYS_IN_YEAR
    ]
    observed = xr.DataArray(task.physical[:, task.test], dims=("catchment", "time"))
    found, rows = [], []
    for length in [*years, None]:
        first = 0 if length is None else int(np.searchsorted(dates, dates[-1] - length * DAYS_IN_YEAR, side="right"))
        complete = task.complete.copy()
        complete[:, :first] = False
        part = replace(task, complete=complete)
        part = replace(part, chosen=task.chosen & (part.rows.sum(1) >= 2))
        rows.append(int(np.median(part.rows.sum(1)[part.chosen])) if part.chosen.any() else 0)
        log.info("Fitting probes to %s of flow", in_words(length))
        simulated = np.stack([HEADS[head](inputs, part).simulated for head in labels])
        found.append(nse(xr.DataArray(simulated, dims=("head", "catchment", "time")), observed))
    scores = xr.concat(found, "years").transpose("head", "years", "catchment")
    scores = scores.where(scores.count(("head", "years")) == scores.sizes["head"] * scores.sizes["years"])
    if not int(scores.count()):
        notes.append("Short records are left out: no catchment has enough flow in the shortest one")
        return None
    scores = scores.assign_coords(
        head=np.array(labels, dtype=object),
        years=[one or 0 for one in [*years, None]],
        catchment=np.array(context.store.gauge_ids, dtype=object),
    )
    summaries = {
        head: [summarise(scores.sel(head=head).isel(years=k).values, context.config.seed) for k in range(len(rows))]
        for head in labels
    }
    return ShortRecords([*years, None], rows, summaries, scores, context.ungauged)
