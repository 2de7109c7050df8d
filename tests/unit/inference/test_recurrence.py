"""Simulations and embeddings of a model whose series are encoded by a recurrence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from watercli.config import Embed, Simulate
from watercli.inference.embed import embeddings_dataset
from watercli.inference.simulate import simulated_dataset
from watercli.run.checkpoint import Checkpoint
from watercli.run.directory import open_run
from watercli.store import Store
from watercli.training.metrics_log import read_metrics


@pytest.fixture(scope="module")
def checkpoint(recurrent_run: Path) -> Checkpoint:
    return open_run(recurrent_run)


def test_a_day_is_simulated_alike_whatever_is_asked_for(checkpoint: Checkpoint, tiny_store: Store) -> None:
    every = simulated_dataset(checkpoint, tiny_store, Simulate())["riverflow"]
    some = simulated_dataset(
        checkpoint, tiny_store, Simulate(since="2001-03-03", until="2001-04-20", catchments=("03003",))
    )["riverflow"]
    assert np.isfinite(every).all()
    np.testing.assert_allclose(some, every.sel(catchment=["03003"], time=some["time"]), rtol=1e-5)


def test_embeddings_see_no_flow_unless_asked(checkpoint: Checkpoint, tiny_store: Store) -> None:
    settings = Embed(since="2002-01-01", until="2002-01-10", decoder_state=True)
    embeddings = embeddings_dataset(checkpoint, tiny_store, settings).load()
    assert np.isfinite(embeddings["decoder_state"]).all()
    dataset = tiny_store.dataset.assign(riverflow=tiny_store.dataset["riverflow"] * 3 + 1)
    other = embeddings_dataset(checkpoint, replace(tiny_store, dataset=dataset), settings).load()
    for name in ("embedding", "decoder_state"):
        np.testing.assert_array_equal(embeddings[name], other[name])


def test_training_validates_by_simulation(recurrent_run: Path) -> None:
    rows = [row for row in read_metrics(recurrent_run) if row["split"] == "validation"]
    assert all(np.isfinite(row["nse/riverflow"]) for row in rows)


def test_grids_are_embedded_by_windows_of_their_own(checkpoint: Checkpoint, tiny_store: Store) -> None:
    """A date's embedding does not depend on which modalities and dates are embedded beside it."""
    assert checkpoint.config.grid_days < checkpoint.config.window_days
    settings = Embed(since="2002-01-01", until="2002-01-30", pooling=("last", "days"))
    every = embeddings_dataset(checkpoint, tiny_store, settings).load()
    assert list(every["modality"].values) == ["precip", "soil", "temp", "evap"]
    assert np.isfinite(every["embedding"].sel(pooling="last", modality=["precip", "soil", "temp"])).all()
    assert list(every["pooling"].values)[:2] == ["last", "lag_0"]
    beyond = every["embedding"].sel(modality="soil", pooling=[f"lag_{lag}" for lag in range(6, 20)])
    assert np.isnan(beyond).all()
    assert int(every["visible_days"].sel(modality="soil").max()) == 6
    settings = Embed(since="2002-01-09", until="2002-01-20", modalities=("soil",), pooling=("last",))
    soil = embeddings_dataset(checkpoint, tiny_store, settings)["embedding"].load()
    same = every["embedding"].sel(modality=["soil"], pooling=["last"], time=soil["time"])
    np.testing.assert_allclose(soil, same, rtol=1e-5, atol=1e-6)
