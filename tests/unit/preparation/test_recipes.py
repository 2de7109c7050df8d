"""The recipes of the documentation, run on the observed data where these are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from watercli.config import Config, parse
from watercli.preparation.prepare import prepare
from watercli.store import Store

PAGE = Path(__file__).parents[3] / "docs" / "guide" / "recipes.md"
RECIPES = {
    config.name: config
    for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for config in [parse(yaml.safe_dump(yaml.safe_load(text)), origin=PAGE.name)]
}
WITHOUT_SAMPLE = {"camels-us", "era5-land-nrfa"}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in WITHOUT_SAMPLE])
def test_recipe(name: str, real_data: Path, tmp_path: Path) -> None:
    config: Config = RECIPES[name]
    store = prepare(config, tmp_path / "store.zarr", data=real_data)
    assert Store.open(store.path).config == config
    for modality in config.modalities:
        train = store.dataset[modality].isel(time=store.period("train"))
        assert np.isfinite(train.values).any(), modality


def test_rain_is_the_same_at_every_resolution(real_data: Path, tmp_path: Path) -> None:
    """Two products of one source on one target: the mean of a year over the land of both differs by little."""
    store = prepare(RECIPES["gb-two-resolutions"], tmp_path / "store.zarr", data=real_data)
    fine, coarse = (store.dataset[name].mean("time").values for name in ("precip", "precip_coarse"))
    both = np.isfinite(fine + coarse)
    assert abs(fine[both].mean() / coarse[both].mean() - 1) < 0.01
    assert np.corrcoef(fine[both], coarse[both])[0, 1] > 0.9
    for name in ("precip", "precip_coarse"):
        change = re.search(r"\(([+-][\d.]+) %\)$", store.dataset[name].attrs["regridding"])
        assert change is not None
        assert -5 < float(change[1]) <= 0  # what lies in cells at the coast that are left out


def test_rain_from_the_grid_is_that_of_the_catchment(real_data: Path, tmp_path: Path) -> None:
    """CAMELS-GB's own precipitation, of the true boundaries, against the mean over the disc; no flow is asked for."""
    modalities = RECIPES["gb-catchment-weather"].model_dump(mode="json")
    own = {"kind": "series", "units": "mm/day", "source": {"reader": "camels_gb", "variable": "precipitation"}}
    own["source"]["files"] = "camels_gb/timeseries/*.csv"  # type: ignore[index]
    modalities["modalities"]["own"] = own
    store = prepare(Config.model_validate(modalities), tmp_path / "store.zarr", data=real_data)
    found = []
    for gauge in store.gauge_ids:
        mean, record = (store.dataset[name].sel(catchment=gauge).values for name in ("precip_mean", "own"))
        both = np.isfinite(mean + record)
        found.append(float(np.corrcoef(mean[both], record[both])[0, 1]))
    assert np.median(found) > 0.95
