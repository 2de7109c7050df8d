"""The river network in the store: the next gauge downstream, by a column of the attribute tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from watercli.errors import DataError
from watercli.preparation.readers import attributes, river_network
from watercli.store import Store

Build = Callable[..., Store]


def table(downstream: dict[str, str | float]) -> attributes.Table:
    rows = pd.DataFrame({"to": downstream.values()}, index=pd.Index(downstream, name="gauge_id"), dtype=object)
    return attributes.Table("network.csv", rows)


def test_the_store_holds_the_next_gauge_downstream(data: Path, build: Build) -> None:
    path = data / "attributes" / "topographic.csv"
    topographic = pd.read_csv(path, dtype=str)
    topographic.assign(to=["2002.0", "", "02002", "GB_10003"]).to_csv(path, index=False)
    store = build(recipe__catchments__downstream_id="to")
    assert store.downstream_ids == ["02002", "", "02002", "10003"]
    assert build().downstream_ids == []


def test_gauges_that_are_not_in_the_store_are_passed_over(logged: pytest.LogCaptureFixture) -> None:
    tables = [table({"1": "2", "2": "3", "3": "elsewhere", "4": np.nan})]
    assert river_network.read(tables, "to", ["1", "3", "4"]).tolist() == ["3", "", ""]
    assert "1 gauge (3) names a gauge downstream that is in no attribute table, such as 'elsewhere'" in logged.text


def test_a_river_that_flows_in_a_circle_is_refused() -> None:
    with pytest.raises(DataError, match=r"in a circle \(2 -> 3 -> 2\)"):
        river_network.read([table({"1": "2", "2": "3", "3": "2"})], "to", ["1", "2", "3"])
