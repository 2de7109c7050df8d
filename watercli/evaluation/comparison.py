"""Several runs in one report: their main methods on the same days of the same catchments, pair by pair.

Runs that differ only in the gauges that they hold out are folds of one experiment and make one row: every gauge is
scored by the run that held it out.
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
from watercli.output.zarr_files import open_checked
from watercli.run.directory import open_run

SUMMARISED = ("nse", "kge", "rmse", "bias")
"""Metrics that are summarised over catchments."""
VALIDATED = ("validated", "validation")
"""Simulated and observed on the validation dates, where an evaluation has them."""
NOT_OF_THE_EXPERIMENT = ("evaluate.", "embed.", "name:", "description:", "train.held_out_gauges.")
"""Settings whose difference between two runs is not worth a line."""


@dataclass(frozen=True)
class Evaluated:
    """A run and its evaluation."""

    run: Path
    config: Config
    results: dict[str, Any]
    """``results.json``."""
    data: xr.Dataset
    """``results.zarr``, as `watercli.evaluation.simulation.Flow` describes it."""

    @classmethod
    def open(cls, run: Path) -> Evaluated:
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
            raise ConfigError(
                f"The evaluation of {run} has no river flow to compare; evaluate it with the protocol 'simulation' "
                "or 'ungauged'"
            )
        return cls(run, checkpoint.config, results, open_checked(folder / "results.zarr").load())

    @property
    def main(self) -> str:
        """The method by which the run is compared."""
        return str(self.results["riverflow"]["main_method"])

    @property
    def ungauged(self) -> bool:
        """Whether the scored gauges were held out in training."""
        return bool(self.results["riverflow"]["ungauged"])

    @property
    def split(self) -> str:
        """The period that is scored: ``test``, or ``validation``."""
        return str(self.results["scored_split"])

    @property
    def scored(self) -> xr.Dataset:
        """The catchments that have scored days."""
        return self.data.sel(catchment=self.data["days"] > 0)

    def flow_by(self, method: str) -> xr.DataArray:
        """Return a method's flow of the scored catchments, ``(catchment, time)``."""
        return self.scored["simulated"].sel({"method": method}, drop=True)

    @property
    def experiment(self) -> str:
        """The configuration as text without the held-out gauges: that of all folds of an experiment."""
        settings = self.config.model_dump(mode="json")
        settings["train"]["held_out_gauges"] = bool(settings["train"]["held_out_gauges"])
        settings["description"] = settings["evaluate"] = settings["embed"] = None
        return json.dumps(settings, sort_keys=True)


@dataclass(frozen=True)
class Row:
    """An experiment: one run, or the folds of a cross-validation."""

    label: str
    runs: list[Evaluated]
    simulated: xr.DataArray
    """``(catchment, time)``: each catchment by the run that scored it."""
    scored: xr.DataArray
    """``(catchment, time)``: days that its evaluation scored."""
    intervals: xr.Dataset | None = None
    """Of folds: predictive intervals of each, calibrated by the others; see `watercli.evaluation.intervals`."""

    @property
    def ungauged(self) -> bool:
        """Whether the scored gauges were held out in training."""
        return self.runs[0].ungauged


@dataclass(frozen=True)
class Compared:
    """Scores of several experiments on the same days."""

    rows: list[Row]
    scores: xr.DataArray
    """``(metric, method, catchment)``: the methods are the rows, then the other methods of the first row."""
    summaries: dict[str, dict[str, Summary]]
    """By row, then by the other methods of the first row; by metric."""
    against_first: dict[str, Comparison]
    """NSE of each later one against the first row."""
    differences: dict[str, list[str]]
    """Settings in which each later row differs from the first."""
    days: int
    """Catchment days on which all are scored."""
    catchments: int
    target: str
    units: str
    split: str
    """The period that is scored: ``test``, or ``validation``."""


def compare_runs(runs: Sequence[Path], seed: int = 0) -> Compared:
    """Compare the main methods of evaluated runs.

    Raises
    ------
    ConfigError
        If the evaluations are not of the same target, data and test period, or have no scored day in common.
    """
    evaluations = [Evaluated.open(run) for run in runs]
    _check_comparable(evaluations)
    rows = _rows(evaluations)
    common = _common_days(rows)
    scores = _scores(rows, common, _observed(evaluations))
    labels = [str(label) for label in scores["method"].values]
    nse = {label: scores.sel({"metric": "nse", "method": label}).values for label in labels}
    riverflow = evaluations[0].results["riverflow"]
    return Compared(
        rows=rows,
        scores=scores,
        summaries={label: _summaries(scores.sel({"method": label}), seed) for label in labels},
        against_first={label: compare(nse[label], nse[labels[0]], seed) for label in labels[1:]},
        differences={row.label: _differences(rows[0], row) for row in rows[1:]},
        days=int(common.sum()),
        catchments=int(common.any("time").sum()),
        target=riverflow["target"],
        units=riverflow["units"],
        split=evaluations[0].split,
    )


def _check_comparable(evaluations: Sequence[Evaluated]) -> None:
    """Refuse evaluations of different data, targets or splits."""
    first, *later = evaluations
    for evaluation in later:
        for what, (expected, actual) in {
            "data": (first.results["store"]["fingerprint"], evaluation.results["store"]["fingerprint"]),
            "target": (first.results["riverflow"]["target"], evaluation.results["riverflow"]["target"]),
            "splits": (first.results["splits"], evaluation.results["splits"]),
            "split": (first.split, evaluation.split),
        }.items():
            if expected != actual:
                raise ConfigError(
                    f"{evaluation.run} and {first.run} were evaluated on other {what}; compare like with like"
                )


def _common_days(rows: Sequence[Row]) -> xr.DataArray:
    """Return the days ``(catchment, time)`` that every row scored."""
    common = rows[0].scored
    for row in rows[1:]:
        common, scored = xr.align(common, row.scored, join="inner")
        common = common & scored
    if not bool(common.any()):
        raise ConfigError(
            "The runs have no scored catchment day in common; compare runs that hold out the same gauges, or all folds "
            "of one experiment with all folds of another"
        )
    return common


def _scores(rows: Sequence[Row], common: xr.DataArray, observed: xr.DataArray) -> xr.DataArray:
    """Return the scores ``(metric, method, catchment)`` of the rows and the baselines of the first, on common days."""
    flows = {row.label: row.simulated for row in rows} | _baselines(rows[0])
    simulated = xr.concat([flow.sel(catchment=common["catchment"]) for flow in flows.values()], "method")
    simulated = simulated.assign_coords(method=np.array(list(flows), dtype=object)).where(common)
    observed = observed.sel(catchment=common["catchment"]).where(common)
    return catchment_scores(simulated.astype(np.float64), observed.astype(np.float64))


def _summaries(scores: xr.DataArray, seed: int) -> dict[str, Summary]:
    return {metric: summarise(scores.sel(metric=metric).values, seed) for metric in SUMMARISED}


def _differences(first: Row, row: Row) -> list[str]:
    """Return the settings in which a row's experiment differs from the first."""
    settings, changed = (experiment.runs[0].config.model_dump(mode="json") for experiment in (first, row))
    return [line for line in difference(settings, changed) if not line.startswith(NOT_OF_THE_EXPERIMENT)]


def _rows(evaluations: Sequence[Evaluated]) -> list[Row]:
    """Put the folds of each experiment together, in the order of the first of each."""
    groups: dict[str, list[Evaluated]] = {}
    for number, evaluation in enumerate(evaluations):
        key = evaluation.experiment if evaluation.config.train.held_out_gauges else str(number)
        groups.setdefault(key, []).append(evaluation)
    rows: list[Row] = []
    for folds in groups.values():
        rows.append(_row(folds, [row.label for row in rows]))
    return rows


def _row(folds: list[Evaluated], labels: Sequence[str]) -> Row:
    """Return the row of an experiment; ``labels`` are those of other rows."""
    first = folds[0]
    label = first.run.name if len(folds) == 1 else f"{first.config.name}, {len(folds)} folds"
    gauges = [str(gauge) for fold in folds for gauge in fold.scored["catchment"].values]
    if len(set(gauges)) < len(gauges):
        raise ConfigError(
            f"{first.run} and {folds[1].run} are the same experiment and score the same gauges; give each only once"
        )
    return Row(
        f"{label} ({first.run})" if label in labels else label,
        folds,
        _joined([fold.flow_by(fold.main) for fold in folds]),
        _joined([fold.scored["scored"] for fold in folds]),
        _intervals(folds) if first.ungauged and len(folds) > 1 else None,
    )


def _intervals(folds: Sequence[Evaluated]) -> xr.Dataset | None:
    """Return the intervals of folds; None if their evaluations lack simulations of the validation dates."""
    if folds[0].split == "validation":
        log.info("No predictive intervals: they are made of errors of the validation period, which is scored itself")
        return None
    lacking = [fold.run for fold in folds if not set(VALIDATED) <= set(fold.data)]
    if lacking:
        if all(fold.main == "simulation" for fold in folds):
            log.warning("No predictive intervals: the evaluation of %s is of an earlier version; renew it with "
                        "--overwrite", lacking[0])  # fmt: skip
        return None
    return across_folds([_for_intervals(fold) for fold in folds])


def _for_intervals(fold: Evaluated) -> xr.Dataset:
    """Return simulated and observed flow of the test and validation dates."""
    observed = fold.scored["observed"].where(fold.scored["scored"])
    flows = fold.scored[list(VALIDATED)].assign(simulated=fold.flow_by(fold.main), observed=observed)
    return flows.reset_coords(drop=True)


def _baselines(row: Row) -> dict[str, xr.DataArray]:
    """Return the flow of the other methods that all of a row's evaluations have, by label."""
    shared = set.intersection(*(set(map(str, fold.data["method"].values)) for fold in row.runs))
    methods = [method for method in METHODS if method in shared and method != row.runs[0].main]
    return {METHODS[method].label: _joined([fold.flow_by(method) for fold in row.runs]) for method in methods}


def _joined(parts: list[xr.DataArray]) -> xr.DataArray:
    """Return the catchments of all folds, sorted by gauge id."""
    bare = [part.reset_coords(drop=True) for part in parts]
    return bare[0] if len(bare) == 1 else xr.concat(bare, "catchment").sortby("catchment")


def _observed(evaluations: Sequence[Evaluated]) -> xr.DataArray:
    """Return observed flow ``(catchment, time)`` of the catchments of all evaluations; it is the same in each."""
    by_gauge: dict[str, xr.DataArray] = {}
    for evaluation in evaluations:
        for gauge in evaluation.data["catchment"].values:
            by_gauge.setdefault(str(gauge), evaluation.data["observed"].sel(catchment=gauge).reset_coords(drop=True))
    catchments = np.array(list(by_gauge), dtype=object)
    return xr.concat(list(by_gauge.values()), "catchment").assign_coords(catchment=catchments).sortby("catchment")


def to_dict(compared: Compared) -> dict[str, Any]:
    """Return scores, intervals and settings as JSON types."""
    return {
        SCHEMA: 1,
        "target": compared.target,
        "scored_split": compared.split,
        "units": compared.units,
        "catchments": compared.catchments,
        "catchment_days": compared.days,
        "rows": {
            row.label: {
                "runs": [str(fold.run) for fold in row.runs],
                "method": row.runs[0].main,
                "ungauged": row.ungauged,
                "differs_in": compared.differences.get(row.label, []),
                "intervals": intervals_dict(row.intervals, row.runs[0].config.seed)
                if row.intervals is not None
                else None,
            }
            for row in compared.rows
        },
        "scores": {
            label: {metric: asdict(summary) for metric, summary in by_metric.items()}
            for label, by_metric in compared.summaries.items()
        },
        "against_first": {label: _pair(pair) for label, pair in compared.against_first.items()},
    }


def _pair(pair: Comparison) -> dict[str, Any]:
    return {
        "verdict": pair.verdict,
        "better_in": pair.better,
        "of": pair.count,
        "nse_difference": asdict(pair.difference),
    }
