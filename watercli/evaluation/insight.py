"""What can be read off a finished evaluation: signatures, predictive intervals, donors, and what skill goes with.

Shapes: C catchments, T days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import spearmanr

from watercli.checkpoint import Checkpoint
from watercli.config import Config
from watercli.data.scaling import hidden_catchments
from watercli.embed import Embedder
from watercli.evaluation import donors, intervals
from watercli.evaluation.neighbours import distances
from watercli.evaluation.riverflow import SIMULATION, Flow
from watercli.evaluation.signatures import SIGNATURES, UNITS, table
from watercli.evaluation.simulation import simulate
from watercli.evaluation.weather import catchment_rain
from watercli.log import log
from watercli.store import Store

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

FACTORS = {
    "area": "area (km²)",
    "baseflow_index": "base-flow index, observed",
    "record": "days of flow in training",
    "nearest_gauge": "nearest training gauge (km)",
}
"""What the skill of the main method is held against."""


@dataclass(frozen=True)
class Insight:
    """A part is None where there is nothing to say."""

    signatures: xr.DataArray
    """``(signature, source, catchment)``: observed and by every method, over the scored days."""
    intervals: xr.Dataset | None
    """Of the main method; see `watercli.evaluation.intervals.judge`."""
    donors: xr.Dataset | None
    """See `watercli.evaluation.donors.search`."""
    factors: xr.Dataset
    """By ``factor``: ``value`` (catchment), ``correlation`` (Spearman) with the NSE of the main method."""

    def dataset(self) -> xr.Dataset:
        """Return all of it as one dataset, for the Zarr store."""
        data = xr.Dataset({"signature_value": self.signatures})
        if self.intervals is not None:
            data = data.merge(self.intervals)
        if self.donors is not None:
            data = data.merge(
                self.donors.rename({"correlation": "donor_correlation", "percentile": "donor_percentile"})
            )
        return data.merge(self.factors.rename({"value": "factor_value", "correlation": "factor_correlation"}))


def look_into(checkpoint: Checkpoint, store: Store, config: Config, flow: Flow) -> Insight | None:
    """Return what the scored days and the model tell beyond scores; None if nothing was scored."""
    if not flow.counts["catchments"]:
        return None
    train = store.period("train")
    gauges = checkpoint.config.train.hidden_gauges
    hidden = hidden_catchments(store, checkpoint.config)
    usable = ~hidden if gauges and gauges.of == flow.target else np.ones(len(hidden), dtype=bool)
    flows = store.dataset[flow.target].values.astype(np.float64)
    log.info("Signatures, predictive intervals and donors")
    # What kind of river it is, by its training dates; hidden gauges too, as a judge may know what the model may not.
    rain = catchment_rain(store, train)
    kinds = table(flows[:, train], store.times[train], rain)
    return Insight(
        signatures=_signatures(store, flow),
        intervals=_intervals(checkpoint, store, flow, usable),
        donors=_donors(checkpoint, store, config, flow, kinds, usable),
        factors=_factors(store, flow, kinds, usable),
    )


def _signatures(store: Store, flow: Flow) -> xr.DataArray:
    """Return the signatures of observed and simulated flow over the scored test days."""
    scored, times = flow.data["scored"].values, pd.DatetimeIndex(flow.data["time"].values)
    period = slice(*store.times.searchsorted([times[0], times[-1]]))
    rain = catchment_rain(store, slice(period.start, period.stop + 1))
    observed = flow.data["observed"].values
    series = {"observed": observed} | {one: flow.data["simulated"].sel(predictor=one).values for one in flow.methods}
    found = [table(np.where(scored, values, np.nan), times, rain) for values in series.values()]
    return xr.DataArray(
        np.stack(found, axis=1),
        dims=("signature", "source", "catchment"),
        coords={
            "signature": np.array(list(SIGNATURES), dtype=object),
            "source": np.array(list(series), dtype=object),
            "catchment": flow.data["catchment"].values,
            "signature_units": (
                "signature",
                np.array([signature_units(one, flow.units) for one in SIGNATURES], object),
            ),
        },
        attrs={"long_name": "flow signature over the scored days"},
    )


def signature_units(name: str, units: str) -> str:
    """Return the units of a signature of a flow in ``units``."""
    found = UNITS.get(name, "1")
    return units if found == "flow" else found


def _intervals(checkpoint: Checkpoint, store: Store, flow: Flow, usable: Flags) -> xr.Dataset | None:
    """Return the intervals of the main method; None if it left no trace of the validation dates."""
    period, train = store.period("validation"), store.period("train")
    flows = store.dataset[flow.target].values.astype(np.float64)
    if flow.main == SIMULATION:
        validated: Floats = simulate(checkpoint, store, flow.target, period)
        validation: Floats = flows[:, period]
    elif flow.main in flow.fits:
        validated, validation = flow.fits[flow.main].validated
    else:
        return None
    if not (np.isfinite(validated) & np.isfinite(validation) & usable[:, None]).any():
        return None
    simulated = flow.data["simulated"].sel(predictor=flow.main).values.astype(np.float64)
    found = intervals.calibrate(
        validated,
        validation,
        simulated,
        usable,
        never_negative=float(np.nanmin(flows[:, train], initial=np.inf)) >= 0,
    )
    observed = flow.data["observed"].astype(np.float64).where(flow.data["scored"])
    return intervals.judge(found, simulated, observed)


def _donors(
    checkpoint: Checkpoint, store: Store, config: Config, flow: Flow, kinds: Floats, usable: Flags
) -> xr.Dataset | None:
    embedder = Embedder(checkpoint, store, tuple(flow.hidden))
    embedded = donors.mean_embeddings(embedder, store.period("train"), config.embed.batch)
    # A modality that some catchments lack says nothing of who is like whom.
    embedded = embedded[:, np.isfinite(embedded).all(0)]
    static = checkpoint.scaling.static(store).astype(np.float64)
    spaces = {"embedding": donors.distance(embedded)}
    if static.size:
        spaces["attributes"] = donors.distance(static)
    if {"latitude", "longitude"} <= set(store.dataset.variables):
        spaces["geography"] = distances(store)
        np.fill_diagonal(spaces["geography"], 0)
    alike = donors.distance(donors.ranked(kinds))
    judged = flow.data["days"].values > 0
    observed = flow.data["observed"].astype(np.float64).where(flow.data["scored"])
    lent = flow.data["observed"].astype(np.float64)
    return donors.search(spaces, alike, lent, observed, usable, judged, config.seed)


def _factors(store: Store, flow: Flow, kinds: Floats, usable: Flags) -> xr.Dataset:
    """Return what each catchment is like, and how the skill goes with it."""
    train = store.period("train")
    seen = np.isfinite(store.dataset[flow.target].values[:, train]).sum(1)
    values = {
        "baseflow_index": kinds[list(SIGNATURES).index("baseflow_index")],
        "record": np.where(usable, seen, 0).astype(np.float64),
    }
    if "area" in store.dataset:
        values["area"] = store.dataset["area"].values.astype(np.float64)
    if {"latitude", "longitude"} <= set(store.dataset.variables) and usable.sum() > 1:
        values["nearest_gauge"] = np.where(usable, distances(store), np.inf).min(1)
    skill = flow.data["score"].sel(metric="nse", predictor=flow.main).values
    chosen = {name: values[name] for name in FACTORS if name in values}
    return xr.Dataset(
        {
            "value": (("factor", "catchment"), np.stack(list(chosen.values()))),
            "correlation": ("factor", [rank_correlation(one, skill) for one in chosen.values()]),
        },
        coords={"factor": np.array(list(chosen), dtype=object), "catchment": flow.data["catchment"].values},
    )


def rank_correlation(one: Floats, other: Floats) -> float:
    """Return Spearman's correlation over the catchments that have both; NaN where one does not vary."""
    there = np.isfinite(one) & np.isfinite(other)
    if there.sum() < donors.FEWEST or np.ptp(one[there]) == 0 or np.ptp(other[there]) == 0:
        return float("nan")
    return float(spearmanr(one[there], other[there]).statistic)
