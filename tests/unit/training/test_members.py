"""Members of an ensemble: trained one after the other, averaged, and told apart from noise."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import EVIDENCE, RECURRENT
from watercli.config import Simulate, with_overrides
from watercli.errors import RunError
from watercli.inference.simulate import simulated_dataset
from watercli.run.directory import open_run
from watercli.run.evidence import has_evidence
from watercli.run.members import load_models, member_files, save_member
from watercli.run.simulator import simulate
from watercli.store import Store
from watercli.training.members import FOLDER
from watercli.training.pretrain import pretrain


@pytest.fixture(scope="module")
def ensemble_run(recurrent_run: Path, tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose two further members were trained on resuming."""
    run = shutil.copytree(recurrent_run, tmp_path_factory.mktemp("ensemble") / "run")
    pretrain(with_overrides(tiny_store.config, (*RECURRENT, "train.members=3")), tiny_store, run, resume=True)
    return run


def test_the_simulation_is_the_mean_over_members(ensemble_run: Path, recurrent_run: Path, tiny_store: Store) -> None:
    period = tiny_store.period("test")
    own = [simulate(open_run(run), tiny_store, "riverflow", period)
           for run in (recurrent_run, ensemble_run / FOLDER / "1", ensemble_run / FOLDER / "2")]  # fmt: skip
    assert not np.allclose(own[0], own[1])
    ensemble = open_run(ensemble_run)
    assert len(load_models(ensemble)) == 3
    np.testing.assert_allclose(
        simulate(ensemble, tiny_store, "riverflow", period), np.mean(own, 0), rtol=1e-4, atol=1e-6
    )
    since = str(tiny_store.times[period.start].date())
    written = simulated_dataset(ensemble, tiny_store, Simulate.model_validate({"since": since}))
    np.testing.assert_allclose(written["riverflow_spread"].values, np.std(own, 0), rtol=1e-3, atol=1e-5)
    alone = simulated_dataset(open_run(recurrent_run), tiny_store, Simulate.model_validate({"since": since}))
    assert "riverflow_spread" not in alone
    assert written.attrs["run_fingerprint"] != alone.attrs["run_fingerprint"]


@pytest.mark.slow
def test_a_head_belongs_to_the_members_too(informed_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    """Members that come later make the head that was fitted without them useless; it is fitted anew."""
    run = shutil.copytree(informed_run, tmp_path / "run")
    assert has_evidence(open_run(run))
    save_member(open_run(run), 1, open_run(run))
    assert not has_evidence(open_run(run))
    pretrain(with_overrides(tiny_store.config, (*RECURRENT, EVIDENCE, "train.members=2")), tiny_store, run, resume=True)
    assert has_evidence(open_run(run))


def test_a_damaged_member_is_named(ensemble_run: Path, tmp_path: Path) -> None:
    checkpoint = open_run(shutil.copytree(ensemble_run, tmp_path / "run"))
    file = member_files(checkpoint)[0]
    content = file.read_bytes()
    for damaged in (content[:100], content[:-1] + bytes([content[-1] ^ 1])):
        file.write_bytes(damaged)
        with pytest.raises(RunError, match=f"{file.name} does not hold what was written"):
            load_models(checkpoint)
