"""The evidence head as the last part of pretraining: it can be added, interrupted and repeated."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import EVIDENCE, RECURRENT
from watercli.config import Config, with_overrides
from watercli.errors import ConfigError
from watercli.run.checkpoint import Checkpoint
from watercli.run.directory import open_run
from watercli.run.evidence import FILE, load_evidence
from watercli.store import Store
from watercli.training.evidence_phase import WITHHELD, fit_evidence
from watercli.training.pretrain import pretrain


def test_a_complete_run_gets_a_head(recurrent_run: Path, informed_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    """Resuming with the setting fits the head, as pretraining with it does."""
    run = shutil.copytree(recurrent_run, tmp_path / "run")
    config = with_overrides(tiny_store.config, (*RECURRENT, EVIDENCE))
    best = pretrain(config, tiny_store, run, resume=True)
    head = (best.path / FILE).read_bytes()
    assert head == (open_run(informed_run).path / FILE).read_bytes()
    with pytest.raises(ConfigError, match="already has 6 steps"):
        pretrain(config, tiny_store, run, resume=True)


@pytest.mark.slow
def test_a_second_model_that_was_interrupted_goes_on(informed_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    run = shutil.copytree(informed_run, tmp_path / "run")
    best = open_run(run)
    head = (best.path / FILE).read_bytes()
    (best.path / FILE).unlink()
    assert load_evidence(best, "riverflow") is None
    second = open_run(run / WITHHELD)
    shutil.rmtree(second.path)
    pretrain(with_overrides(tiny_store.config, (*RECURRENT, EVIDENCE)), tiny_store, run, resume=True)
    assert (best.path / FILE).read_bytes() == head


def test_too_few_gauges_give_no_head(
    recurrent_run: Path, tiny_store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gauges = tiny_store.gauge_ids[:3]
    hidden = f"train.held_out_gauges={{gauges: {gauges}}}"
    config = with_overrides(tiny_store.config, (*RECURRENT, EVIDENCE, hidden))
    run = shutil.copytree(recurrent_run, tmp_path / "run")
    best = open_run(run)

    def never(*_: object) -> None:
        raise AssertionError("a second model was trained")

    with caplog.at_level("INFO", "watercli"):
        fit_evidence(config, replace(best, config=config), tiny_store, run, never)  # type: ignore[arg-type]
    assert not (best.path / FILE).is_file()
    assert "3 gauges with 24 days of flow are fewer than 4" in caplog.text


def test_gauges_with_a_few_days_of_flow_are_not_withheld(
    recurrent_run: Path, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quantiles are fitted at the withheld gauges, and with no flow in the validation period at these alone."""
    monkeypatch.setattr("watercli.training.evidence_phase.MIN_GAUGES", 3)  # one fewer than the store has
    few, run = tiny_store.gauge_ids[0], shutil.copytree(recurrent_run, tmp_path / "run")
    flow = tiny_store.dataset["riverflow"].copy(deep=True)
    flow[0, 20:] = np.nan
    store = replace(tiny_store, dataset=tiny_store.dataset.assign(riverflow=flow))
    withheld: list[str] = []

    class Stopped(Exception):
        pass

    def second(config: Config, *_: object) -> Checkpoint:
        assert config.train.held_out_gauges is not None
        withheld.extend(config.train.held_out_gauges.gauges)
        raise Stopped

    with pytest.raises(Stopped):
        fit_evidence(with_overrides(store.config, (*RECURRENT, EVIDENCE)), open_run(run), store, run, second)
    assert few not in withheld
