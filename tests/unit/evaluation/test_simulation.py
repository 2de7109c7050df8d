"""Simulation by the model itself, regional baselines, and gauges that are hidden in training."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from watercli.baselines.cache import Cache
from watercli.baselines.ema_mlp import AveragedWeather, ema_mlp
from watercli.baselines.features import Features
from watercli.baselines.fine_tuning import simulate_fine_tuned
from watercli.baselines.lstm import lstm
from watercli.baselines.mlp import Regional
from watercli.baselines.neighbours import correct_by_neighbours, distances, inverse_distance, nearest_gauge
from watercli.config import with_overrides
from watercli.data.held_out import held_out_catchments
from watercli.data.reader import WindowReader, basin_std
from watercli.data.scaling import Scaling
from watercli.errors import ConfigError, RunError
from watercli.evaluation.evaluate import evaluate, judge
from watercli.evaluation.protocol import make_context
from watercli.evaluation.report.summary_text import headline
from watercli.evaluation.short_records import judge_short_records
from watercli.evaluation.simulation import Flow, judge_flow, make_task
from watercli.run import checkpoint as checkpoints
from watercli.run import directory
from watercli.run.simulator import simulate
from watercli.store import Store
from watercli.training import loop


def altered(store: Store, name: str, days: slice, value: float, catchments: slice = slice(None)) -> Store:
    """Return the store with some values of a series set to ``value``."""
    dataset = store.dataset.copy()
    values = dataset[name].values.copy()
    values[catchments, days] = value
    dataset[name] = (dataset[name].dims, values, dataset[name].attrs)
    return replace(store, dataset=dataset)


def judged(checkpoint: checkpoints.Checkpoint, store: Store, cache: Path) -> Flow:
    """Let the methods that the checkpoint's configuration names say what the rivers did."""
    context = make_context(checkpoint, store, checkpoint.config, Cache(cache))
    return judge_flow(context, Features(context))


def test_a_causal_simulation_sees_no_flow_and_no_later_day(fused_run: Path, tiny_store: Store) -> None:
    checkpoint, period = directory.open_run(fused_run), tiny_store.period("test")
    days = period.stop - period.start
    before = simulate(checkpoint, tiny_store, "riverflow", period)
    assert before.shape == (6, days)
    assert np.isfinite(before).all()
    assert (before >= 0).all()
    without_flow = simulate(checkpoint, altered(tiny_store, "riverflow", slice(None), 3.0), "riverflow", period)
    np.testing.assert_array_equal(without_flow, before)
    half = period.start + days // 2
    later = simulate(checkpoint, altered(tiny_store, "evap", slice(half, None), 9.0), "riverflow", period)
    np.testing.assert_allclose(later[:, : days // 2], before[:, : days // 2], rtol=1e-4, atol=1e-5)
    assert np.abs(later[:, days // 2 :] - before[:, days // 2 :]).max() > 1e-4


def test_hidden_gauges_give_nothing_to_training(fused_run: Path, tiny_store: Store) -> None:
    config = directory.open_run(fused_run).config
    hidden = held_out_catchments(tiny_store, config)
    np.testing.assert_array_equal(hidden, [False, True, False, False, True, False])
    reader = WindowReader(tiny_store, config, Scaling.of(tiny_store, config))
    batch = reader.read(np.array([40]), np.arange(6)[None])
    assert torch.isnan(batch.series["riverflow"][0, [1, 4]]).all()
    assert (batch.past["riverflow"][0, [1, 4]] == 0).all()
    assert (batch.past["riverflow"][0, [0, 2]] != 0).any(-1).all()
    assert torch.isnan(batch.targets["riverflow"][0, [1, 4]]).all()
    assert torch.isfinite(batch.series["evap"][0, [1, 4]]).any()
    wild = altered(tiny_store, "riverflow", slice(None), 77.0, slice(1, 5, 3))
    assert Scaling.of(wild, config) == Scaling.of(tiny_store, config)
    assert Scaling.of(wild, with_overrides(config, ["train.held_out_gauges=null"])) != Scaling.of(tiny_store, config)


def test_a_run_with_hidden_gauges_is_judged_at_these(fused_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    checkpoint = directory.open_run(fused_run)
    methods = [
        "simulation",
        "neighbour_correction",
        "probe",
        "gr4j",
        "nearest",
        "inverse_distance",
        "climatology",
        "persistence",
    ]
    settings = [f"evaluate.methods={methods}", "evaluate.protocols=[ungauged]"]
    config = with_overrides(checkpoint.config, settings)
    out = evaluate(checkpoint, tiny_store, tmp_path / "evaluation", config, run=fused_run)
    found = json.loads((out / "results.json").read_text())["riverflow"]
    assert found["ungauged"]
    assert found["main_method"] == "simulation"
    assert set(found["methods"]) == {
        *("simulation", "neighbour_correction", "gr4j", "nearest", "inverse_distance", "climatology")
    }
    rows = (out / "riverflow.csv").read_text().splitlines()[1:]
    gauges = [tiny_store.gauge_ids[1], tiny_store.gauge_ids[4]]
    assert {row.split(",")[0] for row in rows} <= set(gauges)
    assert "held out in training" in (out / "report.html").read_text()


def test_a_simulation_is_judged_with_nothing_beside_it(fused_run: Path, tiny_store: Store) -> None:
    checkpoint = directory.open_run(fused_run)
    config = with_overrides(checkpoint.config, ["evaluate.methods=[simulation]", "evaluate.protocols=[ungauged]"])
    sentence = headline(judge(checkpoint, tiny_store, config, run=None))
    assert re.search(r"simulation by the model has a median NSE of -?\d+\.\d\d; no baseline was named", sentence)


def test_a_fold_that_is_not_there_is_refused(tiny_store: Store) -> None:
    with pytest.raises(ConfigError, match=r"fold 4 must be below folds \(4\)"):
        with_overrides(tiny_store.config, ["train.held_out_gauges={fold: 4}"])
    config = with_overrides(tiny_store.config, ["train.held_out_gauges={gauges: ['9999']}"])
    with pytest.raises(ConfigError, match="gauge '9999'"):
        Scaling.of(tiny_store, config)


def test_spread_is_each_catchments_own_and_never_nothing() -> None:
    values = np.array([[0.0, 2.0, np.nan, 4.0], [1.0, 1.0, 1.0, 1.0], [np.nan] * 4], dtype=np.float32)
    found = basin_std(values)
    own = np.std([0.0, 2.0, 4.0])
    np.testing.assert_allclose(found, np.array([own, 0.0, own / 2]) + 0.05, rtol=1e-6)


def averaged(weather: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.stack(list(AveragedWeather(weather).during(slice(0, weather.shape[2])))))


@pytest.mark.parametrize("max_bytes", [2**30, 1])
def test_moving_averages_are_computed_where_they_are_read(max_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some days of some catchments, in pieces, are those of all days of all catchments."""
    monkeypatch.setattr("watercli.baselines.ema_mlp.GROUP", 4)
    monkeypatch.setattr("watercli.baselines.ema_mlp.MAX_BYTES", max_bytes)
    rng = np.random.default_rng(0)
    averages = AveragedWeather(rng.normal(size=(2, 10, 800)).astype(np.float32))
    every = np.stack(list(averages.during(slice(0, 800))))
    assert every.shape == (10, 800, averages.size)
    np.testing.assert_allclose(np.stack(list(averages.during(slice(300, 731)))), every[:, 300:731], rtol=1e-5)
    catchments, days = rng.integers(0, 10, (5, 20)), rng.integers(0, 800, (5, 20))
    read = list(averages.batches(catchments, days))
    assert len(read) == 5
    np.testing.assert_allclose(np.stack(read), every[catchments, days], rtol=1e-5)


def test_moving_averages_of_blocks_are_those_of_the_whole() -> None:
    weather = np.random.default_rng(0).normal(size=(2, 3, 800)).astype(np.float32)
    weather[0, 0, 100:200] = np.nan
    x = averaged(weather)
    assert x.shape[:2] == (3, 800)
    altogether = averaged(weather[..., 435:])
    # With a long past behind both, only what lies before day 435 can differ: it has faded in the short averages.
    torch.testing.assert_close(x[:, -1, :5], altogether[:, -1, :5], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("method", "steps"), [(ema_mlp, 300), pytest.param(lstm, 150, marks=pytest.mark.slow)])
def test_regional_networks_learn_a_river_from_its_rain(method: Callable[..., np.ndarray], steps: int) -> None:
    rng = np.random.default_rng(1)
    rain = rng.gamma(0.5, 4.0, size=(6, 900))
    flow = np.zeros_like(rain)
    for day in range(1, 900):
        flow[:, day] = 0.9 * flow[:, day - 1] + 0.1 * rain[:, day]
    static = rng.normal(size=(6, 2))
    hidden = np.where(np.arange(6)[:, None] == 5, np.nan, flow)
    regional = Regional(static, hidden, slice(0, 600), noise=0.5, seed=0)
    found = method(((rain - rain.mean()) / rain.std())[None], regional, slice(600, 900), steps)
    wanted = flow[:, 600:]
    skill = 1 - np.square(found - wanted).sum(1) / np.square(wanted - wanted.mean(1, keepdims=True)).sum(1)
    assert skill.min() > 0.8


def test_neighbours_are_the_nearest_usable_gauges(tiny_store: Store) -> None:
    away = distances(tiny_store)
    flow = np.random.default_rng(2).normal(size=(6, 5)) + 10
    flow[:, 3] = np.nan
    usable = np.array([True, True, False, True, True, True])
    nearest_flow, weighted = nearest_gauge(away, flow, usable), inverse_distance(away, flow, usable)
    for c in range(6):
        others = [d for d in range(6) if d != c and usable[d]]
        nearest = min(others, key=lambda d: away[c, d])
        np.testing.assert_array_equal(nearest_flow[c], flow[nearest])
        chosen = sorted(others, key=lambda d: away[c, d])[:5]
        weight = 1 / np.maximum(away[c, chosen], 1.0)
        np.testing.assert_allclose(weighted[c, :3], weight @ flow[chosen, :3] / weight.sum())
    assert np.isnan(weighted[:, 3]).all()


def test_a_simulation_is_corrected_by_errors_at_the_neighbours(tiny_store: Store) -> None:
    """Where all simulations are wrong by one factor on a day, the others tell which; a hidden gauge tells nothing."""
    rng = np.random.default_rng(3)
    truth = rng.gamma(2.0, 1.0, size=(6, 200))
    factor = np.exp(rng.normal(0, 0.5, size=200))
    usable = np.array([True, True, False, True, True, True])
    found = correct_by_neighbours(distances(tiny_store), truth * factor, truth, usable, slice(0, 100))
    error = np.abs(np.log(found / truth))[:, 100:]
    assert error.mean() < 0.1 * np.abs(np.log(factor[100:])).mean()
    lied = np.where(usable[:, None], truth, 50.0)
    np.testing.assert_array_equal(
        correct_by_neighbours(distances(tiny_store), truth * factor, lied, usable, slice(0, 100)), found
    )
    # Errors that say nothing of each other do little harm.
    alone = truth * np.exp(rng.normal(0, 0.5, size=truth.shape))
    kept = correct_by_neighbours(distances(tiny_store), alone, truth, usable, slice(0, 100))
    before, after = (np.square(one - truth)[:, 100:].mean() for one in (alone, kept))
    assert after < 1.1 * before


@pytest.mark.slow
def test_a_probe_on_fused_features_sees_no_test_flow(fused_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    """It learns what the decoder makes of the weather, of the gauge's own training dates."""
    checkpoint = directory.open_run(fused_run)
    methods = "evaluate.methods=[simulation, probe, probe_decoder_state]"
    config = with_overrides(checkpoint.config, [methods, "train.held_out_gauges=null", "evaluate.probe_stride=1"])
    known = replace(checkpoint, config=config, held_out_gauges=())

    found = judged(known, tiny_store, tmp_path / "before")
    assert found.methods == ["simulation", "probe", "probe_decoder_state"]
    simulated = found.data["simulated"]
    assert np.isfinite(simulated.sel({"method": "probe_decoder_state"})).any("time").all()
    # A gauge's own regression on what the head reads is at least as good as the head, of a model of six steps.
    nse = found.data["score"].sel(metric="nse").median("catchment")
    assert nse.sel({"method": "probe_decoder_state"}) > nse.sel({"method": "simulation"})
    wild = altered(tiny_store, "riverflow", tiny_store.period("test"), 77.0)
    np.testing.assert_array_equal(judged(known, wild, tmp_path / "after").data["simulated"], simulated)


def test_short_records_are_learnt_from_fused_features_too(fused_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    checkpoint = directory.open_run(fused_run)
    context = make_context(checkpoint, tiny_store, checkpoint.config, Cache(tmp_path))
    features = Features(context)
    found = judge_short_records(features, make_task(context, features, {}, probes=True), [])
    assert found is not None
    assert found.held_out
    assert list(found.scores) == ["probe_decoder_state", "probe", "probe_untrained", "weather_ridge"]
    assert all(np.isfinite(one.median) for by_length in found.scores.values() for one in by_length)


def test_gauges_new_to_a_run_are_ungauged(tiny_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    """A run is judged at gauges of another store; there, nothing may be learnt from flow that training did not see."""
    checkpoint = directory.open_run(tiny_run)
    assert checkpoint.gauges == tuple(tiny_store.gauge_ids)
    stranger = replace(checkpoint, gauges=("elsewhere",))
    context = make_context(stranger, tiny_store, checkpoint.config, Cache(tmp_path))
    assert context.ungauged
    assert context.unseen.all()
    found = judge_flow(context, Features(context))
    assert found.methods == ["simulation", "climatology"]
    # Gauges that were hidden elsewhere, and are not here, are no matter.
    hidden = with_overrides(checkpoint.config, ["train.held_out_gauges={gauges: ['9999']}"])
    other = replace(stranger, config=hidden, held_out_gauges=("9999",))
    period = tiny_store.period("test")
    np.testing.assert_array_equal(
        simulate(other, tiny_store, "riverflow", period), simulate(checkpoint, tiny_store, "riverflow", period)
    )
    some = replace(checkpoint, gauges=checkpoint.gauges[:4])
    context = make_context(some, tiny_store, checkpoint.config, Cache(tmp_path))
    np.testing.assert_array_equal(context.unseen, [False] * 4 + [True] * 2)


@pytest.mark.slow
def test_the_whole_model_is_fine_tuned_without_hidden_flow(fused_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    checkpoint = directory.open_run(fused_run)
    methods = "evaluate.methods=[simulation, fine_tuned, from_scratch]"
    config = with_overrides(checkpoint.config, [methods, "evaluate.fine_tune_steps=4"])

    tuned_here = replace(checkpoint, config=config)
    before = judged(tuned_here, tiny_store, tmp_path / "before")
    assert before.methods == ["simulation", "fine_tuned", "from_scratch"]
    simulated = before.data["simulated"]
    assert np.isfinite(simulated).all()
    tuned, scratch = (float(abs(simulated.sel({"method": name}) - simulated[0]).mean()) for name in before.methods[1:])
    assert min(tuned, scratch) > 0
    assert tuned != scratch
    # Flow of hidden gauges, and of the test period anywhere, changes nothing.
    wild = altered(tiny_store, "riverflow", slice(None), 77.0, slice(1, 5, 3))
    wild = altered(wild, "riverflow", tiny_store.period("test"), 77.0)
    np.testing.assert_array_equal(judged(tuned_here, wild, tmp_path / "after").data["simulated"], simulated)


def test_fine_tuning_that_is_stopped_says_what_is_true(
    fused_run: Path, tiny_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = loop.train_step

    def interrupted(*arguments: Any) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        return step(*arguments)

    monkeypatch.setattr(loop, "train_step", interrupted)
    checkpoint = directory.open_run(fused_run)
    with pytest.raises(RunError, match="Stopped while training 'from_scratch'; the same command begins it anew"):
        simulate_fine_tuned(checkpoint, tiny_store, "riverflow", tiny_store.period("test"), 4, scratch=True)
