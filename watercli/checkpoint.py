"""Checkpoints: ``model.safetensors`` and ``checkpoint.json``, readable without a trainer; engine state stands apart.

``runs/<name>/checkpoints/<step>/`` holds ``model.safetensors`` (weights), ``checkpoint.json`` (configuration,
scaling, grid, fingerprint of the store, versions) and ``engine/`` (what the optimiser needs to resume).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from model.config import GridConfig, MAEConfig
from model.mae import MultiModalMAE
from watercli import __version__
from watercli.config import Config, parse
from watercli.data.dataset import model_config
from watercli.data.scaling import Scaling
from watercli.errors import ConfigError, RunError
from watercli.store import Store

SCHEMA_VERSION = 1
WEIGHTS = "model.safetensors"
META = "checkpoint.json"
ENGINE = "engine"


def versions() -> dict[str, str]:
    """Return the versions that a run states."""
    import importlib.metadata
    import platform

    packages = ("torch", "numpy", "xarray", "zarr", "deepspeed")
    return {
        "watercli": __version__,
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
    }


@dataclass(frozen=True)
class Checkpoint:
    """What ``checkpoint.json`` says."""

    step: int
    config: Config
    scaling: Scaling
    grid: GridConfig | None
    fingerprint: str
    """Of the store that the model was trained on."""
    validation_loss: float | None = None
    versions: Mapping[str, str] = field(default_factory=versions)
    path: Path = Path()
    gauges: tuple[str, ...] = ()
    """Of the store that the model was trained on, those hidden from training too; empty if not recorded."""
    splits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """First and last day of training, validation and test, as that store had them; empty if not recorded."""

    @property
    def structure(self) -> MAEConfig:
        """The model's structure."""
        return model_config(self.config, self.grid, len(self.scaling.attributes))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "schema_version": SCHEMA_VERSION,
            "step": self.step,
            "validation_loss": self.validation_loss,
            "fingerprint": self.fingerprint,
            "versions": dict(self.versions),
            "config": self.config.to_yaml(),
            "scaling": self.scaling.to_dict(),
            "grid": asdict(self.grid) if self.grid else None,
            "gauges": list(self.gauges),
            "splits": dict(self.splits),
        }

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a checkpoint's JSON file.

        Raises
        ------
        RunError
            If it is missing, torn or of another schema version.
        """
        try:
            raw = json.loads((path / META).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{path / META} cannot be read; choose another checkpoint or train again") from error
        if raw.get("schema_version") != SCHEMA_VERSION:
            raise RunError(f"{path / META} has schema version {raw.get('schema_version')}, not {SCHEMA_VERSION}")
        grid = raw["grid"]
        return cls(
            step=raw["step"],
            config=parse(raw["config"], origin=str(path / META)),
            scaling=Scaling.from_dict(raw["scaling"]),
            grid=GridConfig(**{key: tuple(value) for key, value in grid.items()}) if grid else None,
            fingerprint=raw["fingerprint"],
            validation_loss=raw["validation_loss"],
            versions=raw["versions"],
            path=path,
            gauges=tuple(raw.get("gauges", ())),
            splits=raw.get("splits", {}),
        )

    def load_weights(self, model: MultiModalMAE) -> None:
        """Load the weights into a model, strictly: every tensor has its place and every place its tensor.

        Raises
        ------
        RunError
            If the file is torn, or it is the checkpoint of another structure.
        """
        file = self.path / WEIGHTS
        try:
            model.load_state_dict(load_file(file))
        except (OSError, SafetensorError) as error:
            raise RunError(f"{file} cannot be read; choose another checkpoint or train again") from error
        except RuntimeError as error:
            raise RunError(f"{file} belongs to another configuration than {META} beside it says") from error

    def fingerprint_of_weights(self) -> str:
        """Return the SHA-256 of the weights' file: what embeddings and results say they come from."""
        with (self.path / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def model(self, device: torch.device | str = "cpu") -> MultiModalMAE:
        """Return the trained model, ready for inference."""
        model = MultiModalMAE(self.structure)
        self.load_weights(model)
        return model.to(device).eval()


def save(run: Path, checkpoint: Checkpoint, weights: dict[str, torch.Tensor]) -> Path:
    """Write a checkpoint beside its final place, then put it there: a reader never sees half of one.

    An ``engine`` folder that already lies in the temporary place (see `staging`) goes with it.
    """
    temporary, final = staging(run, checkpoint.step), folder(run, checkpoint.step)
    temporary.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, temporary / WEIGHTS)
    (temporary / META).write_text(json.dumps(checkpoint.to_dict(), indent=1), encoding="utf-8")
    if final.exists():
        shutil.rmtree(final)
    os.rename(temporary, final)
    return final


def folder(run: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint."""
    return run / "checkpoints" / f"{step:08d}"


def staging(run: Path, step: int) -> Path:
    """Return the folder where a checkpoint is put together."""
    return run / "checkpoints" / f".{step:08d}.partial"


def all_checkpoints(run: Path) -> list[Checkpoint]:
    """Return the whole checkpoints of a run, oldest first; those that cannot be read are passed over."""
    found = []
    for path in sorted((run / "checkpoints").glob("[0-9]*")):
        try:
            found.append(Checkpoint.read(path))
        except RunError:
            continue
    return found


def best_of(checkpoints: list[Checkpoint]) -> Checkpoint:
    """Return the checkpoint of the lowest validation loss; the newest if none has one."""
    scored = [one for one in checkpoints if one.validation_loss is not None]
    return min(scored, key=_validation_loss) if scored else checkpoints[-1]


def _validation_loss(checkpoint: Checkpoint) -> float:
    return float("inf") if checkpoint.validation_loss is None else checkpoint.validation_loss


def prune(run: Path, keep: int) -> None:
    """Keep the newest ``keep`` checkpoints and the best one; drop the rest and what was left half written."""
    found = all_checkpoints(run)
    kept = {one.path for one in found[-keep:]} | ({best_of(found).path} if found else set())
    for path in (run / "checkpoints").iterdir():
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def open_run(run: Path, which: Callable[[list[Checkpoint]], Checkpoint] = best_of) -> Checkpoint:
    """Return a run's checkpoint, the best one unless told otherwise.

    Raises
    ------
    ConfigError
        If there is no such run.
    RunError
        If it has no whole checkpoint.
    """
    if not (run / "config.yaml").is_file():
        raise ConfigError(f"{run} is no run directory; make one with 'watercli pretrain --run {run}'")
    found = all_checkpoints(run)
    if not found:
        raise RunError(f"{run} has no whole checkpoint; continue it with 'watercli pretrain --run {run} --resume'")
    return which(found)


FAR = 3.0
"""Standard deviations between two training means, beyond which the values are of another kind."""


def check_fits(checkpoint: Checkpoint, store: Store, hidden: Sequence[str] = ()) -> None:
    """Refuse a store that the run was not made for.

    A series in ``hidden`` may be absent: the encoder would not see it anyway.

    Raises
    ------
    ConfigError
        If modalities, attributes, grid or the scale of the values differ; the message names what.
    """
    for name, modality in checkpoint.config.modalities.items():
        held = store.config.modalities.get(name)
        if held is None and modality.kind == "series" and name in hidden:
            continue
        if held is None or held.kind != modality.kind or held.units != modality.units:
            state = "absent" if held is None else f"a {held.kind} in {held.units}"
            raise ConfigError(
                f"The run's modality '{name}' ({modality.kind}, {modality.units}) is {state} in {store.path}; "
                "give the store that the run was trained on"
            )
    if checkpoint.grid is not None:
        grid = (store.grid_shape, store.patch_size, tuple(int(patch) for patch in store.land_patches))
        if grid != (checkpoint.grid.shape, checkpoint.grid.patch_size, checkpoint.grid.land_patches):
            raise ConfigError(
                f"The run's grid {checkpoint.grid.shape} in patches of {checkpoint.grid.patch_size} is not that of "
                f"{store.path}, {store.grid_shape} in patches of {store.patch_size}, or its land differs"
            )
    checkpoint.scaling.static(store)
    _check_statistics(checkpoint, store)


def _check_statistics(checkpoint: Checkpoint, store: Store) -> None:
    for name, scale in checkpoint.scaling.modalities.items():
        if name not in store.config.modalities:
            continue
        mean, std = store.statistics(name, scale.transform)
        if abs(mean - scale.mean) > FAR * scale.std or not 0.1 < std / scale.std < 10:
            after = "" if scale.transform == "identity" else f" after {scale.transform}"
            raise ConfigError(
                f"'{name}' in {store.path} has mean {mean:.3g} and standard deviation {std:.3g}{after} over its "
                f"training period, against {scale.mean:.3g} and {scale.std:.3g} of the run; check its units and source"
            )
