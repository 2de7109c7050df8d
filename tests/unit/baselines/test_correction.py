"""A simulation corrected by errors that are known elsewhere."""

from __future__ import annotations

import numpy as np

from watercli.baselines.correction import Correction, error_updating

DAYS, VALIDATION = 400, slice(0, 200)
AHEAD = np.stack([np.arange(250, 350, 10) + lead for lead in (1, 2, 3)])


def simulated() -> np.ndarray:
    return np.random.default_rng(0).gamma(1.0, 2.0, (3, DAYS)) + 0.5


def test_what_lasts_of_an_error_is_taken_off_lead_by_lead() -> None:
    flow = simulated() * np.array([[0.5], [1.5], [3.0]])
    found = error_updating(simulated(), flow, AHEAD, VALIDATION)
    # Both flows are raised by a hundredth of the mean before ratios are taken, so nearly.
    np.testing.assert_allclose(found, flow[:, AHEAD].swapaxes(0, 1), rtol=0.1)
    # Too much on one day, too little on the next: the latest error helps two days later alone.
    swinging = simulated() * np.where(np.arange(DAYS) % 2, 1.5, 1 / 1.5)
    one, two, three = error_updating(simulated(), swinging, AHEAD, VALIDATION)
    np.testing.assert_allclose(two, swinging[:, AHEAD[1]], rtol=0.1)
    for found, days in ((one, AHEAD[0]), (three, AHEAD[2])):
        np.testing.assert_allclose(found, simulated()[:, days], rtol=1e-5)


def test_a_forecast_sees_no_flow_after_its_day_of_issue() -> None:
    rng = np.random.default_rng(2)
    error = np.cumsum(rng.normal(0, 0.1, (3, DAYS)), axis=1)
    flow = simulated() * np.exp(error)
    before = error_updating(simulated(), flow, AHEAD, VALIDATION)
    assert np.abs(before - simulated()[:, AHEAD].swapaxes(0, 1)).max() > 0.1
    init_time = AHEAD[0, 4] - 1
    later, now = flow.copy(), flow.copy()
    # Flow changes places, so that its mean, of which a hundredth is added, stays what it is.
    later[:, init_time + 1 :] = later[:, :init_time:-1]
    now[:, [init_time, 399]] = now[:, [399, init_time]]
    unseen, seen = (error_updating(simulated(), one, AHEAD, VALIDATION)[:, :, 4] for one in (later, now))
    np.testing.assert_allclose(unseen, before[:, :, 4], rtol=1e-6)
    assert np.abs(seen - before[:, :, 4]).max(1).min() > 0.01


def test_a_day_without_flow_leaves_the_error_of_the_day_before() -> None:
    flow = simulated() * np.array([[0.5], [1.5], [3.0]])
    flow[:, 240:] = np.nan
    found = error_updating(simulated(), flow, AHEAD, VALIDATION)
    wanted = (simulated() * np.array([[0.5], [1.5], [3.0]]))[:, AHEAD].swapaxes(0, 1)
    np.testing.assert_allclose(found, wanted, rtol=0.1)


def test_gauges_whose_flow_may_not_be_seen_have_no_say() -> None:
    usable = np.array([True, True, False])
    flow = simulated() * 2
    other = flow.copy()
    other[2] *= 50
    one, two = (Correction.of(simulated(), some, usable) for some in (flow, other))
    known = np.full(flow.shape, np.log(2.0))
    assert one.offset == two.offset
    np.testing.assert_array_equal(one.by(known, VALIDATION), two.by(known, VALIDATION))
