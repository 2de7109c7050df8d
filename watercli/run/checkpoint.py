"""Checkpoints: ``model.safetensors`` and ``checkpoint.json``, readable without a trainer; the optimiser stands apart.

``runs/<name>/checkpoints/<step>/`` holds ``model.safetensors`` (weights), ``optimiser.safetensors`` (what training
needs to go on, by the names of the weights: it does not know how many processes wrote it) and ``checkpoint.json``
(configuration, scaling, grid, fingerprint of the store, versions, size and SHA-256 of the other two files, and a hash
of its own content).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from multimodal_mae.config import GridConfig, MAEConfig
from multimodal_mae.mae import MultiModalMAE
from safetensors import SafetensorError
from safetensors.torch import load_file

from watercli import __version__
from watercli.config import Config, parse
from watercli.data.scaling import Scaling
from watercli.data.structure import model_config
from watercli.errors import RunError
from watercli.output.atomic import flush, written_folder
from watercli.output.sealed import Damaged, read_sealed, sealed
from watercli.output.tensors import write_tensors
from watercli.store import Store

SCHEMA_VERSION = 2
WEIGHTS = "model.safetensors"
OPTIMISER = "optimiser.safetensors"
META = "checkpoint.json"
MEMBERS = "member-*.safetensors"
"""Weights of further members of an ensemble; see `watercli.run.members`."""


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
    """Of the store that the model was trained on, held-out ones too; empty if not recorded."""
    held_out_gauges: tuple[str, ...] = ()
    """Those of them whose series ``train.held_out_gauges`` hid from training."""
    splits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """First and last day of training, validation and test, as that store had them; empty if not recorded."""
    weights: str = WEIGHTS
    """Name of the file of weights in ``path``."""

    @property
    def structure(self) -> MAEConfig:
        """The model's structure."""
        gaps = self.scaling.has_attribute_gaps
        return model_config(self.config, self.grid, len(self.scaling.attributes), attribute_gaps=gaps)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "schema_version": SCHEMA_VERSION,
            "step": self.step,
            "validation_loss": self.validation_loss,
            "validation_nse": self.validation_nse,
            "fingerprint": self.fingerprint,
            "versions": dict(self.versions),
            "files": {name: dict(record) for name, record in self.files.items()},
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
            If it is missing, altered or of another schema version, or a file beside it is missing or cut short.
        """
        try:
            raw = read_sealed(path / META)
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            raise RunError(f"{path / META} {reason}; choose another checkpoint or train again") from error
        except Damaged as error:
            raise RunError(f"{error}; choose another checkpoint or train again") from error
        check_files(path, raw.get("files", {}))
        return cls.from_dict(raw, path / META, files=raw.get("files", {}))

    @classmethod
    def from_dict(
        cls, raw: Mapping[str, Any], file: Path, *, files: Mapping[str, Mapping[str, Any]], weights: str = WEIGHTS
    ) -> Checkpoint:
        """Return the checkpoint that `to_dict` made plain.

        Parameters
        ----------
        raw
            The plain types.
        file
            Where they stand; the files of weights lie beside it.
        files
            Size and checksum of each of those.
        weights
            Name of the one that holds the model's own weights.

        Raises
        ------
        RunError
            If they are of another schema version.
        """
        if raw.get("schema_version") != SCHEMA_VERSION:
            raise RunError(f"{file} has schema version {raw.get('schema_version')}, not {SCHEMA_VERSION}")
        grid = raw["grid"]
        config = parse(raw["config"], origin=str(file))
        if config.train.held_out_gauges and "held_out_gauges" not in raw:
            raise RunError(f"{file} does not name the gauges that were held out from training; train again")
        return cls(
            step=raw["step"],
            config=config,
            scaling=Scaling.from_dict(raw["scaling"]),
            grid=GridConfig(**{key: tuple(value) for key, value in grid.items()}) if grid else None,
            fingerprint=raw["fingerprint"],
            validation_loss=raw["validation_loss"],
            validation_nse=raw.get("validation_nse"),
            versions=raw["versions"],
            files=files,
            path=file.parent,
            gauges=tuple(raw.get("gauges", ())),
            held_out_gauges=tuple(raw.get("held_out_gauges", ())),
            splits=raw.get("splits", {}),
            weights=weights,
        )

    def config_for(self, store: Store) -> Config:
        """Return the configuration, in which those of a store's gauges that were held out are named.

        Which they are depends on the store that the run was trained on, not on the one that is read.
        """
        held_out = self.config.train.held_out_gauges
        if held_out is None:
            return self.config
        named = tuple(gauge for gauge in store.gauge_ids if gauge in self.held_out_gauges)
        changed = held_out.model_copy(update={"fold": None, "gauges": named}) if named else None
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
        for name, record in self.files.items():
            if (not names or name in names) and sha256(self.path / name) != record["sha256"]:
                raise RunError(f"{self.path / name} does not hold what was written; choose another checkpoint")

    def load_weights(self, model: MultiModalMAE) -> None:
        """Load the weights into a model, strictly: every tensor has its place and every place its tensor.

        Raises
        ------
        RunError
            If the file is torn, or it is the checkpoint of another structure.
        """
        file = self.path / self.weights
        self.verify(self.weights)
        try:
            model.load_state_dict(load_file(file))
        except (OSError, SafetensorError) as error:
            raise RunError(f"{file} cannot be read; choose another checkpoint or train again") from error
        except RuntimeError as error:
            raise RunError(
                f"{file} belongs to another configuration than the file beside it says, or to an earlier version of "
                "watercli; choose another checkpoint or train again"
            ) from error

    def fingerprint_of_weights(self) -> str:
        """Return the SHA-256 of the weights' file, and a part of that of each member's: the origin of results."""
        members = [sha256(file)[:16] for file in sorted(self.path.glob(MEMBERS))]
        return "+".join([sha256(self.path / self.weights), *members])

    def model(self, device: torch.device | str = "cpu") -> MultiModalMAE:
        """Return the trained model, ready for inference."""
        model = MultiModalMAE(self.structure)
        self.load_weights(model)
        return model.to(device).eval()


def save(
    run: Path, checkpoint: Checkpoint, weights: dict[str, torch.Tensor], optimiser: dict[str, torch.Tensor]
) -> Path:
    """Write a checkpoint into its run, whole or not at all.

    Raises
    ------
    RunError
        If the disk is full; what was half written is removed, and older checkpoints are as they were.
    """
    folder = folder_of(run, checkpoint.step)
    try:
        with written_folder(folder) as partial:
            partial.mkdir(parents=True)
            files = {
                WEIGHTS: save_tensors(weights, partial / WEIGHTS),
                OPTIMISER: save_tensors(optimiser, partial / OPTIMISER),
            }
            meta = replace(checkpoint, files=files)
            (partial / META).write_text(sealed(meta.to_dict()), encoding="utf-8")
            flush(partial / META)
        flush(folder.parent)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"The checkpoint of step {checkpoint.step} cannot be written to {run} ({_reason(error)}); make room and "
            f"continue with 'watercli pretrain --run {run} --resume': older checkpoints are whole"
        ) from error
    return folder


def check_files(
    folder: Path, files: Mapping[str, Mapping[str, Any]], remedy: str = "choose another checkpoint or train again"
) -> None:
    """Compare the files of a folder with their sizes; ``remedy`` ends the error.

    Raises
    ------
    RunError
        If one is missing or cut short.
    """
    for name, record in files.items():
        if not (folder / name).is_file():
            raise RunError(f"{folder / name} is missing; {remedy}")
        if (size := (folder / name).stat().st_size) != record["bytes"]:
            raise RunError(f"{folder / name} has {size} bytes, not {record['bytes']}; {remedy}")


def folder_of(run: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint."""
    return run / "checkpoints" / f"{step:08d}"


def save_tensors(tensors: Mapping[str, torch.Tensor], file: Path) -> dict[str, Any]:
    """Write tensors, and return the size and checksum of their file."""
    write_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
    flush(file)
    return {"bytes": file.stat().st_size, "sha256": sha256(file)}


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error).splitlines()[0]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
