"""A run: what it writes, how it stops and goes on, what it refuses."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from multimodal_mae.mae import MultiModalMAE

from tests.unit.training.conftest import longer, rows, same_losses
from watercli.config import with_overrides
from watercli.data.reader import WindowReader
from watercli.data.scaling import Scaling
from watercli.data.steps import Steps
from watercli.data.structure import store_model_config
from watercli.data.windows import Windows
from watercli.errors import ConfigError, RunError
from watercli.run import compatibility, directory
from watercli.store import Store
from watercli.training import loop
from watercli.training.engine import TorchEngine
from watercli.training.launch import Processes
from watercli.training.metrics_log import read_metrics
from watercli.training.pretrain import pretrain


def weights(run: Path) -> dict[str, torch.Tensor]:
    return directory.all_checkpoints(run)[-1].model().state_dict()


def test_metrics_rows(tiny_run: Path, tiny_store: Store) -> None:
    found = read_metrics(tiny_run)
    assert {row["split"] for row in found} == {"train", "validation"}
    for row in found:
        for name in tiny_store.config.modalities:
            assert np.isfinite(row[f"loss/{name}"])
        modalities = tiny_store.config.modalities.items()
        parts = sum(modality.loss_weight * row[f"loss/{name}"] for name, modality in modalities)
        assert row["loss"] == pytest.approx(parts, rel=1e-5)
    assert [row["step"] for row in found if row["split"] == "validation"] == [3, 6]
    for row in found:
        if row["split"] == "validation":
            shares = [row[f"gradient_share/{name}"] for name in ("precip", "soil", "temp", "evap", "riverflow")]
            assert sum(shares) == pytest.approx(1)
            assert min(shares) > 0


def test_run_directory_is_complete(tiny_run: Path, tiny_store: Store) -> None:
    about = json.loads((tiny_run / "run.json").read_text())
    assert about["fingerprint"] == tiny_store.fingerprint
    assert {"torch", "watercli", "python"} <= set(about["versions"])
    assert list((tiny_run / "tensorboard").glob("events*"))
    best = directory.open_run(tiny_run)
    assert best.config == tiny_store.config
    losses = [one.validation_loss for one in directory.all_checkpoints(tiny_run)]
    assert best.validation_loss == min(loss for loss in losses if loss is not None)


def test_a_moved_run_still_works(tiny_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    moved = tiny_run.rename(tmp_path / "moved")
    try:
        assert directory.open_run(moved).model().config.grid is not None
        compatibility.check_fits(directory.open_run(moved), tiny_store)
    finally:
        moved.rename(tiny_run)


def test_one_seed_governs_all(tiny_store: Store, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pretrain(with_overrides(tiny_store.config, [f"seed={seed}"]), tiny_store, tmp_path / name)
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    assert rows(tmp_path / "a") != rows(tmp_path / "c")


def test_resumed_run_ends_like_one_never_interrupted(
    uninterrupted: Path, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run dies between two checkpoints, as by SIGKILL: nothing is tidied up."""
    config, run = longer(tiny_store.config), tmp_path / "run"
    step = loop.train_step

    def dies(engine: Any, data: Any, number: int, *rest: Any) -> Any:
        if number == 6:
            raise GeneratorExit
        return step(engine, data, number, *rest)

    monkeypatch.setattr(loop, "train_step", dies)
    with pytest.raises(GeneratorExit):
        pretrain(config, tiny_store, run)
    monkeypatch.undo()
    assert rows(run)[-1]["step"] == 6, "rows beyond the checkpoint at step 4, to be dropped"
    pretrain(config, tiny_store, run, resume=True)
    assert rows(run) == rows(uninterrupted)
    whole, resumed = weights(uninterrupted), weights(run)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops(
    uninterrupted: Path, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    config, run = longer(tiny_store.config), tmp_path / "run"
    step = loop.train_step

    def interrupted(engine: Any, data: Any, at: int, *rest: Any) -> Any:
        if at == 2:
            os.kill(os.getpid(), number)
        return step(engine, data, at, *rest)

    monkeypatch.setattr(loop, "train_step", interrupted)
    with pytest.raises(RunError, match=r"Stopped after step 3; continue with .*--resume"):
        pretrain(config, tiny_store, run)
    monkeypatch.undo()
    assert [one.step for one in directory.all_checkpoints(run)] == [3]
    pretrain(config, tiny_store, run, resume=True)
    assert rows(run) == rows(uninterrupted)


def test_accumulation_changes_memory_not_losses(tiny_store: Store, tmp_path: Path) -> None:
    for parts in (1, 2):
        config = with_overrides(
            tiny_store.config, [f"train.gradient_accumulation={parts}", "model.dropout=0", "train.batch_size=4"]
        )
        pretrain(config, tiny_store, tmp_path / str(parts))
    one, two = rows(tmp_path / "1"), rows(tmp_path / "2")
    for left, right in zip(one, two, strict=True):
        assert left["loss"] == pytest.approx(right["loss"], rel=1e-4)


def test_a_loss_that_is_not_finite_names_its_modality(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from multimodal_mae.mae import MultiModalMAE

    forward = MultiModalMAE.forward

    def poisoned(self: MultiModalMAE, batch: Any, masks: Any) -> Any:
        output = forward(self, batch, masks)
        output.predictions["soil"].squared_error.mul_(float("nan"))
        return output

    monkeypatch.setattr(MultiModalMAE, "forward", poisoned)
    with pytest.raises(RunError, match="'soil' is not finite at step 1"):
        pretrain(tiny_store.config, tiny_store, tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.width=32", r"another configuration \(model.width: 16 -> 32\)"),
        ("seed=3", r"another configuration \(seed: 0 -> 3\)"),
        ("train.steps=6", "already has 6 steps"),
    ],
)
def test_resume_refuses_another_experiment(tiny_run: Path, tiny_store: Store, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pretrain(with_overrides(tiny_store.config, [change]), tiny_store, tiny_run, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("modalities.snow={kind: grid}", "'snow' is not in"),
        ("train.batch_size=3", None),
        ("train.gradient_accumulation=3", "train.batch_size"),
        ("window_days=400", "fewer than window"),
        ("model.heads=5", "model.width"),
        ("train.precision=fp16", "fp16"),
    ],
)
def test_what_does_not_fit_is_refused(tiny_store: Store, tmp_path: Path, change: str, message: str | None) -> None:
    if message is None:
        pretrain(with_overrides(tiny_store.config, [change]), tiny_store, tmp_path / "run")
        return
    with pytest.raises(ConfigError, match=message):
        pretrain(with_overrides(tiny_store.config, [change]), tiny_store, tmp_path / "run")


def test_an_existing_run_is_left_alone(tiny_run: Path, tiny_store: Store, tmp_path: Path) -> None:
    before = rows(tiny_run)
    with pytest.raises(ConfigError, match="--resume"):
        pretrain(tiny_store.config, tiny_store, tiny_run)
    assert rows(tiny_run) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(ConfigError, match="no run directory"):
        pretrain(tiny_store.config, tiny_store, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpus_that_are_not_there(tiny_store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this machine has 0"):
        pretrain(tiny_store.config, tiny_store, tmp_path / "run", processes=Processes(gpus=4))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [0, 5])
def test_reading_ahead_changes_nothing(tiny_store: Store, tiny_run: Path, tmp_path: Path, number: int) -> None:
    pretrain(with_overrides(tiny_store.config, [f"train.prefetch={number}"]), tiny_store, tmp_path / "run")
    assert rows(tmp_path / "run") == rows(tiny_run)


def test_activations_computed_anew_give_the_same_losses_in_less_memory(
    tiny_store: Store, tiny_run: Path, tmp_path: Path
) -> None:
    pretrain(with_overrides(tiny_store.config, ["train.activation_checkpointing=true"]), tiny_store, tmp_path / "run")
    same_losses(tiny_run, tmp_path / "run")  # dropout draws the same again
    held = {}
    for anew in (False, True):
        config = with_overrides(tiny_store.config, [f"train.activation_checkpointing={str(anew).lower()}"])
        structure = store_model_config(config, tiny_store)
        reader = WindowReader(tiny_store, config, Scaling.of(tiny_store, config))
        windows = Windows.within(tiny_store.period("train"), config.window_days, "train")
        engine = TorchEngine(MultiModalMAE(structure), config.train)
        kept: list[int] = []

        def keep(tensor: torch.Tensor, kept: list[int] = kept) -> torch.Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            engine.forward(Steps(reader, windows, config, structure)[0])
        held[anew] = sum(kept)
    assert held[True] < 0.5 * held[False]


@pytest.mark.slow
def test_workers_read_the_same_windows(tiny_store: Store, tmp_path: Path) -> None:
    for workers in (0, 1):
        changes = [f"train.workers={workers}", "train.steps=2", "train.checkpoint_every=2"]
        pretrain(with_overrides(tiny_store.config, changes), tiny_store, tmp_path / str(workers))
    assert rows(tmp_path / "0") == rows(tmp_path / "1")


def test_a_grid_read_window_by_window_gives_the_same_run(tiny_store: Store, tiny_run: Path, tmp_path: Path) -> None:
    pretrain(with_overrides(tiny_store.config, ["train.grid_cache_gib=0"]), tiny_store, tmp_path / "run")
    assert rows(tmp_path / "run") == rows(tiny_run)


def test_learning_rate_warms_up_and_decays(tiny_store: Store) -> None:
    train = with_overrides(tiny_store.config, ["train.steps=100", "train.warmup_steps=10"]).train
    rates = [loop.learning_rate(step, train) for step in range(100)]
    assert rates[0] == pytest.approx(train.learning_rate / 10)
    assert max(rates) == rates[9] == pytest.approx(train.learning_rate)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(train.min_learning_rate, abs=1e-6)
