"""A run directory: which of its checkpoints are whole, which is newest, which is best."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from operator import itemgetter
from os import PathLike
from pathlib import Path

from watercli.errors import ConfigError, RunError
from watercli.log import log
from watercli.run.checkpoint import OPTIMISER, WEIGHTS, Checkpoint


def all_checkpoints(run: Path, passed_over: Callable[[str], object] | None = None) -> list[Checkpoint]:
    """Return the whole checkpoints of a run, oldest first, judged by the names and sizes of their files.

    ``passed_over`` gets a sentence on each that is not whole.
    """
    checkpoints = []
    for path in sorted((run / "checkpoints").glob("[0-9]*")):
        try:
            checkpoints.append(Checkpoint.read(path))
        except RunError as error:
            if passed_over:
                passed_over(_reason(error))
    return checkpoints


def _reason(error: RunError) -> str:
    return str(error).partition(";")[0]


def newest(run: Path) -> Checkpoint | None:
    """Return the newest checkpoint that training can go on from, None if the run has not come to its first.

    Every file is compared with its checksum; a warning names each checkpoint that is passed over, and why.

    Raises
    ------
    RunError
        If there are checkpoints, and none is whole.
    """
    reasons: list[str] = []
    for checkpoint in reversed(all_checkpoints(run, reasons.append)):
        try:
            checkpoint.verify()
        except RunError as error:
            reasons.append(_reason(error))
            continue
        if OPTIMISER not in checkpoint.files:
            raise RunError(f"{checkpoint.path} lacks {OPTIMISER}, which this version resumes from; train again")
        for reason in reasons:
            log.warning("%s; going on from step %d instead", reason, checkpoint.step)
        return checkpoint
    if reasons:
        raise RunError(f"{run} has no whole checkpoint to go on from ({reasons[-1]}); start again with --overwrite")
    return None


def best_of(checkpoints: list[Checkpoint]) -> Checkpoint:
    """Return the checkpoint of the highest validation NSE, otherwise of the lowest loss; the newest if none has one."""
    simulated = [
        (checkpoint.validation_nse, checkpoint) for checkpoint in checkpoints if checkpoint.validation_nse is not None
    ]
    if simulated:
        return max(simulated, key=itemgetter(0))[1]
    validated = [checkpoint for checkpoint in checkpoints if checkpoint.validation_loss is not None]
    return min(validated, key=_validation_loss) if validated else checkpoints[-1]


def _validation_loss(checkpoint: Checkpoint) -> float:
    return float("inf") if checkpoint.validation_loss is None else checkpoint.validation_loss


def prune(run: Path, keep: int) -> None:
    """Keep the newest ``keep`` checkpoints and the best one; drop the rest and what was left half written."""
    checkpoints = all_checkpoints(run)
    kept = {checkpoint.path for checkpoint in checkpoints[-keep:]}
    kept |= {best_of(checkpoints).path} if checkpoints else set()
    for path in (run / "checkpoints").iterdir():
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def open_run(run: str | PathLike[str], which: Callable[[list[Checkpoint]], Checkpoint] = best_of) -> Checkpoint:
    """Return a run's checkpoint: the best one, or that which ``which`` chooses, of those whose weights are whole.

    A warning names each that is passed over, and why.

    Raises
    ------
    ConfigError
        If there is no such run.
    RunError
        If it has no whole checkpoint.
    """
    run = Path(run)
    if not (run / "config.yaml").is_file():
        raise ConfigError(f"{run} is no run directory; make one with 'watercli pretrain --run {run}'")
    reasons: list[str] = []
    checkpoints = all_checkpoints(run, reasons.append)
    while checkpoints:
        chosen = which(checkpoints)
        try:
            chosen.verify(WEIGHTS)
        except RunError as error:
            reasons.append(_reason(error))
            checkpoints = [other for other in checkpoints if other.path != chosen.path]
            continue
        for reason in reasons:
            log.warning("%s; passing over this checkpoint, for that of step %d", reason, chosen.step)
        return chosen
    why = f" ({reasons[-1]})" if reasons else ""
    raise RunError(f"{run} has no whole checkpoint{why}; continue it with 'watercli pretrain --run {run} --resume'")
