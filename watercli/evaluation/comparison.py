"""Several runs in one report: their main methods on the same days of the same catchments, pair by pair.

Runs that differ in nothing but the gauges that they hide are folds of one experiment, and stand in one row: every
gauge is then judged by the run that never saw it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from watercli.baselines.registry import METHODS
from watercli.config import Config, difference
from watercli.errors import ConfigError
from watercli.evaluation.intervals import across_folds
from watercli.evaluation.report.tables import intervals_dict
from watercli.evaluation.results import RESULTS, SCHEMA, is_evaluation
from watercli.hydrology.scores import Comparison, Summary, catchment_scores, compare, summarise
from watercli.log import log
from watercli.run.checkpoint import open_run

SHOWN = ("nse", "kge", "rmse", "bias")
VALIDATED = ("validated", "validation")
"""Simulated and observed on the validation dates, where an evaluation has them."""


@dataclass(frozen=True)
class Judged:
    """A run and what its evaluation left."""

    run: Path
    config: Config
    results: dict[str, Any]
    data: xr.Dataset

    @classmethod
    def open(cls, run: Path) -> Judged:
        """Read the evaluation of a run.

        Raises
        ------
        ConfigError
            If it has none, or one without river flow.
        """
        folder = run / "evaluation"
        checkpoint = open_run(run)
        if not is_evaluation(folder):
            raise ConfigError(f"{run} has no evaluation; make one with 'watercli evaluate --run {run}'")
        results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        if results["run"]["weights_fingerprint"] != checkpoint.fingerprint_of_weights():
            log.warning("%s was evaluated before its last training; evaluate it again with --overwrite", run)
        if not results["riverflow"]:
            raise ConfigError(f"The evaluation of {run} says nothing about river flow; there is nothing to compare")
        return cls(run, checkpoint.config, results, xr.open_zarr(folder / "results.zarr").load())

    @property
    def main(self) -> str:
        """The method that the run was judged by."""
        return str(self.results["riverflow"]["main_method"])

    @property
    def there(self) -> xr.Dataset:
        """The catchments that were scored."""
        return self.data.sel(catchment=self.data["days"] > 0)

    def by_method(self, name: str) -> xr.DataArray:
        """Return a method's flow of these catchments, ``(catchment, time)``."""
        return self.there["simulated"].sel({"method": name}, drop=True)

    @property
    def experiment(self) -> str:
        """The configuration as text, but for the gauges that are hidden: that of all folds of an experiment."""
        found = self.config.model_dump(mode="json")
        found["train"]["held_out_gauges"] = bool(found["train"]["held_out_gauges"])
        found["description"] = found["evaluate"] = found["embed"] = None
        return json.dumps(found, sort_keys=True)


@dataclass(frozen=True)
class Row:
    """An experiment: one run, or several that hide other gauges each."""

    label: str
    runs: list[Judged]
    simulated: xr.DataArray
    """``(catchment, time)``: of each catchment by the run that is judged there."""
    scored: xr.DataArray
    """``(catchment, time)``: days that its evaluation scored."""
    ungauged: bool
    intervals: xr.Dataset | None = None
    """Of folds: predictive intervals of each, calibrated by the others; see `watercli.evaluation.intervals`."""


@dataclass(frozen=True)
class Compared:
    """What came out."""

    rows: list[Row]
    scores: xr.DataArray
    """``(metric, method, catchment)``: the predictors are the rows, and then the other methods of the first row."""
    summaries: dict[str, dict[str, Summary]]
    """By row, and then by the other methods of the first row; by metric."""
    against_first: dict[str, Comparison]
    """NSE of each later one against the first row."""
    differences: dict[str, list[str]]
    """Settings in which each later row differs from the first."""
    days: int
    """Catchment days on which all are scored."""
    catchments: int
    target: str
    units: str


def compare_runs(runs: Sequence[Path], seed: int = 0) -> Compared:
    """Compare the main methods of evaluated runs.

    Raises
    ------
    ConfigError
        If the evaluations are not of the same target, data and test period, or have no scored day in common.
    """
    judged = [Judged.open(run) for run in runs]
    first = judged[0]
    for one in judged[1:]:
        for what, (mine, theirs) in {
            "data": (first.results["store"]["fingerprint"], one.results["store"]["fingerprint"]),
            "target": (first.results["riverflow"]["target"], one.results["riverflow"]["target"]),
            "splits": (first.results["splits"], one.results["splits"]),
        }.items():
            if mine != theirs:
                raise ConfigError(f"{one.run} and {first.run} were evaluated on other {what}; compare like with like")
    rows = _rows(judged)
    common = rows[0].scored
    for row in rows[1:]:
        common, other = xr.align(common, row.scored, join="inner")
        common = common & other
    if not bool(common.any()):
        raise ConfigError(
            "The runs have no scored catchment day in common; compare runs that hide the same gauges, or all folds of "
            "one experiment with all folds of another"
        )
    observed = _of_all(judged, "observed").sel(catchment=common["catchment"]).where(common)
    answers = {row.label: row.simulated for row in rows} | _rivals(rows[0])
    labels = list(answers)
    simulated = xr.concat([one.sel(catchment=common["catchment"]) for one in answers.values()], "method")
    simulated = simulated.assign_coords(method=np.array(labels, dtype=object))
    scores = catchment_scores(simulated.where(common).astype(np.float64), observed.astype(np.float64))
    summaries = {
        label: {metric: summarise(scores.sel({"method": label, "metric": metric}).values, seed) for metric in SHOWN}
        for label in labels
    }
    nse = scores.sel(metric="nse")
    base = rows[0].runs[0].config.model_dump(mode="json")
    return Compared(
        rows=rows,
        scores=scores,
        summaries=summaries,
        against_first={
            label: compare(nse.sel({"method": label}).values, nse.sel({"method": labels[0]}).values, seed)
            for label in labels[1:]
        },
        differences={
            row.label: [
                line
                for line in difference(base, row.runs[0].config.model_dump(mode="json"))
                if not line.startswith(("evaluate.", "embed.", "name:", "description:", "train.held_out_gauges."))
            ]
            for row in rows[1:]
        },
        days=int(common.sum()),
        catchments=int(common.any("time").sum()),
        target=first.results["riverflow"]["target"],
        units=first.results["riverflow"]["units"],
    )


def _rows(judged: list[Judged]) -> list[Row]:
    """Put the folds of an experiment together, in the order of the first of each."""
    groups: dict[str, list[Judged]] = {}
    for number, one in enumerate(judged):
        key = one.experiment if one.config.train.held_out_gauges else str(number)
        groups.setdefault(key, []).append(one)
    rows: list[Row] = []
    for group in groups.values():
        ungauged = bool(group[0].results["riverflow"]["ungauged"])
        label = group[0].run.name if len(group) == 1 else f"{group[0].config.name}, {len(group)} folds"
        taken = [row.label for row in rows]
        if label in taken:
            label = f"{label} ({group[0].run})"
        names = [str(name) for one in group for name in one.there["catchment"].values]
        if len(set(names)) < len(names):
            raise ConfigError(f"{group[0].run} and {group[1].run} are the same experiment and judge the same gauges; "
                              "give each only once")  # fmt: skip
        rows.append(
            Row(
                label,
                group,
                _joined([one.by_method(one.main) for one in group]),
                _joined([one.there["scored"] for one in group]),
                ungauged,
                _intervals(group) if ungauged and len(group) > 1 else None,
            )
        )
    return rows


def _intervals(group: list[Judged]) -> xr.Dataset | None:
    """Return the intervals of folds; None if their evaluations lack simulations of the validation dates."""
    lacking = [one.run for one in group if not set(VALIDATED) <= set(one.data)]
    if lacking:
        if all(one.main == "simulation" for one in group):
            log.warning("No predictive intervals: the evaluation of %s is of an earlier version; renew it with "
                        "--overwrite", lacking[0])  # fmt: skip
        return None
    return across_folds(
        [
            one.there[list(VALIDATED)]
            .assign(simulated=one.by_method(one.main), observed=one.there["observed"].where(one.there["scored"]))
            .reset_coords(drop=True)
            for one in group
        ]
    )


def _rivals(row: Row) -> dict[str, xr.DataArray]:
    """Return what the other methods of a row's evaluations said, by label; those that all its runs have."""
    held = [set(map(str, one.data["method"].values)) for one in row.runs]
    names = [name for name in METHODS if name in set.intersection(*held) and name != row.runs[0].main]
    return {METHODS[name].label: _joined([one.by_method(name) for one in row.runs]) for name in names}


def _joined(parts: list[xr.DataArray]) -> xr.DataArray:
    bare = [part.reset_coords(drop=True) for part in parts]
    return bare[0] if len(bare) == 1 else xr.concat(bare, "catchment").sortby("catchment")


def _of_all(judged: list[Judged], name: str) -> xr.DataArray:
    """Return a variable over the catchments of all evaluations; observations are the same in each."""
    parts: dict[str, xr.DataArray] = {}
    for one in judged:
        for gauge in one.data["catchment"].values:
            parts.setdefault(str(gauge), one.data[name].sel(catchment=gauge).reset_coords(drop=True))
    return (
        xr.concat(list(parts.values()), "catchment")
        .assign_coords(catchment=np.array(list(parts), dtype=object))
        .sortby("catchment")
    )


def to_dict(found: Compared) -> dict[str, Any]:
    """Return all of it as JSON types."""
    return {
        SCHEMA: 1,
        "target": found.target,
        "units": found.units,
        "catchments": found.catchments,
        "catchment_days": found.days,
        "rows": {
            row.label: {
                "runs": [str(one.run) for one in row.runs],
                "method": row.runs[0].main,
                "ungauged": row.ungauged,
                "differs_in": found.differences.get(row.label, []),
                "intervals": intervals_dict(row.intervals, row.runs[0].config.seed)
                if row.intervals is not None
                else None,
            }
            for row in found.rows
        },
        "scores": {
            label: {metric: asdict(one) for metric, one in by_metric.items()}
            for label, by_metric in found.summaries.items()
        },
        "against_first": {label: _pair(one) for label, one in found.against_first.items()},
    }


def _pair(one: Comparison) -> dict[str, Any]:
    return {"verdict": one.verdict, "better_in": one.better, "of": one.count, "nse_difference": asdict(one.difference)}
