"""A model in a folder: ``model.json``, one or several files of weights, ``card.md``. Nothing in it is run as code.

``model.json`` holds the configuration, structure, scaling, ranges, gauges and periods, data, scores and versions; and
size and SHA-256 of each file of weights. Its own key ``sha256`` is the digest of all its other keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from watercli.errors import RunError
from watercli.run.checkpoint import Checkpoint, check_files, sha256

SCHEMA, SCHEMA_VERSION = "model_schema_version", 1
MODEL = "model.json"
CARD = "card.md"
WEIGHTS = "weights.safetensors"
OWN = "model"
"""Name in ``model.json`` of the model's own weights, beside which there may be others."""
DIGEST = "sha256"
REMEDY = "get the model anew, or export it again"


def is_model(folder: Path) -> bool:
    """Return whether a folder is one that `write` made."""
    try:
        return SCHEMA in json.loads((folder / MODEL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``model.json``."""
    plain = {SCHEMA: SCHEMA_VERSION, **content}
    text = json.dumps(plain | {DIGEST: _digest(plain)}, indent=1, ensure_ascii=False)
    (folder / MODEL).write_text(text, encoding="utf-8")


def about(folder: Path) -> dict[str, Any]:
    """Return what ``model.json`` says.

    Raises
    ------
    RunError
        If it is missing, torn, altered or of another schema version.
    """
    file = folder / MODEL
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        stated = content.pop(DIGEST)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise RunError(f"{file} cannot be read; {REMEDY}") from error
    if content.get(SCHEMA) != SCHEMA_VERSION:
        raise RunError(
            f"{file} has schema version {content.get(SCHEMA)}, this watercli reads {SCHEMA_VERSION}; {REMEDY}"
        )
    if _digest(content) != stated:
        raise RunError(f"{file} was altered after it was written: its digest differs; {REMEDY}")
    return content


def files(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return size and checksum of each file of weights, by the file's name.

    Raises
    ------
    RunError
        If a name leads out of the folder.
    """
    records = {str(record["file"]): record for record in content["weights"].values()}
    for name in records:
        if Path(name).name != name:
            raise RunError(f"{MODEL} names the file '{name}', which is not in the model's folder; {REMEDY}")
    return records


def verify(folder: Path, content: Mapping[str, Any]) -> None:
    """Compare the files of weights with their sizes and checksums.

    Raises
    ------
    RunError
        If one is missing, cut short or altered.
    """
    records = files(content)
    check_files(folder, records, REMEDY)
    for name, record in records.items():
        if sha256(folder / name) != record["sha256"]:
            raise RunError(f"{folder / name} was altered after it was written: its SHA-256 differs; {REMEDY}")


def read(folder: Path) -> Checkpoint:
    """Return the model of a folder as the checkpoint that it was exported from; all checksums are compared.

    Raises
    ------
    RunError
        If a file is missing, torn or altered.
    """
    content = about(folder)
    verify(folder, content)
    own = str(content["weights"][OWN]["file"])
    return Checkpoint.from_dict(content["checkpoint"], folder / MODEL, files=files(content), weights=own)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
