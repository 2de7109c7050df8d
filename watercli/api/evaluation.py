"""The results of an evaluation, which `Run.evaluate` returns."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from watercli.api.arguments import StrPath
from watercli.api.run import Pretrained
from watercli.config import Config
from watercli.evaluation import evaluate as evaluation
from watercli.evaluation.results import Outcome
from watercli.inference.processes import choose_device
from watercli.store import Store


@dataclass(frozen=True)
class Evaluation:
    """The scores of a run on the test period, beside baselines."""

    outcome: Outcome
    """All results: ``flow``, ``forecast``, ``reconstruction`` and more."""

    @property
    def scores(self) -> xr.Dataset:
        """``score`` ``(metric, method, catchment)`` of river flow, and the scored ``days`` ``(catchment)``.

        Raises
        ------
        RunError
            If no river flow was scored.
        """
        return self.outcome.scores

    def report(self, path: StrPath) -> Path:
        """Write the report, one HTML page, to a file, and return its path."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return self.outcome.report(path)

    def write(self, out: StrPath, *, overwrite: bool = False) -> Path:
        """Write the report, tables and scores to a folder, as the command does, and return its path.

        Raises
        ------
        ConfigError
            If ``out`` may not be written.
        """
        evaluation.write(self.outcome, evaluation.target_of(Path(out), overwrite=overwrite))
        return Path(out)


def evaluate(
    run: Pretrained, store: Store | StrPath | None, config: Config, out: StrPath | None, *, overwrite: bool, gpus: int
) -> Evaluation:
    """Evaluate a run; see `watercli.api.run.Run.evaluate`."""
    device = choose_device(0, gpus)
    opened = run.store(store)
    owned = evaluation.target_of(Path(out), overwrite=overwrite).owned() if out is not None else nullcontext()
    with owned:
        result = Evaluation(evaluation.judge(run.checkpoint, opened, config, run=run.run, device=device))
        if out is not None:
            result.write(out, overwrite=overwrite)
    return result
