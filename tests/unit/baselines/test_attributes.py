"""Attributes with gaps, as methods without a model read them."""

from __future__ import annotations

import numpy as np
import torch

from watercli.baselines.attributes import filled, with_flags
from watercli.baselines.lstm import lstm
from watercli.baselines.mlp import Regional

NAN = float("nan")


def test_flags_stand_beside_attributes_with_gaps_alone() -> None:
    static = torch.tensor([[1.0, NAN, 3.0], [4.0, 5.0, 6.0]])
    assert filled(static).tolist() == [[1, 0, 3, 0], [4, 5, 6, 1]]
    assert torch.equal(filled(static[1:]), static[1:])
    assert with_flags(static[1:], torch.tensor([True, False, False])).tolist() == [[4, 5, 6, 1]]


def test_the_lstm_learns_from_gauges_with_gaps() -> None:
    """Its flow is finite at all of them, and noise leaves the flags alone."""
    rng = np.random.default_rng(0)
    static = rng.normal(size=(3, 2))
    static[0, 1] = np.nan
    regional = Regional(static, rng.gamma(1.0, 1.0, (3, 800)), slice(0, 700), noise=0.5, seed=1)
    noisy = regional.noisy_attributes(torch.tensor([0, 1, 0]))
    assert noisy[:, 2].tolist() == [0, 1, 0]
    assert noisy[0, 1] == 0
    assert noisy[0, 0] != noisy[2, 0]
    flow = lstm(rng.normal(size=(1, 3, 800)), regional, slice(700, 800), steps=2)
    assert flow.shape == (3, 100)
    assert np.isfinite(flow).all()
