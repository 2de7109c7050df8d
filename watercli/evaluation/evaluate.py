"""``watercli evaluate``: what is done, in which order."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from watercli.baselines.cache import Cache
from watercli.baselines.probes import Inputs
from watercli.config import Config, Splits
from watercli.errors import RunError
from watercli.evaluation import results
from watercli.evaluation.diagnostics import Insight, look_into
from watercli.evaluation.forecast import Forecast, judge_forecasts
from watercli.evaluation.leakage import check_splits, check_training
from watercli.evaluation.reconstruction import Reconstruction, reconstruct
from watercli.evaluation.report import html, terminal
from watercli.evaluation.results import Outcome
from watercli.evaluation.short_records import ShortRecords, judge_few_labels
from watercli.evaluation.simulation import Flow, judge_flow, make_task, reason_to_skip, set_scene
from watercli.log import log
from watercli.output.atomic import Target
from watercli.run.checkpoint import Checkpoint
from watercli.run.compatibility import check_fits
from watercli.store import Store


def evaluate(
    checkpoint: Checkpoint,
    store: Store,
    out: Path,
    config: Config,
    *,
    run: Path,
    overwrite: bool = False,
    device: str = "cpu",
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
        ``reconstruction.csv`` and, where there is a river-flow part, ``riverflow.csv``, ``comparisons.csv``,
        ``catchments.csv``, ``signatures.csv`` and ``results.zarr``.
    config
        The checkpoint's configuration; ``evaluate``, ``embed`` and ``seed`` may differ.
    run
        The run directory, for its training curves.
    overwrite
        Replace an evaluation that lies at ``out``, once the new one is whole.
    device
        Where the model works; methods that are fitted for comparison work on the CPU.

    Raises
    ------
    ConfigError
        If ``out`` may not be written, a setting does not fit, or the run saw the test period.
    RunError
        If nothing can be scored.
    """
    target = target_of(out, overwrite=overwrite)
    target.check()
    write(judge(checkpoint, store, config, run=run, device=device), run, target)
    return out


def target_of(out: Path, *, overwrite: bool) -> Target:
    """Return the folder to be written."""
    return Target(out, overwrite, "evaluation", results.is_evaluation)


def judge(checkpoint: Checkpoint, store: Store, config: Config, *, run: Path, device: str = "cpu") -> Outcome:
    """Score a run on the test period and write nothing but the run's cache; see `evaluate`.

    Raises
    ------
    ConfigError
        If a setting does not fit, or the run saw the test period.
    """
    check_fits(checkpoint, store)
    splits = check_splits(store)
    check_training(checkpoint, store, splits)
    skipped = reason_to_skip(checkpoint, store, config.evaluate)
    if skipped is not None and "reconstruction" not in config.evaluate.protocols:
        raise RunError(f"Nothing can be scored: {skipped}; add reconstruction to evaluate.protocols")
    notes = _notes(checkpoint, store, skipped)
    with _cache(run, config) as cache:
        outcome = _judge(checkpoint, store, config, splits, notes, cache, skipped, device)
    for note in notes:
        log.warning(note)
    return outcome


def write(outcome: Outcome, run: Path, target: Target) -> None:
    """Write results and report, and show the main figures on the terminal."""
    with target.writing() as partial:
        results.write(outcome, partial)
        html.write(outcome, run, partial / "report.html")
    terminal.show(outcome)


def _judge(
    checkpoint: Checkpoint,
    store: Store,
    config: Config,
    splits: Splits,
    notes: list[str],
    cache: Cache,
    skipped: str | None,
    device: str,
) -> Outcome:
    """Run the protocols that are asked for and that the run can answer."""
    protocols = config.evaluate.protocols
    reconstruction = Reconstruction(windows=0)
    if "reconstruction" in protocols:
        reconstruction = reconstruct(checkpoint, store, config.evaluate, device)
    flow: Flow | None = None
    forecast: Forecast | None = None
    short_records: ShortRecords | None = None
    insight: Insight | None = None
    if skipped is None and set(protocols) - {"reconstruction"}:
        context = set_scene(checkpoint, store, config, cache, device)
        inputs = Inputs(context)
        wanted = "ungauged" if context.ungauged else "simulation"
        if wanted in protocols:
            flow = judge_flow(context, inputs)
            insight = look_into(context, inputs, flow)
        if "forecast" in protocols:
            forecast = judge_forecasts(context, notes)
        if "short_records" in protocols:
            short_records = judge_few_labels(inputs, make_task(context, inputs, {}, heads=True), notes)
    return Outcome(checkpoint, store, config, splits, reconstruction, flow, forecast, short_records, notes, insight)


@contextmanager
def _cache(run: Path, config: Config) -> Iterator[Cache]:
    """Yield the run's cache; with ``evaluate.cache: false``, or where it cannot be written, one for the time being."""
    if config.evaluate.cache and os.access(run, os.W_OK):
        yield Cache(run / "cache")
        return
    with tempfile.TemporaryDirectory(prefix="watercli-") as folder:
        yield Cache(Path(folder))


def _notes(checkpoint: Checkpoint, store: Store, skipped: str | None) -> list[str]:
    notes = []
    if skipped is not None:
        notes.append(f"River flow is left out: {skipped}")
    if checkpoint.fingerprint != store.fingerprint:
        notes.append(f"{store.path.name} is not the store that the run was trained on; their fingerprints differ")
    return notes
