"""``python -m tests.benchmarks.loss_claim``: do weighted feature maps lower the loss? The report says so.

Trains the report's four configurations on the demo domain, each with several seeds, and prints how their validation
losses at the end differ from CrossMAE's of the same seed, with the 95 % interval of the mean (Student's t, seeds being
the sample).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from watercli.config import Config, load
from watercli.evaluation.study import load_study, shipped_studies
from watercli.preparation.prepare import prepare
from watercli.training.pretrain import pretrain

REFERENCE = "crossmae"


def losses(configs: dict[str, Config], seeds: int, steps: int) -> dict[str, list[float]]:
    """Return the validation losses at the end of each variant, one for each seed."""
    found: dict[str, list[float]] = {name: [] for name in configs}
    with tempfile.TemporaryDirectory() as folder:
        store = prepare(load("demo"), Path(folder) / "store.zarr", data=None)
        for seed in range(seeds):
            for name, config in configs.items():
                train = config.train.model_copy(
                    update={"steps": steps, "validate_every": steps, "checkpoint_every": steps}
                )
                changed = config.model_copy(update={"seed": seed, "train": train})
                best = pretrain(changed, store, Path(folder) / f"{name}-{seed}")
                assert best.validation_loss is not None
                found[name].append(best.validation_loss)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    study = load_study(shipped_studies()["report"])
    found = losses(study.configs(load("demo")), arguments.seeds, arguments.steps)
    table = Table("", "mean loss", f"difference to {REFERENCE}", "95 % interval", title_justify="left",
                  title=f"Validation loss after {arguments.steps} steps, {arguments.seeds} seeds")  # fmt: skip
    reference = np.array(found[REFERENCE])
    for name, values in found.items():
        relative = 100 * (np.array(values) / reference - 1)
        half = float(stats.t.ppf(0.975, len(relative) - 1) * stats.sem(relative)) if name != REFERENCE else 0.0
        mean = float(relative.mean())
        table.add_row(name, f"{np.mean(values):.4f}", f"{mean:+.2f} %", f"{mean - half:+.2f} to {mean + half:+.2f} %")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
