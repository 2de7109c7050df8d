"""``--dry-run`` of ``simulate`` and ``evaluate``: what would be done, and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.commands.conftest import Command
from tests.integration.commands.test_mistakes import check
from tests.integration.commands.test_prepare import printed
from watercli.store import Store


def test_simulate(
    watercli: Command, tiny_store: Store, fused_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("simulate", "--run", fused_run, "--store", tiny_store.path, "--out", "flow.zarr", "--dry-run")
    said = printed(capsys, watercli, *command, "--since", "2002-02-20", "--catchments", "01001,03003")
    assert "Would simulate riverflow on 40 dates from 2002-02-20 to 2002-03-31 of 2 catchments into flow.zarr" in said
    assert "inputs: precip, soil, temp, evap; excluded: riverflow" in said
    assert "evidence: none, as the run has no evidence head" in said
    assert "2 x 40" in said
    assert "(timed just now)" in said
    check(watercli(*command, "--catchments", "0303"), 2, "simulate.catchments", "did you mean '03003'?")
    check(watercli(*command, "--append"), 2, "--append and --dry-run exclude each other")
    check(watercli(*command, "--own-flow", "before"), 2, "has no evidence head")
    assert not list(tmp_path.iterdir())


def test_simulate_with_evidence(
    watercli: Command, tiny_store: Store, informed_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = printed(
        capsys, watercli, "simulate", "--run", informed_run, "--store", tiny_store.path, "--out", "flow.nc",
        "--dry-run", "--since", "2002-03-20", "--neighbours", "past",
    )  # fmt: skip
    assert "evidence: neighbours past, own_flow none" in said
    assert "riverflow_quantile" in said
    assert "(timed just now)" in said
    assert not list(tmp_path.iterdir())


def test_evaluate(
    watercli: Command, tiny_store: Store, fused_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("evaluate", "--run", fused_run, "--store", tiny_store.path, "--out", "judged", "--dry-run")
    said = printed(capsys, watercli, *command, "--set", "evaluate.methods=[probe,climatology]")
    assert f"Would score {tiny_store.path} from 2002-01-01 to 2002-03-31 into judged" in said
    assert "training from 2000-01-01 to 2001-06-30, validation from 2001-07-01 to 2001-12-31" in said
    assert "protocols: reconstruction, ungauged" in said
    assert "methods: simulation, climatology" in said  # the probe learns from the gauge itself, which is held out
    assert "for the model (timed just now)" in said
    check(watercli(*command, "--set", "evaluate.target=riverflwo"), 2, "riverflwo")
    (tmp_path / "judged").mkdir()
    check(watercli(*command), 2, "judged exists")
    assert not list((tmp_path / "judged").iterdir())
