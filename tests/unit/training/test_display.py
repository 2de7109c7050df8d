"""What is seen of a run: the display, the loggers, and a dry run before anything starts."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from multimodal_mae.mae import MultiModalMAE
from rich.console import Console

from tests.unit.training.conftest import longer
from watercli.cli.main import _run
from watercli.config import Config, with_overrides
from watercli.data.structure import store_model_config
from watercli.errors import ConfigError
from watercli.output.sizes import duration
from watercli.store import Store
from watercli.training import display, dry_run
from watercli.training.display import Report
from watercli.training.launch import Processes
from watercli.training.metrics_log import MetricsLog, read_metrics
from watercli.training.pretrain import pretrain

REPORT = Report(
    step=30,
    steps=100,
    losses={"loss": 1.75, "precip": 1.25, "riverflow": 0.5},
    validation={"loss": 1.5, "precip": 1.0, "riverflow": 0.5},
    windows_per_second=12.34,
    data_share=0.04,
    memory=1_500_000_000,
    seconds_left=5400,
    scores={"nse/riverflow": 0.7125, "kge/riverflow": 0.6},
)


def test_a_terminal_shows_all(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr(display, "console", console)
    monkeypatch.setattr("watercli.log.console", console)
    screen = display.display()
    assert isinstance(screen, display.Screen)
    with screen:
        screen.show(REPORT)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for word in ("precip", "riverflow", "1.2500", "1.0000", "30/100", "12.3 windows/s", "4% waiting for data",
                 "1.5 GB of memory", "90 min left, median NSE of", "riverflow 0.71"):  # fmt: skip
        assert word in shown, word


def test_lines_and_relayed_lines_carry_the_same(said: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    display.Relay(stream).show(REPORT)
    assert display.relayed(stream.getvalue()) == REPORT
    assert display.relayed(f"node1: {stream.getvalue()}") == REPORT, "pdsh names the machine first"
    assert display.relayed("12:00:00 INFO step 3") is None
    assert display.relayed(stream.getvalue()[:40]) is None, "torn by a kill"
    lines = display.Lines()
    lines.show(REPORT)
    lines.show(REPORT)
    (line,) = said.messages
    for word in ("30/100", "riverflow 0.500", "12.3 windows/s", "4% waiting for data", "1.5 GB", "90 min left"):
        assert word in line


def test_a_modality_without_a_target_is_left_out(said: pytest.LogCaptureFixture) -> None:
    report = dataclasses.replace(REPORT, losses={**REPORT.losses, "precip": float("nan")})
    display.Lines().show(report)
    (line,) = said.messages
    assert "riverflow 0.500" in line
    assert "precip" not in line
    console = Console(file=io.StringIO(), width=100)
    console.print(display.losses_table(report))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "precip" in shown, "its column stays"
    assert "nan" not in shown


def test_nobody_listening_does_not_end_training(tmp_path: Path) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    display.Relay(Broken()).show(REPORT)


@pytest.mark.parametrize(("seconds", "words"), [(20, "20 s"), (600, "10 min"), (9000, "2.5 h"), (864_000, "10.0 days")])
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_rows_state_memory(tiny_run: Path) -> None:
    assert all(0.05 < row["peak_memory_gib"] < 64 for row in read_metrics(tiny_run) if row["split"] == "train")


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_missing_logger_is_one_sentence(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    config = with_overrides(tiny_store.config, [f"train.loggers={package}"])
    with pytest.raises(ConfigError, match=rf"train.loggers.*pip install 'watercli\[{package}\]'"):
        pretrain(config, tiny_store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def written(run: Path, config: Config, logger: str) -> None:
    """Write two rows, and a third as a resumed run does."""
    chosen = with_overrides(config, [f"train.loggers={logger}"])
    run.mkdir()
    for start, steps in ((0, (1, 2)), (2, (3,))):
        with MetricsLog(run, chosen, start) as metrics:
            for step in steps:
                metrics.write(step, "train", {"loss": 1 / step, "loss/soil": float("nan")})


def test_no_logger_writes_but_metrics(tiny_store: Store, tmp_path: Path) -> None:
    config = with_overrides(tiny_store.config, ["train.loggers=[]", "train.steps=1"])
    pretrain(config, tiny_store, tmp_path / "run")
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert read_metrics(tmp_path / "run")


def test_tensorboard_goes_on(tiny_store: Store, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    written(tmp_path / "run", tiny_store.config, "tensorboard")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [one.step for one in events.Scalars("loss/train")] == [1, 2, 3]


def test_mlflow_goes_on_offline(tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    written(tmp_path / "run", tiny_store.config, "mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'run' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(tiny_store.config.name)
    (found,) = client.search_runs([experiment.experiment_id])
    assert [one.step for one in client.get_metric_history(found.info.run_id, "loss/train")] == [1, 2, 3]
    assert found.info.status == "FINISHED"


def test_wandb_writes_offline(tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    written(tmp_path / "run", tiny_store.config, "wandb")
    folders = list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert folders
    assert len({folder.name.rpartition("-")[2] for folder in folders}) == 1, "one run, resumed"
    assert all(list(folder.glob("*.wandb")) for folder in folders)


def test_a_dry_run_says_what_it_takes_and_writes_nothing(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(["pretrain", "--store", str(tiny_store.path), "--dry-run", "--processes", "2"], debug=True) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for word in ("encoded", "decoded", "parameters", "weights", "optimiser", "s of computation", "epoch",
                 "6 steps", "checkpoint", "share of one of 2 processes"):  # fmt: skip
        assert word in shown, word
    assert not list(tmp_path.iterdir())


def test_a_dry_run_counts(tiny_store: Store) -> None:
    config = longer(tiny_store.config, "train.deepspeed.zero_stage=2")
    found = dry_run.estimate(config, tiny_store, Processes())
    model = MultiModalMAE(store_model_config(config, tiny_store))
    assert found.parameters == sum(one.numel() for one in model.parameters())
    windows, days, patches = config.train.batch_size, config.window_days, len(tiny_store.land_patches)
    precip = found.tokens["precip"]
    assert precip.encoded + precip.decoded == pytest.approx(windows * days * patches)
    assert precip.decoded / (precip.encoded + precip.decoded) == pytest.approx(0.75, abs=0.02)
    flow = found.tokens["riverflow"]
    assert 0 < flow.encoded + flow.decoded <= windows * config.train.catchments_per_window * days
    train_days = tiny_store.period("train").stop - tiny_store.period("train").start
    assert found.epoch_steps == (train_days - days + 1) / windows
    cells = patches * np.prod(tiny_store.patch_size)  # of land patches alone
    assert found.data == len(config.of_kind("grid")) * len(tiny_store.times) * cells * 4
    assert found.step_seconds > 0
    assert found.peak > sum(found.state.values()) + found.data


def test_state_is_spread_by_the_zero_stage(tiny_store: Store) -> None:
    def sizes(stage: int, world: int) -> list[float]:
        changes = [f"train.deepspeed.zero_stage={stage}", "train.weight_averaging=null"]
        train = with_overrides(tiny_store.config, changes).train
        return list(dry_run.state_bytes(1000, train, world).values())

    assert sizes(3, 1) == sizes(0, 4) == [4000, 4000, 8000]
    assert sizes(1, 4) == [4000, 4000, 2000]
    assert sizes(2, 4) == [4000, 1000, 2000]
    assert sizes(3, 4) == [1000, 1000, 2000]


def test_a_checkpoint_is_as_large_as_estimated(tiny_run: Path) -> None:
    from watercli.run import checkpoint as checkpoints
    from watercli.run import directory

    best = directory.open_run(tiny_run)
    numbers = sum(one.numel() for one in best.model().parameters())
    held = sum(one["bytes"] for one in json.loads((best.path / checkpoints.META).read_text())["files"].values())
    assert held == pytest.approx(16 * numbers, rel=0.25), "headers weigh something in a tiny one"
