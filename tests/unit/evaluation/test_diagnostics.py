"""Donors, flow signatures of a run, and the tables of both: known answers, and no flow of hidden gauges."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.unit.evaluation.conftest import MORE
from watercli.baselines.cache import Cache
from watercli.baselines.features import Features
from watercli.baselines.weather import catchment_rain
from watercli.config import with_overrides
from watercli.data.blocks import to_patches
from watercli.evaluation.diagnostics import look_into
from watercli.evaluation.donors import DATES, distance, mean_embeddings, ranked, search, spread_dates
from watercli.evaluation.protocol import make_context
from watercli.evaluation.report.tables import donor_sentence
from watercli.evaluation.simulation import judge_flow
from watercli.hydrology.signatures import SIGNATURES, baseflow_index, signatures
from watercli.inference.embedder import Embedder
from watercli.run.directory import open_run
from watercli.store import Store

CATCHMENTS = 12
ALL = np.ones(CATCHMENTS, dtype=bool)


def apart(places: np.ndarray) -> np.ndarray:
    return np.abs(places[:, None] - places).astype(float)


def flow(levels: np.ndarray) -> xr.DataArray:
    """Return flow that rises and falls by the level of the catchment."""
    days = np.arange(100)
    values = levels[:, None] + np.sin(days / 5 + levels[:, None] / 10)
    return xr.DataArray(values, dims=("catchment", "time"), coords={"catchment": [f"g{c}" for c in range(len(levels))]})


@pytest.fixture
def rivers() -> tuple[dict[str, np.ndarray], np.ndarray, xr.DataArray]:
    """Rivers whose kind is their number: the embedding knows it, the map does not."""
    number = np.arange(CATCHMENTS)
    shuffled = np.random.default_rng(5).permutation(number)
    spaces = {"embedding": apart(number**1.5), "attributes": apart(number), "geography": apart(shuffled)}
    return spaces, apart(number), flow(number.astype(float))


def test_a_space_that_knows_the_rivers_is_told_from_one_that_does_not(
    rivers: tuple[dict[str, np.ndarray], np.ndarray, xr.DataArray],
) -> None:
    spaces, alike, observed = rivers
    found = search(spaces, alike, observed, observed, ALL, ALL, seed=0)
    assert found is not None
    assert float(found["correlation"].sel(space="attributes")) == pytest.approx(1)
    assert float(found["correlation"].sel(space="embedding")) > 0.8
    assert float(found["correlation_low"].sel(space="embedding")) > 0.5
    assert float(found["correlation_low"].sel(space="geography")) < 0
    assert float(found["percentile"].sel(space="attributes").max()) == 0
    assert float(found["percentile"].sel(space="geography").mean()) > 0.2


def test_donors_are_the_nearest_usable_gauges(
    rivers: tuple[dict[str, np.ndarray], np.ndarray, xr.DataArray],
) -> None:
    spaces, alike, observed = rivers
    usable = ALL.copy()
    usable[[3, 4]] = False
    found = search(spaces, alike, observed, observed, usable, ~usable, seed=0)
    assert found is not None
    donors = found["donor"].sel(space="attributes").values
    assert (donors[3], donors[4]) == ("g2", "g5")
    assert set(donors[usable]) == {""}
    lent, own = observed.values[2], observed.values[3]
    expected = 1 - ((lent - own) ** 2).sum() / ((own - own.mean()) ** 2).sum()
    assert float(found["donor_nse"].sel(space="attributes")[3]) == pytest.approx(expected)
    assert np.isnan(found["donor_nse"].sel(space="attributes").values[usable]).all()


def test_too_few_rivers_are_no_search(rivers: tuple[dict[str, np.ndarray], np.ndarray, xr.DataArray]) -> None:
    spaces, alike, observed = rivers
    unknown = np.where(np.arange(CATCHMENTS) < 3, alike, np.nan)
    assert search(spaces, unknown, observed, observed, ALL, ALL, seed=0) is None


def test_distance_is_of_standardised_features() -> None:
    features = np.array([[0.0, 100, 7], [1, 300, 7], [2, 200, 7]])
    found = distance(features)
    standard = (features[:, :2] - features[:, :2].mean(0)) / features[:, :2].std(0)
    np.testing.assert_allclose(found, np.linalg.norm(standard[:, None] - standard, axis=-1), atol=1e-9)


def test_signatures_that_a_river_lacks_are_left_out_for_all() -> None:
    kinds = np.array([[3.0, 1, 2, np.nan], [9.0, np.nan, 5, np.nan], [10.0, 30, 2000, np.nan]])
    found = ranked(kinds)
    np.testing.assert_array_equal(found[:3], [[3, 1], [1, 2], [2, 3]])
    assert np.isnan(found[3]).all()


def test_rain_of_a_catchment_is_the_mean_over_what_it_drains(tiny_store: Store) -> None:
    days = slice(100, 103)
    found = catchment_rain(tiny_store, days)
    assert found is not None
    patches = to_patches(tiny_store.dataset["precip"][days].values, tiny_store.patch_size)
    with np.errstate(invalid="ignore"):
        means = np.nanmean(patches, axis=-1)
    for c in range(6):
        weight = tiny_store.patch_weight[c]
        drained = weight > 0
        expected = (means[:, drained] * weight[drained]).sum(1)
        np.testing.assert_allclose(found[c], expected, rtol=1e-4)


def test_mean_embeddings_see_no_flow(tiny_store: Store, fused_run: Path) -> None:
    checkpoint = open_run(fused_run)
    data = tiny_store.dataset["riverflow"]
    other = replace(tiny_store, dataset=tiny_store.dataset.assign(riverflow=data * 3 + 1))
    embedders = [Embedder(checkpoint, store, ("riverflow",)) for store in (tiny_store, other)]
    dates = spread_dates(embedders[0], tiny_store.period("train"))
    assert len(dates) == DATES[1]
    assert dates[-1] < tiny_store.period("train").stop
    one, two = (mean_embeddings(embedder, dates, 8) for embedder in embedders)
    assert one.shape[0] == 6
    assert np.isfinite(one).all(1).any()
    np.testing.assert_array_equal(one, two)
    assert np.ptp(one, axis=0).max() > 0, "all catchments have one embedding"


def test_many_gauges_are_embedded_on_fewer_dates(
    tiny_store: Store, fused_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, train = Embedder(open_run(fused_run), tiny_store, ("riverflow",)), tiny_store.period("train")
    for windows, number in ((150, 25), (10, DATES[0])):
        monkeypatch.setattr("watercli.evaluation.donors.WINDOWS", windows)
        dates = spread_dates(embedder, train)
        assert len(dates) == number
        assert (dates[0], dates[-1]) == (embedder.ends(train.start, train.stop - 1)[0], train.stop - 1)


def test_insight_of_a_run_with_hidden_gauges(tiny_store: Store, fused_run: Path, tmp_path: Path) -> None:
    checkpoint = open_run(fused_run)
    config = with_overrides(checkpoint.config, [*MORE, "evaluate.methods=[simulation, nearest, climatology]"])
    context = make_context(checkpoint, tiny_store, config, Cache(tmp_path))
    features = Features(context)
    found = look_into(context, features, judge_flow(context, features))
    assert found is not None
    assert found.intervals is not None
    assert found.donors is not None
    hidden = np.isin(np.arange(6), (1, 4))
    assert np.isfinite(found.intervals["crps"].values).tolist() == hidden.tolist()
    assert found.intervals["pooled"].values[hidden].all()
    donors = set(found.donors["donor"].values[:, hidden].ravel())
    assert donors <= {gauge for c, gauge in enumerate(tiny_store.gauge_ids) if not hidden[c]}
    # Training saw no day of theirs.
    assert (found.factors["value"].sel(factor="record").values > 0).tolist() == (~hidden).tolist()


def test_tables_hold_what_the_store_and_the_series_say(out: Path, tiny_store: Store) -> None:
    data = xr.open_zarr(out / "results.zarr").load()
    with (out / "catchments.csv").open() as file:
        rows = {row["gauge_id"]: row for row in csv.DictReader(file)}
    assert list(rows) == [str(one) for one in data["catchment"].values[data["days"].values > 0]]
    gauge = next(iter(rows))
    c = tiny_store.gauge_ids.index(gauge)
    assert float(rows[gauge]["area"]) == pytest.approx(float(tiny_store.dataset["area"][c]), rel=1e-4)
    own = tiny_store.dataset["riverflow"].values[c, tiny_store.period("train")]
    assert float(rows[gauge]["record"]) == np.isfinite(own).sum()
    assert float(rows[gauge]["baseflow_index"]) == pytest.approx(baseflow_index(own), rel=1e-4)
    scored = data["scored"].values[c]
    low, high = (data[end].sel(shown=0.9).values[c][scored] for end in ("lower", "upper"))
    truth = data["observed"].values[c][scored]
    assert float(rows[gauge]["coverage_90"]) == pytest.approx(((truth >= low) & (truth <= high)).mean(), abs=0.02)
    frame = pd.read_csv(out / "signatures.csv", dtype={"gauge_id": str}).set_index(["gauge_id", "signature"])
    expected = signatures(np.where(scored, data["observed"].values[c], np.nan), data.indexes["time"])
    assert frame.loc[(gauge, "mean_flow"), "observed"] == pytest.approx(expected["mean_flow"], rel=1e-4)
    assert set(frame.index.get_level_values("signature")) <= set(SIGNATURES)
    insight = json.loads((out / "results.json").read_text())["insight"]
    assert set(insight["intervals"]["levels"][0]) == {"level", "coverage", "width"}
    assert insight["embedded_dates"] == len(range(9, int(tiny_store.period("train").stop), 8))
    assert set(insight["donors"]) == {"embedding", "attributes", "geography"}


def test_sentence_on_donors_says_when_it_is_chance() -> None:
    other = {"rank_correlation": 0.1, "low": -0.2, "high": 0.3}
    assert "no better than chance" in donor_sentence({"embedding": other, "geography": other})
    sure = {"rank_correlation": 0.6, "low": 0.5, "high": 0.7}
    said = donor_sentence({"embedding": sure, "geography": other})
    assert "rivers of one kind (rank correlation 0.60); it is 0.10 for distance on the map" in said
