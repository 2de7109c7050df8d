"""``evaluate --dry-run``: what would be scored, by which protocols and methods, how large it is and how long it takes.

Checks are those of the evaluation. Nothing is written.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console

from watercli.baselines.cache import Cache
from watercli.baselines.context import Context
from watercli.baselines.method import Method
from watercli.config import Config, Period
from watercli.evaluation.evaluate import checked_store, notes_of, scored_on, serving_protocols, target_of
from watercli.evaluation.protocol import Case
from watercli.evaluation.simulation import announce, chosen_methods
from watercli.inference import provenance
from watercli.inference.dry_run import simulation_seconds, timed
from watercli.log import log
from watercli.output.sizes import duration, in_bytes
from watercli.run.checkpoint import Checkpoint
from watercli.run.simulator import Simulator
from watercli.store import Store


def dry_run(
    checkpoint: Checkpoint,
    store: Store,
    out: Path,
    config: Config,
    console: Console,
    *,
    overwrite: bool = False,
    device: str = "cpu",
) -> None:
    """Print what `watercli.evaluation.evaluate.evaluate` would do; write nothing.

    Raises
    ------
    ConfigError, RunError
        What the evaluation itself would raise before its work.
    """
    target_of(out, overwrite=overwrite).check()
    scored = config.evaluate.split
    store, splits = checked_store(checkpoint, store, scored)
    provenance.log_novelty(checkpoint, store, np.arange(len(store.gauge_ids)))
    with tempfile.TemporaryDirectory(prefix="watercli-") as folder:  # stays empty
        notes = notes_of(checkpoint, store, scored)
        case = Case(checkpoint, scored_on(store, scored), config, Cache(Path(folder)), device, notes)
        protocols = serving_protocols(case)
        console.print(f"Would score {store.path} from {_in_words(getattr(splits, scored))} into {out}")
        console.print(f"  training from {_in_words(splits.train)}, validation from {_in_words(splits.validation)}")
        console.print(f"  protocols: {', '.join(protocol.name for protocol in protocols)}")
        if any(protocol.needs_flow for protocol in protocols):
            announce(case.context)
            _show_flow(case.context, chosen_methods(case.context), console)
    for note in case.notes:
        log.warning(note)
    for aside in case.asides:
        log.info(aside)


def _show_flow(context: Context, methods: list[Method], console: Console) -> None:
    embedder, head = context.embedder, context.fitted_evidence
    console.print(f"  inputs: {', '.join(embedder.modalities)}; excluded: {', '.join(embedder.excluded)}")
    console.print(f"  methods: {', '.join(method.name for method in methods)}")
    console.print(f"  evidence: {'flow of other gauges and of the gauge itself' if head else context.without_evidence}")
    days = len(context.dates.test)
    size = 4 * len(context.store.gauge_ids) * days * len(methods)
    console.print(f"  {in_bytes(size)} of simulated flow on {days:,} days before compression, and a page")
    _show_work(context, methods, console)


def _show_work(context: Context, methods: list[Method], console: Console) -> None:
    """Print how long the model works, and how large the cache becomes."""
    days = slice(0, len(context.store.times)) if context.simulates_throughout else context.simulated_days
    seconds = 0.0
    if context.cross_modal:
        simulator = Simulator(context.checkpoint, context.store, context.target, context.device)
        seconds += simulation_seconds(simulator, np.arange(days.start, days.stop))
    if any(method.fit for method in methods):
        seconds += _embedding_seconds(context)
        console.print(f"  {in_bytes(_cached_bytes(context))} of embeddings in the run's cache, for the next evaluation")
    rivals = [method.name for method in methods if method.name != "simulation"]
    console.print(
        f"  about {duration(seconds)} for the model (timed just now)"
        + (f"; the fitting of {len(rivals)} other methods comes on top, unless the cache holds them" * bool(rivals))
    )


def _cached_bytes(context: Context) -> int:
    """Return the size of embeddings and decoder states that probes learn from, in float16."""
    states = context.checkpoint.structure.decoder_width * context.cross_modal
    features = int(np.prod(context.embedder.shape)) + states
    return 2 * features * len(context.store.gauge_ids) * len(context.dates.all)


def _embedding_seconds(context: Context) -> float:
    """Return how long the embedding of all dates for the probes takes, by a short timing."""
    dates = np.sort(context.dates.all)
    size = context.embedder.days * context.config.embed.batch_size
    parts = np.array_split(dates, max(len(dates) // size, 1))
    return timed(parts, lambda part: list(context.embedder.windows(part, context.config.embed.batch_size)))


def _in_words(period: Period) -> str:
    return f"{period.start} to {period.end}"
