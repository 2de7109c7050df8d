"""Errors of a simulation as evidence: who is a donor, what is known when, and that nothing later is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from multimodal_mae.evidence import EvidenceHead

from watercli.data.evidence import (
    CLOSE_DAYS,
    DONORS,
    SPREAD_DAYS,
    FlowErrors,
    Network,
    choose_own,
    explain,
    joined,
    offset_of,
    preference_of,
)  # fmt: skip
from watercli.errors import DataError
from watercli.hydrology.distances import great_circle_km
from watercli.hydrology.river_network import on_one_river

GAUGES, DAYS = 20, 400


def network(seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    latitude, longitude = rng.uniform(50, 52, GAUGES), rng.uniform(-2, 0, GAUGES)
    nothing, km = np.zeros((GAUGES, GAUGES)), great_circle_km(latitude, longitude)
    return Network(km, nothing, nothing, rng.normal(size=GAUGES), preference_of(km, None))


@pytest.fixture
def table() -> FlowErrors:
    rng = np.random.default_rng(1)
    simulated = rng.gamma(2, 1, (GAUGES, DAYS)).astype(np.float32)
    observed = simulated * np.exp(0.3 * rng.normal(size=(GAUGES, DAYS))).astype(np.float32)
    observed[rng.random((GAUGES, DAYS)) < 0.2] = np.nan
    day_of_year = (np.arange(DAYS) % 365).astype(float)
    return FlowErrors(network(), simulated, observed, day_of_year, 0.1, np.ones(GAUGES, bool))


@pytest.fixture
def head() -> EvidenceHead:
    """Return a head with weights away from where it begins, so that all that it reads matters."""
    torch.manual_seed(0)
    head = EvidenceHead()
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return head.eval()


def estimate(
    head: EvidenceHead, table: FlowErrors, days: np.ndarray, *, lag: int = 0, own: np.ndarray | None = None,
    usable: bool = True,
) -> torch.Tensor:  # fmt: skip
    own = np.zeros(0, dtype=np.int64) if own is None else own
    lags, everyone = np.full(len(days), lag), np.full(GAUGES, usable)
    donors = table.donors(0, days, lags, everyone)
    explained = explain(head, table, 0, own, lag, everyone)
    known = own[None] < days[:, None] - lag + 1 if lag else own[None] != days[:, None]
    evidence = table.evidence(0, days, donors=donors, lags=lags, own=own, own_known=known, explained=explained)
    correction = head(evidence)
    return torch.cat((correction.error[:, None], correction.quantiles), dim=1).detach()


def with_flow(table: FlowErrors, catchments: slice, days: slice, value: float = 7.0) -> FlowErrors:
    observed = table.observed.copy()
    observed[catchments, days] = value
    return replace(table, observed=observed)


def test_without_evidence_nothing_is_corrected(head: EvidenceHead, table: FlowErrors) -> None:
    days = np.arange(200, 230)
    assert (estimate(head, table, days, usable=False)[:, 0] == 0).all()
    nothing = replace(table, observed=np.full_like(table.observed, np.nan))
    assert (estimate(head, nothing, days, own=np.arange(100))[:, 0] == 0).all()
    assert (estimate(head, table, days)[:, 0] != 0).all()


def test_quantiles_ascend(head: EvidenceHead, table: FlowErrors) -> None:
    assert (estimate(head, table, np.arange(100, 200))[:, 1:].diff(dim=1) > 0).all()


def test_the_flow_of_a_gauge_is_no_evidence_for_itself(head: EvidenceHead, table: FlowErrors) -> None:
    days = np.arange(200, 230)
    changed = with_flow(table, slice(0, 1), slice(None))
    torch.testing.assert_close(estimate(head, changed, days), estimate(head, table, days), rtol=0, atol=0)
    # Nor is that of the day where other days of it are.
    own = np.arange(215, 216)
    changed = with_flow(table, slice(0, 1), slice(215, 216))
    at_the_day = estimate(head, changed, np.array([215]), own=own)
    torch.testing.assert_close(at_the_day, estimate(head, table, np.array([215]), own=own), rtol=0, atol=0)
    assert not torch.equal(estimate(head, changed, days[:5], own=own), estimate(head, table, days[:5], own=own))


@pytest.mark.parametrize("lag", [0, 1, 5])
def test_later_flow_is_never_seen(head: EvidenceHead, table: FlowErrors, lag: int) -> None:
    day = np.array([250])
    own = np.arange(200, 250 - lag + 1) if lag else np.arange(200, 250)
    for value in (7.0, np.nan):
        later = with_flow(table, slice(None), slice(251 - lag, None), value)
        torch.testing.assert_close(
            estimate(head, later, day, lag=lag, own=own), estimate(head, table, day, lag=lag, own=own), rtol=0, atol=0
        )
    on_the_last_day = with_flow(table, slice(1, None), slice(250 - lag, 251 - lag))
    assert not torch.equal(
        estimate(head, on_the_last_day, day, lag=lag, own=own), estimate(head, table, day, lag=lag, own=own)
    )


def test_gauges_on_the_same_river_are_donors_before_nearer_ones(head: EvidenceHead, table: FlowErrors) -> None:
    km = table.network.km
    by_distance = np.argsort(km[0])
    far, further = by_distance[-2:]
    one_river = np.zeros((GAUGES, GAUGES), dtype=bool)
    one_river[0, [far, further]] = one_river[[far, further], 0] = True
    on_river = replace(table, network=replace(table.network, preference=preference_of(km, one_river)))
    days, same_day, all_gauges = np.arange(300, 310), np.zeros(10, int), np.ones(GAUGES, bool)
    assert not np.isin([far, further], table.donors(0, days, same_day, all_gauges)).any()
    donors = on_river.donors(0, days, same_day, all_gauges)
    assert donors.shape == (10, DONORS)
    assert all({far, further} <= set(of_day) for of_day in donors)
    on_one = preference_of(km, ~np.eye(GAUGES, dtype=bool))
    every = replace(table, network=replace(table.network, preference=on_one))
    np.testing.assert_array_equal(
        np.sort(every.donors(0, days, same_day, all_gauges)), np.sort(table.donors(0, days, same_day, all_gauges))
    )


def test_rivers_are_followed_downstream() -> None:
    gauges, downstream = ["a", "b", "c", "d", "e"], ["b", "c", "", "c", ""]
    connected = on_one_river(gauges, downstream)
    pairs = {("a", "b"), ("a", "c"), ("b", "c"), ("c", "d")}
    assert {(gauges[i], gauges[j]) for i, j in np.argwhere(np.triu(connected))} == pairs
    assert (connected == connected.T).all()
    with pytest.raises(ValueError, match="b -> c -> b"):
        on_one_river(["a", "b", "c"], ["b", "c", "b"])


def test_donors_are_the_nearest_that_know_something(table: FlowErrors) -> None:
    days, same_day, all_gauges = np.arange(300, 310), np.zeros(10, int), np.ones(GAUGES, bool)
    donors = table.donors(0, days, same_day, all_gauges)
    assert donors.shape == (10, DONORS)
    assert not (donors == 0).any()
    assert (np.diff(table.network.km[0, donors], axis=1) >= 0).all()
    nearest = donors[0, 0]
    silent = table.observed.copy()
    silent[nearest, :305] = np.nan
    later = replace(table, observed=silent).donors(0, days, same_day, all_gauges)
    assert not (later[:5] == nearest).any()
    assert (later[-1] == nearest).any()
    assert table.donors(0, days, same_day, ~all_gauges).shape == (10, 0)


def test_a_gauge_that_is_there_twice_is_found_and_two_rivers_that_meet_are_not(table: FlowErrors) -> None:
    near = table.network.km.copy()
    near[2, 3] = near[3, 2] = 0.2
    area = table.network.log_area.copy()
    area[3] = area[2]
    together = replace(table.network, km=near, log_area=area)
    assert np.argwhere(np.triu(together.at_one_place, 1)).tolist() == [[2, 3]]
    two_rivers = replace(table, network=together)
    assert two_rivers.duplicates == []
    observed, simulated = table.observed.copy(), table.simulated.copy()
    observed[3], simulated[3] = observed[2], simulated[2]
    twice = replace(table, network=together, observed=observed, simulated=simulated)
    assert twice.duplicates == [(2, 3)]
    assert 3 not in twice.donors(2, np.arange(50), np.zeros(50, int), np.ones(GAUGES, bool))
    # Without common days there is nothing to tell them apart by.
    observed = table.observed.copy()
    observed[3] = np.nan
    assert replace(table, network=together, observed=observed).duplicates == [(2, 3)]


def test_of_a_long_record_the_close_days_and_some_others_are_read() -> None:
    record = np.setdiff1d(np.arange(5000), np.arange(2000, 2040))
    own = choose_own(np.arange(2000, 2040), record)
    assert len(own) == SPREAD_DAYS + 2 * CLOSE_DAYS
    assert (np.diff(own) > 0).all()
    assert set(range(2000 - CLOSE_DAYS, 2000)) | set(range(2040, 2040 + CLOSE_DAYS)) <= set(own.tolist())
    assert own[0] == 0
    assert own[-1] == 4999
    assert choose_own(np.arange(3), np.array([7])).tolist() == [7]
    earlier = choose_own(np.arange(2000, 2040), record, later=False)
    assert earlier.tolist() == choose_own(np.arange(2000, 2040), record[record < 2100], later=False).tolist()
    assert earlier[-1] == 1999
    assert choose_own(np.arange(3), record[:0]).tolist() == []


def test_evidence_of_several_gauges_is_that_of_each(head: EvidenceHead, table: FlowErrors) -> None:
    days = np.arange(100, 105)
    parts = [
        table.evidence(gauge, days, donors=table.donors(gauge, days, np.zeros(5, int), np.arange(GAUGES) < 4 * gauge),
                       lags=np.zeros(5, int), own=np.arange(10 * gauge))
        for gauge in range(4)
    ]  # fmt: skip
    together = head(joined(parts)).error
    torch.testing.assert_close(together, torch.cat([head(part).error for part in parts]))


def test_short_gaps_are_interpolated_and_long_ones_stay(table: FlowErrors) -> None:
    observed = table.simulated.copy()
    observed[0, 10:15] = observed[0, 50:60] = observed[0, :3] = np.nan
    filled = replace(table, observed=observed).interpolated(7).errors
    np.testing.assert_allclose(filled[0, 10:15], 0, atol=1e-5)
    assert np.isnan(filled[0, 50:60]).all()
    assert np.isnan(filled[0, :3]).all()


def test_errors_need_a_scale(table: FlowErrors) -> None:
    assert offset_of(np.full((2, 3), np.nan)) == 0
    with pytest.raises(DataError, match="No flow above zero"):
        replace(table, offset=0.0)
