"""What tests share: tiny stores and runs, made by the program itself, once for all processes of a session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.forked import no_launcher
from watercli.config import load, with_overrides
from watercli.preparation.prepare import prepare
from watercli.run.checkpoint import Checkpoint
from watercli.run.directory import open_run
from watercli.store import Store
from watercli.training.pretrain import pretrain

__all__ = ["no_launcher"]
TINY = (
    "recipe.demo.cells=[24, 20]",
    "recipe.demo.catchments=6",
    "recipe.period={start: 2000-01-01, end: 2002-03-31}",
    "recipe.splits.train={start: 2000-01-01, end: 2001-06-30}",
    "recipe.splits.validation={start: 2001-07-01, end: 2001-12-31}",
    "recipe.splits.test={start: 2002-01-01, end: 2002-03-31}",
    "window_days=10",
    "grid_window_days=null",
    "modalities.riverflow.loss=mse",
    "model.recurrence=null",
    "model.cross_modal_attention=none",
    "model.antecedent_state=null",
    "model.causal=false",
    "model.grid_attention_scope=window",
    "model.width=16",
    "model.decoder_width=16",
    "model.heads=2",
    "model.grid_layers=2",
    "model.series_layers=1",
    "model.decoder_layers=2",
    "train.tasks={}",
    "train.evidence=null",
    "train.attribute_noise_std=0",
    "train.optimiser=adamw",
    "train.learning_rate=1e-3",
    "train.weight_averaging=1",
    "train.batch_size=2",
    "train.steps=6",
    "train.warmup_steps=2",
    "train.catchments_per_window=4",
    "train.validate_every=3",
    "train.validation_windows=4",
    "train.checkpoint_every=3",
    "train.log_every=2",
    "evaluate.reconstruction_windows=4",
    "evaluate.ema_mlp_steps=10",
    "evaluate.methods=[simulation, probe, weather_ridge, ema_mlp, nearest, climatology, persistence]",
    "evaluate.lstm_steps=2",
)
"""The demo configuration, cut down to seconds, and its model to the report's."""
FUSED = (
    "model.cross_modal_attention=decoder",
    "model.antecedent_state={width: 16}",
    "model.causal=true",
    "model.grid_attention_scope=same_day",
    "modalities.riverflow.loss=basin_averaged_nse",
    "train.tasks={simulation: 0.5, forecast: 0.2, spatial_masking: 0.1}",
    "train.attribute_noise_std=0.1",
    "train.held_out_gauges={folds: 3, fold: 1}",
)
"""What makes a causal model with cross-modal attention and an antecedent state; of six gauges, 1 and 4 are held out."""


RECURRENT = (
    *FUSED,
    "model.cross_modal_attention=none",
    "model.recurrence={warmup_days: 40}",
    "window_days=20",
    "grid_window_days=6",
)
"""What makes a model whose series are encoded by a recurrence, with grids on the last days of a window.

Of six gauges, 1 and 4 are held out."""


EVIDENCE = "train.evidence={steps: 12, quantile_steps: 6}"
"""An evidence head."""


Once = Callable[[str, Callable[[Path], object]], Path]
"""``once(name, make)`` returns the path that ``make(path)`` has written."""
Trained = Callable[..., Path]
"""``trained(name, *changes)`` returns a run on the tiny store."""


@pytest.fixture(scope="session")
def once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Make a file or folder once for all processes of a session; do not write to it."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if hasattr(request.config, "workerinput") else own) / "shared"
    shared.mkdir(exist_ok=True)

    def path_of(name: str, make: Callable[[Path], object]) -> Path:
        path, made = shared / name, shared / f"{name}.made"
        with FileLock(f"{path}.lock"):
            if not made.exists():
                make(path)
                made.touch()
        return path

    return path_of


@pytest.fixture(scope="session")
def tiny_store(once: Once) -> Store:
    """Two years and a quarter of a small demo domain with six catchments; do not write to it."""
    return Store.open(once("tiny.zarr", lambda path: prepare(load("demo", TINY), path, data=None)))


@pytest.fixture(scope="session")
def trained(once: Once, tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train once for all processes; each has its own copy, as evaluations keep a cache in it."""

    def run(name: str, *changes: str) -> Path:
        config = with_overrides(tiny_store.config, changes)
        made = once(name, lambda path: pretrain(config, tiny_store, path))
        return Path(shutil.copytree(made, tmp_path_factory.mktemp("runs") / name))

    return run


@pytest.fixture(scope="session")
def tiny_run(trained: Trained) -> Path:
    """A run of six steps on the tiny store; do not write to it."""
    return trained("tiny")


@pytest.fixture(scope="session")
def fused_run(trained: Trained) -> Path:
    """A run like `tiny_run`, of a causal model with cross-modal attention and an antecedent state."""
    return trained("fused", *FUSED)


@pytest.fixture(scope="session")
def recurrent_run(trained: Trained) -> Path:
    """A run like `fused_run`, of a model with a recurrence."""
    return trained("recurrent", *RECURRENT)


@pytest.fixture(scope="session")
def informed_run(trained: Trained) -> Path:
    """A run like `recurrent_run`, with an evidence head."""
    return trained("informed", *RECURRENT, EVIDENCE)


@pytest.fixture(scope="session")
def fused(fused_run: Path) -> Checkpoint:
    """The model of `fused_run`; gauges 1 and 4 of its six were held out from training."""
    return open_run(fused_run)


@pytest.fixture(scope="session")
def other_store(once: Once) -> Store:
    """The tiny domain with ten gauges, of which four are new to the runs, and a quarter of a year more."""
    config = load("demo", (*TINY, "recipe.demo.catchments=10", "recipe.period.end=2002-06-30"))
    return Store.open(once("other.zarr", lambda path: prepare(config, path, data=None)))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data, or skip where there is none."""
    beside = Path(__file__).parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("WATERCLI_DATA", beside))
    if not (folder / "camels_gb").is_dir():
        pytest.skip(f"no real data at {folder}; set WATERCLI_DATA")
    return folder
