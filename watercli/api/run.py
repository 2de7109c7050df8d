"""A pretrained run: `open_run`, and what a `Run` can do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import xarray as xr
from multimodal_mae.batch import Batch
from multimodal_mae.mae import MultiModalMAE

from watercli.api.arguments import (
    RUNS,
    STORE,
    Date,
    EmbedOptions,
    Names,
    Settings,
    SimulateOptions,
    StrPath,
    as_overrides,
    in_section,
)
from watercli.config import Config, Embed, Simulate, with_overrides
from watercli.errors import ConfigError
from watercli.log import log
from watercli.run import directory
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store

if TYPE_CHECKING:
    from watercli.api.evaluation import Evaluation

RECORD = "run.json"
"""The file of a run directory that names its store."""


@dataclass(frozen=True)
class Run:
    """A pretrained run: its directory and its best checkpoint.

    The default of every ``store`` is the run's own, the store that it was trained on. If that no longer exists, it is
    ``store.zarr``.
    """

    path: Path
    """The run directory."""
    checkpoint: Checkpoint
    """The best checkpoint: weights, configuration, scaling."""

    @property
    def config(self) -> Config:
        """The configuration that the run was trained with."""
        return self.checkpoint.config

    @cached_property
    def model(self) -> MultiModalMAE:
        """The trained model, a `torch.nn.Module` on the CPU, ready for inference.

        Raises
        ------
        RunError
            If the weights cannot be read.
        """
        return self.checkpoint.model()

    def store(self, store: Store | StrPath | None = None) -> Store:
        """Return a store, by default the run's own.

        Raises
        ------
        ConfigError
            If there is no store.
        """
        return resolve_store(store, self.path)

    def simulate(
        self, store: Store | StrPath | None = None, *, gpus: int = 0, **options: Unpack[SimulateOptions]
    ) -> xr.Dataset:
        """Simulate river flow from weather and attributes, at gauged and ungauged catchments.

        The series itself is no input of the model, even where the store holds it.

        Parameters
        ----------
        store
            The store, or its path.
        gpus
            1: the model works on a GPU of this machine.
        **options
            See `watercli.api.arguments.SimulateOptions`.

        Returns
        -------
        xarray.Dataset
            The flow ``(catchment, time)`` in physical units (``riverflow`` in mm/day), and ``input_available``
            ``(catchment, time, input)``.

        Raises
        ------
        ConfigError
            If run, store and options do not fit each other.
        """
        from watercli.inference.processes import choose_device
        from watercli.inference.simulate import simulated_dataset

        device = choose_device(0, gpus)
        return simulated_dataset(self.checkpoint, self.store(store), self._simulation(options), device)

    def export_simulation(
        self,
        out: StrPath,
        store: Store | StrPath | None = None,
        *,
        overwrite: bool = False,
        gpus: int = 0,
        **options: Unpack[SimulateOptions],
    ) -> Path:
        """Write what `simulate` returns to a Zarr store, block by block.

        It appears at ``out`` only once it is complete; after an interruption the same call goes on.

        Raises
        ------
        ConfigError
            If run, store and options do not fit each other, or ``out`` may not be written.
        RunError
            If the weights cannot be read, or the disk is full.
        """
        from watercli.inference.processes import choose_device
        from watercli.inference.simulate import export_simulation

        device = choose_device(0, gpus)
        selection = self._simulation(options)
        return export_simulation(
            self.checkpoint, self.store(store), Path(out), selection, overwrite=overwrite, device=device
        )

    def _simulation(self, options: SimulateOptions) -> Simulate:
        given = _without(options, "settings")
        return _changed(self.config, options.get("settings", ()), "simulate", **given).simulate

    def embed(
        self, store: Store | StrPath | None = None, *, gpus: int = 0, **options: Unpack[EmbedOptions]
    ) -> xr.Dataset:
        """Return the embeddings of catchments and dates, computed when they are read.

        Parameters
        ----------
        store
            The store, or its path.
        gpus
            1: the model works on a GPU of this machine.
        **options
            See `watercli.api.arguments.EmbedOptions`.

        Returns
        -------
        xarray.Dataset
            ``embedding`` ``(catchment, time, modality, feature_map, pooling, channel)``, labels, and what the options
            add; ``to_zarr`` writes it.

        Raises
        ------
        ConfigError
            If run, store and options do not fit each other.
        """
        from watercli.inference.embed import embeddings_dataset
        from watercli.inference.processes import choose_device

        device = choose_device(0, gpus)
        return embeddings_dataset(self.checkpoint, self.store(store), self._embedding(options), device)

    def export_embeddings(
        self,
        out: StrPath,
        store: Store | StrPath | None = None,
        *,
        format: str | None = None,
        append: bool = False,
        overwrite: bool = False,
        processes: int = 0,
        gpus: int = 0,
        **options: Unpack[EmbedOptions],
    ) -> Path:
        """Write embeddings to a Zarr store or to Parquet tables, block by block, by one process or several.

        They appear at ``out`` only once they are complete; after an interruption the same call goes on.

        Parameters
        ----------
        out
            Where they go.
        store
            The store, or its path.
        format
            ``zarr`` or ``parquet``.
        append
            Add later dates to the embeddings at ``out``, up to ``until``; no other option may be given.
        overwrite
            Replace the embeddings at ``out``.
        processes, gpus
            Number of processes, on the CPU or on GPUs; 0 for this process alone.
        **options
            See `watercli.api.arguments.EmbedOptions`.

        Raises
        ------
        ConfigError
            If run, store and options do not fit each other, or ``out`` may not be written.
        RunError
            If the weights cannot be read, the disk is full or a process is killed.
        """
        from watercli.inference import embed as exports

        selection = self._embedding(options, format)
        if append:
            _check_append(options, format, overwrite)
            until = selection.until if options.get("until") or options.get("settings") else None
            return exports.append(self.checkpoint, self.store(store), Path(out), until, processes=processes, gpus=gpus)
        return exports.embed(
            self.checkpoint,
            self.store(store),
            Path(out),
            selection,
            overwrite=overwrite,
            processes=processes,
            gpus=gpus,
        )

    def preview_embeddings(
        self,
        out: StrPath,
        store: Store | StrPath | None = None,
        *,
        format: str | None = None,
        overwrite: bool = False,
        processes: int = 0,
        gpus: int = 0,
        **options: Unpack[EmbedOptions],
    ) -> None:
        """Print what `export_embeddings` would write, how large it is and how long it takes; write nothing."""
        from watercli.inference.dry_run import dry_run
        from watercli.inspection.show import wide_console

        selection = self._embedding(options, format)
        dry_run(
            self.checkpoint, self.store(store), Path(out), selection, wide_console(), overwrite=overwrite,
            processes=processes, gpus=gpus,
        )  # fmt: skip

    def _embedding(self, options: EmbedOptions, format: str | None = None) -> Embed:
        given = _without(options, "settings")
        return _changed(self.config, options.get("settings", ()), "embed", format=format, **given).embed

    def evaluate(
        self,
        store: Store | StrPath | None = None,
        *,
        methods: Names | None = None,
        protocols: Names | None = None,
        target: str | None = None,
        settings: Settings = (),
        out: StrPath | None = None,
        overwrite: bool = False,
        gpus: int = 0,
    ) -> Evaluation:
        """Score the run on the test period, beside baselines.

        Parameters
        ----------
        store
            The store, or its path.
        methods
            Methods to compare: ``evaluate.methods``. The model's own simulation is always among them.
        protocols
            Protocols: ``evaluate.protocols``.
        target
            The series: ``evaluate.target``.
        settings
            Changes of other settings.
        out
            Where the report and the tables go; None writes nothing.
        overwrite
            Replace the evaluation at ``out``, once the new one is complete.
        gpus
            1: the model works on a GPU of this machine.

        Raises
        ------
        ConfigError
            If ``out`` may not be written, a setting does not fit, or the run saw the test period.
        """
        from watercli.api.evaluation import evaluate

        config = _changed(self.config, settings, "evaluate", methods=methods, protocols=protocols, target=target)
        return evaluate(self, store, config, out, overwrite=overwrite, gpus=gpus)

    def batch(
        self,
        store: Store | StrPath | None,
        dates: Date | Iterable[Date],
        catchments: Names | None = None,
        *,
        excluded_inputs: Names | None = None,
    ) -> Batch:
        """Return windows that the model encodes: ``run.model.encode(run.batch(...))``.

        Parameters
        ----------
        store
            The store, or its path; None for the run's own.
        dates
            A day, or several: the last day of each window.
        catchments
            Gauge ids, the same in each window; by default all of the store.
        excluded_inputs
            Modalities whose values the batch lacks, in the window and before it. The default is
            ``embed.excluded_inputs`` of the run: river flow. ``[]`` excludes none.

        Returns
        -------
        multimodal_mae.batch.Batch
            Standardised values; NaN where missing or excluded.

        Raises
        ------
        ConfigError
            If run, store, dates and names do not fit each other.
        """
        from watercli.api.batch import read_batch

        excluded = self.config.embed.excluded_inputs if excluded_inputs is None else excluded_inputs
        return read_batch(self.checkpoint, self.store(store), dates, catchments, excluded)


def open_run(path: StrPath | None = None) -> Run:
    """Open a run directory; by default the newest in ``runs/``.

    Raises
    ------
    ConfigError
        If there is no such run.
    RunError
        If it has no complete checkpoint.
    """
    run = _newest_run() if path is None else Path(path)
    return Run(run, directory.open_run(run))


def _newest_run() -> Path:
    records = sorted(RUNS.glob(f"*/{RECORD}"), key=lambda file: file.stat().st_mtime)
    if not records:
        raise ConfigError("There is no run in runs/; start one with 'watercli pretrain' or give --run")
    newest = records[-1].parent
    if len(records) > 1:
        log.info("Taking the newest of %d runs, %s; choose with --run", len(records), newest)
    return newest


def resolve_store(store: Store | StrPath | None, run: Path | None = None) -> Store:
    """Return the store given; otherwise the store of a run if it still exists; otherwise ``store.zarr``."""
    if isinstance(store, Store):
        return store
    if store is not None:
        return Store.open(Path(store))
    return Store.open(_recorded_store(run) or STORE)


def _recorded_store(run: Path | None) -> Path | None:
    if run is None or not (run / RECORD).is_file():
        return None
    path = Path(json.loads((run / RECORD).read_text(encoding="utf-8"))["store"])
    return path if path.exists() else None


def _changed(config: Config, settings: Settings, section: str, **options: object) -> Config:
    """Return a configuration with settings changed, and then a section's options."""
    return with_overrides(config, [*as_overrides(settings), *in_section(section, **options)])


def _without(options: EmbedOptions | SimulateOptions, *names: str) -> dict[str, object]:
    return {name: value for name, value in options.items() if name not in names}


def _check_append(options: EmbedOptions, format: str | None, overwrite: bool) -> None:
    """Refuse options that would make appended embeddings differ from the existing ones."""
    given = [*_without(options, "settings", "until").values(), format, overwrite or None]
    changes = [change for change in as_overrides(options.get("settings", ())) if not change.startswith("embed.until=")]
    if changes or any(value is not None for value in given):
        raise ConfigError(
            "--append keeps the options of the existing embeddings; beside it give only --until, or no option"
        )
