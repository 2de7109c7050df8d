"""Which tokens an encoder sees and which are predicted. One convention: ``visible`` and ``target``, True = it is.

A missing token is neither. Shapes: R rows (windows, or windows times catchments), N tokens of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.batch import Batch
from model.config import MAEConfig
from model.layers import patchify


@dataclass(frozen=True)
class TokenMask:
    """Visible and target tokens of one modality, ``[R, N]`` bool each; no token is both."""

    visible: Tensor
    target: Tensor

    def to(self, device: torch.device | str) -> TokenMask:
        """Return the mask on another device."""
        return TokenMask(self.visible.to(device), self.target.to(device))


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


def ask_for(
    batch: Batch, config: MAEConfig, masks: Mapping[str, TokenMask], asked: Mapping[str, Tensor]
) -> dict[str, TokenMask]:
    """Replace the masks of some windows: one modality wholly hidden and asked for, all others shown.

    River flow hidden and the weather shown is simulation at an ungauged site. ``asked`` holds ``[B]`` bool for each
    modality that may be asked for; a window is asked for one at most.
    """
    any_asked = torch.stack(list(asked.values())).any(0)
    changed = {}
    for name, mask in masks.items():
        have, rows = tokens(batch, config, name), mask.visible.shape[0] // batch.windows
        mine = asked.get(name, torch.zeros_like(any_asked)).repeat_interleave(rows)[:, None]
        other = any_asked.repeat_interleave(rows)[:, None] & ~mine
        changed[name] = TokenMask(
            visible=(mask.visible & ~mine & ~other) | (have.complete & other),
            target=(mask.target & ~mine & ~other) | (have.observed & mine),
        )
    return changed


def show_all(batch: Batch, config: MAEConfig, hide: tuple[str, ...] = ()) -> dict[str, TokenMask]:
    """Return masks that show all there is, but nothing of the modalities in ``hide``; nothing is a target."""
    masks = {}
    for name in config.modalities:
        have = tokens(batch, config, name)
        nothing = torch.zeros_like(have.complete)
        masks[name] = TokenMask(visible=nothing if name in hide else have.complete, target=nothing)
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
