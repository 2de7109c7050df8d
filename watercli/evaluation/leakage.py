"""What must hold for a score to be worth anything; each failure ends the evaluation."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np

from watercli.config import Splits
from watercli.data.windows import Indices
from watercli.errors import ConfigError
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store


def check_splits(store: Store) -> Splits:
    """Return the store's splits, no two of which share a day, as do no two of the day ranges that they mean."""
    splits = Splits.model_validate(json.loads(store.dataset.attrs["splits"]))
    periods = sorted((store.period(name) for name in ("train", "validation", "test")), key=lambda days: days.start)
    assert all(earlier.stop <= later.start for earlier, later in pairwise(periods)), "splits overlap"
    return splits


def check_training(checkpoint: Checkpoint, store: Store, splits: Splits, scored: str = "test") -> None:
    """Refuse a run that was trained on the period that is scored, or validated on what is now the test period.

    A run of the store itself was trained within the store's splits; one of another store tells its own, and of gauges
    none of which it saw it saw no day.

    Raises
    ------
    ConfigError
        If the periods overlap.
    """
    if checkpoint.fingerprint == store.fingerprint or checkpoint.config.recipe is None:
        return
    trained = set(checkpoint.gauges) - set(checkpoint.held_out_gauges)
    shared = [gauge for gauge in store.gauge_ids if gauge in trained]
    if checkpoint.gauges and store.gauge_ids and not shared:
        return
    seen, judged = checkpoint.config.recipe.splits, getattr(splits, scored)
    for verb, period in (("trained", seen.train), ("validated", seen.validation)):
        if verb == "validated" and scored == "validation":
            continue
        if period.end >= judged.start and period.start <= judged.end:
            where, without = _of_gauges(shared)
            raise ConfigError(
                f"The run was {verb} on {period.start} to {period.end}, which the {scored} period of {store.path} "
                f"({judged.start} to {judged.end}) overlaps{where}; give a store with another {scored} period{without}"
            )


def _of_gauges(shared: list[str]) -> tuple[str, str]:
    """Return in words which gauges were in the training, by their ids, and what to do; nothing if none is known."""
    if not shared:
        return "", ""
    some = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
    number = f"{len(shared)} {'gauge' if len(shared) == 1 else 'gauges'}"
    return f" at {number} of its training ({some})", ", or without these"


def check_probe(
    store: Store, target: str, visible: list[str], train: Indices, validation: Indices, test: Indices
) -> None:
    """Assert that a probe's dates lie in their periods and that its inputs do not hold the target."""
    assert target not in visible, f"the encoder would see '{target}', which the probe is to predict"
    for name, days in (("train", train), ("validation", validation), ("test", test)):
        period = store.period(name)
        assert bool(np.all((days >= period.start) & (days < period.stop))), f"{name} dates outside their period"
