"""The cost model of ``docs/results/scaling.md`` is that of the model, and its tables are what the script prints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import scaling
from tests.benchmarks.scaling import COUNTED, GB, Gpus, count, forecast, measure
from watercli.config import load

DOCS = Path(__file__).parents[3] / "docs" / "results" / "scaling.md"
SMALL = (
    "model.width=32",
    "model.decoder_width=16",
    "model.heads=2",
    "model.antecedent_state={width: 16}",
    "window_days=8",
)


def test_tables_are_what_the_script_prints() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for line in scaling.rows():
        assert line in text


@pytest.mark.slow
def test_cost_is_a_polynomial_in_patches() -> None:
    """Coefficients from three sizes say what a fourth, twice as large, costs."""
    config = load("gb", SMALL)
    assert measure(config).at(400) == pytest.approx(count(config, 400), rel=0.08)


@pytest.mark.slow
def test_coefficients_are_those_of_the_model() -> None:
    assert measure(load("gb")).at(94) == pytest.approx(COUNTED.at(94), rel=0.02)


def test_more_gpus_take_less_time_and_more_exchange() -> None:
    one, four, many = (forecast(GB, Gpus(number, 8), COUNTED, 30) for number in (1, 4, 64))
    assert one.exchange == 0
    assert one.steps == 4 * four.steps == 64 * many.steps
    assert four.exchange < many.exchange
    assert four.compute == many.compute, "each has as many windows as before"
    slow = forecast(replace(GB, windows_each=64), replace(Gpus(4, 8), least_step=0.0, copies=1e12), COUNTED, 30)
    assert slow.bound == "computing"


def test_what_an_all_reduce_sends() -> None:
    """The bytes that processes on this machine were seen to send in a step, over the number of parameters."""
    for number, seen in ((2, 8.02), (4, 24.05)):
        assert number * Gpus(number, 8).sent(4.0) == pytest.approx(seen, rel=0.01)
