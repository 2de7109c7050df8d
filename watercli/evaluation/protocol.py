"""``watercli evaluate``: what is done, in which order."""

from __future__ import annotations

from pathlib import Path

from watercli.checkpoint import Checkpoint, check_fits
from watercli.config import Config
from watercli.evaluation import report, results, terminal
from watercli.evaluation.insight import look_into
from watercli.evaluation.leakage import check_splits, check_training
from watercli.evaluation.reconstruction import reconstruct
from watercli.evaluation.results import Outcome
from watercli.evaluation.riverflow import judge_flow, reason_to_skip
from watercli.files import Target
from watercli.log import log
from watercli.store import Store


def evaluate(
    checkpoint: Checkpoint, store: Store, out: Path, config: Config, *, run: Path, overwrite: bool = False
) -> Path:
    """Say how good a run is on the test period, and write it to a folder.

    Parameters
    ----------
    checkpoint
        The model that is judged.
    store
        The data that it is judged on.
    out
        The folder; it appears when all that it holds is written: ``report.html``, ``results.json``,
        ``reconstruction.csv`` and, where there is a river-flow part, ``riverflow.csv``, ``catchments.csv``,
        ``signatures.csv`` and ``results.zarr``.
    config
        The checkpoint's configuration; ``evaluate``, ``embed`` and ``seed`` may differ.
    run
        The run directory, for its training curves.
    overwrite
        Replace an evaluation that lies at ``out``, once the new one is whole.

    Raises
    ------
    ConfigError
        If ``out`` may not be written, a setting does not fit, or the run saw the test period.
    """
    target = Target(out, overwrite, "evaluation", results.is_evaluation)
    target.check()
    check_fits(checkpoint, store)
    splits = check_splits(store)
    check_training(checkpoint, store, splits)
    skipped = reason_to_skip(checkpoint, store, config.evaluate)
    notes = _notes(checkpoint, store, skipped)
    for note in notes:
        log.warning(note)
    reconstruction = reconstruct(checkpoint, store, config.evaluate)
    flow = judge_flow(checkpoint, store, config) if skipped is None else None
    insight = look_into(checkpoint, store, config, flow) if flow is not None else None
    outcome = Outcome(checkpoint, store, config, splits, reconstruction, flow, notes, insight)
    with target.writing() as partial:
        results.write(outcome, partial)
        report.write(outcome, run, partial / "report.html")
    terminal.show(outcome)
    return out


def _notes(checkpoint: Checkpoint, store: Store, skipped: str | None) -> list[str]:
    notes = []
    if skipped is not None:
        notes.append(f"River flow is left out: {skipped}")
    if checkpoint.fingerprint != store.fingerprint:
        notes.append(f"{store.path.name} is not the store that the run was trained on; their fingerprints differ")
    return notes
