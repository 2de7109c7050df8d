"""``watercli evaluate``: checks, then every protocol that is named, then files and page."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from watercli.baselines.cache import Cache
from watercli.config import Config, Splits, abilities
from watercli.errors import ConfigError, RunError
from watercli.evaluation import results
from watercli.evaluation.diagnostics import look_into
from watercli.evaluation.leakage import check_splits, check_training
from watercli.evaluation.protocol import Case, Protocol, Section
from watercli.evaluation.reconstruction import Reconstruction
from watercli.evaluation.registry import PROTOCOLS
from watercli.evaluation.report import terminal
from watercli.evaluation.results import Outcome
from watercli.evaluation.simulation import Flow, announce, left_out_for_speed
from watercli.log import log
from watercli.output.atomic import Target
from watercli.output.lock import locked
from watercli.run.checkpoint import Checkpoint
from watercli.run.compatibility import check_fits, with_absent_series
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
    """Judge a run on the test period, and write the result to a folder.

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
        If a protocol that is named cannot judge this run on this store, or nothing could be judged.
    """
    target = target_of(out, overwrite=overwrite)
    with target.owned():
        write(judge(checkpoint, store, config, run=run, device=device), target)
    return out


def target_of(out: Path, *, overwrite: bool) -> Target:
    """Return the folder to be written."""
    return Target(out, overwrite, "evaluation", results.is_evaluation)


def write(outcome: Outcome, target: Target) -> None:
    """Write results and report, and show the main figures on the terminal."""
    with target.writing() as partial:
        results.write(outcome, partial)
        outcome.report(partial / "report.html")
    terminal.show(outcome)


def judge(checkpoint: Checkpoint, store: Store, config: Config, *, run: Path | None, device: str = "cpu") -> Outcome:
    """Judge a model as `evaluate` does, and return the result without writing it; ``run`` is None if it has none."""
    scored = config.evaluate.split
    store, splits = checked_store(checkpoint, store, scored)
    for line in abilities(checkpoint.config, len(store.gauge_ids)):
        log.info(line)
    with _cache(run, config) as cache:
        case = Case(checkpoint, scored_on(store, scored), config, cache, device, notes_of(checkpoint, store, scored))
        parts = _run_protocols(case)
        flow: Flow | None = parts.get("simulation") or parts.get("ungauged")
        insight = look_into(case.context, case.features, flow) if flow is not None else None
    for note in case.notes:
        log.warning(note)
    for aside in case.asides:
        log.info(aside)
    return Outcome(
        checkpoint,
        store,
        config,
        splits,
        parts.get("reconstruction", Reconstruction(windows=0)),
        flow,
        parts.get("forecast"),
        parts.get("short_records"),
        case.notes,
        insight,
        run,
        {name: part for name, part in parts.items() if isinstance(part, Section)},
        case.asides,
    )


def checked_store(checkpoint: Checkpoint, store: Store, scored: str) -> tuple[Store, Splits]:
    """Return the store as the run reads it, and its periods, of which ``scored`` is scored.

    Raises
    ------
    ConfigError
        If run and store do not fit each other, or the run saw the period that is scored.
    """
    check_fits(checkpoint, store)
    store = with_absent_series(checkpoint, store)
    splits = check_splits(store)
    check_training(checkpoint, store, splits, scored)
    return store, splits


def serving_protocols(case: Case) -> list[Protocol]:
    """Return the named protocols that can judge the case; notes say which cannot.

    Raises
    ------
    RunError
        If one cannot serve and its alternative is not named, or none can.
    """
    named = _named_protocols(case)
    if case.without_flow is not None and any(protocol.needs_flow for protocol in named):
        case.notes.append(f"River flow is left out: {case.without_flow}")
    serving = [protocol for protocol in named if _serves(protocol, case)]
    if not serving:
        raise RunError(_nothing_judged(case, {}))
    return serving


def _run_protocols(case: Case) -> dict[str, Any]:
    """Return the results of the protocols that can serve, by name.

    Raises
    ------
    RunError
        If one cannot serve and its alternative is not named, or there is no result at all.
    """
    serving = serving_protocols(case)
    if any(protocol.needs_flow for protocol in serving):
        announce(case.context)
    results = {protocol.name: protocol.run(case) for protocol in serving}
    results = {name: result for name, result in results.items() if result is not None}
    if all(_is_empty(result) for result in results.values()):
        raise RunError(_nothing_judged(case, results))
    return results


def _named_protocols(case: Case) -> list[Protocol]:
    """Return the protocols that are named; with ``evaluate.quick``, a note names what it leaves out."""
    named = [PROTOCOLS[name] for name in PROTOCOLS if name in case.settings.protocols]
    if not case.settings.quick:
        return named
    with_flow = case.without_flow is None
    methods = left_out_for_speed(case.context) if with_flow else []
    slow = [protocol.name for protocol in named if protocol.slow and with_flow and protocol.cannot_serve(case) is None]
    parts = [f"the methods {', '.join(methods)}"] * bool(methods) + [f"the protocols {', '.join(slow)}"] * bool(slow)
    if parts:
        case.notes.append(f"Left out for speed: {', and '.join(parts)}; evaluate without --quick to score them")
    return [protocol for protocol in named if not protocol.slow]


def _serves(protocol: Protocol, case: Case) -> bool:
    """Return whether a protocol can judge the case; what its alternative judges instead is no loss."""
    if protocol.needs_flow and case.without_flow is not None:
        return False
    reason = protocol.cannot_serve(case)
    if reason is not None and protocol.alternative in case.settings.protocols:
        return False
    if reason is not None and protocol.alternative is not None:
        raise RunError(
            f"Protocol '{protocol.name}' cannot judge this run on {case.store.path}: {reason}; "
            f"use --set evaluate.protocols=[{protocol.alternative}]"
        )
    notes = case.notes if reason is None or case.names_protocols else case.asides
    reason = reason or protocol.nothing_to_score(case)
    if reason is not None:
        notes.append(f"Protocol '{protocol.name}' is left out: {reason}")
    return reason is None


def _is_empty(result: object) -> bool:
    return isinstance(result, Flow) and not result.counts["catchments"]


def _nothing_judged(case: Case, results: dict[str, Any]) -> str:
    """Return the sentence that says why nothing was judged, and which protocols would judge something."""
    reasons = [*case.notes, *case.asides] or [
        "no catchment has a test day that is observed and simulated by every method"
    ]
    serving = [name for name, protocol in PROTOCOLS.items() if _would_serve(protocol, case)]
    advice = f"; use --set evaluate.protocols=[{serving[0]}]" if serving else ""
    return f"Nothing could be judged, and no report is written: {'; '.join(reasons)}{advice}"


def _would_serve(protocol: Protocol, case: Case) -> bool:
    """Return whether a protocol that is not named would judge the same: river flow where there is some."""
    if protocol.name in case.settings.protocols or protocol.needs_flow == (case.without_flow is not None):
        return False
    return protocol.cannot_serve(case) is None and protocol.nothing_to_score(case) is None


@contextmanager
def _cache(run: Path | None, config: Config) -> Iterator[Cache]:
    """Yield the run's cache; one for the time being where it is not to be used, cannot be written, or is in use."""
    with ExitStack() as stack:
        if run is not None and config.evaluate.cache and os.access(run, os.W_OK):
            own = run / "cache"
            try:
                stack.enter_context(locked(own))
            except ConfigError:
                log.info("Another evaluation is using %s; nothing is taken from it or added to it", own)
            else:
                cache = Cache(own)
                cache.sweep()
                yield cache
                return
        yield Cache(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="watercli-"))))


def scored_on(store: Store, split: str) -> Store:
    """Return the store with another split as its test period, which is what methods simulate and protocols score."""
    splits = json.loads(store.dataset.attrs["splits"])
    splits["test"] = splits[split]
    return replace(store, dataset=store.dataset.assign_attrs(splits=json.dumps(splits)))


def notes_of(checkpoint: Checkpoint, store: Store, scored: str) -> list[str]:
    """Return what a reader must know of the store, and of the split that is scored."""
    notes = []
    if checkpoint.fingerprint != store.fingerprint:
        notes.append(f"{store.path.name} is not the store that the run was trained on; their fingerprints differ")
    if scored == "validation":
        notes.append(
            "Scores are of the validation period, on which the checkpoint, ridge penalties and shares of corrections "
            "were chosen: they are optimistic, and there are no predictive intervals"
        )
    return notes
