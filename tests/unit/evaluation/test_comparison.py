"""Several runs in one report, studies, and the self-check."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import watercli as wc
from tests.conftest import FUSED
from watercli.config import load, with_overrides
from watercli.errors import ConfigError
from watercli.evaluation.comparison import compare_runs
from watercli.evaluation.report.comparison import target_of, write
from watercli.evaluation.results import is_of
from watercli.evaluation.self_check import case, compute, deviations, stored_numbers
from watercli.evaluation.study import ensure_evaluated, find_study, load_study, run_study, shipped_studies
from watercli.run.directory import open_run
from watercli.store import Store
from watercli.training.launch import Processes
from watercli.training.pretrain import pretrain

QUICK = (
    "evaluate.protocols=[simulation, ungauged]",
    "evaluate.methods=[climatology, nearest]",
    "evaluate.min_training_rows=20",
)


@pytest.fixture(scope="module")
def judged(tiny_run: Path, tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny run with a quick evaluation."""
    run = tmp_path_factory.mktemp("runs") / "one"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("cache"))
    ensure_evaluated(run, tiny_store, QUICK)
    return run


def test_two_runs_stand_in_one_report(judged: Path, tiny_store: Store, tmp_path: Path) -> None:
    other = tmp_path / "two"
    shutil.copytree(judged, other)
    found = compare_runs([judged, other])
    assert [row.label for row in found.rows] == ["one", "two"]
    stored = json.loads((judged / "evaluation" / "results.json").read_text())["riverflow"]
    assert found.days == stored["counts"]["test_days"]
    median = stored["methods"]["simulation"]["scores"]["nse"]["median"]
    assert found.summaries["one"]["nse"].median == pytest.approx(median, rel=1e-5)
    assert found.against_first["two"].difference.median == 0
    assert "day-of-year climatology" in found.summaries
    write(found, target_of(tmp_path / "comparison", overwrite=False), "Twins.")
    page = (tmp_path / "comparison" / "comparison.html").read_text(encoding="utf-8")
    assert "Twins." in page
    assert "test period" in page
    assert "nan" not in page[: page.index("<script>")].lower().split()
    rows = (tmp_path / "comparison" / "comparison.csv").read_text().splitlines()
    assert len(rows) == 1 + found.catchments * len(found.summaries)
    with pytest.raises(ConfigError, match="exists"):
        write(found, target_of(tmp_path / "comparison", overwrite=False))


def test_scores_of_the_validation_period_are_said_to_be_optimistic(judged: Path, tmp_path: Path) -> None:
    runs = [Path(shutil.copytree(judged, tmp_path / name)) for name in ("first", "second")]
    file = runs[0] / "evaluation" / "results.json"
    chosen_on = file.read_text().replace('"scored_split": "test"', '"scored_split": "validation"')
    file.write_text(chosen_on)
    with pytest.raises(ConfigError, match="other split"):
        compare_runs(runs)
    (runs[1] / "evaluation" / "results.json").write_text(chosen_on)
    write(compare_runs(runs), target_of(tmp_path / "comparison", overwrite=False))
    page = (tmp_path / "comparison" / "comparison.html").read_text(encoding="utf-8")
    assert "validation period" in page
    assert "scores are optimistic" in page


def test_an_evaluation_is_of_its_weights_and_settings(judged: Path, fused_run: Path) -> None:
    out, own, other = judged / "evaluation", open_run(judged), open_run(fused_run)
    settings = with_overrides(own.config, QUICK).evaluate
    assert is_of(out, own, settings)
    assert not is_of(out, other, settings)
    assert not is_of(out, own, with_overrides(own.config, [*QUICK, "evaluate.probe_stride=2"]).evaluate)
    assert not is_of(judged, own, settings)


def test_what_cannot_be_compared_is_refused(judged: Path, tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no evaluation"):
        compare_runs([judged, tiny_run])
    other = tmp_path / "other"
    shutil.copytree(judged, other)
    file = other / "evaluation" / "results.json"
    results = json.loads(file.read_text())
    results["store"]["fingerprint"] = "another"
    file.write_text(json.dumps(results))
    with pytest.raises(ConfigError, match="evaluated on other data"):
        compare_runs([judged, other])


@pytest.mark.slow
def test_folds_of_an_experiment_make_one_row(tiny_store: Store, tmp_path: Path) -> None:
    config = with_overrides(tiny_store.config, FUSED)
    runs = []
    for fold in range(2):
        run = tmp_path / f"fold{fold}"
        pretrain(with_overrides(config, [f"train.held_out_gauges={{folds: 2, fold: {fold}}}"]), tiny_store, run)
        ensure_evaluated(run, tiny_store, QUICK)
        runs.append(run)
    found = compare_runs(runs)
    assert [row.label for row in found.rows] == [f"{config.name}, 2 folds"]
    assert found.rows[0].ungauged
    assert found.catchments == len(tiny_store.gauge_ids)
    # Every gauge is judged by the run that never saw it.
    for fold, run in enumerate(runs):
        one = json.loads((run / "evaluation" / "results.json").read_text())["riverflow"]
        assert one["counts"]["catchments"] == 3
        nse = found.scores.sel(
            {"metric": "nse", "method": found.rows[0].label, "catchment": tiny_store.gauge_ids[fold]}
        )
        assert np.isfinite(float(nse))
    intervals = found.rows[0].intervals
    assert intervals is not None
    assert list(intervals["catchment"].values) == list(tiny_store.gauge_ids)
    assert np.isfinite(intervals["crps"]).all()
    write(found, target_of(tmp_path / "comparison", overwrite=False))
    told = json.loads((tmp_path / "comparison" / "comparison.json").read_text())["rows"][found.rows[0].label]
    assert told["intervals"]["catchments_pooled"] == found.catchments
    assert "How certain it is" in (tmp_path / "comparison" / "comparison.html").read_text(encoding="utf-8")
    rows = (tmp_path / "comparison" / "intervals.csv").read_text().splitlines()
    assert rows[0] == "gauge_id,experiment,coverage_50,width_50,coverage_90,width_90,crps,absolute_error"
    assert len(rows) == 1 + found.catchments
    with pytest.raises(ConfigError, match="score the same gauges"):
        compare_runs([*runs, runs[0]])


@pytest.mark.slow
@pytest.mark.usefixtures("no_launcher")
def test_a_study_pretrains_evaluates_and_goes_on(tiny_store: Store, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"common: [train.steps=3, model.use_weighted_fm=false, {', '.join(map(repr, QUICK))}]\n"
        "variants: {standard: [model.use_cross_attn=false], cross: []}\n"
    )
    study = load_study(file)
    runs = run_study(study, tiny_store, tmp_path / "runs")
    assert [open_run(run).config.model.use_cross_attn for run in runs] == [False, True]
    before = [open_run(run).path.stat().st_mtime_ns for run in runs]
    assert run_study(study, tiny_store, tmp_path / "runs") == runs
    assert [open_run(run).path.stat().st_mtime_ns for run in runs] == before
    # Other settings of the evaluation: evaluated anew, not trained anew.
    run_study(load_study(file, ["evaluate.methods=[climatology, nearest, persistence]"]), tiny_store, tmp_path / "runs")
    assert [open_run(run).path.stat().st_mtime_ns for run in runs] == before
    assert "persistence" in json.loads((runs[1] / "evaluation" / "results.json").read_text())["riverflow"]["methods"]
    with pytest.raises(ConfigError, match=r"another configuration.*move .*runs away"):
        run_study(load_study(file, ["seed=5"]), tiny_store, tmp_path / "runs")
    found = compare_runs(runs)
    assert found.differences["cross"] == ["model.use_cross_attn: False -> True"]
    # Through DeepSpeed, as --gpus has it, the same.
    alone = study.model_copy(update={"variants": {"cross": study.variants["cross"]}})
    (run,) = run_study(alone, tiny_store, tmp_path / "others", processes=Processes(processes=1))
    assert open_run(run).validation_loss == pytest.approx(open_run(runs[1]).validation_loss, rel=1e-4)


def test_shipped_studies_are_valid() -> None:
    assert set(shipped_studies()) == {
        "camels-us-regions",
        "camels-us-ungauged",
        "report",
        "ablation",
        "ungauged",
        "ungauged-regions",
    }
    prepared = [load(name) for name in ("demo", "gb12", "gb")]
    for file in shipped_studies().values():
        for config in prepared:
            assert {variant.name for variant in load_study(file).configs(config).values()} == {config.name}
        named = load_study(file, ["seed=3"], config="gb12").configs(load("demo"))
        assert {(config.name, config.seed) for config in named.values()} == {("gb12", 3)}
    assert find_study("nothing-of-the-kind") is None


def test_variants_that_do_not_differ_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "same.yaml"
    file.write_text("variants: {one: [], two: [model.grid_attention_scope=same_day]}\n")
    with pytest.raises(ConfigError, match="'one' and 'two' of demo are the same"):
        load_study(file).configs(load("demo"))


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("config: demo\nvariants: {one: []}\n")
    with pytest.raises(ConfigError, match="variants"):
        load_study(file)


def test_deviations_are_told() -> None:
    stored = stored_numbers()
    assert not deviations(stored, stored)
    found = {group: dict(numbers) for group, numbers in stored.items()}
    name = next(iter(found["data"]))
    found["data"][name] *= 1 + 1e-4
    found["losses"].pop("first loss")
    assert [one.name for one in deviations(found, stored)] == [name, "first loss"]
    assert case().name == load("demo").name


@pytest.mark.slow
def test_this_machine_reproduces_the_stored_numbers(tmp_path: Path) -> None:
    assert not deviations(compute(tmp_path), stored_numbers())


@pytest.mark.slow
def test_settings_renew_evaluations_that_were_made_with_others(judged: Path, tiny_store: Store, tmp_path: Path) -> None:
    runs = [Path(shutil.copytree(judged, tmp_path / name)) for name in ("first", "second")]
    changes = [*QUICK, "evaluate.methods=[climatology, nearest, persistence]"]
    result = wc.compare([wc.open_run(runs[0]), str(runs[1])], tiny_store, settings=changes, out=tmp_path / "out")
    assert result.scores["score"].dims == ("metric", "method", "catchment")
    assert list(result.scores["method"].values[:2]) == ["first", "second"]
    for run in runs:
        results = json.loads((run / "evaluation" / "results.json").read_text(encoding="utf-8"))
        assert "persistence" in results["riverflow"]["methods"]
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert result.report(tmp_path / "page.html").read_text(encoding="utf-8") == page
    with pytest.raises(ConfigError, match="exists"):
        wc.compare(runs[0], tiny_store, out=tmp_path / "out")
