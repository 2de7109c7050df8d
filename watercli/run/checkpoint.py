"""Checkpoints: ``model.safetensors`` and ``checkpoint.json``, readable without a trainer; the optimiser stands apart.

``runs/<name>/checkpoints/<step>/`` holds ``model.safetensors`` (weights), ``optimiser.safetensors`` (what training
needs to go on, by the names of the weights: it does not know how many processes wrote it) and ``checkpoint.json``
(configuration, scaling, grid, fingerprint of the store, versions, and size and SHA-256 of the other two files).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from multimodal_mae.config import GridConfig, MAEConfig
from multimodal_mae.mae import MultiModalMAE
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from watercli import __version__
from watercli.config import Config, parse
from watercli.data.scaling import Scaling
from watercli.data.structure import model_config
from watercli.errors import ConfigError, RunError
from watercli.log import log
from watercli.store import Store

SCHEMA_VERSION = 2
WEIGHTS = "model.safetensors"
OPTIMISER = "optimiser.safetensors"
META = "checkpoint.json"


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
    validation_nse: float | None = None
    """Median over catchments of the NSE of simulated series; None where none was simulated."""
    versions: Mapping[str, str] = field(default_factory=versions)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``bytes`` and ``sha256`` of each file beside ``checkpoint.json``."""
    path: Path = Path()
    gauges: tuple[str, ...] = ()
    """Of the store that the model was trained on, those hidden from training too; empty if not recorded."""
    held_out_gauges: tuple[str, ...] = ()
    """Those of them whose series ``train.held_out_gauges`` hid from training."""
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
            "validation_nse": self.validation_nse,
            "fingerprint": self.fingerprint,
            "versions": dict(self.versions),
            "files": {name: dict(one) for name, one in self.files.items()},
            "config": self.config.to_yaml(),
            "scaling": self.scaling.to_dict(),
            "grid": asdict(self.grid) if self.grid else None,
            "gauges": list(self.gauges),
            "held_out_gauges": list(self.held_out_gauges),
            "splits": dict(self.splits),
        }

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a checkpoint's JSON file.

        Raises
        ------
        RunError
            If it is missing, torn or of another schema version, or a file beside it is missing or cut short.
        """
        try:
            raw = json.loads((path / META).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{path / META} cannot be read; choose another checkpoint or train again") from error
        for name, one in raw.get("files", {}).items():
            if not (path / name).is_file():
                raise RunError(f"{path / name} is missing; choose another checkpoint or train again")
            if (size := (path / name).stat().st_size) != one["bytes"]:
                raise RunError(f"{path / name} has {size} bytes, not {one['bytes']}; choose another checkpoint")
        if raw.get("schema_version") != SCHEMA_VERSION:
            raise RunError(f"{path / META} has schema version {raw.get('schema_version')}, not {SCHEMA_VERSION}")
        grid = raw["grid"]
        config = parse(raw["config"], origin=str(path / META))
        if config.train.held_out_gauges and "held_out_gauges" not in raw:
            raise RunError(f"{path / META} does not name the gauges that were hidden from training; train again")
        return cls(
            step=raw["step"],
            config=config,
            scaling=Scaling.from_dict(raw["scaling"]),
            grid=GridConfig(**{key: tuple(value) for key, value in grid.items()}) if grid else None,
            fingerprint=raw["fingerprint"],
            validation_loss=raw["validation_loss"],
            validation_nse=raw.get("validation_nse"),
            versions=raw["versions"],
            files=raw.get("files", {}),
            path=path,
            gauges=tuple(raw.get("gauges", ())),
            held_out_gauges=tuple(raw.get("held_out_gauges", ())),
            splits=raw.get("splits", {}),
        )

    def config_for(self, store: Store) -> Config:
        """Return the configuration, in which those of a store's gauges that were hidden from training are named.

        Which they are depends on the store that the run was trained on, not on the one that is read.
        """
        hidden = self.config.train.held_out_gauges
        if hidden is None:
            return self.config
        named = tuple(gauge for gauge in store.gauge_ids if gauge in self.held_out_gauges)
        changed = hidden.model_copy(update={"fold": None, "gauges": named}) if named else None
        return self.config.model_copy(
            update={"train": self.config.train.model_copy(update={"held_out_gauges": changed})}
        )

    def verify(self, *names: str) -> None:
        """Read files, all unless some are named, and compare them with their checksums.

        Raises
        ------
        RunError
            If one holds something else than was written.
        """
        for name, one in self.files.items():
            if (not names or name in names) and _sha256(self.path / name) != one["sha256"]:
                raise RunError(f"{self.path / name} does not hold what was written; choose another checkpoint")

    def load_weights(self, model: MultiModalMAE) -> None:
        """Load the weights into a model, strictly: every tensor has its place and every place its tensor.

        Raises
        ------
        RunError
            If the file is torn, or it is the checkpoint of another structure.
        """
        file = self.path / WEIGHTS
        self.verify(WEIGHTS)
        try:
            model.load_state_dict(load_file(file))
        except (OSError, SafetensorError) as error:
            raise RunError(f"{file} cannot be read; choose another checkpoint or train again") from error
        except RuntimeError as error:
            raise RunError(
                f"{file} belongs to another configuration than {META} beside it says, or to an earlier version of "
                "watercli; choose another checkpoint or train again"
            ) from error

    def fingerprint_of_weights(self) -> str:
        """Return the SHA-256 of the weights' file: what embeddings and results say they come from."""
        return _sha256(self.path / WEIGHTS)

    def model(self, device: torch.device | str = "cpu") -> MultiModalMAE:
        """Return the trained model, ready for inference."""
        model = MultiModalMAE(self.structure)
        self.load_weights(model)
        return model.to(device).eval()


def save(
    run: Path, checkpoint: Checkpoint, weights: dict[str, torch.Tensor], optimiser: dict[str, torch.Tensor]
) -> Path:
    """Write a checkpoint beside its final place, then put it there: a reader never sees half of one.

    Raises
    ------
    RunError
        If the disk is full; what was half written is removed, and older checkpoints are as they were.
    """
    final = folder(run, checkpoint.step)
    temporary = final.with_name(f".{final.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        files = {}
        for name, tensors in ((WEIGHTS, weights), (OPTIMISER, optimiser)):
            save_file({key: one.detach().cpu().contiguous() for key, one in tensors.items()}, temporary / name)
            _flush(temporary / name)
            files[name] = {"bytes": (temporary / name).stat().st_size, "sha256": _sha256(temporary / name)}
        meta = replace(checkpoint, files=files)
        (temporary / META).write_text(json.dumps(meta.to_dict(), indent=1), encoding="utf-8")
        _flush(temporary / META)
        if final.exists():
            shutil.rmtree(final)
        os.rename(temporary, final)
        _flush(final.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise RunError(
            f"The checkpoint of step {checkpoint.step} cannot be written to {run} ({_reason(error)}); make room and "
            f"continue with 'watercli pretrain --run {run} --resume': older checkpoints are whole"
        ) from error
    return final


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error).splitlines()[0]


def _flush(path: Path) -> None:
    """Have the disk hold what was written: a rename that outlives a power cut must not outlive its content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder(run: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint."""
    return run / "checkpoints" / f"{step:08d}"


def all_checkpoints(run: Path, passed_over: Callable[[str], object] | None = None) -> list[Checkpoint]:
    """Return the whole checkpoints of a run, oldest first, judged by the names and sizes of their files.

    ``passed_over`` is told, in a sentence, of each that is not whole.
    """
    found = []
    for path in sorted((run / "checkpoints").glob("[0-9]*")):
        try:
            found.append(Checkpoint.read(path))
        except RunError as error:
            if passed_over:
                passed_over(str(error).partition(";")[0])
    return found


def newest(run: Path) -> Checkpoint | None:
    """Return the newest checkpoint that training can go on from, None if the run has not come to its first.

    Every file is compared with its checksum; a warning names each checkpoint that is passed over, and why.

    Raises
    ------
    RunError
        If there are checkpoints, and none is whole.
    """
    wrong: list[str] = []
    for one in reversed(all_checkpoints(run, wrong.append)):
        try:
            one.verify()
        except RunError as error:
            wrong.append(str(error).partition(";")[0])
            continue
        if OPTIMISER not in one.files:
            raise RunError(f"{one.path} lacks {OPTIMISER}, which this version resumes from; train again")
        for sentence in wrong:
            log.warning("%s; going on from step %d instead", sentence, one.step)
        return one
    if wrong:
        raise RunError(f"{run} has no whole checkpoint to go on from ({wrong[-1]}); start again with --overwrite")
    return None


def best_of(checkpoints: list[Checkpoint]) -> Checkpoint:
    """Return the checkpoint of the highest validation NSE, or else of the lowest loss; the newest if none has one."""
    simulated = [(one.validation_nse, one) for one in checkpoints if one.validation_nse is not None]
    if simulated:
        return max(simulated, key=itemgetter(0))[1]
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
    wrong: list[str] = []
    found = all_checkpoints(run, wrong.append)
    if not found:
        why = f" ({wrong[-1]})" if wrong else ""
        raise RunError(f"{run} has no whole checkpoint{why}; continue it with 'watercli pretrain --run {run} --resume'")
    for sentence in wrong:
        log.warning("%s; passing over this checkpoint", sentence)
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
    _check_statistics(checkpoint, store, hidden)


def _check_statistics(checkpoint: Checkpoint, store: Store, hidden: Sequence[str]) -> None:
    for name, scale in checkpoint.scaling.modalities.items():
        if name in hidden:
            continue
        mean, std = store.statistics(name, scale.transform)
        if not math.isfinite(std):
            continue  # not one value in the training period: nothing to compare
        if abs(mean - scale.mean) > FAR * scale.std or not 0.1 < std / scale.std < 10:
            after = "" if scale.transform == "identity" else f" after {scale.transform}"
            raise ConfigError(
                f"'{name}' in {store.path} has mean {mean:.3g} and standard deviation {std:.3g}{after} over its "
                f"training period, against {scale.mean:.3g} and {scale.std:.3g} of the run; check its units and source"
            )
