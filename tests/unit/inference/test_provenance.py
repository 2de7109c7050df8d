"""Gauges, years and stores that a run was not trained on: embedded without retraining, flagged, or refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.unit.inference.conftest import Settings, written
from tests.unit.inference.test_embed import flag
from watercli.errors import ConfigError
from watercli.inference import provenance
from watercli.inference.embed import embed
from watercli.inference.embedder import Embedder
from watercli.output.sealed import read_sealed, sealed
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store

NEW = ["07007", "08008", "09009", "10010"]


def without(store: Store, path: Path, name: str) -> Store:
    """Return a store that never had a modality."""
    raw = store.config.model_dump(mode="json")
    del raw["modalities"][name]
    raw["embed"]["excluded_inputs"], raw["evaluate"]["target"], raw["target"] = [], "evap", None
    config = type(store.config).model_validate(raw)
    dataset = store.dataset.drop_vars(name)
    changed = replace(store, dataset=dataset)
    return written(changed, path, len(store.times), config=config.to_yaml(), fingerprint="without")


def test_new_gauges_and_years(
    fused: Checkpoint, other_store: Store, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("INFO", "watercli"):
        patch.setattr("watercli.log.log.propagate", True)
        out = embed(
            fused, other_store, tmp_path / "emb.zarr", settings(since="2002-03-20", excluded_inputs=(), stride=5)
        )
    found = xr.open_zarr(out)
    assert "other.zarr is another store than that of the training (recipe.period.end: 2002-03-31 -> 2002-06-30" in (
        caplog.text
    )
    assert f"4 of 10 gauges were not in training ({', '.join(NEW)})" in caplog.text
    assert "another store" in found.attrs["store_changed"]
    assert found.attrs["run_store_fingerprint"] != found.attrs["store_fingerprint"] == other_store.fingerprint
    gauges = list(found["catchment"].values)
    assert [gauge for gauge, role in zip(gauges, found["gauge_role"].values, strict=True) if role == 0] == NEW
    # Hidden are the gauges that training did not see, whatever their rank in this store.
    assert [gauge for gauge, role in zip(gauges, found["gauge_role"].values, strict=True) if role == 2] == [
        "02002",
        "05005",
    ]
    assert flag(found, "new_gauge").any(1).sum() == 4
    visible = flag(found, "riverflow_visible")
    assert not visible[[1, 4]].any()
    assert visible[[0, 2, 3, 5, 6, 7, 8, 9]].all()
    assert np.isfinite(found["embedding"].sel(modality="evap").values).mean() > 0.9
    test = found["split"].values == 3
    assert set(found["split"].values) == {0, 3}
    assert str(found["time"].values[test][-1])[:10] <= "2002-03-31" < str(found["time"].values[~test][0])[:10]


def test_attributes_outside_the_training_are_flagged(
    fused: Checkpoint, tiny_store: Store, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    static = tiny_store.dataset["static"].copy(deep=True).load()
    static.loc["03003", "area"] *= 50
    store = replace(tiny_store, dataset=tiny_store.dataset.assign(static=static))
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("WARNING", "watercli"):
        patch.setattr("watercli.log.log.propagate", True)
        found = xr.open_zarr(embed(fused, store, tmp_path / "emb.zarr", settings(since="2002-03-25")))
    # The range is that of gauges in training: 05005, which is held out, lies farthest to the east or to the west.
    assert "2 of 6 gauges have attributes outside the range of the training (03003: area; 05005:" in caplog.text
    beyond = found["attribute_outside"]
    assert int(beyond.sum()) == 2
    assert beyond.sel(catchment="03003", attribute="area") == 1
    assert flag(found, "attributes_outside").all(1).tolist() == [g in ("03003", "05005") for g in tiny_store.gauge_ids]


def test_a_store_without_river_flow(fused: Checkpoint, tiny_store: Store, settings: Settings, tmp_path: Path) -> None:
    """From weather and attributes alone: what is hidden need not be there."""
    store = without(tiny_store, tmp_path / "ungauged.zarr", "riverflow")
    chosen = settings(since="2002-03-20", decoder_state=True)
    found = xr.open_zarr(embed(fused, store, tmp_path / "emb.zarr", chosen))
    wanted = xr.open_zarr(embed(fused, tiny_store, tmp_path / "whole.zarr", chosen))
    for name in ("embedding", "decoder_state"):
        np.testing.assert_allclose(found[name].values, wanted[name].values, rtol=1e-4, atol=1e-5)
    assert "'riverflow' is absent" in found.attrs["store_changed"]
    assert not flag(found, "riverflow_observed").any()
    with pytest.raises(ConfigError, match=r"'riverflow' \(series, mm/day\) is absent in .*ungauged.zarr"):
        Embedder(fused, store, ())


def test_a_checkpoint_that_did_not_record_what_it_knows(
    fused: Checkpoint, tiny_store: Store, other_store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the store that it was trained on all is known; of another it is said that it is not."""
    place = Path(shutil.copytree(fused.path, tmp_path / "checkpoint"))
    raw = read_sealed(place / "checkpoint.json")
    del raw["gauges"], raw["splits"]
    for scale in raw["scaling"]["attributes"].values():
        del scale["least"], scale["most"]
    (place / "checkpoint.json").write_text(sealed(raw))
    old = Checkpoint.read(place)
    assert provenance.roles(old, tiny_store, tiny_store.gauge_ids).tolist() == [1, 2, 1, 1, 2, 1]
    days = np.arange(len(tiny_store.times))
    assert provenance.splits(old, tiny_store, days).tolist() == provenance.splits(fused, tiny_store, days).tolist()
    beyond = provenance.outside(old, tiny_store, np.arange(6))
    assert beyond is not None
    assert not beyond.any()
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("WARNING", "watercli"):
        patch.setattr("watercli.log.log.propagate", True)
        provenance.log_novelty(old, other_store, np.arange(10))
    assert "does not record its gauges: all 10 count as new" in caplog.text
    assert "does not record the range of its attributes" in caplog.text


def test_dates_after_the_training_are_never_training(fused: Checkpoint, tiny_store: Store) -> None:
    """A store whose splits were moved does not move what the run was trained on."""
    moved = {
        "train": {"start": "2000-01-01", "end": "2002-01-31"},
        "validation": {"start": "2002-02-01", "end": "2002-02-10"},
        "test": {"start": "2002-02-11", "end": "2002-03-31"},
    }
    store = replace(tiny_store, dataset=tiny_store.dataset.assign_attrs(splits=json.dumps(moved)))
    days = np.arange(len(tiny_store.times))
    assert provenance.splits(fused, store, days).tolist() == provenance.splits(fused, tiny_store, days).tolist()
    shorter = replace(fused, splits={
        "train": {"start": "2000-01-01", "end": "2000-12-31"},
        "validation": {"start": "2001-01-01", "end": "2001-03-31"},
        "test": {"start": "2001-04-01", "end": "2001-12-31"},
    })  # fmt: skip
    found = provenance.splits(shorter, store, days)
    by_date = dict(zip(tiny_store.times.strftime("%Y-%m-%d"), found.tolist(), strict=True))
    assert [by_date[day] for day in ("2000-06-01", "2001-02-01", "2001-05-01", "2002-01-15", "2002-02-20")] == [
        1, 2, 3, 0, 3,
    ]  # fmt: skip
