"""Which tokens an encoder sees and which are predicted. One convention: ``visible`` and ``target``, True = it is.

A missing token is neither. Shapes: R rows (windows, or windows times catchments), N tokens of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig
from multimodal_mae.layers import patchify


@dataclass(frozen=True)
class TokenMask:
    """Visible and target tokens of one modality, ``[R, N]`` bool each; no token is both."""

    visible: Tensor
    target: Tensor
    past: Tensor | None = None
    """``[R]`` bool: rows whose days before the window are visible to the antecedent state; None: all are."""

    def to(self, device: torch.device | str) -> TokenMask:
        """Return the mask on another device."""
        return TokenMask(*(None if one is None else one.to(device) for one in vars(self).values()))  # type: ignore[arg-type]

    def rows(self, rows: slice | Tensor) -> TokenMask:
        """Return some of the rows."""
        return TokenMask(*(None if one is None else one[rows] for one in vars(self).values()))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Selection:
    """Positions of the chosen tokens of each row, padded to the longest row (at least one position)."""

    index: Tensor
    """``[R, L]`` int64."""
    valid: Tensor
    """``[R, L]`` bool; False is padding."""


@dataclass(frozen=True)
class Tokens:
    """What a modality has to offer: ``[R, N]`` bool each."""

    observed: Tensor
    """At least one value of the token is there: it may be a target."""
    complete: Tensor
    """All its values are there: it may be visible."""


def select(chosen: Tensor) -> Selection:
    """Return the positions of the True entries of ``[R, N]``, in order, without a loop over rows."""
    counts = chosen.sum(1)
    longest = max(int(counts.max()), 1)
    index = torch.argsort((~chosen).to(torch.uint8), dim=1, stable=True)[:, :longest]
    valid = torch.arange(longest, device=chosen.device) < counts[:, None]
    return Selection(index, valid)


def tokens(batch: Batch, config: MAEConfig, name: str) -> Tokens:
    """Return what is there of a modality: grids ``[B, T * P]`` (land patches only), series ``[B * C, T]``."""
    if config.modalities[name].kind == "series":
        observed = torch.isfinite(batch.series[name]).flatten(0, 1)
        return Tokens(observed, observed)
    assert config.grid is not None
    cells = batch.cells[name]
    there = patchify(torch.isfinite(batch.grids[name]) & cells, config.grid.patch_size)
    wanted = patchify(cells[None, None], config.grid.patch_size)
    land = torch.zeros(config.grid.patches, dtype=torch.bool, device=cells.device)
    land[list(config.grid.land_patches)] = True
    observed = there.any(-1) & land
    complete = (there == wanted).all(-1) & observed
    return Tokens(observed.flatten(1), complete.flatten(1))


def random_mask(have: Tokens, ratio: float, kept: float | None, noise: Tensor) -> TokenMask:
    """Mask a share of each row's observed tokens at random, by one batched argsort.

    Parameters
    ----------
    have
        What is observed, ``[R, N]``.
    ratio
        Share of the observed tokens that is masked.
    kept
        Share of the observed tokens that becomes targets, drawn from the masked ones; None means all of these.
    noise
        ``[R, N]``, uniform; it alone decides, so that equal noise gives equal masks on any device.
    """
    order = torch.argsort(noise.masked_fill(~have.observed, torch.inf), dim=1)
    rank = torch.argsort(order, dim=1)
    count = have.observed.sum(1, keepdim=True)
    masked = rank < (count * ratio).round()
    decoded = masked if kept is None else rank < (count * kept).round()
    return TokenMask(visible=have.complete & ~masked, target=have.observed & decoded)


def draw_noise(
    config: MAEConfig, *, windows: int, catchments: int, days: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return uniform noise for every modality's tokens: grids ``[B, T * P]``, series ``[B, C, T]``."""
    patches = config.grid.patches if config.grid is not None else 0
    shapes = {"grid": (windows, days * patches), "series": (windows, catchments, days)}
    return {
        name: torch.rand(shapes[modality.kind], generator=generator) for name, modality in config.modalities.items()
    }


def mask_batch(batch: Batch, config: MAEConfig, noise: Mapping[str, Tensor]) -> dict[str, TokenMask]:
    """Mask every modality at random by its ``mask_ratio``; see `random_mask`."""
    masks = {}
    for name, modality in config.modalities.items():
        have = tokens(batch, config, name)
        flat = noise[name].reshape(have.observed.shape).to(have.observed.device)
        masks[name] = random_mask(have, modality.mask_ratio, config.kept_mask_ratio, flat)
    return masks


class Task(IntEnum):
    """The pretraining task of a window."""

    RANDOM = 0
    """Every modality's tokens that are masked at random."""
    SIMULATION = 1
    """All of one modality, hidden with its past; everything else is shown."""
    FORECAST = 2
    """The last days of one modality; everything else is shown."""
    FORECAST_WITHOUT_FORCING = 3
    """The same, and nothing is known of these days."""
    SPATIAL_MASKING = 4
    """Every modality at some of its patches or catchments, hidden throughout (a catchment with its past)."""


TARGETED = (Task.SIMULATION, Task.FORECAST, Task.FORECAST_WITHOUT_FORCING)
"""Those that ask for one modality."""


@dataclass(frozen=True)
class WindowTasks:
    """The task of each of B windows: ``[B]`` each."""

    kind: Tensor
    """A `Task`."""
    target: Tensor
    """Position of the modality that a simulation or forecast asks for."""
    lead_time: Tensor
    """Days of a forecast."""

    def rows(self, rows: slice) -> WindowTasks:
        """Return those of some windows."""
        return WindowTasks(self.kind[rows], self.target[rows], self.lead_time[rows])


def draw_tasks(
    shares: Mapping[Task, float], of: Sequence[int], max_lead_time: int, windows: int, generator: torch.Generator
) -> WindowTasks:
    """Draw what windows ask: each kind by its share, what is left over at random masks.

    ``of`` are the modalities to ask for, ``max_lead_time`` the most days of a forecast.
    """
    lot, kind, before = torch.rand(windows, generator=generator), torch.zeros(windows, dtype=torch.int64), 0.0
    for task, share in shares.items():
        kind[(lot >= before) & (lot < before + share)] = int(task)
        before += share
    asked = torch.tensor(of)[torch.randint(max(len(of), 1), (windows,), generator=generator)] if of else kind * 0
    return WindowTasks(kind, asked, torch.randint(1, max_lead_time + 1, (windows,), generator=generator))


def apply_tasks(
    batch: Batch,
    config: MAEConfig,
    masks: Mapping[str, TokenMask],
    tasks: WindowTasks,
    noise: Mapping[str, Tensor],
) -> dict[str, TokenMask]:
    """Replace the random masks of the windows that ask another task; ``noise`` is what drew the random ones."""
    changed = {}
    for position, (name, mask) in enumerate(masks.items()):
        have, rows = tokens(batch, config, name), mask.visible.shape[0] // batch.windows
        device = mask.visible.device
        kind, of, lead = (
            one.to(device).repeat_interleave(rows)[:, None] for one in (tasks.kind, tasks.target, tasks.lead_time)
        )
        mine = of == position
        places = have.observed.shape[1] // batch.days
        late = torch.arange(have.observed.shape[1], device=device) // places >= batch.days - lead
        noisy = noise[name].reshape(have.observed.shape).to(device)
        # One lot for a place, that of its first day, decides for all its days.
        away = (noisy[:, :places] < config.modalities[name].mask_ratio).repeat(1, batch.days)

        hidden = mine & (kind == Task.SIMULATION)
        hidden = hidden | (late & ((mine & (kind == Task.FORECAST)) | (kind == Task.FORECAST_WITHOUT_FORCING)))
        hidden = hidden | (away & (kind == Task.SPATIAL_MASKING))
        wanted = hidden & (mine | (kind == Task.SPATIAL_MASKING))
        drawn = kind == Task.RANDOM
        gone = mine & (kind == Task.SIMULATION)
        if config.modalities[name].kind == "series":
            gone = gone | (away[:, :1] & (kind == Task.SPATIAL_MASKING))
        changed[name] = TokenMask(
            visible=torch.where(drawn, mask.visible, have.complete & ~hidden),
            target=torch.where(drawn, mask.target, have.observed & wanted),
            past=~gone[:, 0],
        )
    return changed


def show_all(
    batch: Batch, config: MAEConfig, excluded: Sequence[str] = (), targets: Sequence[str] = ()
) -> dict[str, TokenMask]:
    """Return masks that show all there is, but nothing of the modalities in ``excluded``, nor of their past.

    Every token of those in ``targets`` is a target, observed or not; the others have none.
    """
    masks = {}
    for name in config.modalities:
        have = tokens(batch, config, name)
        nothing, hidden = torch.zeros_like(have.complete), name in excluded
        masks[name] = TokenMask(
            visible=nothing if hidden else have.complete,
            target=torch.ones_like(nothing) if name in targets else nothing,
            past=torch.full_like(have.complete[:, 0], not hidden),
        )
    return masks


def count_targets(batch: Batch, config: MAEConfig, masks: Mapping[str, TokenMask]) -> Tensor:
    """Return how many observed values the targets of each modality hold, ``[modalities]`` float64."""
    counts = []
    for name, modality in config.modalities.items():
        target = masks[name].target
        if modality.kind == "series":
            counts.append((target & torch.isfinite(batch.series[name]).flatten(0, 1)).sum())
        else:
            assert config.grid is not None
            there = patchify(torch.isfinite(batch.grids[name]), config.grid.patch_size).flatten(1, 2)
            counts.append((there & target[..., None]).sum())
    return torch.stack(counts).double()
