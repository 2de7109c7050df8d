"""Tensors in files of safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def write_tensors(tensors: Mapping[str, Tensor], file: Path, about: dict[str, str] | None = None) -> None:
    """Write tensors and what is said ``about`` them; who may read the file is as of any other file.

    safetensors itself leaves a file to its owner alone, so that nobody else could use a run or a model.
    """
    file.touch()
    mode = file.stat().st_mode
    save_file(dict(tensors), file, about)
    file.chmod(mode)
