"""Members of an ensemble: ``member-N-HASH.safetensors`` beside the weights of a checkpoint, and of its structure.

They differ in the seed of their training. A simulation is the mean over the checkpoint's own weights and its members.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from multimodal_mae.mae import MultiModalMAE
from safetensors import SafetensorError
from safetensors.torch import load_file

from watercli.errors import RunError
from watercli.output.atomic import flush, written_file
from watercli.run.checkpoint import MEMBERS, WEIGHTS, Checkpoint, sha256


def member_files(checkpoint: Checkpoint) -> list[Path]:
    """Return the weights of the members, without the checkpoint's own."""
    return sorted(checkpoint.path.glob(MEMBERS))


def save_member(checkpoint: Checkpoint, number: int, member: Checkpoint) -> Path:
    """Copy the weights of a member beside those of a checkpoint, whole or not at all.

    Raises
    ------
    RunError
        If they cannot be written.
    """
    file = checkpoint.path / named(number, member.path / WEIGHTS)
    try:
        with written_file(file) as partial:
            shutil.copyfile(member.path / WEIGHTS, partial)
            flush(partial)
    except OSError as error:
        raise RunError(f"{file} cannot be written ({error}); make room and give the same command again") from error
    return file


def number_of(file: Path) -> int:
    """Return the number of a member."""
    return int(file.stem.split("-")[1])


def named(number: int, weights: Path) -> str:
    """Return the name of a member's file, which says what it holds."""
    return MEMBERS.replace("*", f"{number}-{sha256(weights)[:16]}")


def load_models(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> list[MultiModalMAE]:
    """Return the trained model and its members, ready for inference.

    Raises
    ------
    RunError
        If weights cannot be read, or are those of another structure.
    """
    models = [checkpoint.model(device)]
    for file in member_files(checkpoint):
        member = MultiModalMAE(checkpoint.structure)
        if file.name != named(number_of(file), file):
            raise RunError(f"{file} does not hold what was written; remove it, and continue the run with --resume")
        try:
            member.load_state_dict(load_file(file))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise RunError(f"{file} cannot be read as weights of the run's model; remove it or train again") from error
        models.append(member.to(device).eval())
    return models
