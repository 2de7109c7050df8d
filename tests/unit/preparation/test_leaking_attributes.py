"""Attributes computed from flow: refused where gauges are held out, warned of elsewhere; what is not, passes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.factory import config, data_folder
from watercli.config import Catchments, Config, load, with_overrides
from watercli.errors import ConfigError
from watercli.hydrology.flow_attributes import COMPUTED_FROM_FLOW, flow_attributes, warn_of_correlation
from watercli.preparation.prepare import prepare

LEAKING = ["q_mean", "runoff_ratio", "baseflow_index", "slope_fdc", "Q5", "Q95", "hfd_mean", "high_q_freq",
           "high_q_dur", "low_q_freq", "low_q_dur", "stream_elas", "zero_q_freq", "run_mm_syr", "dis_m3_pyr",
           "baseflow_index_ceh", "q95_uncert_upper"]  # fmt: skip
"""Those that the data's README names, and their like in CAMELS and HydroATLAS."""
HELD_OUT = "train.held_out_gauges={fold: 0}"


def leaking(*changes: str) -> Config:
    """Return the synthetic recipe with an attribute that is computed from flow."""
    changed = config(recipe__catchments__attributes__wet={"column": "q_mean", "units": "mm/day"})
    return with_overrides(changed, list(changes))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The synthetic data, whose attribute table holds the mean flow as well."""
    folder = data_folder(tmp_path / "data")
    table = folder / "attributes" / "topographic.csv"
    rows = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([f"{rows[0]},q_mean", *(f"{row},{i}.5" for i, row in enumerate(rows[1:]))]))
    return folder


@pytest.mark.parametrize("column", LEAKING)
def test_what_is_computed_from_flow_is_known_by_its_name(column: str) -> None:
    catchments = Catchments.model_validate({"attributes": {"wetness": {"column": column}}})
    assert flow_attributes(catchments) == {"wetness": column}


@pytest.mark.parametrize("name", ["gb12", "gb", "camels-us", "camels-us-both", "gb-wide", "gb-us"])
def test_attributes_of_the_shipped_configurations_pass(name: str) -> None:
    recipe = load(name).recipe
    assert recipe is not None
    assert recipe.catchments is not None
    assert flow_attributes(recipe.catchments) == {}
    assert len(recipe.catchments.attributes) == {"gb12": 26, "camels-us": 27, "camels-us-both": 27}.get(
        name, len(recipe.catchments.attributes)
    )


def test_of_the_official_british_attributes_the_hydrological_signatures_are_known(real_data: Path) -> None:
    with (real_data / "camels_gb_long" / "CAMELS_GB_attributes.csv").open(encoding="utf-8") as file:
        columns = next(csv.reader(file))
    first, last = columns.index("q_mean"), columns.index("zero_q_freq")
    known = [column for column in columns if COMPUTED_FROM_FLOW.fullmatch(column.lower())]
    assert columns[first : last + 1] == known[: last + 1 - first]
    others = {"flow_period_start", "flow_period_end", "flow_perc_complete", "bankfull_flow", "structurefull_flow"}
    assert {column for column in known[last + 1 - first :] if "_uncert_" not in column} == others


def test_held_out_gauges_refuse_it(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"computed from flow are inputs: wet \(column q_mean\), which tell"):
        prepare(leaking(HELD_OUT), tmp_path / "store.zarr", data=data)
    assert not (tmp_path / "store.zarr").exists()


@pytest.mark.parametrize("changes", [[], [HELD_OUT, "recipe.catchments.allow_flow_attributes=true"]])
def test_elsewhere_it_is_warned_of(
    data: Path, tmp_path: Path, changes: list[str], logged: pytest.LogCaptureFixture
) -> None:
    store = prepare(leaking(*changes), tmp_path / "store.zarr", data=data)
    assert "wet" in store.attribute_names
    assert [text for text in logged.messages if text.startswith("Attributes computed from flow are inputs: wet")]


def test_what_ranks_catchments_as_their_flow_does_is_warned_of(logged: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    mean = rng.gamma(2.0, 1.0, 40)
    attributes = np.stack([mean**2, mean + rng.normal(0, 1.0, 40), np.ones(40)], axis=1)
    part = xr.Dataset(
        {
            "riverflow": (("catchment", "time"), np.repeat(mean[:, None], 4, 1)),
            "static": (("catchment", "attribute"), attributes),
        },
        coords={
            "attribute": ["yield", "rain", "same"],
            "time": np.arange("2001-01-01", "2001-01-05", dtype="M8[D]").astype("M8[ns]"),
        },
    )
    warn_of_correlation(part, ["riverflow"], slice("2001-01-01", "2001-01-03"))
    assert len(logged.messages) == 1
    assert logged.messages[0].startswith("Attribute 'yield' correlates at 1.00 with the mean of 'riverflow'")
