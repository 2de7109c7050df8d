"""The whole evaluation on a tiny store: its files, its page, its refusals, and that nothing leaks."""

from __future__ import annotations

import csv
import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from watercli.baselines.cache import Cache
from watercli.baselines.features import Features
from watercli.baselines.registry import METHODS
from watercli.config import Config, Evaluate, with_overrides
from watercli.errors import ConfigError, RunError
from watercli.evaluation.evaluate import evaluate, judge
from watercli.evaluation.leakage import check_probe, check_splits, check_training
from watercli.evaluation.protocol import make_context, reason_without_flow
from watercli.evaluation.reconstruction import Masked, climatologies, reconstruct
from watercli.evaluation.results import Outcome
from watercli.evaluation.simulation import Flow, judge_flow
from watercli.log import log
from watercli.run.checkpoint import Checkpoint
from watercli.run.directory import open_run
from watercli.store import Store

FILES = {
    "report.html",
    "results.json",
    "riverflow.csv",
    "comparisons.csv",
    "catchments.csv",
    "signatures.csv",
    "reconstruction.csv",
    "forecast.csv",
    "short_records.csv",
    "results.zarr",
}
# The run has neither cross-modal attention nor an evidence head.
DEFAULT = [name for name in Evaluate().methods if name not in ("probe_decoder_state", "evidence")]
FAST = (
    "evaluate.methods=[simulation, neighbour_correction, probe, probe_regional, weather_ridge, nearest, climatology, "
    "persistence]"
)


@pytest.fixture(scope="module")
def flow(outcome: Outcome) -> Flow:
    assert outcome.flow is not None
    return outcome.flow


def judged(checkpoint: Checkpoint, store: Store, config: Config, cache: Path) -> Flow:
    context = make_context(checkpoint, store, config, Cache(cache))
    return judge_flow(context, Features(context))


def changed(store: Store, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Store:
    """Return the store with other values of a variable, in memory only."""
    data = store.dataset[name]
    return replace(store, dataset=store.dataset.assign({name: data.copy(data=change(data.values.copy()))}))


def test_files(out: Path, tiny_store: Store) -> None:
    assert {path.name for path in out.iterdir()} == FILES
    results = json.loads((out / "results.json").read_text())
    assert results["splits"]["test"] == {"start": "2002-01-01", "end": "2002-03-31"}
    assert results["store"]["fingerprint"] == tiny_store.fingerprint
    assert list(results["riverflow"]["methods"]) == DEFAULT
    assert "riverflow" not in results["riverflow"]["seen_by_encoder"]
    assert {row["modality"] for row in results["reconstruction"]["scores"]} == set(tiny_store.config.modalities)


def test_protocols_that_the_defaults_leave_out_are_no_warning(out: Path, outcome: Outcome) -> None:
    page = (out / "report.html").read_text()
    (aside, *_) = outcome.asides
    assert "Protocol 'evidence' is left out" in aside
    assert f'<p class="note">{aside}.</p>' in html.unescape(page)
    assert aside not in re.findall(r'<p class="warning">(.*?)\.</p>', html.unescape(page))
    assert aside in json.loads((out / "results.json").read_text())["notes"]


def test_csv_and_zarr_agree(out: Path) -> None:
    with (out / "riverflow.csv").open() as file:
        rows = list(csv.DictReader(file))
    data = xr.open_zarr(out / "results.zarr")
    assert data["simulated"].dims == ("method", "catchment", "time")
    assert data["observed"].attrs["units"] == "mm/day"
    scored = int((data["days"] > 0).sum())
    assert len(rows) == scored * len(DEFAULT)
    for row in rows:
        place = {"method": row["method"], "catchment": row["gauge_id"], "metric": "nse"}
        assert float(row["nse"]) == pytest.approx(float(data["score"].sel(place)), rel=1e-4)
        assert int(row["days"]) == int(data["scored"].sel(catchment=row["gauge_id"]).sum())


def test_scores_are_of_the_days_that_the_store_says(out: Path) -> None:
    data = xr.open_zarr(out / "results.zarr").load()
    here = data.isel(catchment=int(np.argmax(data["days"].values))).sel({"method": "climatology"})
    days = here["scored"].values
    observed, simulated = here["observed"].values[days].astype(float), here["simulated"].values[days].astype(float)
    expected = 1 - ((simulated - observed) ** 2).sum() / ((observed - observed.mean()) ** 2).sum()
    assert float(here["score"].sel(metric="nse")) == pytest.approx(expected, rel=1e-5)


class Page(HTMLParser):
    """Collects what a page refers to, and its pictures without words."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.pictures = 0
        self.silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = {name: value or "" for name, value in attrs}
        self.references += [held[name] for name in ("src", "href", "xlink:href", "srcset") if name in held]
        if tag in ("link", "iframe"):
            self.references.append(tag)
        if tag in ("svg", "img"):
            self.pictures += 1
            if not held.get("alt" if tag == "img" else "aria-label"):
                self.silent.append(tag)


def test_report_needs_nothing_but_itself(out: Path) -> None:
    text = (out / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.pictures >= 5
    assert not page.silent
    assert not [one for one in page.references if not one.startswith(("#", "data:image/"))]
    assert set(re.findall(r"https?://[^\"'\s]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not re.findall(r"url\((?!#)", text)
    assert len(text) < 3e6
    for word in ("2002-01-01", "mm/day", "never", "Nash"):
        assert word in text
    words = re.sub(r"<script.*?</script>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert "nan" not in words.lower().split()


def test_existing_output_is_left_alone(
    out: Path, checkpoint: Checkpoint, tiny_store: Store, config: Config, tiny_run: Path, tmp_path: Path
) -> None:
    before = (out / "report.html").read_bytes()
    with pytest.raises(ConfigError, match="exists"):
        evaluate(checkpoint, tiny_store, out, config, run=tiny_run)
    assert (out / "report.html").read_bytes() == before
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="no evaluation"):
        evaluate(checkpoint, tiny_store, other, config, run=tiny_run, overwrite=True)
    assert (other / "thesis.txt").read_text() == "precious"


def test_test_flow_does_not_reach_what_is_simulated(
    flow: Flow, checkpoint: Checkpoint, tiny_store: Store, config: Config, tmp_path: Path
) -> None:
    test = tiny_store.period("test")

    def alter(values: np.ndarray) -> np.ndarray:
        values[:, test] = 7 + np.arange(test.stop - test.start)
        return values

    other = judged(checkpoint, changed(tiny_store, "riverflow", alter), config, tmp_path)
    for method in flow.methods:
        same = np.array_equal(
            flow.data["simulated"].sel({"method": method}),
            other.data["simulated"].sel({"method": method}),
            equal_nan=True,
        )
        assert same == (not METHODS[method].sees_test_flow), method


def test_climatologies_are_of_training_dates(tiny_store: Store) -> None:
    train = tiny_store.period("train")

    def alter(values: np.ndarray) -> np.ndarray:
        later = (slice(None), slice(train.stop, None)) if len(values) < 10 else slice(train.stop, None)
        values[later] = 1e3
        return values

    for name in ("riverflow", "temp"):
        before = climatologies(tiny_store, [name])[name]
        after = climatologies(changed(tiny_store, name, alter), [name])[name]
        np.testing.assert_array_equal(before.mean, after.mean)


def test_the_target_is_hidden_whatever_is_set(
    checkpoint: Checkpoint, tiny_store: Store, config: Config, tmp_path: Path
) -> None:
    found = judged(checkpoint, tiny_store, with_overrides(config, ["embed.excluded_inputs=[temp]", FAST]), tmp_path)
    assert found.hidden == ["temp", "riverflow"]
    assert found.visible == ["precip", "soil", "evap"]


def test_all_methods_are_scored_on_the_same_reconstructed_values(checkpoint: Checkpoint, tiny_store: Store) -> None:
    found = reconstruct(checkpoint, tiny_store, checkpoint.config.evaluate)
    for by_method in found.sums.values():
        assert len({sums.count for sums in by_method.values()}) == 1
        assert by_method["model"].count > 0
    largest, other = found.examples
    assert np.nanmean(largest.truth) > np.nanmean(other.truth)
    for example in found.examples:
        hidden = np.isfinite(example.truth) & ~example.seen
        assert np.isfinite(example.predicted[hidden]).all()


def test_a_model_that_remembers_is_held_against_baselines_that_do() -> None:
    """Three days of one catchment, of which only the last is visible; the day before the window had 5."""

    def days(*values: float) -> np.ndarray:
        return np.array(values)[None, :, None, None]

    told = Masked(
        observed=days(5, 7, 9),
        predicted=days(0, 0, np.nan),
        climatology=days(1, 1, 1),
        visible=np.array([False, False, True])[None, :, None],
        target=np.array([True, True, False])[None, :, None],
        before=days(5),
        before_visible=np.array([True])[None, :, None],
    )
    assert told.sums()["locf"].rmse == pytest.approx(np.sqrt((0**2 + 2**2) / 2))
    assert told.sums()["interpolation"].rmse == pytest.approx(
        np.sqrt(((5 + 4 / 3 - 5) ** 2 + (5 + 8 / 3 - 7) ** 2) / 2)
    )
    untold = replace(told, before=told.before[:, :0], before_visible=told.before_visible[:, :0])
    assert untold.sums()["locf"].rmse == pytest.approx(np.sqrt((4**2 + 6**2) / 2))


def test_a_gauge_without_flow_is_named(
    checkpoint: Checkpoint, tiny_store: Store, config: Config, tmp_path: Path
) -> None:
    def alter(values: np.ndarray) -> np.ndarray:
        values[0, tiny_store.period("train")] = np.nan
        values[1, tiny_store.period("test")] = np.nan
        return values

    found = judged(checkpoint, changed(tiny_store, "riverflow", alter), with_overrides(config, [FAST]), tmp_path)
    first, second = tiny_store.gauge_ids[:2]
    assert found.left_out[first].startswith("0 complete training rows")
    assert found.left_out[second] == "no observed test day"
    assert found.counts["catchments_left_out"] == len(found.left_out)


def test_targets(checkpoint: Checkpoint, tiny_store: Store) -> None:
    def reason(target: str, one: Checkpoint = checkpoint) -> str | None:
        return reason_without_flow(one, tiny_store, with_overrides(config, [f"evaluate.target={target}"]).evaluate)

    config = checkpoint.config
    assert reason("riverflow") is None
    assert reason("evap") is None
    with pytest.raises(ConfigError, match=r"evaluate\.target.*did you mean 'riverflow'"):
        reason("rivrflow")
    with pytest.raises(ConfigError, match=r"evaluate\.target.*a grid"):
        reason("precip")
    less = {name: one for name, one in config.modalities.items() if name != "riverflow"}
    without = replace(checkpoint, config=config.model_copy(update={"modalities": less}))
    assert reason("riverflow", without) == "the run has no series 'riverflow'"


def test_a_run_that_saw_the_test_period_is_refused(checkpoint: Checkpoint, tiny_store: Store) -> None:
    splits = check_splits(tiny_store)
    check_training(checkpoint, tiny_store, splits)
    other = replace(checkpoint, fingerprint="of another store")
    check_training(other, tiny_store, splits)
    earlier = splits.model_copy(update={"test": splits.validation})
    with pytest.raises(ConfigError, match=r"gauges of its training \(01001, .*another test period, or without these"):
        check_training(other, tiny_store, earlier)


def test_leaks_fail_loudly(tiny_store: Store) -> None:
    train, validation, test = (
        np.arange(period.start, period.stop) for period in map(tiny_store.period, ("train", "validation", "test"))
    )
    check_probe(tiny_store, "riverflow", ["precip"], train, validation, test)
    with pytest.raises(AssertionError, match="would see 'riverflow'"):
        check_probe(tiny_store, "riverflow", ["precip", "riverflow"], train, validation, test)
    with pytest.raises(AssertionError, match="train dates"):
        check_probe(tiny_store, "riverflow", ["precip"], np.append(train, test[0]), validation, test)


def test_a_result_is_an_object_too(outcome: Outcome, out: Path, tmp_path: Path) -> None:
    scores = outcome.scores["score"]
    assert scores.dims == ("metric", "method", "catchment")
    kept = xr.open_zarr(out / "results.zarr").load()
    np.testing.assert_allclose(scores.values, kept["score"].values)
    assert outcome.scores["label"].sel({"method": "gr4j"}).item() == METHODS["gr4j"].label
    assert {"r", "alpha", "beta", "gamma"} <= set(scores["metric"].values)
    page = outcome.report(tmp_path / "report.html").read_text(encoding="utf-8")
    written = (out / "report.html").read_text(encoding="utf-8")
    assert page.split("Where this comes from")[0] == written.split("Where this comes from")[0]


@pytest.mark.parametrize(
    ("protocols", "held_out", "sentence"),
    [
        ("[simulation]", True, r"'simulation' cannot judge .*: 2 of its gauges .*evaluate\.protocols=\[ungauged\]"),
        ("[reconstruction, simulation]", True, r"evaluate\.protocols=\[ungauged\]"),
        ("[ungauged]", False, r"'ungauged' cannot judge .*none is held out; .*evaluate\.protocols=\[simulation\]"),
    ],
)
def test_a_protocol_that_cannot_serve_leaves_no_report(
    tiny_run: Path, fused_run: Path, tiny_store: Store, tmp_path: Path, protocols: str, held_out: bool, sentence: str
) -> None:
    run = fused_run if held_out else tiny_run
    checkpoint = open_run(run)
    config = with_overrides(checkpoint.config, [f"evaluate.protocols={protocols}"])
    with pytest.raises(RunError, match=sentence) as error:
        evaluate(checkpoint, tiny_store, tmp_path / "evaluation", config, run=run)
    assert error.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_gauges_that_training_never_saw_are_said_once(
    checkpoint: Checkpoint, tiny_store: Store, config: Config, tiny_run: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    stranger = replace(checkpoint, gauges=("elsewhere",))
    forecast = with_overrides(config, ["evaluate.protocols=[forecast]"])
    with pytest.raises(RunError, match=r"Nothing could be judged.*; use --set evaluate\.protocols=\[ungauged\]"):
        evaluate(stranger, tiny_store, tmp_path / "forecast", forecast, run=tiny_run)
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setattr(log, "propagate", True)
    ungauged = with_overrides(config, ["evaluate.protocols=[ungauged]"])
    judge(stranger, tiny_store, ungauged, run=tiny_run)
    lacking = ", ".join(METHODS[name].label for name in ("ema_mlp", "lstm", "mean_of_models", "gr4j"))
    (left_out,) = left_out_as("no gauge of the store gave flow to training", caplog)
    assert lacking in left_out
    (left_out,) = left_out_as("they learn from flow of the gauge itself", caplog)
    assert METHODS["probe"].label in left_out


def left_out_as(reason: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings on methods; a record may be caught by more than one handler, and is one all the same."""
    records = {id(record): record.getMessage() for record in caplog.records if record.levelname == "WARNING"}
    return [message for message in records.values() if message.startswith(f"Left out, as {reason}")]


def test_a_named_method_that_the_run_cannot_serve_is_said(
    checkpoint: Checkpoint, tiny_store: Store, config: Config, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(log, "propagate", True)
    named = with_overrides(config, ["evaluate.methods=[evidence, probe_decoder_state, climatology]"])
    assert judged(checkpoint, tiny_store, named, tmp_path).methods == ["simulation", "climatology"]
    reasons = {
        "evidence": "the run has no evidence head (train.evidence)",
        "probe_decoder_state": "the run has no cross-modal attention (model.cross_modal_attention)",
    }
    for name, reason in reasons.items():
        assert left_out_as(reason, caplog) == [f"Left out, as {reason}: {METHODS[name].label}"]


def test_a_flow_that_never_changes_is_named_and_left_out(
    checkpoint: Checkpoint, tiny_store: Store, config: Config, tmp_path: Path
) -> None:
    gauge = tiny_store.gauge_ids[1]
    flow = tiny_store.dataset["riverflow"].load().copy()
    flow[1, tiny_store.period("test")] = 0.3
    frozen = replace(tiny_store, dataset=tiny_store.dataset.assign(riverflow=flow))
    judged_flow = judged(checkpoint, frozen, with_overrides(config, [FAST]), tmp_path)
    assert judged_flow.left_out[gauge] == "flow that never changes on the test days, and so no NSE"
    assert judged_flow.data["days"].sel(catchment=gauge) == 0
    assert judged_flow.counts["catchments"] == len(tiny_store.gauge_ids) - len(judged_flow.left_out)
