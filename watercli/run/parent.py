"""The parent of a fine-tuned run: ``parent/`` in its directory holds the weights that it began with.

Beside the weights stand the parent's configuration, scaling and evidence head, as in any checkpoint. ``run.json``
names the parent.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from watercli.errors import RunError
from watercli.output.atomic import flush, written_folder
from watercli.output.sealed import sealed
from watercli.output.tensors import write_tensors
from watercli.run.checkpoint import META, WEIGHTS, Checkpoint, sha256
from watercli.run.evidence import copy_evidence
from watercli.run.view import as_read_by
from watercli.store import Store

FOLDER = "parent"
RECORD = "run.json"
"""The file of a run directory that names its store and its parent."""


@dataclass(frozen=True)
class Parent:
    """A trained model that another begins with."""

    name: str
    checkpoint: Checkpoint
    names: Mapping[str, str] = field(default_factory=dict)
    """The store's name of a modality or an attribute, by the model's."""

    @property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` and a model's folder say of it, as plain types."""
        checkpoint = self.checkpoint
        return {
            "name": self.name,
            "weights_fingerprint": sha256(checkpoint.path / checkpoint.weights),
            "step": checkpoint.step,
            "gauges": list(checkpoint.gauges),
            "held_out_gauges": list(checkpoint.held_out_gauges),
            "splits": dict(checkpoint.splits),
            "names": dict(self.names),
        }

    def read(self, store: Store) -> Store:
        """Return the store of the fine-tuning as the parent reads it; see `watercli.run.view.as_read_by`."""
        return as_read_by(self.checkpoint, store, self.names)


def adopt(parent: Parent, run: Path) -> None:
    """Copy a parent into a run directory, whole or not at all; of an ensemble, the first member.

    Raises
    ------
    RunError
        If it cannot be read or written.
    """
    source, folder = parent.checkpoint, run / FOLDER
    source.verify(source.weights)
    try:
        with written_folder(folder) as partial:
            partial.mkdir(parents=True)
            weights = partial / WEIGHTS
            shutil.copyfile(source.path / source.weights, weights)
            flush(weights)
            files = {WEIGHTS: {"bytes": weights.stat().st_size, "sha256": sha256(weights)}}
            copy = replace(source, path=partial, weights=WEIGHTS, files=files)
            (partial / META).write_text(sealed(copy.to_dict()), encoding="utf-8")
            copy_evidence(source, copy)
    except OSError as error:
        raise RunError(f"{folder} cannot be written ({error.strerror or error}); make room and start again") from error


def write_checkpoint(folder: Path, checkpoint: Checkpoint, weights: dict[str, Tensor]) -> None:
    """Write a checkpoint with other weights into an empty folder; it has no evidence head."""
    file = folder / WEIGHTS
    write_tensors(weights, file)
    files = {WEIGHTS: {"bytes": file.stat().st_size, "sha256": sha256(file)}}
    copy = replace(checkpoint, path=folder, weights=WEIGHTS, files=files)
    (folder / META).write_text(sealed(copy.to_dict()), encoding="utf-8")


def parent_record(run: Path) -> dict[str, Any] | None:
    """Return what a run's ``run.json`` says of its parent; None if it has none.

    Raises
    ------
    RunError
        If there is a parent, and the file cannot be read.
    """
    return _record(run).get("parent") if (run / FOLDER).is_dir() else None


def _record(run: Path) -> dict[str, Any]:
    file = run / RECORD
    try:
        record: dict[str, Any] = {**json.loads(file.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{file} cannot be read, so it does not name the run's parent; start again") from error
    return record


def parent_of(run: Path) -> Parent | None:
    """Return the parent of a run; None of a run that was trained from random weights.

    Raises
    ------
    RunError
        If the copy in the run directory cannot be read.
    """
    record = parent_record(run)
    return None if record is None else Parent(record["name"], Checkpoint.read(run / FOLDER), record["names"])


def names_of(run: Path, store: Store) -> dict[str, str]:
    """Return by which names a run read the store that it was fine-tuned on; none if ``store`` is another."""
    record = parent_record(run)
    if record is None:
        return {}
    return dict(record["names"]) if store.path.resolve() == Path(_record(run)["store"]) else {}
