"""What ``watercli inspect`` prints: the parameters of a model, the contents of a store, a run or an export."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from watercli.config import Config, Shape, load, shipped, with_overrides
from watercli.errors import ConfigError, DataError
from watercli.log import log
from watercli.output.zarr_files import open_checked

if TYPE_CHECKING:
    from multimodal_mae.config import MAEConfig

    from watercli.output.resumable import Work


def show(what: str, overrides: Sequence[str] = ()) -> None:
    """Print what lies at a path, or a configuration's model; ``overrides`` change a configuration or a run's.

    Raises
    ------
    ConfigError
        If it is nothing that watercli knows, or ``overrides`` are given for data.
    """
    path = Path(what)
    unfinished = _half_made(path)
    if (path / "config.yaml").is_file():
        _run(path, overrides)
    elif (model := _model(what)) is not None and not overrides:
        show_model(model)
    elif overrides and (unfinished is not None or path.is_dir()):
        raise ConfigError(f"--set changes a configuration or a run, and {path} is neither; leave --set out")
    elif unfinished is not None:
        _of_half_made(unfinished).show_half_made(unfinished, wide_console())
    elif path.is_dir():
        _zarr(path)
    else:
        config = load(what, overrides)
        if config.shape is None:
            wide_console().print(config.to_yaml(), markup=False, highlight=False)
            log.info("'%s' takes grid and attributes from a store; inspect that store or a run for more", config.name)
        else:
            _parameters(_structure(config, config.shape), config.name)


def _model(what: str) -> Path | None:
    """Return the folder of the model at a path or of a name, without heavy imports where there is none."""
    if (Path(what) / "model.json").is_file():
        return Path(what)
    if not re.fullmatch(r"[A-Za-z0-9._-]+", what) or Path(what).exists() or what in shipped():
        return None
    from watercli.library import places

    return next((place.path for place in places.known() if place.name == what), None)


def show_model(folder: Path) -> None:
    """Print the card of a model, and the table of its parameters."""
    from rich.markdown import Markdown

    from watercli.library import card
    from watercli.library import folder as folders

    checkpoint = folders.read(folder)
    content = folders.about(folder)
    wide_console().print(Markdown(card.text(content)))
    _parameters(checkpoint.structure, content["name"])


def _half_made(path: Path) -> Work | None:
    """Return the unfinished store at a path, without heavy imports where there is none."""
    if not path.name or not (path.name.endswith(".partial") or path.with_name(f".{path.name}.partial").exists()):
        return None
    from watercli.inspection.store import half_made

    return half_made(path)


def _of_half_made(work: Work) -> ModuleType:
    """Return the module that knows what is half-made: a store or an export."""
    from watercli.inspection import export as inspect_export
    from watercli.inspection import store as inspect_store

    return inspect_export if work.state.get("what") in inspect_export.COMMANDS else inspect_store


def describe(path: Path) -> dict[str, Any]:
    """Return what a store holds, whole or half-made, as plain types.

    Raises
    ------
    ConfigError
        If there is none at ``path``.
    """
    from watercli.inspection import store

    unfinished = _half_made(path)
    if unfinished is not None:
        description: dict[str, Any] = _of_half_made(unfinished).describe_half_made(unfinished)
        return description
    if not (path / "zarr.json").is_file():
        raise ConfigError(f"--json describes a store, and {path} is none; leave it out, or give a store")
    return store.describe(path)


def _structure(config: Config, shape: Shape) -> MAEConfig:
    from multimodal_mae.config import GridConfig

    from watercli.data.structure import model_config

    grid = GridConfig(shape.grid, shape.patch_size, tuple(range(shape.land_patches)))
    return model_config(config, grid, shape.attributes)


def _parameters(structure: MAEConfig, title: str) -> None:
    import torch
    from multimodal_mae.mae import MultiModalMAE

    with torch.device("meta"):  # its parameters are counted, and need no memory
        model = MultiModalMAE(structure)
    table = Table(title=f"Parameters of {title}", caption="decoders: without their feature maps")
    for column in ("modality", "kind", "encoder", "decoder", "feature maps", "all", "tensors"):
        table.add_column(column, justify="left" if column in ("modality", "kind") else "right")
    total = [0] * 5
    for name, modality in structure.modalities.items():
        parts = [[*group[name].parameters()] if name in group else []
                 for group in (model.encoders, model.decoders, model.feature_maps)]  # fmt: skip
        sizes = [sum(parameter.numel() for parameter in part) for part in parts]
        row = [*sizes, sum(sizes), sum(len(part) for part in parts)]
        total = [subtotal + number for subtotal, number in zip(total, row, strict=True)]
        table.add_row(name, modality.kind, *(f"{number:,}" for number in row))
    if model.cross_modal is not None:
        number = sum(parameter.numel() for parameter in model.cross_modal.parameters())
        table.add_row("cross-modal attention", "", "", "", "", f"{number:,}", "1")
        total[-2:] = [total[-2] + number, total[-1] + 1]
    table.add_section()
    table.add_row("total", "", *(f"{number:,}" for number in total))
    wide_console().print(table)


def wide_console() -> Console:
    """Return a console on standard output; where that is no terminal, lines are long enough for whole numbers."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def _run(path: Path, overrides: Sequence[str]) -> None:
    from watercli.run.directory import all_checkpoints, open_run
    from watercli.run.parent import parent_record

    best = open_run(path)
    console = wide_console()
    console.print(f"Run {path}: configuration '{best.config.name}', data {best.fingerprint[:12]}")
    if (parent := parent_record(path)) is not None:
        weights = parent["weights_fingerprint"][:12]
        console.print(f"Fine-tuned from {parent['name']}, its step {parent['step']} (weights {weights})")
    table = Table("step", "validation loss", "")
    for checkpoint in all_checkpoints(path):
        loss = "" if checkpoint.validation_loss is None else f"{checkpoint.validation_loss:.4f}"
        table.add_row(str(checkpoint.step), loss, "best" if checkpoint.path == best.path else "")
    console.print(table)
    changed = replace(best, config=with_overrides(best.config, overrides))
    _parameters(changed.structure, best.config.name)


def _zarr(path: Path) -> None:
    from watercli.inspection import export as inspect_export

    if inspect_export.is_tables(path):
        inspect_export.show_tables(path, wide_console())
        return
    if not any((path / name).is_file() for name in ("zarr.json", ".zgroup")):
        raise DataError(f"{path} is neither a run nor a Zarr store")
    dataset = open_checked(path)
    console = wide_console()
    if "schema_version" in dataset.attrs:
        from watercli.inspection.store import show as show_store

        show_store(path, console)
    elif "embeddings_schema_version" in dataset.attrs:
        inspect_export.show(path, dataset, console)
    elif "simulation_schema_version" in dataset.attrs:
        inspect_export.show_simulation(path, dataset, console)
    else:
        console.print(f"Zarr store {path}, not written by watercli")
        console.print(str(dataset))
