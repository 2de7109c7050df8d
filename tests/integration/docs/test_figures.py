"""The script that draws the documentation's figures works on any store, and its scores are right."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

from tests.integration.docs.test_renames import load
from watercli.store import Store

ROOT = Path(__file__).parents[3]
SVG = "{http://www.w3.org/2000/svg}"
FIGURES = load(ROOT / "docs" / "figures.py")


@pytest.fixture(autouse=True)
def close_figures() -> None:
    plt.close("all")


def simulated(store: Store, factor: float) -> xr.Dataset:
    """Return flow that is the observed one times a factor, with the last quarter of the days as test period."""
    flow = store.dataset.riverflow.load() * factor
    days = flow.sizes["time"]
    return xr.Dataset({"riverflow": flow, "split": ("time", np.where(np.arange(days) >= 0.75 * days, 3, 1))})


def test_drawings_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FIGURES, "ASSETS", tmp_path / "assets")
    FIGURES.main([])
    names = sorted(path.name for path in (tmp_path / "assets").iterdir())
    assert names == ["data-flow.svg", "model.svg"]
    for name in names:
        drawn = ElementTree.parse(tmp_path / "assets" / name).getroot()
        shapes = [group for group in drawn.iter(f"{SVG}g") if str(group.get("id")).startswith(("patch_", "text_"))]
        assert len(shapes) > 20, f"{name} is blank"


@pytest.mark.parametrize("factor", [1.0, 0.0])
def test_scores_of_the_hydrograph(tiny_store: Store, factor: float) -> None:
    gauge = tiny_store.gauge_ids[0]
    flow = simulated(tiny_store, factor)
    figure = FIGURES.hydrograph_and_map(tiny_store.dataset, flow, gauge)
    title = figure.axes[0].get_title(loc="left")
    score = float(re.search(r"NSE (-?[\d.]+)$", title)[1])  # type: ignore[index]
    observed = flow.riverflow if factor else tiny_store.dataset.riverflow
    observed = observed.isel(time=flow.split.values == 3).sel(catchment=gauge).values
    expected = 1.0 if factor else 1 - np.nansum(observed**2) / np.nansum((observed - np.nanmean(observed)) ** 2)
    assert title.startswith(gauge)
    assert score == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("name", ["data-flow", "model", "hydrograph-and-map"])
def test_figures_are_in_the_repository(name: str) -> None:
    file = ROOT / "docs" / "assets" / f"{name}.svg"
    assert file.stat().st_size < 200_000
    assert any(
        file.name in page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
    )
