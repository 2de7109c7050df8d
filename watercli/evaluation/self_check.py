"""A tiny case, from data to scores, whose stored numbers this machine must reproduce."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from watercli.config import Config, load
from watercli.errors import RunError
from watercli.evaluation.evaluate import evaluate
from watercli.evaluation.results import RESULTS
from watercli.log import log
from watercli.output.zarr_files import open_checked
from watercli.preparation.prepare import prepare
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store
from watercli.training.metrics_log import read_metrics
from watercli.training.pretrain import pretrain

STORED = "self_check.json"
CASE = (
    "recipe.demo.cells=[24, 20]",
    "recipe.demo.catchments=6",
    "recipe.period={start: 2000-01-01, end: 2003-12-31}",
    "recipe.splits.train={start: 2000-01-01, end: 2002-06-30}",
    "recipe.splits.validation={start: 2002-07-01, end: 2002-12-31}",
    "recipe.splits.test={start: 2003-01-01, end: 2003-12-31}",
    "model.width=16",
    "model.decoder_width=16",
    "model.heads=2",
    "model.antecedent_state={width: 32}",
    "train.steps=60",
    "train.batch_size=2",
    "train.warmup_steps=10",
    "train.validate_every=60",
    "train.validation_windows=8",
    "train.checkpoint_every=60",
    "train.log_every=10",
    "evaluate.reconstruction_windows=8",
    "evaluate.ema_mlp_steps=50",
    "evaluate.max_lead_time=3",
    "evaluate.forecast_stride=10",
    "evaluate.record_years=[1]",
)
"""The demo configuration, cut down to less than a minute."""
TOLERANCES = {"data": 1e-5, "losses": 1e-3, "reconstruction": 1e-2, "efficiencies": 2e-2}
"""How far numbers may lie apart: data relative; losses and reconstruction errors relative; efficiencies absolute.

Other processors and versions add up in another order, and training carries such differences on."""


@dataclass(frozen=True)
class Deviation:
    """A number that is not the stored one."""

    group: str
    name: str
    stored: float
    computed: float

    def __str__(self) -> str:
        return f"{self.name} is {self.computed:.6g}, stored {self.stored:.6g} (tolerance {TOLERANCES[self.group]:g})"


def case() -> Config:
    """Return the configuration of the case."""
    return load("demo", CASE)


def compute(folder: Path) -> dict[str, dict[str, float]]:
    """Prepare, pretrain and evaluate the case in a folder, and return its numbers by group."""
    config = case()
    store = prepare(config, folder / "store.zarr", data=None)
    run = folder / "run"
    checkpoint = pretrain(config, store, run)
    out = evaluate(checkpoint, store, folder / "evaluation", config, run=run)
    results: dict[str, Any] = json.loads((out / RESULTS).read_text(encoding="utf-8"))
    return {
        "data": _data(store),
        "losses": _losses(run, checkpoint),
        "reconstruction": {
            f"RMSE of {row['modality']} by {row['method']}": row["rmse"] for row in results["reconstruction"]["scores"]
        },
        "efficiencies": _efficiencies(out),
    }


def _data(store: Store) -> dict[str, float]:
    train = store.period("train")
    numbers = {}
    for name in store.config.modalities:
        mean, deviation = store.statistics(name, "identity")
        numbers[f"mean of {name}"], numbers[f"deviation of {name}"] = mean, deviation
    flow = store.dataset["riverflow"].values[:, train]
    numbers["missing days of riverflow"] = float(np.isnan(flow).sum())
    return numbers


def _losses(run: Path, checkpoint: Checkpoint) -> dict[str, float]:
    assert checkpoint.validation_loss is not None
    trained = [row["loss"] for row in read_metrics(run) if "learning_rate" in row]
    return {
        "first loss": trained[0],
        "mean of the logged losses": float(np.mean(trained)),
        "validation loss": checkpoint.validation_loss,
    }


def _efficiencies(out: Path) -> dict[str, float]:
    nse = open_checked(out / "results.zarr")["score"].sel(metric="nse").median("catchment").load()
    return {f"median NSE of {name}": float(nse.sel({"method": name})) for name in nse["method"].values}


def deviations(computed: dict[str, dict[str, float]], stored: dict[str, dict[str, float]]) -> list[Deviation]:
    """Return the numbers that lie apart by more than their tolerance, or are on one side only."""
    wrong = []
    for group in TOLERANCES:
        computed_group, stored_group = computed.get(group, {}), stored.get(group, {})
        for name in dict.fromkeys((*stored_group, *computed_group)):
            computed_value, stored_value = computed_group.get(name, float("nan")), stored_group.get(name, float("nan"))
            scale = 1.0 if group == "efficiencies" else max(abs(stored_value), 1e-12)
            if not abs(computed_value - stored_value) <= TOLERANCES[group] * scale:
                wrong.append(Deviation(group, name, stored_value, computed_value))
    return wrong


def stored_numbers() -> dict[str, dict[str, float]]:
    """Return the numbers that travel with the program."""
    text = resources.files("watercli.evaluation").joinpath(STORED).read_text(encoding="utf-8")
    numbers: dict[str, dict[str, float]] = json.loads(text)["numbers"]
    return numbers


def self_check() -> int:
    """Compute the case anew and compare; return how many numbers agree.

    Raises
    ------
    RunError
        If some do not.
    """
    with tempfile.TemporaryDirectory(prefix="watercli-") as folder:
        numbers = compute(Path(folder))
    deviating = deviations(numbers, stored_numbers())
    number = sum(len(group) for group in numbers.values())
    for deviation in deviating:
        log.warning("%s", deviation)
    if deviating:
        raise RunError(
            f"{len(deviating)} of {number} numbers of the self-check are not the stored ones ({deviating[0]}); "
            "compare the versions of torch, numpy and zarr with constraints.txt"
        )
    log.info("Self-check: all %d numbers agree with the stored ones", number)
    return number
