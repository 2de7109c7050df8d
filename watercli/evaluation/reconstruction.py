"""Masked reconstruction on the test period, in physical units, beside baselines on the same values.

Shapes: B windows, C catchments, T days (of grids those that the model reads, the last ones), P patches, V cells of a
patch; R = B for grids, B * C for series (P = V = 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.layers import unpatchify
from multimodal_mae.mae import MultiModalMAE, Prediction
from multimodal_mae.masking import tokens
from multimodal_mae.tasks import Task, WindowTasks, draw_noise, mask_windows
from numpy.typing import NDArray

from watercli.baselines.interpolation import carry_forward, interpolate
from watercli.config import Evaluate
from watercli.data.blocks import grid_blocks, land_cells, series_blocks, to_patches
from watercli.data.reader import WindowReader
from watercli.data.steps import Step
from watercli.data.windows import Indices, Windows, derived_seed
from watercli.evaluation.protocol import Case, Protocol
from watercli.hydrology.climatology import Climatology
from watercli.hydrology.scores import Sums
from watercli.log import log, track
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
BASELINES = {
    "model": "the pretrained model",
    "locf": "last observation carried forward: the last visible day, or the day's visible mean",
    "interpolation": "linear in time between visible days, later ones too, or the day's visible mean",
    "climatology": "mean of the calendar day, 15 days wide, training dates",
}

EXAMPLE, EXAMPLE_MASKS = 2**31, 8
"""Step numbers that the example is drawn from: no scored step has one of them."""


@dataclass(frozen=True)
class Example:
    """One day of a masked field; arrays ``[Y, X]``."""

    name: str
    units: str
    date: pd.Timestamp
    why: str
    """Why this day, in words."""
    truth: Floats
    seen: Flags
    """Cells that the encoder saw on that day."""
    predicted: Floats
    """NaN where nothing was predicted."""


@dataclass
class Reconstruction:
    """Errors of reconstructed values, and examples."""

    windows: int
    sums: dict[str, dict[str, Sums]] = field(default_factory=dict)
    """By modality, then by method, the keys of `BASELINES`."""
    examples: list[Example] = field(default_factory=list)
    """Of the first grid: the day with the largest mean, and one that a tenth of the days exceed."""


@dataclass(frozen=True)
class Masked:
    """One modality of a step in physical units: ``[R, T, P, V]``, masks ``[R, T, P]``."""

    observed: Floats
    predicted: Floats
    climatology: Floats
    visible: Flags
    target: Flags
    before: Floats
    """The day before the window ``[R, 1, P, V]``, which an antecedent state knows; ``[R, 0, P, V]`` without one."""
    before_visible: Flags

    def sums(self) -> dict[str, Sums]:
        """Score the observed values of the target tokens, the same ones for every method."""
        scored = self.target[..., None] & np.isfinite(self.observed) & np.isfinite(self.climatology)
        extra = self.before.shape[1]
        values = np.concatenate((self.before, self.observed), axis=1)
        visible = np.concatenate((self.before_visible, self.visible), axis=1)
        climatology = np.concatenate((self.climatology[:, :extra], self.climatology), axis=1)
        filled = {
            "model": self.predicted,
            "locf": carry_forward(values, visible, climatology)[:, extra:],
            "interpolation": interpolate(values, visible, climatology)[:, extra:],
            "climatology": self.climatology,
        }
        return {method: Sums.of(predicted, self.observed, scored) for method, predicted in filled.items()}


def climatologies(store: Store, names: list[str]) -> dict[str, Climatology]:
    """Return each modality's climatology of the training dates: of its land cells, or of its catchments."""
    train = store.period("train")
    by_name = {}
    for name in names:
        if store.config.modalities[name].kind == "series":
            by_name[name] = Climatology.of(series_blocks(store, name, train), len(store.gauge_ids))
        else:
            cells = land_cells(store, name)
            blocks = ((store.times[days], values[:, cells]) for days, values in grid_blocks(store, name, train))
            by_name[name] = Climatology.of(blocks, int(cells.sum()))
    return by_name


class _Scorer:
    """Runs windows through the model and brings everything back to physical units."""

    def __init__(self, checkpoint: Checkpoint, store: Store, device: str) -> None:
        self.store, self.config, self.device = store, checkpoint.config, device
        self.scaling, self.structure = checkpoint.scaling, checkpoint.structure
        self.model: MultiModalMAE = checkpoint.model(device)
        self.reader = WindowReader(store, checkpoint.config_for(store), checkpoint.scaling)
        self.climatology = climatologies(store, list(self.config.modalities))
        self.cells = {name: land_cells(store, name) for name in self.config.of_kind("grid")}

    def step(self, starts: Indices, number: int) -> tuple[Step, NDArray[np.int64]]:
        """Return windows with masks that depend on seed and ``number`` only, and their catchments ``[B, C]``."""
        seed, sample = self.config.seed, min(self.config.train.catchments_per_window, self.reader.catchments)
        rng = np.random.default_rng([seed, 7, number])
        drawn = [np.sort(rng.choice(self.reader.catchments, sample, replace=False)) for _ in starts]
        catchments = np.array(drawn, dtype=np.int64).reshape(len(starts), sample)
        batch = self.reader.read(starts, catchments).to(self.device)
        generator = torch.Generator().manual_seed(derived_seed(seed, 8, number))
        noise = draw_noise(
            self.structure,
            windows=len(starts),
            catchments=sample,
            days=self.reader.days,
            grid_days=self.reader.grid_days,
            generator=generator,
        )
        tasks = WindowTasks.same(Task.RANDOM_MASKING, len(starts))
        return Step(batch, mask_windows(batch, self.structure, tasks, noise)), catchments

    @torch.inference_mode()
    def tokens(self, starts: Indices, number: int) -> Iterator[tuple[str, Masked]]:
        """Predict and yield every modality's tokens."""
        step, catchments = self.step(starts, number)
        earlier = self._earlier(starts, catchments)
        predictions = self.model(step.batch, step.masks).predictions
        for name in self.config.modalities:
            yield name, self._masked(name, step, earlier, predictions[name], starts, catchments)

    def _earlier(self, starts: Indices, catchments: NDArray[np.int64]) -> Batch | None:
        """Return windows that begin a day before; None for a model without an antecedent state."""
        if self.structure.antecedent_state is None:
            return None
        return self.reader.read(np.maximum(starts - 1, 0), catchments).to(self.device)

    def _masked(
        self,
        name: str,
        step: Step,
        earlier: Batch | None,
        predicted: Prediction,
        starts: Indices,
        catchments: NDArray[np.int64],
    ) -> Masked:
        mask = step.masks[name]
        scale, values = self.scaling.predicted(name), self.model.targets(step.batch, name)
        days = step.batch.days_of(self.config.modalities[name].kind)
        patches = values.shape[1] // days

        def shaped(x: torch.Tensor) -> NDArray[Any]:
            array: NDArray[Any] = x.unflatten(1, (days, patches)).cpu().numpy()
            return array

        observed, visible = scale.inverse(shaped(values)), shaped(mask.visible)
        before, before_visible = observed[:, :0], visible[:, :0]
        if earlier is not None:
            before = scale.inverse(shaped(self.model.targets(earlier, name)))[:, :1]
            before_visible = shaped(tokens(earlier, self.structure, name).complete)[:, :1]
            # The store's first day has none before it.
            before_visible &= (starts > 0).repeat(len(visible) // len(starts))[:, None, None]
        return Masked(
            before=before,
            before_visible=before_visible,
            observed=observed,
            predicted=scale.inverse(shaped(predicted.full(values.shape[1]))),
            climatology=self._climatology(name, starts + step.batch.days - days, days, catchments),
            visible=visible,
            target=shaped(mask.target),
        )

    def _climatology(self, name: str, first: Indices, number: int, catchments: NDArray[np.int64]) -> Floats:
        """Return ``[R, T, P, V]`` of ``number`` days from ``first`` on."""
        days = first[:, None] + np.arange(number)
        means = self.climatology[name].at(self.store.times[days.ravel()])
        if name not in self.cells:
            by_window = means.reshape(*days.shape, -1)  # [B, T, every catchment]
            chosen = np.take_along_axis(by_window, catchments[:, None, :], axis=2)
            return chosen.transpose(0, 2, 1).reshape(-1, days.shape[1], 1, 1)
        cells = self.cells[name]
        fields = np.full((len(means), *cells.shape), np.nan, dtype=np.float32)
        fields[:, cells] = means
        patches = to_patches(fields, self.store.patch_size)
        return patches.reshape(*days.shape, *patches.shape[1:])


def reconstruct(checkpoint: Checkpoint, store: Store, settings: Evaluate, device: str = "cpu") -> Reconstruction:
    """Score masked reconstruction on windows spread over the test period.

    Raises
    ------
    ConfigError
        If the test period is shorter than a window.
    """
    config, period = checkpoint.config, store.period("test")
    starts = Windows.within(period, config.window_days, "test").spread(settings.reconstruction_windows)
    scorer = _Scorer(checkpoint, store, device)
    result = Reconstruction(len(starts), {name: dict.fromkeys(BASELINES, Sums()) for name in config.modalities})
    size = config.train.batch_size
    log.info("Reconstructing masked values of %d test windows", len(starts))
    for first in track(range(0, len(starts), size), "reconstruct"):
        for name, masked in scorer.tokens(starts[first : first + size], first):
            for method, sums in masked.sums().items():
                result.sums[name][method] += sums
    for name in [name for name, by_method in result.sums.items() if not by_method["model"].count]:
        log.warning("'%s' has no value in the test windows, so that its reconstruction has no score", name)
        del result.sums[name]
    grids = list(config.of_kind("grid"))
    if grids:
        readable = slice(period.start + scorer.reader.days - scorer.reader.grid_days, period.stop)
        days = _example_days(scorer.store, grids[0], scorer.cells[grids[0]], readable)
        result.examples = [_example(scorer, grids[0], period, day, why) for why, day in days.items()]
    return result


def _example(scorer: _Scorer, name: str, period: slice, day: int, why: str) -> Example:
    """Reconstruct a field of one test day, from the middle of the days of a window on which grids are read."""
    days, before = scorer.reader.grid_days, scorer.reader.days - scorer.reader.grid_days
    start = int(np.clip(day - days // 2, period.start + before, period.stop - days))
    here = day - start
    number = _usual_mask(scorer, name, start - before, here)
    masked = dict(scorer.tokens(np.array([start - before]), number))[name]
    height, width = scorer.cells[name].shape

    def field_of(patches: NDArray[Any]) -> NDArray[Any]:
        joined = unpatchify(torch.from_numpy(patches[:1, here : here + 1]), (height, width), scorer.store.patch_size)
        array: NDArray[Any] = joined[0, 0].numpy()
        return array

    on_land = scorer.cells[name]
    seen = np.broadcast_to(masked.visible[..., None], masked.observed.shape).copy()
    return Example(
        name=name,
        units=scorer.config.modalities[name].units,
        date=scorer.store.times[day],
        why=why,
        truth=np.where(on_land, field_of(masked.observed), np.nan),
        seen=field_of(seen) & on_land,
        predicted=np.where(on_land, field_of(masked.predicted), np.nan),
    )


def _usual_mask(scorer: _Scorer, name: str, start: int, day: int) -> int:
    """Return the step number, of a few, whose random mask hides most nearly the usual share of a grid's ``day``."""

    def distance(number: int) -> float:
        mask = scorer.step(np.array([start]), number)[0].masks[name]
        visible = mask.visible.unflatten(1, (scorer.reader.grid_days, -1))[0, day]
        share = visible.sum() / max(len(scorer.store.land_patches), 1)
        return abs(1 - float(share) - scorer.config.modalities[name].mask_ratio)

    return min(range(EXAMPLE, EXAMPLE + EXAMPLE_MASKS), key=distance)


def _example_days(store: Store, name: str, cells: Flags, period: slice) -> dict[str, int]:
    """Return days by the reason to show them, of those with nearly all cells observed; empty if there is none."""
    means = []
    for _, values in grid_blocks(store, name, period):
        on_land = values[:, cells]
        observed = np.isfinite(on_land)
        usable = observed.mean(1) > 0.95
        means.append(np.where(usable, np.where(observed, on_land, 0).sum(1) / np.maximum(observed.sum(1), 1), -np.inf))
    joined = np.concatenate(means)
    order = np.argsort(joined)[::-1][: int(np.isfinite(joined).sum())]
    if not len(order):
        return {}
    chosen = {"It is the test day with the largest mean": period.start + int(order[0])}
    if len(order) >= 10:
        chosen["A tenth of the test days have a larger mean"] = period.start + int(order[len(order) // 10])
    return chosen


def _run(case: Case) -> Reconstruction:
    return reconstruct(case.checkpoint, case.store, case.settings, case.device)


RECONSTRUCTION = Protocol(name="reconstruction", run=_run, needs_flow=False)
