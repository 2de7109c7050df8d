"""A pretrained model, from a run or from a model folder: `open_run`, `load_model`, and what they can do."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
    import pandas as pd

    from watercli.api.evaluation import Evaluation

RECORD = "run.json"
"""The file of a run directory that names its store."""


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model, which `load_model` returns: weights, configuration, scaling.

    The default of every ``store`` is ``store.zarr``. A store of other names, units or attributes is read by
    ``names``, or where its variables alone measure what the model reads; a table in the log says how.
    """

    path: Path
    """The model's folder; of a `Run`, the run directory."""
    checkpoint: Checkpoint
    """Weights, configuration, scaling."""
    names: Mapping[str, str] = field(default_factory=dict)
    """A store's name of a modality or an attribute, by the model's: ``{"precip": "rain"}``."""

    @property
    def config(self) -> Config:
        """The configuration that the model was trained with."""
        return self.checkpoint.config

    @property
    def run(self) -> Path | None:
        """The run directory, with its training curves and its cache; None if there is no run."""
        return None

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
        """Return a store as the model reads it.

        Raises
        ------
        ConfigError
            If there is no store, a name does not exist, or units cannot be converted.
        """
        from watercli.run.view import as_read_by

        return as_read_by(self.checkpoint, resolve_store(store, self.run), self.names)

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
        append: bool = False,
        overwrite: bool = False,
        gpus: int = 0,
        **options: Unpack[SimulateOptions],
    ) -> Path:
        """Write what `simulate` returns to a Zarr store, block by block.

        It appears at ``out`` only once it is complete; after an interruption the same call goes on.

        Parameters
        ----------
        out
            Where it goes: a Zarr store, or one file if the name ends in ``.nc`` or ``.csv``.
        store
            The store, or its path.
        append
            Add later days to the simulation at ``out``, up to ``until``; no other option may be given. Days that it
            holds keep their values. Without a day to add, nothing is changed.
        overwrite
            Replace the simulation at ``out``.
        gpus
            1: the model works on a GPU of this machine.
        **options
            See `watercli.api.arguments.SimulateOptions`.

        Raises
        ------
        ConfigError
            If run, store and options do not fit each other, or ``out`` may not be written.
        RunError
            If the weights cannot be read, or the disk is full.
        """
        from watercli.inference.append_simulation import append_simulation
        from watercli.inference.processes import choose_device
        from watercli.inference.simulate import export_simulation

        device = choose_device(0, gpus)
        selection = self._simulation(options)
        if append:
            until = _last_appended(selection, options, overwrite or None)
            return append_simulation(self.checkpoint, self.store(store), Path(out), until, device=device)
        return export_simulation(
            self.checkpoint, self.store(store), Path(out), selection, overwrite=overwrite, device=device
        )

    def preview_simulation(
        self,
        out: StrPath,
        store: Store | StrPath | None = None,
        *,
        overwrite: bool = False,
        gpus: int = 0,
        **options: Unpack[SimulateOptions],
    ) -> None:
        """Print what `export_simulation` would write, how large it is and how long it takes; write nothing."""
        from watercli.inference.dry_run import dry_run_simulation
        from watercli.inference.processes import choose_device
        from watercli.inspection.show import wide_console

        device, selection = choose_device(0, gpus), self._simulation(options)
        dry_run_simulation(
            self.checkpoint, self.store(store), Path(out), selection, wide_console(), overwrite=overwrite,
            device=device,
        )  # fmt: skip

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
            until = _last_appended(selection, options, format, overwrite or None)
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
        from watercli.inference.dry_run import dry_run_embeddings
        from watercli.inspection.show import wide_console

        selection = self._embedding(options, format)
        dry_run_embeddings(
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
        quick: bool | None = None,
        settings: Settings = (),
        out: StrPath | None = None,
        overwrite: bool = False,
        gpus: int = 0,
    ) -> Evaluation:
        """Score the model on the test period, beside baselines.

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
        quick
            Leave out what takes long: ``evaluate.quick``.
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

        config = _changed(
            self.config, settings, "evaluate", methods=methods, protocols=protocols, target=target, quick=quick
        )
        return evaluate(self, store, config, out, overwrite=overwrite, gpus=gpus)

    def preview_evaluation(
        self,
        out: StrPath,
        store: Store | StrPath | None = None,
        *,
        settings: Settings = (),
        overwrite: bool = False,
        gpus: int = 0,
    ) -> None:
        """Print what `evaluate` would score, how large the result is and how long it takes; write nothing."""
        from watercli.evaluation.dry_run import dry_run
        from watercli.inference.processes import choose_device
        from watercli.inspection.show import wide_console

        device, config = choose_device(0, gpus), with_overrides(self.config, as_overrides(settings))
        dry_run(
            self.checkpoint, self.store(store), Path(out), config, wide_console(), overwrite=overwrite, device=device
        )

    def export(
        self,
        out: StrPath,
        *,
        name: str | None = None,
        half: bool = False,
        evaluation: StrPath | None = None,
        store: Store | StrPath | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write the model to a folder that can be given to others: ``model.json``, weights, and a card.

        Parameters
        ----------
        out
            The folder.
        name
            Name of the model; by default that of the folder.
        half
            Weights of 16 bits, half the size.
        evaluation
            Folder of the evaluation whose scores the card shows; None for that of the run.
        store
            The store of that evaluation, or its path, by which the card tells climates apart; None for that of the run.
        overwrite
            Replace the model at ``out``.

        Raises
        ------
        ConfigError
            If ``out`` may not be written, or ``evaluation`` is none of these weights or of another store.
        RunError
            If the weights cannot be read, or the disk is full.
        """
        from watercli.library.export import export

        return export(
            self.checkpoint,
            Path(out),
            name=name,
            run=self.run,
            half=half,
            evaluation=None if evaluation is None else Path(evaluation),
            store=None if store is None else self.store(store),
            overwrite=overwrite,
        )

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


@dataclass(frozen=True)
class Run(Pretrained):
    """A pretrained run: its directory and its best checkpoint.

    The default of every ``store`` is the run's own, the store that it was trained on. If that no longer exists, it is
    ``store.zarr``.
    """

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.path

    def store(self, store: Store | StrPath | None = None) -> Store:
        """See `Pretrained.store`; that of a fine-tuning is read by the names that the fine-tuning read it by."""
        from watercli.run.parent import names_of
        from watercli.run.view import as_read_by

        opened = resolve_store(store, self.run)
        return as_read_by(self.checkpoint, opened, self.names or names_of(self.path, opened))


def open_run(path: StrPath | None = None, *, names: Mapping[str, str] | None = None) -> Run:
    """Open a run directory; by default the newest in ``runs/``.

    Parameters
    ----------
    path
        The run directory.
    names
        A store's name of a modality or an attribute, by the model's: ``{"precip": "rain"}``.

    Raises
    ------
    ConfigError
        If there is no such run.
    RunError
        If it has no complete checkpoint.
    """
    run = _newest_run() if path is None else Path(path)
    return Run(run, directory.open_run(run), names or {})


def load_model(model: StrPath, *, names: Mapping[str, str] | None = None, cache: StrPath | None = None) -> Pretrained:
    """Load a model that `Run.export` or ``watercli export`` wrote; no code of it is run.

    Parameters
    ----------
    model
        A name that `models` lists, the path of a model's folder, or its URL.
    names
        A store's name of a modality or an attribute, by the model's: ``{"precip": "rain"}``.
    cache
        Where models from URLs are kept; by default ``WATERCLI_CACHE``, otherwise ``~/.cache/watercli``.

    Raises
    ------
    ConfigError
        If there is no such model.
    RunError
        If it was altered or is torn, or the URL cannot be reached.
    """
    from watercli.library import folder, places

    path = places.locate(model, None if cache is None else Path(cache))
    return Pretrained(path, folder.read(path), names or {})


def open_pretrained(
    run: StrPath | None = None, model: StrPath | None = None, names: Mapping[str, str] | None = None
) -> Pretrained:
    """Return what ``--run`` or ``--model`` names; by default the newest run.

    Raises
    ------
    ConfigError
        If both are given, or there is none.
    """
    if run is not None and model is not None:
        raise ConfigError("--run and --model exclude each other; give only one")
    return load_model(model, names=names) if model is not None else open_run(run, names=names)


def models(cache: StrPath | None = None) -> pd.DataFrame:
    """Return the models that there are by name: those shipped with watercli, and those from URLs in the cache.

    Parameters
    ----------
    cache
        The cache's folder; by default ``WATERCLI_CACHE``, otherwise ``~/.cache/watercli``.

    Returns
    -------
    pandas.DataFrame
        ``name``, ``description``, ``megabytes``, ``origin`` (``shipped`` or the URL) and ``path``.
    """
    import pandas as pd

    from watercli.library import places

    known = places.known(None if cache is None else Path(cache))
    return pd.DataFrame([vars(place) for place in known], columns=places.COLUMNS)


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
    try:
        path = Path(json.loads((run / RECORD).read_text(encoding="utf-8"))["store"])
    except (OSError, ValueError, KeyError, TypeError):
        log.warning("%s cannot be read, so it does not say which store the run is of; give --store", run / RECORD)
        return None
    return path if path.exists() else None


def _changed(config: Config, settings: Settings, section: str, **options: object) -> Config:
    """Return a configuration with settings changed, and then a section's options."""
    return with_overrides(config, [*as_overrides(settings), *in_section(section, **options)])


def _without(options: EmbedOptions | SimulateOptions, *names: str) -> dict[str, object]:
    return {name: value for name, value in options.items() if name not in names}


def _last_appended(
    selection: Embed | Simulate, options: EmbedOptions | SimulateOptions, *others: object
) -> dt.date | None:
    """Return the last date of what is appended, None for that of the store; ``others`` are further options.

    Raises
    ------
    ConfigError
        If an option is given that would make what is appended differ from what exists.
    """
    section = type(selection).__name__.lower()
    settings = as_overrides(options.get("settings", ()))
    given = [*_without(options, "settings", "until").values(), *others]
    if any(not change.startswith(f"{section}.until=") for change in settings) or any(
        value is not None for value in given
    ):
        what = "embeddings" if section == "embed" else "simulation"
        raise ConfigError(
            f"--append keeps the options of the existing {what}; beside it give only --until, or no option"
        )
    return selection.until if options.get("until") or settings else None
