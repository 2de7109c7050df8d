"""Several processes, through DeepSpeed's launcher: the same losses, whoever is killed, however many go on.

DeepSpeed's launcher, and what it starts, import for half a minute of a processor: tests of the training alone do
without it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from tests.conftest import FUSED, RECURRENT, Trained
from tests.forked import Started, start
from tests.unit.training.conftest import LONGER, halved, longer, rows, same_losses
from watercli.config import Config, with_overrides
from watercli.errors import ConfigError, RunError
from watercli.run import directory
from watercli.store import Store
from watercli.training import launch
from watercli.training.deepspeed_engine import deepspeed_config
from watercli.training.launch import LAUNCHER_LOG, LOGS, Processes, slots
from watercli.training.pretrain import pretrain

EIGHT = (*LONGER, "model.dropout=0")
TWO = Processes(processes=2)
LONG = ("train.steps=3000", "train.checkpoint_every=20", "train.validate_every=1000", "model.dropout=0")


def words(store: Store, run: Path, *options: str, settings: tuple[str, ...] = EIGHT) -> list[str]:
    """Return a command line; of its settings, those that an option repeats are overruled."""
    chosen = [word for setting in settings for word in ("--set", setting)]
    return ["pretrain", "--store", str(store.path), "--run", str(run), *chosen, *options]


def command(
    store: Store, run: Path, *options: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "watercli", *words(store, run, *options)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=cwd,
        env=os.environ | environment,
    )


@pytest.fixture(scope="session")
def whole(trained: Trained) -> Path:
    """A run of eight steps by one process, without dropout, which draws another mask in each process."""
    return trained("whole", *LONGER, "model.dropout=0")


STATEFUL = ("model.dropout=0", *FUSED)
"""A model with an antecedent state, whose buffers all processes must share."""


@pytest.fixture(scope="session")
def whole_stateful(trained: Trained) -> Path:
    """A run like `whole`, of a model with an antecedent state."""
    return trained("whole-stateful", *LONGER, *STATEFUL)


def goes_on(config: Config, store: Store, run: Path, processes: Processes = TWO) -> None:
    """Continue a run in several processes, from step 4."""
    pretrain(config, store, run, resume=True, processes=processes)
    assert "step 4 of 8" in (run / LOGS / LAUNCHER_LOG).read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("no_launcher")
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_any_zero_stage_does_what_one_process_does_goes_on_from_it_and_back(
    tiny_store: Store, whole_stateful: Path, tmp_path: Path, stage: int
) -> None:
    config = longer(tiny_store.config, *STATEFUL, f"train.deepspeed.zero_stage={stage}")
    pretrain(config, tiny_store, tmp_path / "spread", processes=TWO)
    same_losses(whole_stateful, tmp_path / "spread")
    assert all(row["gradient_norm"] for row in rows(tmp_path / "spread") if row["split"] == "train")
    one, two = (directory.all_checkpoints(run)[-1].model() for run in (whole_stateful, tmp_path / "spread"))
    assert one.antecedent_state is not None
    assert two.antecedent_state is not None
    for buffer, other in zip(one.antecedent_state.buffers(), two.antecedent_state.buffers(), strict=True):
        assert torch.equal(buffer, other)
        assert len(buffer.unique()) > 10
    there = halved(whole_stateful, tmp_path / "there")
    goes_on(config, tiny_store, there)
    same_losses(whole_stateful, there)
    back = halved(tmp_path / "spread", tmp_path / "back")
    pretrain(longer(tiny_store.config, *STATEFUL), tiny_store, back, resume=True)
    same_losses(whole_stateful, back)


@pytest.mark.slow
@pytest.mark.usefixtures("no_launcher")
def test_two_go_on_as_four_with_another_stage_and_activations_computed_anew(tiny_store: Store, tmp_path: Path) -> None:
    config = longer(tiny_store.config, "model.dropout=0", "train.batch_size=4", "train.deepspeed.zero_stage=2")
    pretrain(config, tiny_store, tmp_path / "one")
    pretrain(config, tiny_store, tmp_path / "two", processes=TWO)
    same_losses(tmp_path / "one", tmp_path / "two")
    run = halved(tmp_path / "two", tmp_path / "four")
    changes = ("train.deepspeed.zero_stage=3", "train.activation_checkpointing=true")
    goes_on(with_overrides(config, changes), tiny_store, run, Processes(processes=4))
    same_losses(tmp_path / "one", run)


BF16 = (
    *("model.dropout=0", "train.steps=10", "train.log_every=1", "train.learning_rate=0.003"),
    # All modalities weigh alike, as when the bounds were measured.
    *(f"modalities.{name}.loss_weight=1" for name in ("precip", "soil", "temp", "evap")),
)


@pytest.mark.slow
@pytest.mark.usefixtures("no_launcher")
@pytest.mark.parametrize("stage", [0, 2, 3])
def test_bf16_learns_as_in_one_process(trained: Trained, tiny_store: Store, tmp_path: Path, stage: int) -> None:
    """Weights stay in fp32. DeepSpeed's own bf16 was 2.5 % off fp32 after 10 steps; this is never more than 1 %."""
    fp32, bf16 = (trained(name, *BF16, f"train.precision={name}") for name in ("fp32", "bf16"))
    settings = ("train.checkpoint_every=3", "train.precision=bf16", f"train.deepspeed.zero_stage={stage}")
    pretrain(with_overrides(tiny_store.config, [*BF16, *settings]), tiny_store, tmp_path / "two", processes=TWO)
    same_losses(fp32, tmp_path / "two", rel=0.01)
    if stage != 3:  # its own linear layers round the product before they add the bias: once more than PyTorch's
        same_losses(bf16, tmp_path / "two", rel=0.005)


@pytest.mark.slow
@pytest.mark.usefixtures("no_launcher")
def test_fp16_goes_on_with_its_loss_scale(tiny_store: Store, tmp_path: Path) -> None:
    config = longer(tiny_store.config, "model.dropout=0", "train.precision=fp16")
    pretrain(config, tiny_store, tmp_path / "whole", processes=TWO)
    run = halved(tmp_path / "whole", tmp_path / "half")
    goes_on(config, tiny_store, run)
    assert rows(run) == rows(tmp_path / "whole")


@pytest.mark.slow
def test_the_launcher_relays_what_rank_0_says_beside_modules_of_the_user(
    tiny_store: Store, whole: Path, folder: Path
) -> None:
    options = ("--processes", "2", "--set", "train.deepspeed.zero_stage=1")
    done = command(tiny_store, folder / "run", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "step 8/8" in done.stderr, "rank 0 is heard"
    assert "left)" in done.stderr, "and relays its reports"
    same_losses(whole, folder / "run")


@pytest.fixture
def started(tiny_store: Store, tmp_path: Path) -> Iterator[Started]:
    """A long run of two processes that has a checkpoint; see that nothing of it is left."""
    arguments = words(tiny_store, tmp_path / "run", "--processes", "2", settings=LONG)
    command = start(arguments, tmp_path / "stderr")
    while command.runs() and not directory.all_checkpoints(tmp_path / "run"):
        time.sleep(0.2)
    yield command
    command.process.kill()
    deadline = time.monotonic() + 60
    while (left := of_run(tmp_path / "run")) and time.monotonic() < deadline:
        time.sleep(0.5)
    for one in left:
        one.kill()
    assert not left, "processes were left behind"


def of_run(run: Path) -> list[psutil.Process]:
    """Return the processes of a run: workers, and the launchers that name it."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        given = process.info["cmdline"] or []
        if str(run) in given and process.info["status"] != psutil.STATUS_ZOMBIE and "watercli" not in given:
            found.append(process)
    return found


def part(run: Path, module: str) -> psutil.Process:
    """Return a process of a run by the module that it executes: the last one that was started."""
    return max(
        (one for one in of_run(run) if module in one.cmdline()[: one.cmdline().index(str(run))][:5]),
        key=lambda one: one.create_time(),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_asks_and_a_second_one_breaks(tmp_path: Path, number: int) -> None:
    before = signal.getsignal(number)
    with launch._stop_on_signal(tmp_path / "stop"):
        signal.raise_signal(number)
        assert (tmp_path / "stop").exists()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


@pytest.mark.slow
def test_a_signal_saves_on_all_ranks(tiny_store: Store, tmp_path: Path, started: Started) -> None:
    started.process.terminate()
    assert started.end() == 1, started.said()
    said = started.said()
    step = directory.all_checkpoints(tmp_path / "run")[-1].step
    assert said.splitlines()[-1].startswith(f"Error: Stopped after step {step}; continue with ")
    assert "--resume" in said.splitlines()[-1]
    assert "Traceback" not in said
    # Any number of processes goes on: here one, for two steps more.
    config = with_overrides(tiny_store.config, [*LONG, f"train.steps={step + 2}"])
    pretrain(config, tiny_store, tmp_path / "run", resume=True)
    assert directory.all_checkpoints(tmp_path / "run")[-1].step == step + 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["watercli.training.worker", "deepspeed.launcher.launch", "deepspeed.launcher.runner"]
)
def test_whoever_is_killed_it_ends_in_one_sentence(tmp_path: Path, started: Started, module: str) -> None:
    part(tmp_path / "run", module).kill()
    assert started.end() == 1, started.said()
    said = started.said()
    assert said.splitlines()[-1].startswith("Error: ")
    assert "--resume" in said.splitlines()[-1]
    assert "Traceback" not in said
    directory.all_checkpoints(tmp_path / "run")[-1].verify()


@pytest.mark.slow
def test_the_command_killed_leaves_a_checkpoint_and_no_orphans(tmp_path: Path, started: Started) -> None:
    started.process.kill()
    started.process.join()
    deadline = time.monotonic() + 60
    while of_run(tmp_path / "run") and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not of_run(tmp_path / "run")
    step = directory.all_checkpoints(tmp_path / "run")[-1].step
    error = (tmp_path / "run" / "logs" / "rank-0.error").read_text()
    assert f"Stopped after step {step}" in error


@pytest.mark.slow
@pytest.mark.usefixtures("no_launcher")
def test_a_failing_process_names_its_log(tiny_store: Store, tmp_path: Path) -> None:
    given = tmp_path / "ds.json"
    given.write_text('{"zero_optimization": {"reduce_bucket_size": "many"}}')
    config = longer(tiny_store.config, f"train.deepspeed.config={given}", "train.deepspeed.zero_stage=1")
    with pytest.raises(RunError, match=r"reduce_bucket_size.*rank-"):
        pretrain(config, tiny_store, tmp_path / "run", processes=TWO)
    assert "Traceback" in (tmp_path / "run" / "logs" / "rank-0.log").read_text()


PDSH = """#!{python}
# Stands in for pdsh: runs the command once for each host after -w, with %n replaced, here instead of there.
import subprocess, sys
given = sys.argv[1:]
hosts = given[given.index("-w") + 1].split(",")
line = " ".join(given[given.index("-w") + 2:])
parts = [subprocess.Popen(line.replace("%n", str(n)), shell=True) for n, _ in enumerate(hosts)]
sys.exit(max(part.wait() for part in parts))
"""
SSH = """#!/bin/sh
# Stands in for ssh: answers as every host does when DeepSpeed asks for its name and address.
echo 127.0.0.1
"""


@pytest.mark.slow
def test_two_machines_do_what_one_process_does(tiny_store: Store, whole: Path, tmp_path: Path) -> None:
    """Two 'machines' that are this one: all is DeepSpeed's own but the programs that reach another machine."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("pdsh", PDSH.format(python=sys.executable)), ("ssh", SSH)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 slots=1\nlocalhost slots=1\n")
    done = command(tiny_store, tmp_path / "run", "--processes", "1", "--hostfile", str(hosts),
                   PATH=f"{programs}:{os.environ['PATH']}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    same_losses(whole, tmp_path / "run")
    assert {path.name for path in (tmp_path / "run" / "logs").iterdir()} >= {"rank-0.log", "rank-1.log", "launcher.log"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("node1 slots=4\nnode2 4", "Line 2 of .*HOST slots=N"),
        ("node1 slots=4\nnode1 slots=4", "node1 a second time"),
        ("node1 slots=2", "node1 has 2 slots"),
        ("# none", "names no machine"),
        (None, "No hostfile"),
    ],
)
def test_a_hostfile_that_does_not_serve_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "hosts").write_text(text)
    with pytest.raises(ConfigError, match=message):
        slots(tmp_path / "hosts", 4)


def test_machines_and_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    hosts = tmp_path / "hosts"
    hosts.write_text("# ours\nnode1 slots=4\n\nnode2 slots=8  # the new one\n")
    processes = Processes(gpus=4, hostfile=hosts)
    assert (processes.world, processes.each) == (8, 4)
    line = launch.command(tmp_path / "run", processes, 1234)
    assert line[line.index("--hostfile") + 1] == str(hosts)
    assert line[line.index("--num_gpus") + 1] == "4"
    assert line[line.index("--accelerator") + 1] == "cuda"
    assert line[line.index("--launcher") + 1] == f"{socket.gethostname()}:{os.getpid()}"
    assert Path(line[line.index("--run") + 1]).is_absolute()
    assert "" in launch.command(tmp_path / "run", Processes(processes=2), 1234), "no hostfile, /job/hostfile neither"
    assert Processes(processes=2).world == 2
    assert Processes().world == 1


def test_what_processes_need_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        Processes(gpus=1, processes=1)
    with pytest.raises(ConfigError, match="say with --gpus"):
        Processes(hostfile=tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="needs the program pdsh"):
        Processes(gpus=1, hostfile=tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{train_batch_size: 64}", "has train_batch_size, .*train.batch_size"),
        ("{gradient_clipping: 0.5}", "train.max_gradient_norm"),
        ("{optimizer: {type: Adam}}", "train.learning_rate"),
        ("{bf16: {enabled: true}}", "train.precision"),
        ("{zero_optimization: {stage: 2}}", "ZeRO stage 2, but train.deepspeed.zero_stage is 0"),
    ],
)
def test_deepspeed_settings_that_contradict_ours_are_refused(
    tiny_store: Store, tmp_path: Path, given: str, message: str
) -> None:
    config = with_overrides(tiny_store.config, [f"train.deepspeed.config={given}"])
    with pytest.raises(ConfigError, match=message):
        pretrain(config, tiny_store, tmp_path / "run", processes=Processes(processes=2))
    assert not (tmp_path / "run").exists()


def test_deepspeed_settings_of_a_file_are_taken(tiny_store: Store, tmp_path: Path) -> None:
    file = tmp_path / "ds.json"
    file.write_text('{"train_batch_size": "auto", "wall_clock_breakdown": true,'
                    ' "zero_optimization": {"stage": 1, "reduce_bucket_size": 1000}}')  # fmt: skip
    settings = [f"train.deepspeed.config={file}", "train.deepspeed.zero_stage=1"]
    train = with_overrides(tiny_store.config, settings).train
    file.unlink()  # the run's own configuration holds what was in it
    found = deepspeed_config(train, 2)
    assert found["wall_clock_breakdown"] is True
    assert found["zero_optimization"] == {"stage": 1, "reduce_bucket_size": 1000}
    assert found["train_batch_size"] == train.batch_size
    for text, message in (("{", "no valid JSON"), (None, "cannot be read")):
        if text:
            file.write_text(text)
        else:
            file.unlink()
        with pytest.raises(ConfigError, match=rf"train.deepspeed.config.*{message}"):
            with_overrides(tiny_store.config, settings)


@pytest.mark.slow
@pytest.mark.usefixtures("no_launcher")
@pytest.mark.parametrize("cell", ["linear", "lstm"])
def test_a_recurrence_learns_alike_in_several_processes_and_goes_on_in_another_stage(
    tiny_store: Store, tmp_path: Path, cell: str
) -> None:
    config = longer(tiny_store.config, "model.dropout=0", *RECURRENT, f"model.recurrence.cell={cell}")
    pretrain(config, tiny_store, tmp_path / "one")
    pretrain(config, tiny_store, tmp_path / "two", processes=TWO)
    same_losses(tmp_path / "one", tmp_path / "two")
    run = halved(tmp_path / "two", tmp_path / "half")
    goes_on(with_overrides(config, ["train.deepspeed.zero_stage=3"]), tiny_store, run)
    same_losses(tmp_path / "one", run)
