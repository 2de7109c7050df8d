"""Folds of gauges: by rank, by region, by a group or an attribute of the store."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from watercli.config import with_overrides
from watercli.data.held_out import held_out_catchments
from watercli.errors import ConfigError
from watercli.store import GROUP, Store


@pytest.fixture(scope="module")
def grouped(tiny_store: Store) -> Store:
    """The tiny store with hydrological units; of six gauges, two are in the first."""
    units = np.array(["03", "01", "01", "17", "03", "03"], dtype=object)
    return replace(tiny_store, dataset=tiny_store.dataset.assign_coords({f"{GROUP}huc_02": ("catchment", units)}))


def held_out(store: Store, settings: str) -> list[int]:
    config = with_overrides(store.config, [f"train.held_out_gauges={settings}"])
    return [int(number) for number in np.flatnonzero(held_out_catchments(store, config))]


def test_every_class_of_a_group_is_a_fold(grouped: Store) -> None:
    assert held_out(grouped, "{by: huc_02, fold: 0}") == [1, 2]
    assert held_out(grouped, "{by: huc_02, fold: 1}") == [0, 4, 5]
    assert held_out(grouped, "{by: huc_02, fold: 2}") == [3]


def test_an_attribute_sorts_as_well(grouped: Store) -> None:
    name = grouped.attribute_names[0]
    order = np.argsort(grouped.dataset["static"].sel(attribute=name).values)
    assert held_out(grouped, f"{{by: {name}, fold: 5}}") == [order[-1]]


def test_rank_needs_its_number_of_folds(grouped: Store) -> None:
    assert held_out(grouped, "{folds: 3, fold: 1}") == [1, 4]
    with pytest.raises(ConfigError, match="must be below folds"):
        held_out(grouped, "{folds: 3, fold: 3}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{by: huc_02, fold: 3}", r"fold' is 3, but 'huc_02' has 3 classes in .* \(01, 03, 17\)"),
        ("{by: huc_2, fold: 0}", r"by' is 'huc_2', which .* lacks.*did you mean 'huc_02'"),
        ("{folds: 10, fold: 6}", r"holds out none of the 6 gauges of .* 10 folds; ask for at most 6"),
        ("{by: region, folds: 10, fold: 0}", r"holds out none of the 6 gauges of .* 10 folds; ask for at most 6"),
    ],
)
def test_what_the_store_lacks_is_said(grouped: Store, settings: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        held_out(grouped, settings)
