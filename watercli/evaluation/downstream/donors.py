"""Choice of donors: a gauge without flow borrows that of the gauge that is nearest in an input, as depth (mm/day).

Nearest in attributes and nearest on the map are what hydrologists do: Oudin et al. (2008), Spatial proximity, physical
similarity, regression and ungaged catchments, Water Resources Research 44, W03413, doi:10.1029/2007WR006240.
Shapes: C catchments, T test days.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from watercli.baselines.context import Context, Flags, Floats
from watercli.baselines.neighbours import distances
from watercli.data.windows import Indices
from watercli.evaluation.donors import distance
from watercli.evaluation.downstream.inputs import ATTRIBUTES, EMBEDDING, Inputs
from watercli.evaluation.downstream.judging import (
    LEAST_GAUGES,
    comparison,
    in_common,
    knowledge,
    nothing_to_score,
    rows,
)
from watercli.evaluation.protocol import Case, Protocol, Section
from watercli.hydrology.scores import nse
from watercli.hydrology.units import are_discharge_and_depth

PLACE = "place"
DEPTH = "mm/day"
WHOLE = 0.9
"""Share of the test days on which a gauge must be observed to be a donor."""


def nearest(distances: Floats, usable: Flags) -> Indices:
    """Return the nearest usable gauge of each catchment by distances ``[C, C]``, itself apart; -1 without one."""
    apart = np.where(usable & np.isfinite(distances), distances, np.inf)
    np.fill_diagonal(apart, np.inf)
    return np.where(np.isfinite(apart).any(1), apart.argmin(1), -1)


def judge_donors(inputs: Inputs, notes: list[str]) -> Section | None:
    """Score the flow of donors; None, with a note, if too few gauges have a donor."""
    context = inputs.context
    flow = _depth(context)
    gave_flow = ~context.unseen if not context.unseen.all() else context.unseen
    usable = gave_flow & (np.isfinite(flow).mean(1) >= WHOLE)
    chosen = {name: nearest(apart, usable) for name, apart in _spaces(inputs).items()}
    skill = in_common({name: _skill(flow, donor, context) for name, donor in chosen.items()})
    scored = np.flatnonzero(np.isfinite(skill[EMBEDDING]))
    if len(scored) < LEAST_GAUGES:
        notes.append("Protocol 'donors' is left out: too few gauges have flow in the test period, or a donor")
        return None
    seed, gauges = context.config.seed, np.array(context.store.gauge_ids, dtype=object)
    by_catchment = pd.DataFrame({"gauge_id": gauges[scored]})
    for name, scores in skill.items():
        by_catchment[f"donor by {name}"], by_catchment[f"NSE by {name}"] = gauges[chosen[name][scored]], scores[scored]
    return Section(
        "Choice of donors",
        f"NSE of the donor's flow, {knowledge(context)}: {comparison(skill, seed)}",
        pd.DataFrame(rows(skill, "NSE", seed)),
        by_catchment,
    )


def _depth(context: Context) -> Floats:
    """Return the flow of the test days ``[C, T]`` in units that do not grow with the area of a catchment."""
    flow = context.flow[:, context.test]
    units = context.checkpoint.config.modalities[context.target].units
    if are_discharge_and_depth(units, DEPTH) and "area" in context.store.dataset:
        flow = flow / context.store.dataset["area"].values[:, None]
    return flow


def _spaces(inputs: Inputs) -> dict[str, Floats]:
    """Return distances between catchments ``[C, C]`` by what they are between."""
    features = {name: inputs.attributes if name == ATTRIBUTES else means for name, means in inputs.means()}
    spaces = {name: distance(values.astype(np.float64)) for name, values in features.items() if values.shape[1]}
    store = inputs.context.store
    has_places = {"latitude", "longitude"} <= set(store.dataset.variables)
    return {PLACE: distances(store), **spaces} if has_places else spaces


def _skill(flow: Floats, donor: Indices, context: Context) -> Floats:
    """Return the NSE of donors' flow ``[C]`` at the gauges that are scored, over days that both have."""
    wanting = context.unseen if context.ungauged else np.ones(len(donor), dtype=bool)
    dims = ("catchment", "time")
    lent, observed = np.where(donor[:, None] >= 0, flow[donor], np.nan), np.where(wanting[:, None], flow, np.nan)
    scores: Floats = nse(xr.DataArray(lent, dims=dims), xr.DataArray(observed, dims=dims)).values
    return scores


def _run(case: Case) -> Section | None:
    return judge_donors(case.inputs, case.notes)


DONORS = Protocol(name="donors", run=_run, slow=True, nothing_to_score=nothing_to_score)
