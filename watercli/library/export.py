"""``watercli export``: a run's best checkpoint as a folder that can be given to others."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from watercli.errors import ConfigError, RunError
from watercli.library import card, folder
from watercli.library.skill import skill, store_of
from watercli.output.atomic import Target
from watercli.run.checkpoint import Checkpoint, save_tensors, sha256
from watercli.run.evidence import copy_evidence
from watercli.run.members import member_files, named, number_of
from watercli.store import Store
from watercli.training.metrics_log import read_metrics


def export(
    checkpoint: Checkpoint,
    out: Path,
    *,
    name: str | None = None,
    run: Path | None = None,
    half: bool = False,
    evaluation: Path | None = None,
    store: Store | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a model's folder; `watercli.library.folder` says what it holds.

    Parameters
    ----------
    checkpoint
        The model.
    out
        The folder; it appears when all that it holds is written.
    name
        Name of the model; by default that of the folder.
    run
        The run directory, whose record, metrics and evaluation go into the model; None if there is none.
    half
        Weights of 16 bits.
    evaluation
        Folder of the evaluation whose scores go into the model; None for that of the run.
    store
        The store of that evaluation, which knows of kinds of catchments; None for that of the run.
    overwrite
        Replace a model at ``out``.

    Raises
    ------
    ConfigError
        If ``out`` may not be written, or ``evaluation`` is none of these weights or of another store.
    RunError
        If the weights cannot be read, or the disk is full.
    """
    target = Target(out, overwrite, "model", folder.is_model)
    target.check()
    scores = _scores(checkpoint, run, evaluation, store)
    checkpoint.verify(checkpoint.weights)
    try:
        with target.writing() as partial:
            partial.mkdir(parents=True)
            weights = _write_weights(checkpoint, partial, half)
            content = _content(checkpoint, name or out.name, run, scores) | {"weights": weights}
            folder.write(partial, content)
            (partial / folder.CARD).write_text(card.text(content), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{out} cannot be written ({error.strerror or error}); make room, and export again") from error
    return out


def _write_weights(checkpoint: Checkpoint, partial: Path, half: bool) -> dict[str, Any]:
    """Write all files of weights, and return what ``model.json`` says of each, by its name there."""
    copy = replace(checkpoint, path=partial, weights=folder.WEIGHTS)
    _put(checkpoint.path / checkpoint.weights, partial / folder.WEIGHTS, half)
    for file in member_files(checkpoint):
        _put(file, partial / file.name, half)
        (partial / file.name).rename(partial / named(number_of(file), partial / file.name))
    # The head names the weights that it belongs to, members included: it comes last.
    further = [*member_files(copy), copy_evidence(checkpoint, copy)]
    own = {folder.OWN: _record_of(partial / folder.WEIGHTS)}
    return own | {file.stem: _record_of(file) for file in further if file}


def _put(source: Path, file: Path, half: bool) -> None:
    """Write a file of weights; all numbers have 16 bits if ``half``, otherwise it is the same file."""
    if not half:
        shutil.copyfile(source, file)
        return
    tensors = load_file(source)
    save_tensors({key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}, file)


def _record_of(file: Path) -> dict[str, Any]:
    tensors = load_file(file)
    return {
        "file": file.name,
        "dtype": ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "bytes": file.stat().st_size,
        "sha256": sha256(file),
    }


def _content(checkpoint: Checkpoint, name: str, run: Path | None, scores: dict[str, Any] | None) -> dict[str, Any]:
    """Return what ``model.json`` says, the weights apart; a model that is exported again keeps what it said.

    ``scores`` are those of an evaluation, if there is one; see `_scores`.
    """
    if run is None and folder.is_model(checkpoint.path):
        before = folder.about(checkpoint.path)
        scored = before["scores"] | ({"evaluation": scores} if scores else {})
        return before | {"name": name, "inputs": _inputs(checkpoint), "scores": scored}
    config, raw = checkpoint.config, checkpoint.to_dict()
    record = _record(run)
    return {
        "name": name,
        "description": config.description,
        "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "parent": record.get("parent"),
        "inputs": _inputs(checkpoint),
        "structure": asdict(checkpoint.structure),
        "data": {
            "fingerprint": checkpoint.fingerprint,
            "datasets": config.recipe.model_dump(mode="json")["datasets"] if config.recipe else {},
        },
        "training": {
            "seed": config.seed,
            "steps": checkpoint.step,
            "batch_size": config.train.batch_size,
            "seconds": _seconds(run, checkpoint) if run else None,
            "hardware": record.get("hardware"),
        },
        "scores": {
            "validation_loss": checkpoint.validation_loss,
            "validation_nse": checkpoint.validation_nse,
            "evaluation": scores,
        },
        "checkpoint": {key: value for key, value in raw.items() if key != "files"},
    }


def _scores(
    checkpoint: Checkpoint, run: Path | None, evaluation: Path | None, store: Store | None
) -> dict[str, Any] | None:
    """Return the scores of an evaluation, by default the run's; None if there is none of these weights."""
    chosen = evaluation or (run / "evaluation" if run else None)
    if store is not None and chosen is None:
        raise ConfigError("--store is that of an evaluation; name its folder by --evaluation")
    known = store or (store_of(run) if run else None)
    scores = None if chosen is None else skill(chosen, checkpoint, known)
    if scores is None and evaluation is not None:
        raise ConfigError(
            f"{evaluation} holds no evaluation of river flow by these weights; make one with watercli evaluate --out "
            f"{evaluation}"
        )
    return scores


def _inputs(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what the model reads, for people; the program reads the configuration and the scaling."""
    scaling = checkpoint.scaling
    return {
        "modalities": {
            name: {
                "kind": modality.kind,
                "units": modality.units,
                "long_name": modality.long_name,
                "optional": modality.dropout > 0,
                "predicted": name in checkpoint.config.train.tasks.targets,
                **asdict(scaling.modalities[name]),
            }
            | {"units": modality.units}
            for name, modality in checkpoint.config.modalities.items()
        },
        "attributes": {name: asdict(scale) for name, scale in scaling.attributes.items()},
    }


def _record(run: Path | None) -> dict[str, Any]:
    """Return what a run's ``run.json`` says."""
    file = run / "run.json" if run else None
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file and file.is_file() else {}
    return record


def _seconds(run: Path, checkpoint: Checkpoint) -> float | None:
    """Return how long the training steps took, without validation, by the run's metrics; None if they are lost."""
    timed = [row for row in read_metrics(run) if "windows_per_second" in row and row["step"] <= checkpoint.step]
    if not timed:
        return None
    ends = [0, *(int(row["step"]) for row in timed)]
    windows = checkpoint.config.train.batch_size
    seconds = sum(
        (end - start) * windows / row["windows_per_second"]
        for start, end, row in zip(ends[:-1], ends[1:], timed, strict=True)
    )
    return float(seconds)
