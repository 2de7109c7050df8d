"""What a GPU does must be what a CPU does: ``pytest -m gpu``, where there is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from tests.integration.processes.test_processes import command, halved
from tests.unit.training.conftest import longer, same_losses
from watercli.evaluation.reconstruction import reconstruct
from watercli.inference.embed import embed
from watercli.run import directory
from watercli.run.simulator import simulate
from watercli.store import Store
from watercli.training.pretrain import pretrain

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
]


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 0.01)])
def test_training(tiny_store: Store, tmp_path: Path, precision: str, tolerance: float, stage: int) -> None:
    """The losses are those of the CPU, and a run of one goes on on the other."""
    config, whole = longer(tiny_store.config, "model.dropout=0", f"train.precision={precision}"), tmp_path / "cpu"
    pretrain(config, tiny_store, whole)
    options = ("--gpus", "1", "--set", f"train.precision={precision}", "--set", f"train.deepspeed.zero_stage={stage}")
    done = command(tiny_store, tmp_path / "gpu", *options)
    assert done.returncode == 0, done.stderr
    same_losses(whole, tmp_path / "gpu", rel=tolerance)
    there = halved(whole, tmp_path / "there")
    done = command(tiny_store, there, "--resume", *options)
    assert done.returncode == 0, done.stderr
    same_losses(whole, there, rel=tolerance)
    back = halved(tmp_path / "gpu", tmp_path / "back")
    pretrain(config, tiny_store, back, resume=True)
    same_losses(whole, back, rel=tolerance)


@pytest.mark.parametrize("stage", [0, 2])
def test_fp16_goes_on_with_its_loss_scale(tiny_store: Store, tmp_path: Path, stage: int) -> None:
    """Its first steps are not those of fp32: while the scale of the loss is too large, it skips them."""
    options = ("--gpus", "1", "--set", "train.precision=fp16", "--set", f"train.deepspeed.zero_stage={stage}")
    done = command(tiny_store, tmp_path / "gpu", *options)
    assert done.returncode == 0, done.stderr
    run = halved(tmp_path / "gpu", tmp_path / "half")
    done = command(tiny_store, run, "--resume", *options)
    assert done.returncode == 0, done.stderr
    same_losses(tmp_path / "gpu", run, rel=1e-3)


def test_too_many_are_refused(tiny_store: Store, tmp_path: Path) -> None:
    done = command(tiny_store, tmp_path / "run", "--gpus", "99")
    assert done.returncode == 2
    assert "--gpus 99" in done.stderr


def test_simulation(tiny_store: Store, fused_run: Path) -> None:
    checkpoint, days = directory.open_run(fused_run), tiny_store.period("test")
    cpu, gpu = (simulate(checkpoint, tiny_store, "riverflow", days, device=device) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu, cpu, rtol=1e-3, atol=1e-4)


def test_reconstruction(tiny_store: Store, tiny_run: Path) -> None:
    checkpoint = directory.open_run(tiny_run)
    cpu, gpu = (reconstruct(checkpoint, tiny_store, checkpoint.config.evaluate, one) for one in ("cpu", "cuda"))
    for name, sums in cpu.sums.items():
        assert gpu.sums[name]["model"].rmse == pytest.approx(sums["model"].rmse, rel=1e-3)


def test_embeddings(tiny_store: Store, tiny_run: Path, tmp_path: Path) -> None:
    checkpoint = directory.open_run(tiny_run)
    for name, gpus in (("cpu", 0), ("gpu", 1)):
        embed(checkpoint, tiny_store, tmp_path / name, checkpoint.config.embed, gpus=gpus)
    cpu, gpu = (xr.open_zarr(tmp_path / name).embedding.values for name in ("cpu", "gpu"))
    np.testing.assert_allclose(gpu, cpu, rtol=1e-2, atol=1e-3)


def test_evaluate(tiny_store: Store, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "judged"
    words = ["evaluate", "--run", tiny_run, "--store", tiny_store.path, "--out", out, "--gpus", "1"]
    done = subprocess.run([sys.executable, "-m", "watercli", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (out / "report.html").stat().st_size > 10_000
