"""What the evidence head is fitted to: gauges and days with enough flow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from multimodal_mae.evidence import EvidenceHead

from tests.unit.data.test_evidence import DAYS, GAUGES, network
from watercli.data.evidence import FlowErrors
from watercli.training.evidence import TARGETS, Ground, fit_spread

TRAIN = np.arange(DAYS) < 300


@pytest.fixture(scope="module")
def table() -> FlowErrors:
    rng = np.random.default_rng(1)
    simulated = rng.gamma(2, 1, (GAUGES, DAYS)).astype(np.float32)
    observed = (simulated * np.exp(0.4 * rng.normal(size=(GAUGES, DAYS)))).astype(np.float32)
    return FlowErrors(network(), simulated, observed, np.arange(DAYS) % 365.0, 0.1, np.zeros(GAUGES, bool))


def ground(table: FlowErrors, days: np.ndarray) -> Ground:
    return Ground(table, np.arange(GAUGES), np.ones(GAUGES, bool), days)


def test_gauges_with_too_little_flow_are_not_drawn(table: FlowErrors) -> None:
    """Even where nearly all have too little, so that a step would often draw none."""
    observed = table.observed.copy()
    observed[1:, TARGETS - 1 : 300] = np.nan
    drawn = ground(replace(table, observed=observed), TRAIN)
    assert drawn.gauges.tolist() == [0]
    for seed in range(5):
        _, _, flow, catchments = drawn.draw(np.random.default_rng(seed), EvidenceHead())
        assert torch.isfinite(flow).all()
        assert set(catchments.tolist()) == {0}


def test_quantiles_are_fitted_where_one_ground_has_no_flow(table: FlowErrors) -> None:
    """A validation period without flow leaves the training period."""
    torch.manual_seed(0)
    head, same = EvidenceHead(), EvidenceHead()
    same.load_state_dict(head.state_dict())
    without = ground(replace(table, observed=np.where(TRAIN, table.observed, np.nan)), ~TRAIN)
    fit_spread(head, [ground(table, TRAIN), without], 5, seed=0)
    fit_spread(same, [ground(table, TRAIN)], 5, seed=0)
    for name, value in head.state_dict().items():
        torch.testing.assert_close(same.state_dict()[name], value, rtol=0, atol=0)
