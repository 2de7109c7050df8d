"""The series inside the page: exact enough, and small enough."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from watercli.evaluation.diagnostics import Insight
from watercli.evaluation.report import explorer_data
from watercli.evaluation.report.explorer_data import MISSING, as_script, payload
from watercli.evaluation.simulation import Flow

GAUGES, DAYS = 8, 50
METHODS = ["simulation", "ema_mlp", "climatology", "persistence"]


@pytest.fixture
def flow() -> Flow:
    """The first gauge is the worst, the last but one the best; the last one is not scored."""
    rng = np.random.default_rng(0)
    observed = rng.gamma(1.0, 3.0, (GAUGES, DAYS))
    observed[2, 7] = np.nan
    simulated = rng.gamma(1.0, 3.0, (len(METHODS), GAUGES, DAYS))
    days = np.array([DAYS] * (GAUGES - 1) + [0])
    nse = np.tile(np.linspace(0.1, 0.8, GAUGES), (len(METHODS), 1))
    data = xr.Dataset(
        {
            "observed": (("catchment", "time"), observed),
            "scored": (("catchment", "time"), np.isfinite(observed)),
            "simulated": (("method", "catchment", "time"), simulated),
            "score": (("metric", "method", "catchment"), nse[None]),
            "days": ("catchment", days),
        },
        coords={
            "metric": ["nse"],
            "method": METHODS,
            "catchment": [f"{c:03d}" for c in range(GAUGES)],
            "gauge_name": ("catchment", ["A </script> river"] * GAUGES),
            "time": pd.date_range("2001-01-01", periods=DAYS),
        },
    )
    return Flow("simulation", data, "riverflow", "mm/day", [], [], {}, {}, {}, {"catchments": GAUGES - 1})


@pytest.fixture
def insight(flow: Flow) -> Insight:
    simulated = flow.data["simulated"].sel({"method": "simulation"})
    ends = xr.DataArray([0.5, 0.9], dims="shown", coords={"shown": [0.5, 0.9]})
    intervals = xr.Dataset({"lower": simulated * (1 - ends), "upper": simulated * (1 + ends)})
    return Insight(xr.DataArray(), intervals, None, xr.Dataset())


def decoded(found: dict[str, Any]) -> np.ndarray:
    codes = np.frombuffer(base64.b64decode(found["values"]), dtype="<u2")
    return codes.reshape(len(found["gauges"]), len(found["series"]), found["days"])


def test_values_come_back_and_missing_days_stay_missing(flow: Flow, insight: Insight) -> None:
    found = payload(flow, insight)
    assert [one["id"] for one in found["gauges"]] == [f"{c:03d}" for c in range(GAUGES - 2, -1, -1)]
    assert found["left_out"] == ""
    keys = [one["key"] for one in found["series"]]
    codes = decoded(found)
    for number, gauge in enumerate(found["gauges"]):
        here = flow.data.sel(catchment=gauge["id"])
        for key in (*METHODS, "observed"):
            expected = (here["observed"] if key == "observed" else here["simulated"].sel({"method": key})).values
            code = codes[number, keys.index(key)]
            values = np.where(code == MISSING, np.nan, gauge["low"] + gauge["step"] * code)
            np.testing.assert_allclose(values, expected, atol=gauge["step"])
            np.testing.assert_array_equal(code == MISSING, np.isnan(expected))


def test_a_large_page_leaves_out_methods_and_then_catchments_and_says_so(
    flow: Flow, insight: Insight, monkeypatch: pytest.MonkeyPatch
) -> None:
    per_series = 2 * DAYS * (GAUGES - 1)
    monkeypatch.setattr(explorer_data, "ROW_BYTES", 0)
    monkeypatch.setattr(explorer_data, "LEAST_BYTES", 0)
    # Room for eight series: observed, scored, the main one, four ends of intervals, one more.
    monkeypatch.setattr(explorer_data, "MAX_BYTES", 8 * per_series)
    keys = [one["key"] for one in payload(flow, insight)["series"]]
    assert keys == [
        "observed",
        "scored",
        "simulation",
        "lower0.9",
        "upper0.9",
        "lower0.5",
        "upper0.5",
        "ema_mlp",
    ]
    # For six: no interval loses one of its ends.
    monkeypatch.setattr(explorer_data, "MAX_BYTES", 6 * per_series)
    found = payload(flow, insight)
    assert [one["key"] for one in found["series"]] == ["observed", "scored", "simulation", "lower0.9", "upper0.9"]
    assert "no curves of 5 series" in found["left_out"]
    # For three series of five catchments: the best and the worst are among them.
    monkeypatch.setattr(explorer_data, "MAX_BYTES", 3 * 2 * DAYS * 5)
    found = payload(flow, insight)
    assert len(found["series"]) == 3
    assert [one["id"] for one in found["gauges"]] == ["006", "004", "003", "002", "000"]
    assert "2 catchments" in found["left_out"]
    assert decoded(found).shape == (5, 3, DAYS)
    # What the rest of the page takes for each catchment is not there for curves.
    monkeypatch.setattr(explorer_data, "MAX_BYTES", 3 * per_series + 40 * (GAUGES - 1))
    monkeypatch.setattr(explorer_data, "ROW_BYTES", 40)
    assert len(payload(flow, insight)["gauges"]) == GAUGES - 1
    monkeypatch.setattr(explorer_data, "ROW_BYTES", 40 + 2 * 3 * DAYS // 3)
    assert len(payload(flow, insight)["gauges"]) == (GAUGES - 1) * 2 // 3


def test_a_name_cannot_end_the_script(flow: Flow) -> None:
    text = as_script(payload(flow, None))
    assert "</script" not in text
    assert json.loads(text)["gauges"][0]["name"] == "A </script> river"
