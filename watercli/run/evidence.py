"""The evidence head of a checkpoint: ``evidence.safetensors`` beside the weights whose errors it was fitted to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from multimodal_mae.evidence import EvidenceHead
from safetensors import SafetensorError, safe_open
from torch import Tensor

from watercli.errors import RunError
from watercli.output.atomic import flush, written_file
from watercli.output.tensors import write_tensors
from watercli.run.checkpoint import Checkpoint

FILE = "evidence.safetensors"
SCHEMA_VERSION = 1
META = "watercli"


@dataclass(frozen=True)
class FittedEvidence:
    """A fitted head, and what its errors are of."""

    head: EvidenceHead
    target: str
    """The series that it corrects."""
    offset: float
    """Added to flows before logarithms are taken, in the target's units."""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the head's numbers."""
        return _hash(_tensors(self.head))


def save_evidence(checkpoint: Checkpoint, fitted: FittedEvidence) -> Path:
    """Write the head beside the weights that it belongs to, whole or not at all.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    meta = {"schema_version": SCHEMA_VERSION, "target": fitted.target, "offset": fitted.offset}
    return _write(checkpoint, meta, _tensors(fitted.head))


def copy_evidence(source: Checkpoint, copy: Checkpoint) -> Path | None:
    """Write the head of a checkpoint beside a copy of its weights, which may have fewer bits; None if it has none.

    Raises
    ------
    RunError
        If the head cannot be read or written, or belongs to other weights.
    """
    read = _read(source)
    return None if read is None else _write(copy, *read)


def _write(checkpoint: Checkpoint, meta: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    meta = meta | {"weights": checkpoint.fingerprint_of_weights(), "sha256": _hash(tensors)}
    file = checkpoint.path / FILE
    try:
        with written_file(file) as partial:
            write_tensors(tensors, partial, {META: json.dumps(meta)})
            flush(partial)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{file} cannot be written ({error}); make room and give the same command again") from error
    return file


def has_evidence(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint has a head that can be read and belongs to its weights, whatever series it is for."""
    try:
        return _read(checkpoint) is not None
    except RunError:
        return False


def load_evidence(checkpoint: Checkpoint, target: str) -> FittedEvidence | None:
    """Return the head of a checkpoint for a series; None if it has none.

    Raises
    ------
    RunError
        If the file is torn, of another schema version, or belongs to other weights.
    """
    read = _read(checkpoint)
    if read is None or read[0]["target"] != target:
        return None
    meta, tensors = read
    head = EvidenceHead()
    try:
        head.load_state_dict(tensors)
    except RuntimeError as error:
        file = checkpoint.path / FILE
        raise RunError(f"{file} holds another head than this version of watercli; fit it anew") from error
    return FittedEvidence(head.eval(), target, float(meta["offset"]))


def _read(checkpoint: Checkpoint) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Return what the file of a checkpoint says and its tensors; None if there is no file."""
    file = checkpoint.path / FILE
    if not file.is_file():
        return None
    try:
        with safe_open(file, "pt") as opened:
            meta = json.loads((opened.metadata() or {}).get(META, "{}"))
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError(f"{file} cannot be read; remove it, and fit it anew with --resume") from error
    if meta.get("schema_version") != SCHEMA_VERSION:
        raise RunError(f"{file} has schema version {meta.get('schema_version')}, not {SCHEMA_VERSION}; fit it anew")
    if meta.get("sha256") != _hash(tensors):
        raise RunError(f"{file} does not hold what was written; remove it, and fit it anew with --resume")
    if meta["weights"] != checkpoint.fingerprint_of_weights():
        raise RunError(f"{file} belongs to other weights; remove it, and fit it anew with --resume")
    return meta, tensors


def _tensors(head: EvidenceHead) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}


def _hash(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of all numbers, in the order of their names."""
    numbers = hashlib.sha256()
    for name in sorted(tensors):
        numbers.update(tensors[name].contiguous().numpy().tobytes())
    return numbers.hexdigest()
