"""Embeddings: what they hold, what they see, what is refused."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from watercli.config import with_overrides
from watercli.data.scaling import Scale
from watercli.errors import ConfigError, RunError
from watercli.inference import embedding_layout, layout
from watercli.inference.embed import embed
from watercli.inference.embedder import Embedder
from watercli.inference.embedding_layout import layer_weights
from watercli.run.checkpoint import Checkpoint
from watercli.run.directory import open_run
from watercli.store import Store


@pytest.fixture(scope="module")
def checkpoint(tiny_run: Path) -> Checkpoint:
    return open_run(tiny_run)


@pytest.fixture(scope="module")
def embeddings(checkpoint: Checkpoint, tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    out = tmp_path_factory.mktemp("embeddings") / "emb.zarr"
    settings = with_overrides(checkpoint.config, ["embed.stride=10", "embed.dtype=float32"]).embed
    embed(checkpoint, tiny_store, out, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xr.open_zarr(out)


def test_labels(embeddings: xr.Dataset, checkpoint: Checkpoint, tiny_store: Store) -> None:
    dims = ("catchment", "time", "modality", "feature_map", "pooling", "channel")
    assert embeddings["embedding"].dims == dims
    assert list(embeddings["catchment"].values) == tiny_store.gauge_ids
    assert list(embeddings["modality"].values) == ["precip", "soil", "temp", "evap"]
    assert list(embeddings["pooling"].values) == ["last", "mean"]
    assert embeddings.sizes["feature_map"] == 2
    assert embeddings.sizes["channel"] == 16
    length = embeddings["time"].values - embeddings["window_start"].values
    assert (length == np.timedelta64(9, "D")).all()
    assert embeddings.attrs["run_fingerprint"] == checkpoint.fingerprint_of_weights()
    assert embeddings.attrs["store_fingerprint"] == tiny_store.fingerprint
    assert embeddings.attrs["excluded_inputs"] == ["riverflow"]
    test = embeddings["time"].values[embeddings["split"].values == 3]
    assert str(test[0]) >= "2002-01-01"
    assert np.isfinite(embeddings["embedding"].values).mean() > 0.9


def test_layer_weights_are_those_of_the_model(embeddings: xr.Dataset, checkpoint: Checkpoint) -> None:
    found = embeddings["layer_weight"].sel(modality="soil").values
    np.testing.assert_array_equal(found, layer_weights(checkpoint)["soil"])
    assert np.isnan(embeddings["layer_weight"].sel(modality="evap").values[:, 1]).all(), "its encoder has one layer"


def one(embedder: Embedder, day: int) -> np.ndarray:
    (_, values), *_ = embedder.windows(np.array([day]), 1)
    return values[0]


def changed(store: Store, name: str, days: slice) -> Store:
    """Return the store with other values of a modality on some days."""
    dataset = store.dataset.load().copy()
    values = dataset[name].values.copy()
    where = (slice(None), days) if store.config.modalities[name].kind == "series" else days
    values[where] = values[where] * 2 + 1
    dataset[name] = (dataset[name].dims, values, dataset[name].attrs)
    return replace(store, dataset=dataset)


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have grids read from the (changed) dataset instead of the store's files."""
    from watercli.data.land_patches import LandPatches, land_cells

    def of(store: Store, name: str, scale: Scale) -> LandPatches:
        return LandPatches(store.dataset[name], land_cells(store), scale, (1.0, 0.0), store.fingerprint)  # type: ignore[arg-type]

    monkeypatch.setattr(LandPatches, "of", of)


@pytest.fixture(params=["tiny_run", "fused_run"])
def either(request: pytest.FixtureRequest) -> Checkpoint:
    """The checkpoint of a plain run, and that of a causal one with a memory."""
    return open_run(request.getfixturevalue(request.param))


@pytest.mark.usefixtures("in_memory")
def test_nothing_later_is_seen(either: Checkpoint, tiny_store: Store) -> None:
    checkpoint, day = either, 501
    before = one(Embedder(checkpoint, tiny_store, ("riverflow",)), day)
    for name in ("precip", "evap"):
        later = changed(tiny_store, name, slice(day + 1, None))
        np.testing.assert_allclose(one(Embedder(checkpoint, later, ("riverflow",)), day), before, rtol=1e-5, atol=1e-6)
        now = changed(tiny_store, name, slice(day, day + 1))
        assert np.nanmax(np.abs(one(Embedder(checkpoint, now, ("riverflow",)), day) - before)) > 1e-4


@pytest.mark.usefixtures("in_memory")
def test_hidden_flow_is_not_seen(either: Checkpoint, tiny_store: Store) -> None:
    checkpoint = either
    other = changed(tiny_store, "riverflow", slice(None))
    for hide, same in ((("riverflow",), True), ((), False)):
        before = one(Embedder(checkpoint, tiny_store, hide), 500)
        after = one(Embedder(checkpoint, other, hide), 500)
        assert np.array_equal(before, after, equal_nan=True) is same


@pytest.mark.usefixtures("in_memory")
def test_a_memory_reaches_beyond_the_window(fused_run: Path, tiny_store: Store) -> None:
    checkpoint, day = open_run(fused_run), 501
    before = one(Embedder(checkpoint, tiny_store, ("riverflow",)), day)
    for name in ("precip", "evap"):
        early = changed(tiny_store, name, slice(day - 60, day - 30))
        assert np.nanmax(np.abs(one(Embedder(checkpoint, early, ("riverflow",)), day) - before)) > 1e-4


def test_a_causal_embedding_is_the_same_whichever_dates_are_asked_for(fused_run: Path, tiny_store: Store) -> None:
    embedder = Embedder(open_run(fused_run), tiny_store, ("riverflow",))
    ends = embedder.ends(480, 520)
    together = dict(zip(*(np.concatenate(part) for part in zip(*embedder.windows(ends, 3), strict=True)), strict=True))
    assert list(together) == ends.tolist()
    starts = embedder.starts(ends)
    assert len(np.unique(starts)) < len(ends) / 4
    assert (starts <= ends).all()
    assert (ends - starts >= embedder.days // 2).all()
    for day in (480, 499, 503, 520):
        np.testing.assert_allclose(one(embedder, day), together[day], rtol=1e-4, atol=1e-5)


def test_pooling_by_hand(checkpoint: Checkpoint, tiny_store: Store) -> None:
    """The mean over a series' tokens, and the area-weighted mean of the last day's patches, computed plainly."""
    from multimodal_mae.masking import show_all

    embedder = Embedder(checkpoint, tiny_store, ("riverflow",))
    day, catchment = 480, 3
    found = one(embedder, day)[catchment]
    model, reader = embedder.model, embedder._reader
    everyone = np.arange(len(tiny_store.gauge_ids))[None]
    batch = reader.read(np.array([day - 9]), everyone)
    with torch.no_grad():
        features = model.encode(batch, show_all(batch, model.config, ("riverflow",)))
        series = features["evap"]
        kept = series.valid[catchment] & (series.index[catchment] >= 0)
        wanted = series.maps[1][catchment][kept].mean(0)
        np.testing.assert_allclose(found[3, 1, 1], wanted, rtol=1e-4, atol=1e-5)
        grid = features["soil"]
        area = torch.from_numpy(tiny_store.patch_weight[catchment])
        patches = len(area)
        visible = grid.index[0][grid.valid[0]]
        mine = area[visible % patches] > 0
        last = (visible // patches)[mine].max()
        weights = area[visible % patches] * (visible // patches == last)
        wanted = (weights[:, None] * grid.maps[0][0][grid.valid[0]]).sum(0) / weights.sum()
        np.testing.assert_allclose(found[1, 0, 0], wanted, rtol=1e-4, atol=1e-5)


def test_an_absent_modality_is_nan_not_zero(checkpoint: Checkpoint, tiny_store: Store) -> None:
    dataset = tiny_store.dataset.load().copy()
    gone = dataset["evap"].values.copy()
    gone[2, 490:500] = np.nan
    dataset["evap"] = (dataset["evap"].dims, gone)
    found = one(Embedder(checkpoint, replace(tiny_store, dataset=dataset), ("riverflow",)), 499)
    assert np.isnan(found[2, 3]).all()
    assert np.isfinite(found[3, 3]).all()
    assert np.isfinite(found[2, :3]).all()


def test_blocks_change_nothing_but_the_layout(
    embeddings: xr.Dataset,
    checkpoint: Checkpoint,
    tiny_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Blocks of five dates (the last one not full), in chunks of one catchment, hold what blocks of 64 do."""
    monkeypatch.setattr(embedding_layout, "BLOCK_DATES", 5)
    monkeypatch.setattr(layout, "CHUNK_BYTES", 1)
    settings = with_overrides(checkpoint.config, ["embed.stride=10", "embed.batch_size=2", "embed.dtype=float32"]).embed
    found = xr.open_zarr(embed(checkpoint, tiny_store, tmp_path / "emb.zarr", settings))["embedding"]
    assert found.chunks is not None
    assert found.chunks[0][0] == 1
    assert found.chunks[1][0] == 5
    assert found.encoding["shards"][:2] == (6, 5)
    np.testing.assert_allclose(found.values, embeddings["embedding"].values, atol=1e-5)


def test_refusals(checkpoint: Checkpoint, tiny_store: Store, embeddings: xr.Dataset, tmp_path: Path) -> None:
    settings = checkpoint.config.embed
    with pytest.raises(ConfigError, match=r"'riverflw'.*did you mean 'riverflow'"):
        Embedder(checkpoint, tiny_store, ("riverflw",))
    with pytest.raises(ConfigError, match="no modality"):
        Embedder(checkpoint, tiny_store, tuple(checkpoint.config.modalities))
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("dear")
    for overwrite in (False, True):
        with pytest.raises(ConfigError):
            embed(checkpoint, tiny_store, other, settings, overwrite=overwrite)
    assert (other / "thesis.txt").exists()
    without = replace(tiny_store, dataset=tiny_store.dataset.isel(attribute=slice(1, None)))
    with pytest.raises(ConfigError, match="lacks 'gauge_lat'"):
        Embedder(checkpoint, without, ("riverflow",))
    config = with_overrides(tiny_store.config, ["modalities.soil.units=percent"])
    with pytest.raises(ConfigError, match=r"'soil' \(grid, 1\) is a grid in percent"):
        Embedder(checkpoint, replace(tiny_store, config=config), ("riverflow",))


def test_weights_of_another_structure_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    import shutil

    moved = tmp_path / "checkpoint"
    shutil.copytree(checkpoint.path, moved)
    bigger = with_overrides(checkpoint.config, ["model.width=32"])
    with pytest.raises(RunError, match="belongs to another configuration"):
        replace(checkpoint, config=bigger, path=moved).model()
    (moved / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match="does not hold what was written"):
        replace(checkpoint, path=moved).model()
    with pytest.raises(RunError, match="cannot be read"):
        replace(checkpoint, path=moved, files={}).model()
