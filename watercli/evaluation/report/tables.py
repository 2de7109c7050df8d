"""Tables of the diagnostics: for the CSV files, ``results.json`` and the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr

from watercli.evaluation import intervals
from watercli.evaluation.diagnostics import KNOWN, Floats, Insight, rank_correlation
from watercli.evaluation.donors import SPACES
from watercli.evaluation.report.formatting import number, percent
from watercli.evaluation.simulation import Flow
from watercli.hydrology.scores import summarise
from watercli.hydrology.signatures import SIGNATURES


def catchment_rows(insight: Insight, flow: Flow) -> list[dict[str, Any]]:
    """Return one row for each scored catchment: its properties, intervals and donors."""
    rows = []
    for c in np.flatnonzero(flow.data["days"].values > 0):
        catchment = flow.data.isel(catchment=c)
        row: dict[str, Any] = {"gauge_id": catchment["catchment"].item()}
        row["nse"] = float(catchment["score"].sel({"metric": "nse", "method": flow.main}))
        row |= {
            str(factor): float(insight.factors["value"].sel(factor=factor)[c])
            for factor in insight.factors["factor"].values
        }
        if insight.intervals is not None:
            interval = insight.intervals.isel(catchment=c)
            row |= interval_scores(interval)
            row |= {"calibration_days": int(interval["calibration_days"]), "pooled": bool(interval["pooled"])}
        if insight.donors is not None:
            for space in insight.donors["space"].values:
                donor = insight.donors.sel(space=space).isel(catchment=c)
                row |= {f"donor_{space}": str(donor["donor"].item()), f"donor_{space}_nse": float(donor["donor_nse"])}
        rows.append(row)
    return rows


def interval_scores(catchment: xr.Dataset) -> dict[str, float]:
    """Return how the intervals of one catchment scored, of what `watercli.evaluation.intervals.judge` returned."""
    scores = {}
    for level in intervals.SHOWN:
        scores[f"coverage_{100 * level:.0f}"] = float(catchment["coverage"].sel(level=level))
        scores[f"width_{100 * level:.0f}"] = float(catchment["width"].sel(level=level))
    return scores | {name: float(catchment[name]) for name in ("crps", "absolute_error")}


def signature_rows(insight: Insight) -> list[dict[str, Any]]:
    """Return one row for each catchment and signature that has a value."""
    signatures = insight.signatures.transpose("catchment", "signature", "source")
    sources = [str(source) for source in signatures["source"].values]
    names, units = signatures["signature"].values, signatures["signature_units"].values
    return [
        {"gauge_id": gauge, "signature": name, "units": str(unit), **dict(zip(sources, row.tolist(), strict=True))}
        for gauge, of_gauge in zip(signatures["catchment"].values, signatures.values, strict=True)
        for name, unit, row in zip(names, units, of_gauge, strict=True)
        if np.isfinite(row).any()
    ]


def to_dict(insight: Insight, seed: int) -> dict[str, Any]:
    """Return the summary as JSON types."""
    return {
        "signatures": {
            name: {method: asdict(agreement) for method, agreement in by_method.items()}
            for name, by_method in signature_summaries(insight).items()
        },
        "intervals": intervals_dict(insight.intervals, seed) if insight.intervals is not None else None,
        "head": head_dict(insight.head) if insight.head is not None else None,
        "donors": donors_dict(insight.donors) if insight.donors is not None else None,
        "embedded_dates": insight.donors.attrs["embedded_dates"] if insight.donors is not None else None,
        "skill_against": {
            str(name): {"rank_correlation": float(insight.factors["correlation"].sel(factor=name))}
            for name in insight.factors["factor"].values
        },
    }


@dataclass(frozen=True)
class Agreement:
    """How a simulated signature agrees with the observed one over the catchments that have both."""

    observed: float
    """Median."""
    simulated: float
    """Median."""
    correlation: float
    """Spearman's."""
    count: int


def signature_summaries(insight: Insight) -> dict[str, dict[str, Agreement]]:
    """Return the agreement of every method by signature; signatures that no catchment has are left out."""
    summaries: dict[str, dict[str, Agreement]] = {}
    for name in insight.signatures["signature"].values:
        signature = insight.signatures.sel(signature=name)
        observed = signature.sel(source="observed").values
        for method in signature["source"].values[1:]:
            simulated = signature.sel(source=method).values
            known = np.isfinite(observed) & np.isfinite(simulated)
            if known.any():
                medians = float(np.median(observed[known])), float(np.median(simulated[known]))
                agreement = Agreement(*medians, rank_correlation(observed, simulated), int(known.sum()))
                summaries.setdefault(str(name), {})[str(method)] = agreement
    return summaries


def intervals_dict(judged: xr.Dataset, seed: int) -> dict[str, Any]:
    """Return the summary over catchments as JSON types."""
    return {
        "levels": [
            {
                "level": float(level),
                "coverage": asdict(summarise(judged["coverage"].sel(level=level).values, seed)),
                "width": asdict(summarise(judged["width"].sel(level=level).values, seed)),
            }
            for level in judged["level"].values
        ],
        "crps": asdict(summarise(judged["crps"].values, seed)),
        "absolute_error": asdict(summarise(judged["absolute_error"].values, seed)),
        "catchments_pooled": int(judged["pooled"].where(np.isfinite(judged["crps"]), False).sum()),
    }


def head_dict(head: xr.Dataset) -> dict[str, dict[str, float]]:
    """Return the coverage of the evidence head's quantiles, mean of catchments, and medians of width and CRPS."""
    return {
        str(known): {
            **{f"coverage_{100 * level:.0f}": _mean(of_known["head_coverage"].sel(shown=level).values)
               for level in intervals.SHOWN},
            **{f"width_{100 * level:.0f}": _median(of_known["head_width"].sel(shown=level).values)
               for level in intervals.SHOWN},
            "crps": _median(of_known["head_crps"].values),
        }
        for known, of_known in ((known, head.sel(evidence=known)) for known in head["evidence"].values)
    }  # fmt: skip


def _mean(values: Floats) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def donors_dict(donors: xr.Dataset) -> dict[str, Any]:
    """Return the summary of each space, see `watercli.evaluation.donors.search`."""
    return {
        str(space): {
            "rank_correlation": float(donor["correlation"]),
            "low": float(donor["correlation_low"]),
            "high": float(donor["correlation_high"]),
            "median_percentile": _median(donor["percentile"].values),
            "median_nse": _median(donor["donor_nse"].values),
        }
        for space, donor in ((space, donors.sel(space=space)) for space in donors["space"].values)
    }


def _median(values: Floats) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")


def values(insight: Insight, flow: Flow, seed: int) -> dict[str, Any]:
    """Return the diagnostics as rows and sentences of the report."""
    content: dict[str, Any] = {"kinds": SIGNATURES, "signature_rows": _report_signatures(insight, flow)}
    if insight.intervals is not None:
        content |= _report_intervals(insight.intervals, flow, seed)
    if insight.head is not None:
        content |= _report_head(insight.head, insight.intervals, flow.units)
    if insight.donors is not None:
        content |= _report_donors(insight.donors)
    return {"interval_rows": [], "head_rows": [], "donor_rows": []} | content


def _report_signatures(insight: Insight, flow: Flow) -> list[dict[str, Any]]:
    rows = []
    for name, by_method in signature_summaries(insight).items():
        agreement = by_method.get(flow.main)
        if agreement is None:
            continue
        units = str(insight.signatures["signature_units"].sel(signature=name).item())
        cells = [
            number(agreement.observed),
            number(agreement.simulated),
            number(agreement.correlation),
            agreement.count,
        ]
        rows.append({"cells": [name.replace("_", " "), "" if units == "1" else units, *cells]})
    return rows


def interval_heads(units: str) -> list[str]:
    """Return the headings of `interval_rows`."""
    return [
        *("central interval", "days inside, median catchment", "25th to 75th pct.", "mean of catchments"),
        f"mean width, median ({units})",
    ]


def interval_rows(judged: xr.Dataset) -> list[dict[str, Any]]:
    """Return the rows of the report's table of intervals."""
    rows = []
    for level in intervals.SHOWN:
        coverage = judged["coverage"].sel(level=level).values
        coverage = coverage[np.isfinite(coverage)]
        low, middle, high = np.percentile(coverage, [25, 50, 75])
        width = _median(judged["width"].sel(level=level).values)
        inside = [percent(middle), f"{percent(low)} to {percent(high)}", percent(float(coverage.mean()))]
        rows.append({"cells": [percent(level), *inside, number(width)]})
    return rows


def _report_intervals(judged: xr.Dataset, flow: Flow, seed: int) -> dict[str, Any]:
    pooled, scored = judged["pooled"].values, np.isfinite(judged["crps"].values)
    own, others = int((scored & ~pooled).sum()), int((scored & pooled).sum())
    parts = []
    if own:
        parts.append(f"catchments calibrated by their own flow alone: {own}")
    if others:
        parts.append(f"by the flow of other gauges, as their own is held out or short: {others}")
    return {
        "interval_heads": interval_heads(flow.units),
        "interval_rows": interval_rows(judged),
        "interval_sentence": interval_sentence(judged, flow.units),
        "calibration": "; ".join(parts),
    }


def _report_head(head: xr.Dataset, judged: xr.Dataset | None, units: str) -> dict[str, Any]:
    """Return the table that sets the evidence head's quantiles beside the intervals of validation errors."""
    scores = {KNOWN[name]: by_name for name, by_name in head_dict(head).items()}
    if judged is not None:
        of_level = {f"{100 * level:.0f}": judged.sel(level=level) for level in intervals.SHOWN}
        validated = {f"coverage_{name}": _mean(level["coverage"].values) for name, level in of_level.items()}
        validated |= {f"width_{name}": _median(level["width"].values) for name, level in of_level.items()}
        scores = {"validation errors": {**validated, "crps": _median(judged["crps"].values)}, **scores}
    columns = ("coverage_50", "coverage_90", "width_50", "width_90", "crps")
    rows = [
        {"cells": [name, *((percent if key.startswith("coverage") else number)(by_name[key]) for key in columns)]}
        for name, by_name in scores.items()
    ]
    heads = ["intervals by", "inside 50 %, mean", "inside 90 %, mean"]
    heads += [f"{name} ({units})" for name in ("width of 50 %, median", "width of 90 %, median", "CRPS, median")]
    return {"head_heads": heads, "head_rows": rows}


def interval_sentence(judged: xr.Dataset, units: str) -> str:
    """Say how many days lie within the intervals."""
    parts = [
        f"{percent(_median(judged['coverage'].sel(level=level).values))} lie within the {percent(level)} intervals"
        for level in intervals.SHOWN
    ]
    crps, alone = _median(judged["crps"].values), _median(judged["absolute_error"].values)
    return (
        f"Of the scored days of the median catchment, {' and '.join(parts)}; the continuous ranked probability "
        f"score is {number(crps)} {units}, where the simulation without intervals has {number(alone)}"
    )


def _report_donors(donors: xr.Dataset) -> dict[str, Any]:
    rows, by_space = [], donors_dict(donors)
    for space, summary in by_space.items():
        interval = f"{number(summary['low'])} to {number(summary['high'])}"
        cells = [
            number(summary["rank_correlation"]),
            interval,
            percent(summary["median_percentile"]),
            number(summary["median_nse"]),
        ]
        rows.append({"cells": [SPACES[space], *cells]})
    return {
        "donor_rows": rows,
        "donor_sentence": donor_sentence(by_space),
        "dates": donors.attrs["embedded_dates"],
    }


def donor_sentence(by_space: dict[str, Any]) -> str:
    """Say whether neighbours in the embedding are alike, beside neighbours elsewhere."""
    embedding = by_space["embedding"]
    value = number(embedding["rank_correlation"])
    if embedding["low"] > 0:
        first = f"Catchments near each other in the embedding have rivers of one kind (rank correlation {value})"
    else:
        first = (
            f"Nearness in the embedding is no better than chance as a sign of like rivers (rank correlation {value})"
        )
    others = [
        f"{number(by_space[name]['rank_correlation'])} for {SPACES[name]}" for name in SPACES if name in by_space
    ][1:]
    return f"{first}; it is {' and '.join(others)}" if others else first
