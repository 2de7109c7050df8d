"""``report.html``: one page that needs nothing but itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from watercli.baselines.registry import METHODS
from watercli.evaluation.diagnostics import FACTORS
from watercli.evaluation.forecast import FORECASTS, Forecast
from watercli.evaluation.protocol import Section
from watercli.evaluation.reconstruction import BASELINES
from watercli.evaluation.report import explorer_data, figures, summary_text, tables
from watercli.evaluation.report.formatting import DASH, interval, number, significant, with_minus
from watercli.evaluation.report.svg import TO_GAUGE, Picture
from watercli.evaluation.report.templating import render
from watercli.evaluation.results import Outcome, reconstruction_rows, to_dict
from watercli.evaluation.short_records import ShortRecords, in_words
from watercli.evaluation.simulation import Flow
from watercli.hydrology.scores import METRICS, Summary, metric_units
from watercli.inference.embedding_layout import layer_weights
from watercli.run.checkpoint import Checkpoint
from watercli.training.metrics_log import read_metrics

IN_WORDS = {
    "identity": "{}",
    "log": "the logarithm of {}",
    "log1p": "log(1 + x) of {}",
    "sqrt": "the square root of {}",
}


def write(outcome: Outcome, path: Path) -> None:
    """Draw the figures and fill the page."""
    path.write_text(render("report.html.j2", _values(outcome)), encoding="utf-8")


def _values(outcome: Outcome) -> dict[str, Any]:
    config, flow = outcome.checkpoint.config, outcome.flow
    return {
        "name": config.name,
        "checkpoint": outcome.checkpoint,
        "days": config.window_days,
        "splits": outcome.splits,
        "split": outcome.split,
        "headline": summary_text.headline(outcome),
        "sentences": [
            with_minus(sentence)
            for sentence in (
                *summary_text.flow_sentences(outcome),
                *summary_text.insight_sentences(outcome),
                *([summary_text.reconstruction_sentence(outcome)] if outcome.reconstruction.windows else []),
            )
        ],
        "notes": outcome.notes,
        "asides": outcome.asides,
        "flow": flow,
        **(_flow_values(outcome, flow) if flow is not None else {"series": None, "insight": None}),
        "forecast": _forecast_values(outcome.forecast) if outcome.forecast is not None else None,
        "short_records": _short_record_values(outcome.short_records) if outcome.short_records is not None else None,
        "windows": outcome.reconstruction.windows,
        "reconstruction_rows": _reconstruction_rows(outcome),
        "reconstruction_sentence": summary_text.reconstruction_sentence(outcome),
        "baselines": BASELINES,
        "causal": outcome.checkpoint.structure.causal,
        "transforms": ", ".join(f"{name}: {modality.transform}" for name, modality in config.modalities.items()),
        "figures": _figures(outcome),
        "sections": [_section_values(name, section) for name, section in outcome.sections.items()],
        "fields": [figures.masked_field(example, outcome.store) for example in outcome.reconstruction.examples],
        "origin": _origin(outcome),
    }


def _flow_values(outcome: Outcome, flow: Flow) -> dict[str, Any]:
    series = explorer_data.payload(flow, outcome.insight) if flow.counts["catchments"] else None
    return {
        "stride": outcome.config.evaluate.probe_stride,
        "method_heads": ["method", "NSE", "95\u00a0% interval", "25th\u00a0pct.", "KGE", "log-NSE",
                         "RMSE", "bias"],
        "method_rows": _method_rows(outcome, flow),
        "score_heads": ["method", *(_with_units(metric, flow.units) for metric in METRICS)],
        "score_rows": _score_rows(outcome, flow),
        "metrics": METRICS,
        "against_rows": _against_rows(outcome),
        "catchment_heads": _catchment_heads(flow),
        "catchment_rows": _catchment_rows(flow),
        "main": flow.main_method.label,
        "series": explorer_data.as_script(series) if series is not None else None,
        "left_out": series["left_out"] if series is not None else "",
        "insight": tables.values(outcome.insight, flow, outcome.config.seed) if outcome.insight else None,
    }  # fmt: skip


def _section_values(name: str, section: Section) -> dict[str, Any]:
    rows = [{"cells": [number(cell) if isinstance(cell, float) else cell for cell in row]}
            for row in section.table.itertuples(index=False)]  # fmt: skip
    heads = [str(column) for column in section.table.columns]
    return {"name": name, "title": section.title, "sentence": section.sentence, "heads": heads, "rows": rows}


def _forecast_values(forecast: Forecast) -> dict[str, Any]:
    lead_times = [int(days) for days in forecast.data["lead_time"].values]
    return {
        "init_times": forecast.data.sizes["init_time"],
        "catchments": forecast.catchments,
        "heads": ["method", *(f"{days} day" + "s" * (days > 1) for days in lead_times)],
        "rows": [
            {
                "label": FORECASTS[method].label,
                "saw": FORECASTS[method].saw,
                "cells": [FORECASTS[method].label, *map(number, medians)],
            }
            for method, medians in forecast.medians().items()
        ],
    }


def _short_record_values(records: ShortRecords) -> dict[str, Any]:
    note = (
        "The gauges were held out in pretraining: the encoder has seen nothing of their flow."
        if records.held_out
        else "The encoder was pretrained with all years of the flow of these gauges among its targets: only the record "
        "of the probe is short. For truly short records, evaluate a run with held-out gauges."
    )
    return {
        "gauges": "held out in training" if records.held_out else "seen in training",
        "catchments": max(summary.count for summaries in records.scores.values() for summary in summaries),
        "heads": [
            "method",
            *(f"{in_words(years)} ({rows} rows)" for years, rows in zip(records.years, records.rows, strict=True)),
        ],
        "rows": [
            {"cells": [METHODS[name].label, *(f"{number(one.median)} ({_interval(one)})" for one in summaries)]}
            for name, summaries in records.scores.items()
        ],
        "note": f"Rows: dates with flow and all inputs, the median gauge. {note}",
    }


def _figures(outcome: Outcome) -> dict[str, Picture | None]:
    flow = outcome.flow
    scored = flow if flow is not None and flow.counts["catchments"] else None
    weights = layer_weights(outcome.checkpoint)
    curves = read_metrics(outcome.run) if outcome.run is not None else []
    insight = outcome.insight
    return {
        "map": figures.nse_map(scored, outcome.store) if scored else None,
        "cdf": figures.nse_distribution(scored) if scored else None,
        "flow": figures.hydrographs(scored) if scored else None,
        "scatter": figures.scatter(scored) if scored else None,
        "reliability": figures.reliability(insight.intervals, scored.main_method)
        if scored and insight and insight.intervals is not None
        else None,
        "forecast": figures.forecast_skill(outcome.forecast) if outcome.forecast is not None else None,
        "factors": figures.factors(insight.factors, scored, FACTORS) if scored and insight else None,
        "loss": figures.training_curves(curves, list(outcome.checkpoint.config.modalities)),
        "layers": figures.layer_weight_maps(weights, {name: _layers(outcome.checkpoint, name) for name in weights}),
    }


def _layers(checkpoint: Checkpoint, name: str) -> list[str]:
    """Return the names of the layers that feed a modality's maps, counted from 1."""
    structure = checkpoint.structure
    layers = [str(layer + 1) for layer in structure.map_layers(structure.modalities[name].kind)]
    return ["input", *layers] if structure.use_input else layers


def _method_rows(outcome: Outcome, flow: Flow) -> list[dict[str, Any]]:
    """Return the few columns that a reader compares methods by."""
    rows = []
    for method, scores in outcome.summaries().items():
        nse = scores["nse"]
        medians = [number(scores[name].median) for name in ("kge", "log_nse", "rmse", "bias")]
        cells = [METHODS[method].label, number(nse.median), _interval(nse), number(nse.p25), *medians]
        fit = flow.fits.get(method)
        rows.append(
            {
                "label": METHODS[method].label,
                "cells": cells,
                "main": method == flow.main,
                "saw": flow.saw[method],
                "alpha": DASH if fit is None or fit.alpha is None else f"{fit.alpha:g}",
                "space": DASH if fit is None or fit.space is None else IN_WORDS[fit.space].format(flow.target),
            }
        )
    return rows


def _against_rows(outcome: Outcome) -> list[dict[str, Any]]:
    """Return how the main method compares with every other one."""
    rows = []
    for method, pair in outcome.comparisons().items():
        difference = pair.difference
        cells = [number(difference.median), _interval(difference), pair.verdict, significant(pair.p_value)]
        rows.append({"cells": [METHODS[method].label, f"{pair.better} of {pair.count}", *cells]})
    return rows


def _score_rows(outcome: Outcome, flow: Flow) -> list[dict[str, Any]]:
    return [
        {
            "cells": [METHODS[method].label, *(number(scores[name].median) for name in METRICS)],
            "main": method == flow.main,
        }
        for method, scores in outcome.summaries().items()
    ]


def _with_units(metric: str, units: str) -> str:
    own = metric_units(metric, units)
    name = metric.replace("_", " ")
    return name if own == "1" else f"{name} ({own})"


def _interval(summary: Summary) -> str:
    return with_minus(interval(summary.low, summary.high))


def _catchment_heads(flow: Flow) -> list[str]:
    area = ["area (km²)"] if "area" in flow.data.coords else []
    return ["gauge", "name", *area, "days", *(method.replace("_", " ") for method in flow.methods), "KGE"]


def _catchment_rows(flow: Flow) -> list[dict[str, Any]]:
    """Return the scored catchments, the best first."""
    nse = flow.data["score"].sel(metric="nse")
    order = sorted(
        (c for c in range(flow.data.sizes["catchment"]) if flow.data["days"].values[c]),
        key=lambda c: -_or_lowest(float(nse.sel({"method": flow.main})[c])),
    )
    rows = []
    for c in order:
        catchment = flow.data.isel(catchment=c)
        gauge = str(catchment["catchment"].item())
        name = str(catchment["gauge_name"].item()) if "gauge_name" in catchment.coords else ""
        area = [f"{float(catchment['area']):,.0f}"] if "area" in catchment.coords else []
        scores = [number(float(catchment["score"].sel({"metric": "nse", "method": method}))) for method in flow.methods]
        kge = number(float(catchment["score"].sel({"metric": "kge", "method": flow.main})))
        cells = [gauge, name, *area, int(catchment["days"]), *scores, kge]
        rows.append({"cells": cells, "link": f"{TO_GAUGE}{quote(gauge)}", "main": False})
    return rows


def _or_lowest(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _reconstruction_rows(outcome: Outcome) -> list[dict[str, Any]]:
    rows = []
    for row in reconstruction_rows(outcome):
        scores = [significant(row[name]) for name in ("rmse", "mae", "bias")]
        cells = [row["modality"], row["method"], row["units"], *scores, number(row["skill"]), f"{row['values']:,}"]
        rows.append({"cells": cells, "main": row["method"] == "model"})
    return rows


def _origin(outcome: Outcome) -> Mapping[str, str]:
    results = to_dict(outcome)
    run, store = results["run"], results["store"]
    return {
        "weights": f"step {run['step']}, SHA-256 {run['weights_fingerprint'][:16]}",
        "store": f"{store['name']}, fingerprint {store['fingerprint'][:16]}",
        "seed": str(results["seed"]),
        "made": results["created"],
        "versions": ", ".join(f"{name} {version}" for name, version in results["versions"].items()),
    }
