"""The recipes of the page for users of neuralhydrology read the files that neuralhydrology reads."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests import factory
from tests.unit.preparation.test_series import TO_MM, flow, write_forcing, write_usgs
from watercli.config import Config, abilities, parse
from watercli.preparation.prepare import prepare
from watercli.store import Store
from watercli.training.pretrain import pretrain

PAGE = Path(__file__).parents[3] / "docs" / "guide" / "neuralhydrology.md"
GAUGES = ("01001", "02002", "10003")
"""Of the list; the files hold one basin more."""
SHORT = (
    "recipe.period={start: 2001-01-01, end: 2001-12-31}",
    "recipe.splits.train={start: 2001-01-01, end: 2001-06-30}",
    "recipe.splits.validation={start: 2001-07-01, end: 2001-09-30}",
    "recipe.splits.test={start: 2001-10-01, end: 2001-12-31}",
    "recipe.grid.crs=EPSG:27700",
)
FEW_STEPS = ("model.width=16", "model.decoder_width=16", "model.recurrence={warmup_days: 30}", "window_days=30",
             "train.batch_size=2", "train.steps=2", "train.evidence=null")  # fmt: skip


def recipe(name: str, *settings: str) -> Config:
    """Return a recipe of the page, its periods cut down to those of the synthetic files."""
    (block,) = re.findall(rf"^```yaml\n(name: {name}\n.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return parse(block, origin=PAGE.name, overrides=(*SHORT, *settings), given=True)


def attributes(root: Path, columns: str) -> pd.DataFrame:
    """Return places and areas of the synthetic gauges, and further columns."""
    factory.write_attributes(root)
    table = pd.read_csv(root / "attributes" / "topographic.csv", dtype={"gauge_id": str})
    rng = np.random.default_rng(0)
    return table.assign(**{name: rng.uniform(1, 9, len(table)) for name in columns.split()})


@pytest.fixture
def camels_us(tmp_path: Path) -> Store:
    """CAMELS-US as it is published: text files by hydrological region, tables separated by semicolons."""
    times = factory.days()
    for seed, gauge in enumerate(factory.GAUGES):
        write_usgs(tmp_path, gauge, times, flow(seed))
        write_forcing(tmp_path, gauge, times, flow(seed + 10), capitals=True)
        daymet = write_forcing(tmp_path, gauge, times, flow(seed + 20), capitals=False)
        folder = tmp_path / "basin_mean_forcing" / "daymet" / gauge[:2]
        folder.mkdir(parents=True)
        daymet.rename(folder / daymet.name)
    columns = "elev_mean slope_mean p_mean aridity frac_snow frac_forest clay_frac"
    table = attributes(tmp_path, columns).rename(columns={"area": "area_gages2"})
    folder = tmp_path / "camels_attributes_v2.0"
    folder.mkdir()
    table.drop(columns="clay_frac").to_csv(folder / "camels_topo.txt", sep=";", index=False)
    table[["gauge_id", "clay_frac"]].to_csv(folder / "camels_soil.txt", sep=";", index=False)
    (tmp_path / "basins.txt").write_text("\n".join(GAUGES) + "\n", encoding="utf-8")
    return prepare(recipe("camels-us-text"), tmp_path / "us.zarr", data=tmp_path)


def test_camels_us_as_it_is_published(camels_us: Store) -> None:
    assert camels_us.gauge_ids == list(GAUGES)
    for seed in range(len(GAUGES)):
        own = {name: camels_us.dataset[name].values[seed] for name in camels_us.config.modalities}
        np.testing.assert_allclose(own["riverflow"], flow(seed) * 0.3048**3 * TO_MM[seed], rtol=1e-5)
        np.testing.assert_allclose(own["prcp_maurer"], flow(seed + 10), rtol=1e-5)
        np.testing.assert_allclose(own["prcp_daymet"], flow(seed + 20), rtol=1e-5)


def test_a_directory_of_netcdfs_becomes_a_model(tmp_path: Path) -> None:
    times, folder = factory.days(), tmp_path / "time_series"
    folder.mkdir()
    for seed, gauge in enumerate(factory.GAUGES):
        series = {name: ("date", flow(seed + 10 * number)) for number, name in enumerate(("prcp", "tmean", "q_obs"))}
        xr.Dataset(series, coords={"date": times}).to_netcdf(folder / f"{gauge}.nc")
    attributes(tmp_path, "slope")[["gauge_id", "slope", "area", "gauge_lat", "gauge_lon"]].to_csv(
        tmp_path / "attributes" / "topographic.csv", index=False
    )
    (tmp_path / "basins.txt").write_text("\n".join(GAUGES) + "\n", encoding="utf-8")
    store = prepare(recipe("generic", *FEW_STEPS), tmp_path / "generic.zarr", data=tmp_path)
    np.testing.assert_allclose(store.dataset["runoff"].values[1], flow(21), rtol=1e-5)
    assert abilities(store.config, 3) == [
        "A run of 'generic' will simulate 'runoff', forecast 'runoff', embed catchments"
    ]
    best = pretrain(store.config, store, tmp_path / "run")
    assert best.validation_nse is not None
    assert best.config.train.attribute_noise_std == 0.5
