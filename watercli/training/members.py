"""Members of an ensemble: the run's configuration, trained anew from other seeds, one after the other."""

from __future__ import annotations

from pathlib import Path

from watercli.config import Config
from watercli.log import log
from watercli.run.checkpoint import Checkpoint
from watercli.run.members import member_files, number_of, save_member
from watercli.store import Store
from watercli.training.evidence_phase import TrainRun

FOLDER = "members"
"""The folder of a run that holds the runs of its members."""


def lacking_members(config: Config, checkpoint: Checkpoint) -> list[int]:
    """Return the numbers of the members that a checkpoint is to have and lacks."""
    there = {number_of(file) for file in member_files(checkpoint)}
    return [number for number in range(1, config.train.members) if number not in there]


def train_members(config: Config, checkpoint: Checkpoint, store: Store, run: Path, train_run: TrainRun) -> None:
    """Train the members that a run's best checkpoint lacks, and put their weights beside its own.

    Raises
    ------
    RunError
        If it was asked to stop, or the disk is full.
    """
    for number in lacking_members(config, checkpoint):
        log.info("Member %d of %d, by seed %d", number + 1, config.train.members, config.seed + number)
        train = config.train.model_copy(update={"members": 1, "evidence": None})
        changed = config.model_copy(update={"seed": config.seed + number, "train": train})
        member = train_run(changed, store, run / FOLDER / str(number))
        save_member(checkpoint, number, member)
