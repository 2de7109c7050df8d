"""The outcome of an evaluation as plain data, and the files that hold it."""

from __future__ import annotations

import csv
import datetime as dt
import importlib.metadata
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from watercli.baselines.registry import METHODS
from watercli.baselines.ridge import Fitted
from watercli.config import Config, Evaluate, Splits
from watercli.errors import RunError
from watercli.evaluation.diagnostics import Insight
from watercli.evaluation.forecast import FORECASTS, Forecast
from watercli.evaluation.protocol import Section
from watercli.evaluation.reconstruction import Reconstruction
from watercli.evaluation.report import tables
from watercli.evaluation.short_records import ShortRecords
from watercli.evaluation.simulation import Flow
from watercli.hydrology.scores import METRICS, Comparison, Summary, compare, summarise
from watercli.output import zarr_files
from watercli.output.csv_cells import plain
from watercli.run.checkpoint import Checkpoint, versions
from watercli.store import Store

SCHEMA = "evaluation_schema_version"
SCHEMA_VERSION = 3
RESULTS = "results.json"


@dataclass(frozen=True)
class Outcome:
    """The result of an evaluation."""

    checkpoint: Checkpoint
    store: Store
    config: Config
    splits: Splits
    reconstruction: Reconstruction
    """Of no windows, if it was left out."""
    flow: Flow | None
    forecast: Forecast | None
    short_records: ShortRecords | None
    notes: list[str]
    """Parts that were left out, a store other than the run's."""
    insight: Insight | None = None
    """Diagnostics of river flow; None where nothing was scored."""
    run: Path | None = None
    """The run directory, whose training curves the page shows."""
    sections: Mapping[str, Section] = field(default_factory=dict)
    """Results that are tables, by protocol."""
    asides: list[str] = field(default_factory=list)
    """Protocols of the defaults that the run has no use for: nothing is wrong."""

    @property
    def split(self) -> str:
        """The split that is scored: ``test``, or ``validation`` (``evaluate.split``)."""
        return self.config.evaluate.split

    @property
    def scores(self) -> xr.Dataset:
        """``score`` (metric, method, catchment) of river flow, and the scored ``days`` (catchment).

        Raises
        ------
        RunError
            If no river flow was judged.
        """
        if self.flow is None:
            raise RunError("This evaluation judged no river flow; name the protocol 'simulation' or 'ungauged'")
        return _with_labels(self.flow.data[["score", "days"]])

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the page that ``watercli evaluate`` writes, and return its path."""
        from watercli.evaluation.report import html  # which reads the outcome itself

        html.write(self, Path(path))
        return Path(path)

    def summaries(self) -> dict[str, dict[str, Summary]]:
        """Return the summary over catchments of every score, by method and metric."""
        return self._summaries

    @cached_property
    def _summaries(self) -> dict[str, dict[str, Summary]]:
        if self.flow is None:
            return {}
        scores = self.flow.data["score"]
        return {
            method: {
                metric: summarise(scores.sel({"method": method, "metric": metric}).values, self.config.seed)
                for metric in METRICS
            }
            for method in self.flow.methods
        }

    def comparisons(self) -> dict[str, Comparison]:
        """Return how the main method's efficiency compares with that of every other method."""
        return self._comparisons

    @cached_property
    def _comparisons(self) -> dict[str, Comparison]:
        if self.flow is None:
            return {}
        nse = self.flow.data["score"].sel(metric="nse")
        main = nse.sel({"method": self.flow.main}).values
        others = [method for method in self.flow.methods if method != self.flow.main]
        return {method: compare(main, nse.sel({"method": method}).values, self.config.seed) for method in others}

    def pairs(self) -> dict[tuple[str, str], Comparison]:
        """Return how the efficiencies of every two methods compare."""
        return self._pairs

    @cached_property
    def _pairs(self) -> dict[tuple[str, str], Comparison]:
        if self.flow is None:
            return {}
        nse = {
            method: self.flow.data["score"].sel({"metric": "nse", "method": method}).values
            for method in self.flow.methods
        }
        return {(a, b): compare(nse[a], nse[b], self.config.seed) for a, b in combinations(nse, 2)}


def is_evaluation(path: Path) -> bool:
    """Return whether a folder is one that ``evaluate`` wrote."""
    try:
        return SCHEMA in json.loads((path / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def is_of(path: Path, checkpoint: Checkpoint, settings: Evaluate) -> bool:
    """Return whether a folder holds the evaluation of these weights with these settings."""
    if not is_evaluation(path):
        return False
    results = json.loads((path / RESULTS).read_text(encoding="utf-8"))
    same_weights = results["run"]["weights_fingerprint"] == checkpoint.fingerprint_of_weights()
    return bool(same_weights and results["settings"] == settings.model_dump(mode="json"))


def write(outcome: Outcome, folder: Path) -> None:
    """Write ``results.json``, the CSV files and ``results.zarr``."""
    folder.mkdir(parents=True)
    text = json.dumps(finite(to_dict(outcome)), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / RESULTS).write_text(text + "\n", encoding="utf-8")
    if outcome.reconstruction.windows:
        _write_csv(folder / "reconstruction.csv", reconstruction_rows(outcome))
    if outcome.forecast is not None:
        _write_csv(folder / "forecast.csv", forecast_rows(outcome.forecast))
    if outcome.short_records is not None:
        _write_csv(folder / "short_records.csv", short_record_rows(outcome.short_records))
    if outcome.flow is not None:
        _write_csv(folder / "riverflow.csv", flow_rows(outcome.flow))
        _write_csv(folder / "comparisons.csv", comparison_rows(outcome))
        if outcome.insight is not None:
            _write_csv(folder / "catchments.csv", tables.catchment_rows(outcome.insight, outcome.flow))
            _write_csv(folder / "signatures.csv", tables.signature_rows(outcome.insight))
        _write_zarr(outcome, outcome.flow, folder / "results.zarr")
    for name, section in outcome.sections.items():
        _write_csv(folder / f"{name}.csv", section_rows(section.table))
        if section.by_catchment is not None:
            _write_csv(folder / f"{name}_catchments.csv", section_rows(section.by_catchment))


def to_dict(outcome: Outcome) -> dict[str, Any]:
    """Return all that was summarised, as JSON types."""
    checkpoint, store = outcome.checkpoint, outcome.store
    packages = ("scores", "scikit-learn", "pandas", "matplotlib")
    return {
        SCHEMA: SCHEMA_VERSION,
        "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "versions": {**versions(), **{name: importlib.metadata.version(name) for name in packages}},
        "seed": outcome.config.seed,
        "run": {
            "name": checkpoint.config.name,
            "step": checkpoint.step,
            "validation_loss": checkpoint.validation_loss,
            "weights_fingerprint": checkpoint.fingerprint_of_weights(),
            "store_fingerprint": checkpoint.fingerprint,
        },
        "store": {"name": store.path.name, "fingerprint": store.fingerprint},
        "splits": outcome.splits.model_dump(mode="json"),
        "scored_split": outcome.split,
        "settings": outcome.config.evaluate.model_dump(mode="json"),
        "notes": [*outcome.notes, *outcome.asides],
        "reconstruction": {"windows": outcome.reconstruction.windows, "scores": reconstruction_rows(outcome)},
        "riverflow": _flow_dict(outcome, outcome.flow) if outcome.flow is not None else None,
        "forecast": _forecast_dict(outcome.forecast) if outcome.forecast is not None else None,
        "short_records": _short_records_dict(outcome.short_records) if outcome.short_records is not None else None,
        "insight": tables.to_dict(outcome.insight, outcome.config.seed) if outcome.insight else None,
        "sections": {name: _section_dict(section) for name, section in outcome.sections.items()},
    }


def _section_dict(section: Section) -> dict[str, Any]:
    return {"title": section.title, "sentence": section.sentence, "rows": section_rows(section.table)}


def section_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one row for each of a section's table."""
    return _records(table, {name: str(name) for name in table.columns})


def _forecast_dict(forecast: Forecast) -> dict[str, Any]:
    return {
        "lead_times": [int(lead_time) for lead_time in forecast.data["lead_time"].values],
        "init_times": forecast.data.sizes["init_time"],
        "catchments": forecast.catchments,
        "methods": {
            name: {"label": FORECASTS[name].label, "saw": FORECASTS[name].saw, "median_nse": medians}
            for name, medians in forecast.medians().items()
        },
    }


def _short_records_dict(records: ShortRecords) -> dict[str, Any]:
    return {
        "years": [years or "all" for years in records.years],
        "training_rows": records.rows,
        "held_out": records.held_out,
        "nse": {name: [asdict(summary) for summary in by_length] for name, by_length in records.scores.items()},
    }


def _ridge(fit: Fitted) -> dict[str, Any]:
    return {"ridge_penalty": fit.alpha, "linear_in": fit.space}


def _flow_dict(outcome: Outcome, flow: Flow) -> dict[str, Any]:
    return {
        "target": flow.target,
        "units": flow.units,
        "excluded_inputs": flow.hidden,
        "seen_by_encoder": flow.visible,
        "counts": flow.counts,
        "left_out": flow.left_out,
        "methods": {
            method: {
                "label": METHODS[method].label,
                "saw": flow.saw[method],
                **(_ridge(flow.fits[method]) if method in flow.fits else {}),
                "scores": {metric: asdict(summary) for metric, summary in by_metric.items()},
            }
            for method, by_metric in outcome.summaries().items()
        },
        "main_method": flow.main,
        "ungauged": flow.ungauged,
        "main_against": {
            method: {"verdict": pair.verdict, "better_in": pair.better, "of": pair.count,
                     "nse_difference": asdict(pair.difference), "p_value": pair.p_value}
            for method, pair in outcome.comparisons().items()
        },
    }  # fmt: skip


def reconstruction_rows(outcome: Outcome) -> list[dict[str, Any]]:
    """Return one row for each modality and method."""
    rows = []
    for name, by_method in outcome.reconstruction.sums.items():
        for method, sums in by_method.items():
            scores = {"rmse": sums.rmse, "mae": sums.mae, "bias": sums.bias}
            skill = sums.skill(by_method["climatology"])
            units = outcome.config.modalities[name].units
            rows.append(
                {"modality": name, "method": method, "units": units, "values": sums.count, **scores, "skill": skill}
            )
    return rows


def flow_rows(flow: Flow) -> list[dict[str, Any]]:
    """Return one row for each catchment and method that was scored, and where it is."""
    rows = []
    scored = flow.data.sel(catchment=flow.data["days"].values > 0)
    places = [name for name in ("gauge_name", "latitude", "longitude", "area") if name in flow.data.coords]
    columns = {("area_km2" if name == "area" else name): scored[name].values.tolist() for name in places}
    scores = scored["score"].sel(metric=list(METRICS)).transpose("catchment", "method", "metric").values
    for c, (gauge, days) in enumerate(zip(scored["catchment"].values, scored["days"].values.tolist(), strict=True)):
        place = {name: values[c] for name, values in columns.items()}
        for method, row in zip(flow.methods, scores[c].tolist(), strict=True):
            about = {"gauge_id": gauge, **place, "method": method, "days": days}
            rows.append(about | dict(zip(METRICS, row, strict=True)))
    return rows


def comparison_rows(outcome: Outcome) -> list[dict[str, Any]]:
    """Return one row for every two methods: by how much the first has the higher NSE, catchment by catchment."""
    return [
        {
            "method": method,
            "other_method": other_method,
            "better_in": pair.better,
            "catchments": pair.count,
            "median_difference": pair.difference.median,
            "low": pair.difference.low,
            "high": pair.difference.high,
            "p_value": pair.p_value,
        }
        for (method, other_method), pair in outcome.pairs().items()
    ]


def forecast_rows(forecast: Forecast) -> list[dict[str, Any]]:
    """Return one row for each catchment, method and lead time, in days."""
    frame = forecast.data["nse"].to_dataframe().reset_index().dropna(subset="nse")
    columns = {"catchment": "gauge_id", "method": "method", "lead_time": "lead_time", "nse": "nse"}
    return _records(frame, columns)


def short_record_rows(records: ShortRecords) -> list[dict[str, Any]]:
    """Return one row for each catchment, method and length of record; 0 years are all."""
    frame = records.nse.rename("nse").to_dataframe().reset_index().dropna(subset="nse")
    return _records(frame, {"catchment": "gauge_id", "method": "method", "years": "years", "nse": "nse"})


def _records(frame: pd.DataFrame, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    renamed = frame[list(columns)].rename(columns=dict(columns))
    return [{str(key): value for key, value in row.items()} for row in renamed.to_dict("records")]


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows; a missing number is an empty field."""
    listed = [finite(dict(row)) for row in rows]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(listed[0]) if listed else [])
        writer.writeheader()
        writer.writerows({key: plain(_short(value)) for key, value in row.items()} for row in listed)


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _write_zarr(outcome: Outcome, flow: Flow, path: Path) -> None:
    data = _with_labels(flow.data)
    if outcome.insight is not None:
        data = data.merge(outcome.insight.dataset())
    data.attrs = {
        "Conventions": "CF-1.11",
        "title": f"Observed and simulated {flow.target} of the {outcome.split} period",
        SCHEMA: SCHEMA_VERSION,
        "run_fingerprint": outcome.checkpoint.fingerprint_of_weights(),
        "store_fingerprint": outcome.store.fingerprint,
        "excluded_inputs": flow.hidden,
        "splits": outcome.store.dataset.attrs["splits"],
    }
    _encode(data)
    zarr_files.write(data, path)
    zarr_files.finish(path)


def _with_labels(data: xr.Dataset) -> xr.Dataset:
    """Return the dataset with the label of each method beside its name."""
    labels = [METHODS[str(name)].label for name in data["method"].values]
    return data.assign_coords(label=("method", np.array(labels, dtype=object)))


def _encode(data: xr.Dataset) -> None:
    for variable in data.variables.values():
        variable.encoding = {}


def finite(value: Any) -> Any:
    """Return JSON types with None for what is not a number."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
