"""What an evaluation found: `Run.evaluate` returns it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from watercli.api.arguments import StrPath
from watercli.api.run import Run
from watercli.config import Config
from watercli.errors import ConfigError
from watercli.evaluation import evaluate as evaluation
from watercli.evaluation.report import html
from watercli.evaluation.results import Outcome
from watercli.evaluation.simulation import Flow
from watercli.inference.processes import choose_device
from watercli.store import Store


@dataclass(frozen=True)
class Evaluation:
    """The scores of a run on the test period, beside baselines."""

    run: Run
    outcome: Outcome
    """Everything that was computed."""

    @property
    def scores(self) -> xr.Dataset:
        """``score`` ``(metric, method, catchment)`` of river flow; NaN where a catchment was not scored.

        Raises
        ------
        ConfigError
            If ``evaluate.protocols`` left river flow out.
        """
        return self._riverflow.data[["score"]]

    @property
    def flow(self) -> xr.Dataset:
        """``observed`` and ``scored`` ``(catchment, time)``, ``simulated`` ``(method, catchment, time)``.

        Raises
        ------
        ConfigError
            If ``evaluate.protocols`` left river flow out.
        """
        return self._riverflow.data[["observed", "scored", "simulated"]]

    @property
    def _riverflow(self) -> Flow:
        if self.outcome.flow is None:
            protocols = ", ".join(self.outcome.config.evaluate.protocols)
            raise ConfigError(f"evaluate.protocols ({protocols}) left river flow out; add 'simulation' or 'ungauged'")
        return self.outcome.flow

    def report(self, path: StrPath) -> Path:
        """Write the report, one HTML page, to a file, and return its path."""
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        html.write(self.outcome, self.run.path, file)
        return file

    def write(self, out: StrPath, *, overwrite: bool = False) -> Path:
        """Write the report, tables and scores to a folder, as the command does, and return its path.

        Raises
        ------
        ConfigError
            If ``out`` may not be written.
        """
        evaluation.write(self.outcome, self.run.path, evaluation.target_of(Path(out), overwrite=overwrite))
        return Path(out)


def evaluate(
    run: Run, store: Store | StrPath | None, config: Config, out: StrPath | None, *, overwrite: bool, gpus: int
) -> Evaluation:
    """Evaluate a run; see `watercli.api.run.Run.evaluate`."""
    device = choose_device(0, gpus)
    opened = run.store(store)
    if out is not None:
        evaluation.target_of(Path(out), overwrite=overwrite).check()
    outcome = evaluation.judge(run.checkpoint, opened, config, run=run.path, device=device)
    result = Evaluation(run, outcome)
    if out is not None:
        result.write(out, overwrite=overwrite)
    return result
