"""The calibration of GR4J."""

from __future__ import annotations

import numpy as np
import pandas as pd

from watercli.baselines import gr4j

DAYS, TRAIN = 2600, slice(0, 2200)
TIMES = pd.date_range("2000-01-01", periods=DAYS)


def test_only_the_last_observed_days_are_learnt_from() -> None:
    rng = np.random.default_rng(0)
    weather = np.stack([rng.gamma(0.5, 8.0, (2, DAYS)), np.full((2, DAYS), 1.5)])
    inputs = [gr4j.inputs_of(weather[:, c], TIMES) for c in range(2)]
    truth = np.stack([gr4j.run(np.array([300.0, 0.3, 80.0, 2.0]), table) for table in inputs if table is not None])
    flow = truth.copy()
    flow[1, 1800:] = np.nan  # a gauge that was closed
    both = np.ones(2, dtype=bool)
    flow[:, :1000] = 9.0  # what is not the river's
    found = gr4j.calibrated(weather, TIMES, flow, TRAIN, both, last_days=700)
    flow[:, :1000] = 1.0
    np.testing.assert_array_equal(gr4j.calibrated(weather, TIMES, flow, TRAIN, both, last_days=700), found)
    assert not np.array_equal(gr4j.calibrated(weather, TIMES, flow, TRAIN, both), found)
    simulated = gr4j.with_donors(weather, TIMES, found, {c: np.array([c]) for c in range(2)})
    later = slice(TRAIN.stop, DAYS)
    error = np.square(simulated - truth)[:, later].mean(1) / truth[:, later].var(1)
    assert (error < 0.02).all()
