"""An output named .nc or .csv is one file, with the values of the Zarr store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from watercli.config import Embed, Simulate
from watercli.errors import ConfigError
from watercli.inference.embed import embed
from watercli.inference.simulate import export_simulation, simulated_dataset
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store

WEEK = {"since": "2001-12-01", "until": "2001-12-07"}


def test_simulated_flow(fused: Checkpoint, tiny_store: Store, tmp_path: Path) -> None:
    settings = Simulate.model_validate(WEEK)
    expected = simulated_dataset(fused, tiny_store, settings)
    netcdf = export_simulation(fused, tiny_store, tmp_path / "new" / "flow.nc", settings)
    with xr.open_dataset(netcdf) as opened:
        xr.testing.assert_allclose(
            opened["riverflow"].drop_vars("gauge_name"), expected["riverflow"].drop_vars("gauge_name")
        )
        assert opened["riverflow"].attrs["units"] == "mm/day"
        assert opened["input_available"].dtype == np.int8
        assert opened.attrs["featureType"] == "timeSeries"
    rows = pd.read_csv(export_simulation(fused, tiny_store, tmp_path / "flow.csv", settings), dtype={"catchment": str})
    assert len(rows) == 7 * len(tiny_store.gauge_ids)
    own = rows[rows["catchment"] == tiny_store.gauge_ids[2]]
    np.testing.assert_allclose(own["riverflow"], expected["riverflow"].values[2], rtol=1e-5)
    assert own["time"].tolist() == [f"2001-12-0{day}" for day in range(1, 8)]
    assert (own["input_available.evap"] == 1).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flow.csv", "new"]


def test_embeddings(fused: Checkpoint, tiny_store: Store, tmp_path: Path) -> None:
    settings = Embed.model_validate(WEEK)
    exact = settings.model_copy(update={"dtype": "float32"})
    with xr.open_zarr(embed(fused, tiny_store, tmp_path / "zarr", exact)) as expected:
        with xr.open_dataset(embed(fused, tiny_store, tmp_path / "all.nc", settings)) as opened:
            assert opened["embedding"].dtype == np.float32
            np.testing.assert_allclose(opened["embedding"], expected["embedding"], rtol=1e-5)
        rows = pd.read_csv(embed(fused, tiny_store, tmp_path / "all.csv", settings))
        column = rows["evap.1.mean.3"].to_numpy().reshape(7, -1)
        values = expected["embedding"].sel(modality="evap", feature_map=1, pooling="mean", channel=3)
        np.testing.assert_allclose(column, values.transpose("time", "catchment"), rtol=1e-4, atol=1e-6)


def test_what_may_not_be_is_refused(fused: Checkpoint, tiny_store: Store, tmp_path: Path) -> None:
    settings = Simulate.model_validate(WEEK)
    out = tmp_path / "flow.nc"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="exists; give another --out, or --overwrite"):
        export_simulation(fused, tiny_store, out, settings)
    assert out.read_text(encoding="utf-8") == "mine"
    export_simulation(fused, tiny_store, out, settings, overwrite=True)
    assert out.read_bytes().startswith(b"\x89HDF")
    with pytest.raises(ConfigError, match=r"One CSV cannot hold rows and patches; write \.nc"):
        embed(fused, tiny_store, tmp_path / "all.csv", Embed.model_validate(WEEK | {"patches": True}))
    with pytest.raises(ConfigError, match="one file, which one process writes"):
        embed(fused, tiny_store, tmp_path / "all.csv", Embed.model_validate(WEEK), processes=2)
    assert [path.name for path in tmp_path.iterdir()] == ["flow.nc"]
