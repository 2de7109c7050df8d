"""The shipped models are what their cards say: their weights give the stored scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import watercli as wc
from watercli.config import load
from watercli.hydrology.scores import nse
from watercli.library import places
from watercli.preparation.prepare import prepare
from watercli.run.evidence import has_evidence
from watercli.run.simulator import simulate
from watercli.run.view import as_read_by


@pytest.mark.parametrize("name", ["rivers", "rivers-gb"])
def test_they_are_whole_and_say_where_they_come_from(name: str) -> None:
    model = wc.load_model(name)
    assert has_evidence(model.checkpoint)
    assert sum(weight.numel() for weight in model.model.parameters()) > 200_000
    content = json.loads((places.shipped_folder() / name / "model.json").read_text(encoding="utf-8"))
    assert all(source["licence"] and source["citation"] for source in content["data"]["datasets"].values())
    assert (places.shipped_folder() / name / "card.md").read_text(encoding="utf-8").startswith(f"# {name}\n")


def test_a_model_of_two_countries_does_without_what_nobody_has() -> None:
    structure = wc.load_model("rivers").checkpoint.structure
    assert structure.attribute_flags
    optional = {name for name, modality in structure.modalities.items() if modality.dropout}
    assert optional == {"pet", "srad", "vp"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "recipe"), [("rivers", "gb-us"), ("rivers-gb", "gb-wide")])
def test_the_weights_give_the_stored_scores(name: str, recipe: str, real_data: Path, tmp_path: Path) -> None:
    """On the test years of the gauges that they were trained on."""
    store = prepare(load(recipe), tmp_path / f"{recipe}.zarr", data=real_data)
    checkpoint, period = wc.load_model(name).checkpoint, store.period("test")
    flow = simulate(checkpoint, as_read_by(checkpoint, store), "riverflow", period)
    observed = store.dataset["riverflow"].isel(time=period)
    scores = nse(
        xr.DataArray(flow, dims=("catchment", "time")), xr.DataArray(observed.values, dims=("catchment", "time"))
    )
    content = json.loads((places.shipped_folder() / name / "model.json").read_text(encoding="utf-8"))
    stored = content["scores"]["evaluation"]["all"]
    assert int(np.isfinite(scores).sum()) == stored["catchments"]
    assert float(scores.median()) == pytest.approx(stored["median_nse"]["simulation"], abs=0.002)
