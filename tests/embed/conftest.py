from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY
from watercli.checkpoint import Checkpoint, open_run
from watercli.config import Embed, load
from watercli.prepare import prepare
from watercli.store import Store

Settings = Callable[..., Embed]


@pytest.fixture(scope="session")
def fused(fused_run: Path) -> Checkpoint:
    """A causal, fused model with a memory; gauges 1 and 4 of its six were hidden from training."""
    return open_run(fused_run)


@pytest.fixture(scope="session")
def plain(tiny_run: Path) -> Checkpoint:
    """A model that is neither causal nor fused."""
    return open_run(tiny_run)


@pytest.fixture
def settings(fused: Checkpoint) -> Settings:
    """Make settings of an export, of three months unless told otherwise: ``settings(stride=3)``."""

    def make(**changes: object) -> Embed:
        given = {"since": "2002-01-01", "until": None, "stride": 1} | changes
        return Embed.model_validate(fused.config.embed.model_dump() | given)

    return make


@pytest.fixture(scope="session")
def other_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The tiny domain with ten gauges, of which four are new to the runs, and half a year more."""
    changes = ("recipe.demo.catchments=10", "recipe.period.end=2002-06-30")
    return prepare(load("demo", (*TINY, *changes)), tmp_path_factory.mktemp("other") / "other.zarr", data=None)


def written(store: Store, path: Path, days: int, **attributes: object) -> Store:
    """Return a store that holds the first days of another; ``attributes`` are those of its root."""
    dataset = store.dataset.isel(time=slice(None, days)).load().drop_encoding().assign_attrs(attributes)
    dataset.to_zarr(path, zarr_format=3, consolidated=True)
    return Store.open(path)
