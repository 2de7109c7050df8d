from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from watercli.config import Embed
from watercli.run.checkpoint import Checkpoint
from watercli.run.directory import open_run
from watercli.store import Store

Settings = Callable[..., Embed]


@pytest.fixture(scope="session")
def plain(tiny_run: Path) -> Checkpoint:
    """A model that is not causal and has no cross-modal attention."""
    return open_run(tiny_run)


@pytest.fixture
def settings(fused: Checkpoint) -> Settings:
    """Make settings of an export, of three months unless told otherwise: ``settings(stride=3)``."""

    def make(**changes: object) -> Embed:
        given = {"since": "2002-01-01", "until": None, "stride": 1, "dtype": "float32"} | changes
        return Embed.model_validate(fused.config.embed.model_dump() | given)

    return make


def written(store: Store, path: Path, days: int, **attributes: object) -> Store:
    """Return a store that holds the first days of another; ``attributes`` are those of its root."""
    dataset = store.dataset.isel(time=slice(None, days)).load().drop_encoding().assign_attrs(attributes)
    dataset.to_zarr(path, zarr_format=3, consolidated=True)
    return Store.open(path)
