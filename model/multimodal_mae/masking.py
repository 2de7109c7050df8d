"""Which tokens an encoder sees and which are predicted. One convention: ``visible`` and ``target``, True = it is.

A missing token is neither. Shapes: R rows (windows, or windows times catchments), N tokens of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig
from multimodal_mae.layers import among_patches


@dataclass(frozen=True)
class TokenMask:
    """Visible and target tokens of one modality, ``[R, N]`` bool each; no token is both."""

    visible: Tensor
    target: Tensor
    past: Tensor | None = None
    """``[R]`` bool: rows whose days before the window are visible to the antecedent state; None: all are."""

    def to(self, device: torch.device | str) -> TokenMask:
        """Return the mask on another device."""
        past = None if self.past is None else self.past.to(device)
        return TokenMask(self.visible.to(device), self.target.to(device), past)

    def rows(self, rows: slice | Tensor) -> TokenMask:
        """Return some of the rows."""
        past = None if self.past is None else self.past[rows]
        return TokenMask(self.visible[rows], self.target[rows], past)


@dataclass(frozen=True)
class Selection:
    """Positions of the chosen tokens of each row, padded to the longest row (at least one position)."""

    index: Tensor
    """``[R, L]`` int64."""
    valid: Tensor
    """``[R, L]`` bool; False is padding."""


@dataclass(frozen=True)
class Tokens:
    """Which tokens of a modality have values: ``[R, N]`` bool each."""

    observed: Tensor
    """At least one value of the token is known: it may be a target."""
    complete: Tensor
    """All its values are known: it may be visible."""


def select(chosen: Tensor) -> Selection:
    """Return the positions of the True entries of ``[R, N]``, in order, without a loop over rows."""
    counts = chosen.sum(1)
    longest = max(int(counts.max()), 1)
    index = torch.argsort((~chosen).to(torch.uint8), dim=1, stable=True)[:, :longest]
    valid = torch.arange(longest, device=chosen.device) < counts[:, None]
    return Selection(index, valid)


def tokens(batch: Batch, config: MAEConfig, name: str) -> Tokens:
    """Return which tokens of a modality have values: grids ``[B, T * P]`` (on land only), series ``[B * C, T]``."""
    if config.modalities[name].kind == "series":
        observed = torch.isfinite(batch.series[name]).flatten(0, 1)
        return Tokens(observed, observed)
    assert config.grid is not None
    cells = batch.cells[name]
    present = torch.isfinite(batch.grids[name]) & cells
    observed = present.any(-1)
    complete = (present == cells).all(-1) & observed
    land, patches = config.grid.land_patches, config.grid.patches
    return Tokens(*(among_patches(of[..., None], land, patches).flatten(1) for of in (observed, complete)))


def random_mask(available: Tokens, ratio: float, kept: float | None, noise: Tensor) -> TokenMask:
    """Mask a share of each row's observed tokens at random, by one batched argsort.

    Parameters
    ----------
    available
        Which tokens have values, ``[R, N]`` each.
    ratio
        Share of the observed tokens that is masked.
    kept
        Share of the observed tokens that becomes targets, drawn from the masked ones; None means all of these.
    noise
        ``[R, N]``, uniform; it alone decides, so that equal noise gives equal masks on any device.
    """
    order = torch.argsort(noise.masked_fill(~available.observed, torch.inf), dim=1)
    rank = torch.argsort(order, dim=1)
    count = available.observed.sum(1, keepdim=True)
    masked = rank < (count * ratio).round()
    decoded = masked if kept is None else rank < (count * kept).round()
    return TokenMask(visible=available.complete & ~masked, target=available.observed & decoded)


def show_all(
    batch: Batch, config: MAEConfig, excluded: Sequence[str] = (), targets: Sequence[str] = ()
) -> dict[str, TokenMask]:
    """Return masks that show everything but the modalities in ``excluded`` and their past.

    Every token of those in ``targets`` is a target, observed or not; the others have none.
    """
    masks = {}
    for name in config.modalities:
        available = tokens(batch, config, name)
        shown = name not in excluded
        masks[name] = TokenMask(
            visible=available.complete & shown,
            target=torch.full_like(available.complete, name in targets),
            past=available.complete.new_full(available.complete.shape[:1], shown),
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
            on_land = target.unflatten(1, (batch.grid_days, -1))[..., list(config.grid.land_patches)]
            counts.append((torch.isfinite(batch.grids[name]) & on_land[..., None]).sum())
    return torch.stack(counts).double()
