"""``report.html``: one page that needs nothing but itself."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from watercli.checkpoint import Checkpoint
from watercli.embed import layer_weights
from watercli.evaluation import figures, verdict
from watercli.evaluation.methods import METHODS
from watercli.evaluation.metrics import Summary
from watercli.evaluation.pictures import Picture
from watercli.evaluation.reconstruction import BASELINES
from watercli.evaluation.results import Outcome, reconstruction_rows, to_dict
from watercli.evaluation.riverflow import Flow
from watercli.training.metrics_log import read_metrics

TEMPLATE = Path(__file__).with_name("report.html.j2")
DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
IN_WORDS = {
    "identity": "standardised {}",
    "log": "the standardised logarithm of {}",
    "log1p": "the standardised log(1 + x) of {}",
    "sqrt": "the standardised square root of {}",
}


def write(outcome: Outcome, run: Path, file: Path) -> None:
    """Draw the figures and fill the page."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    file.write_text(template.render(_values(outcome, run)), encoding="utf-8")


def _values(outcome: Outcome, run: Path) -> dict[str, Any]:
    config, flow = outcome.checkpoint.config, outcome.flow
    return {
        "name": config.name,
        "checkpoint": outcome.checkpoint,
        "days": config.window,
        "splits": outcome.splits,
        "headline": verdict.headline(outcome),
        "sentences": [
            re.sub(r"-(?=\d)", MINUS, one)
            for one in (*verdict.flow_sentences(outcome), verdict.reconstruction_sentence(outcome))
        ],
        "notes": outcome.notes,
        "flow": flow,
        "stride": outcome.config.evaluate.probe_stride,
        "method_rows": _method_rows(outcome, flow) if flow is not None else [],
        "catchment_rows": _catchment_rows(flow) if flow is not None else [],
        "methods": [method.replace("_", " ") for method in flow.methods] if flow is not None else [],
        "main": METHODS[flow.main] if flow is not None else "",
        "transform": IN_WORDS[config.modalities[flow.target].transform].format(flow.target) if flow else "",
        "windows": outcome.reconstruction.windows,
        "reconstruction_rows": _reconstruction_rows(outcome),
        "reconstruction_sentence": verdict.reconstruction_sentence(outcome),
        "baselines": BASELINES,
        "transforms": ", ".join(f"{name}: {one.transform}" for name, one in config.modalities.items()),
        "figures": _figures(outcome, run),
        "origin": _origin(outcome),
    }


def _figures(outcome: Outcome, run: Path) -> dict[str, Picture | None]:
    flow, example = outcome.flow, outcome.reconstruction.example
    scored = flow if flow is not None and flow.counts["catchments"] else None
    weights = layer_weights(outcome.checkpoint)
    return {
        "map": figures.nse_map(scored, outcome.store) if scored else None,
        "cdf": figures.nse_distribution(scored) if scored else None,
        "flow": figures.hydrographs(scored) if scored else None,
        "field": figures.masked_field(example, outcome.store) if example else None,
        "loss": figures.training_curves(read_metrics(run), list(outcome.checkpoint.config.modalities)),
        "layers": figures.layer_weight_maps(weights, {name: _layers(outcome.checkpoint, name) for name in weights}),
    }


def _layers(checkpoint: Checkpoint, name: str) -> list[str]:
    """Return the names of the layers that feed a modality's maps, counted from 1."""
    structure = checkpoint.structure
    layers = [str(layer + 1) for layer in structure.map_layers(structure.modalities[name].kind)]
    return ["input", *layers] if structure.use_input else layers


def _method_rows(outcome: Outcome, flow: Flow) -> list[dict[str, Any]]:
    rows = []
    for method, scores in outcome.summaries().items():
        nse = scores["nse"]
        others = [scores[name] for name in ("kge", "correlation", "variability", "bias_ratio", "rmse", "bias")]
        cells = [number(nse.median), _interval(nse), number(nse.p25), *(number(one.median) for one in others)]
        fit = flow.fits.get(method)
        alpha = DASH if fit is None or fit.alpha is None else f"{fit.alpha:g}"
        row = {"label": METHODS[method], "main": method == flow.main, "saw": flow.saw[method]}
        rows.append(row | {"cells": cells, "alpha": alpha})
    return rows


def _interval(one: Summary) -> str:
    return f"{number(one.low)} to {number(one.high)}"


def _catchment_rows(flow: Flow) -> list[dict[str, Any]]:
    """Return the scored catchments, the best first."""
    nse = flow.data["score"].sel(metric="nse")
    order = sorted(
        (c for c in range(flow.data.sizes["catchment"]) if flow.data["days"].values[c]),
        key=lambda c: -_or_lowest(float(nse.sel(predictor=flow.main)[c])),
    )
    rows = []
    for c in order:
        here = flow.data.isel(catchment=c)
        area = f"{float(here['area']):,.0f}" if "area" in here.coords else ""
        scores = [number(float(here["score"].sel(metric="nse", predictor=method))) for method in flow.methods]
        kge = number(float(here["score"].sel(metric="kge", predictor=flow.main)))
        name = str(here["gauge_name"].item()) if "gauge_name" in here.coords else ""
        rows.append(
            {"gauge": str(here["catchment"].item()), "name": name, "cells": [area, int(here["days"]), *scores, kge]}
        )
    return rows


def _or_lowest(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _reconstruction_rows(outcome: Outcome) -> list[dict[str, Any]]:
    rows = []
    for row in reconstruction_rows(outcome):
        scores = {name: significant(row[name]) for name in ("rmse", "mae", "bias")}
        rows.append(row | scores | {"values": f"{row['values']:,}", "skill": number(row["skill"])})
    return rows


def _origin(outcome: Outcome) -> Mapping[str, str]:
    found = to_dict(outcome)
    run, store = found["run"], found["store"]
    return {
        "weights": f"step {run['step']}, SHA-256 {run['weights_fingerprint'][:16]}",
        "store": f"{store['name']}, fingerprint {store['fingerprint'][:16]}",
        "seed": str(found["seed"]),
        "made": found["created"],
        "versions": ", ".join(f"{name} {version}" for name, version in found["versions"].items()),
    }


def number(value: float) -> str:
    """Return two decimals with a true minus sign; a dash for what is not a number."""
    if not math.isfinite(value):
        return DASH
    text = f"{value:.2f}"
    return ("0.00" if text == "-0.00" else text).replace("-", MINUS)


def significant(value: float) -> str:
    """Return three significant digits; a dash for what is not a number."""
    return f"{value:.3g}".replace("-", MINUS) if math.isfinite(value) else DASH
