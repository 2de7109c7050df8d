"""Outputs that appear whole or not at all."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from watercli.output.atomic import Target


def test_stale_remains_go_and_living_ones_stay(tmp_path: Path) -> None:
    host, dead = socket.gethostname(), 2**22 + 1  # above the kernel's greatest process id
    stale = tmp_path / f".emb.zarr.partial-{host}-{dead}"
    living = tmp_path / f".emb.zarr.partial-{host}-{os.getppid()}"
    elsewhere = tmp_path / f".emb.zarr.partial-another-machine-{dead}"
    for folder in (stale, living, elsewhere):
        folder.mkdir()
    with Target(tmp_path / "emb.zarr", False, "embeddings", lambda path: False).writing() as partial:
        partial.mkdir()
    assert (tmp_path / "emb.zarr").is_dir()
    assert not stale.exists()
    assert living.exists()
    assert elsewhere.exists()
