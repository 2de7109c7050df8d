"""Diagnostics of a finished evaluation: signatures, predictive intervals, donors, and factors of skill.

Shapes: C catchments, T days.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import spearmanr

from watercli.baselines.context import Context
from watercli.baselines.evidence import with_quantiles
from watercli.baselines.features import Features
from watercli.baselines.informed import coverage, crps, ends
from watercli.baselines.neighbours import distances
from watercli.baselines.registry import METHODS
from watercli.baselines.weather import catchment_rain
from watercli.evaluation import donors, intervals
from watercli.evaluation.simulation import Flow
from watercli.hydrology.signatures import SIGNATURES, UNITS, table
from watercli.log import log
from watercli.store import Store

Floats = NDArray[np.floating[Any]]

KNOWN = {"weather": "evidence head, weather alone", "neighbours": "evidence head, neighbours known"}
"""What the evidence head's quantiles are judged with."""
FACTORS = {
    "area": "area (km²)",
    "baseflow_index": "base-flow index, observed",
    "record": "days of flow in training",
    "nearest_gauge": "nearest training gauge (km)",
}
"""Properties of a catchment that the skill of the main method is correlated with."""


@dataclass(frozen=True)
class Insight:
    """Diagnostics; a part is None where it cannot be computed."""

    signatures: xr.DataArray
    """``(signature, source, catchment)``: observed and by every method, over the scored days."""
    intervals: xr.Dataset | None
    """Of the main method; see `watercli.evaluation.intervals.judge`."""
    donors: xr.Dataset | None
    """See `watercli.evaluation.donors.search`."""
    factors: xr.Dataset
    """By ``factor``: ``value`` (catchment), ``correlation`` (Spearman) with the NSE of the main method."""
    head: xr.Dataset | None = None
    """Of the evidence head's own quantiles, by ``evidence`` (`KNOWN`): ``head_coverage``, ``head_width`` (evidence,
    shown, catchment) and ``head_crps`` (evidence, catchment)."""

    def dataset(self) -> xr.Dataset:
        """Return all of it as one dataset, for the Zarr store."""
        data = xr.Dataset({"signature_value": self.signatures})
        if self.intervals is not None:
            data = data.merge(self.intervals)
        if self.head is not None:
            data = data.merge(self.head)
        if self.donors is not None:
            data = data.merge(
                self.donors.rename({"correlation": "donor_correlation", "percentile": "donor_percentile"})
            )
        return data.merge(self.factors.rename({"value": "factor_value", "correlation": "factor_correlation"}))


def look_into(context: Context, features: Features, flow: Flow) -> Insight | None:
    """Return the diagnostics of the scored days and of the model; None if nothing was scored."""
    if not flow.counts["catchments"]:
        return None
    log.info("Signatures, predictive intervals and donors")
    train = context.store.period("train")
    # The kind of river, by its training dates; of held-out gauges too: the judge may know what the model may not.
    kinds = table(context.flow[:, train], context.store.times[train], catchment_rain(context.store, train))
    return Insight(
        signatures=_signatures(context.store, flow),
        intervals=_intervals(context, flow),
        head=_head_intervals(context, flow),
        donors=None if context.settings.quick else _donors(context, features, flow, kinds),
        factors=_factors(context, flow, kinds),
    )


def _signatures(store: Store, flow: Flow) -> xr.DataArray:
    """Return the signatures of observed and simulated flow over the scored test days."""
    scored, times = flow.data["scored"].values, pd.DatetimeIndex(flow.data["time"].values)
    period = slice(*store.times.searchsorted([times[0], times[-1]]))
    rain = catchment_rain(store, slice(period.start, period.stop + 1))
    observed = flow.data["observed"].values
    series = {"observed": observed} | {
        name: flow.data["simulated"].sel({"method": name}).values for name in flow.methods
    }
    tables = [table(np.where(scored, values, np.nan), times, rain) for values in series.values()]
    return xr.DataArray(
        np.stack(tables, axis=1),
        dims=("signature", "source", "catchment"),
        coords={
            "signature": np.array(list(SIGNATURES), dtype=object),
            "source": np.array(list(series), dtype=object),
            "catchment": flow.data["catchment"].values,
            "signature_units": (
                "signature",
                np.array([signature_units(name, flow.units) for name in SIGNATURES], object),
            ),
        },
        attrs={"long_name": "flow signature over the scored days"},
    )


def signature_units(name: str, units: str) -> str:
    """Return the units of a signature of a flow in ``units``."""
    own = UNITS.get(name, "1")
    return units if own == "flow" else own


def _intervals(context: Context, flow: Flow) -> xr.Dataset | None:
    """Return the intervals of the main method; None if it has no simulation of validation dates that are not scored."""
    if context.settings.split == "validation":
        return None
    period, train = context.store.period("validation"), context.store.period("train")
    if flow.main == "simulation":
        pair: tuple[Floats, Floats] | None = context.simulated[:, context.of_simulated(period)], context.flow[:, period]
    else:
        pair = flow.fits[flow.main].validated if flow.main in flow.fits else None
    if pair is None:
        return None
    validated, validation = (values.astype(np.float64) for values in pair)
    usable = ~context.unseen
    if not (np.isfinite(validated) & np.isfinite(validation) & usable[:, None]).any():
        return None
    simulated = flow.data["simulated"].sel({"method": flow.main}).values.astype(np.float64)
    predictive = intervals.calibrate(
        validated,
        validation,
        simulated,
        usable,
        never_negative=float(np.nanmin(context.flow[:, train], initial=np.inf)) >= 0,
    )
    observed = flow.data["observed"].astype(np.float64).where(flow.data["scored"])
    judged = intervals.judge(predictive, simulated, observed)
    if flow.main != "simulation":
        return judged
    # Kept, so that a comparison of folds can calibrate each by the others.
    attrs = {"units": flow.units}
    return judged.assign(
        validated=(("catchment", "validation_time"), validated.astype(np.float32), attrs),
        validation=(("catchment", "validation_time"), validation.astype(np.float32), attrs),
    ).assign_coords(validation_time=context.store.times[period])


def _head_intervals(context: Context, flow: Flow) -> xr.Dataset | None:
    """Return how the evidence head's own quantiles fared on the scored days; None without a head."""
    if context.settings.quick or context.informed is None or flow.main != "simulation":
        return None
    known = [name for name in KNOWN if name != "neighbours" or context.has_neighbours]
    observed = flow.data["observed"].where(flow.data["scored"]).values.astype(np.float64)
    shape = len(known), len(intervals.SHOWN), len(observed)
    inside, width, score = np.full(shape, np.nan), np.full(shape, np.nan), np.full((shape[0], shape[2]), np.nan)
    for number, name in enumerate(known):
        quantiles = with_quantiles(context, neighbours=name == "neighbours")[..., 1:]
        for c in np.flatnonzero(np.isfinite(observed).any(1)):
            score[number, c] = crps(quantiles[c], observed[c])
            days = np.isfinite(observed[c])
            for position, level in enumerate(intervals.SHOWN):
                low, high = ends(quantiles[c, days], level)
                inside[number, position, c] = coverage(quantiles[c], observed[c], level)
                width[number, position, c] = (high - low).mean()
    of_level = ("evidence", "shown", "catchment")
    return xr.Dataset(
        {
            "head_coverage": (of_level, inside, {"long_name": "share of scored days inside"}),
            "head_width": (of_level, width, {"units": flow.units, "long_name": "mean width"}),
            "head_crps": (("evidence", "catchment"), score, {"units": flow.units, "long_name": "CRPS of quantiles"}),
        },
        coords={
            "evidence": np.array(known, dtype=object),
            "shown": list(intervals.SHOWN),
            "catchment": flow.data["catchment"].values,
        },
    )


def _mean_embeddings(context: Context, features: Features, flow: Flow) -> tuple[Floats, int]:
    """Return the mean embedding of each catchment ``[C, F]``, and over how many training dates it is."""
    if not any(METHODS[name].fit for name in flow.methods):
        dates = donors.spread_dates(context.embedder, context.store.period("train"))
        return donors.mean_embeddings(context.embedder, dates, context.config.embed.batch_size), len(dates)
    # The probes have embedded many dates already.
    train = context.dates.parts[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a modality that a catchment lacks on all dates stays NaN
        means = [np.nanmean(catchment[train].astype(np.float64), axis=0) for catchment in features.embedding]
    return np.stack(means), len(context.dates.train)


def _donors(context: Context, features: Features, flow: Flow, kinds: Floats) -> xr.Dataset | None:
    store = context.store
    embedded, dates = _mean_embeddings(context, features, flow)
    # A modality that some catchments lack says nothing of who is like whom.
    spaces = {"embedding": donors.distance(embedded[:, np.isfinite(embedded).all(0)])}
    static = np.nan_to_num(context.checkpoint.scaling.static(store).astype(np.float64))  # missing: as the mean
    if static.size:
        spaces["attributes"] = donors.distance(static)
    if {"latitude", "longitude"} <= set(store.dataset.variables):
        spaces["geography"] = distances(store)
        np.fill_diagonal(spaces["geography"], 0)
    lent = flow.data["observed"].astype(np.float64)
    result = donors.search(
        spaces,
        donors.distance(donors.ranked(kinds)),
        lent,
        lent.where(flow.data["scored"]),
        ~context.unseen,
        flow.data["days"].values > 0,
        context.config.seed,
    )
    return result if result is None else result.assign_attrs(embedded_dates=dates)


def _factors(context: Context, flow: Flow, kinds: Floats) -> xr.Dataset:
    """Return properties of each catchment, and their rank correlation with the skill."""
    store, usable = context.store, ~context.unseen
    seen = np.isfinite(context.seen_flow[:, store.period("train")]).sum(1)
    values = {
        "baseflow_index": kinds[list(SIGNATURES).index("baseflow_index")],
        "record": seen.astype(np.float64),
    }
    if "area" in store.dataset:
        values["area"] = store.dataset["area"].values.astype(np.float64)
    if {"latitude", "longitude"} <= set(store.dataset.variables) and usable.sum() > 1:
        values["nearest_gauge"] = np.where(usable, distances(store), np.inf).min(1)
    skill = flow.data["score"].sel({"metric": "nse", "method": flow.main}).values
    chosen = {name: values[name] for name in FACTORS if name in values}
    return xr.Dataset(
        {
            "value": (("factor", "catchment"), np.stack(list(chosen.values()))),
            "correlation": ("factor", [rank_correlation(factor, skill) for factor in chosen.values()]),
        },
        coords={"factor": np.array(list(chosen), dtype=object), "catchment": flow.data["catchment"].values},
    )


def rank_correlation(x: Floats, y: Floats) -> float:
    """Return Spearman's correlation over the catchments that have both; NaN where one does not vary."""
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < donors.MIN_CATCHMENTS or np.ptp(x[known]) == 0 or np.ptp(y[known]) == 0:
        return float("nan")
    return float(spearmanr(x[known], y[known]).statistic)
