"""Memory: what a token knows of the days before it, at many time scales and at a cost linear in the past.

A day's state holds exponential moving averages of a modality with fixed time constants, of its values and of their
squares, and the latest days one by one. It is a linear recurrence over what is visible,
``s(t) = a s(t-1) + (1-a) x(t)`` with ``a = exp(-1 / time constant)``, here as one product with the days before the
window and one within it. Averages are taken over the visible days only, and how much was visible is part of the state.
A state never knows a later day.
Shapes: B windows, C catchments in each, R rows (B * C, or B * L for L land patches), T days, H days before the window,
N averages, F state variables of a modality, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.batch import Batch
from model.config import MAEConfig, MemoryConfig
from model.layers import patchify
from model.masking import TokenMask

LEAST = 1e-6
"""Total weight below which an average is taken as unknown."""


@dataclass(frozen=True)
class Seen:
    """Daily values and how much each counts (0 to 1), before the window ``[R, H]`` and within it ``[R, T]``."""

    past: Tensor
    past_weight: Tensor
    values: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Remembered:
    """What is known at the tokens of one modality of days before them."""

    values: Tensor
    """``[R, K, W]`` of K places: all tokens of a series, those of land patches of a grid."""
    place: Tensor | None = None
    """``[N]``: the place of each token; None: its own number."""

    def at(self, row: Tensor, token: Tensor) -> Tensor:
        """Return ``[..., W]`` of tokens ``[...]`` in rows ``[...]``."""
        return self.values[row, token if self.place is None else self.place[token]]

    def rows(self, rows: Tensor) -> Remembered:
        """Return some of the rows."""
        return Remembered(self.values[rows], self.place)


def state_size(config: MemoryConfig) -> int:
    """Return F."""
    return 3 * len(config.time_constants) + 2 * config.recent


def states(seen: Seen, config: MemoryConfig) -> Tensor:
    """Return the state of every day of the windows, ``[R, T, F]``: averages, mean squares, weights, latest days."""
    past, within = (
        torch.stack((weight * values, weight * values.square(), weight), dim=1)
        for values, weight in ((seen.past, seen.past_weight), (seen.values, seen.weight))
    )
    before, days = past.shape[-1], within.shape[-1]
    times = torch.tensor(config.time_constants, device=past.device, dtype=past.dtype)
    gain = -torch.expm1(-1 / times)
    age = torch.arange(before - 1, -1, -1, device=past.device, dtype=past.dtype)
    carried = past @ (gain * torch.exp(-age[:, None] / times))  # [R, 3, N], as of the day before the window
    day = torch.arange(days, device=past.device, dtype=past.dtype)
    lag = day[:, None] - day
    kernel = gain * torch.exp(-lag.clamp_min(0)[..., None] / times) * (lag >= 0)[..., None]  # [T, T, N]
    total = torch.einsum("rcs,tsn->rctn", within, kernel)
    total = total + carried[:, :, None] * torch.exp(-(day[:, None] + 1) / times)
    sums, squares, weights = total.unbind(1)
    known = weights > LEAST
    scale = torch.where(known, 1 / weights.clamp_min(LEAST), 0)
    together = torch.nn.functional.pad(torch.cat((past, within), dim=-1), (config.recent - 1, 0))
    latest = together[..., before:].unfold(-1, config.recent, 1)  # [R, 3, T, recent]
    return torch.cat((sums * scale, squares * scale, weights, latest[:, 0], latest[:, 2]), dim=-1)


class Memory(nn.Module):
    """Reads the states of all modalities that a token may see, into what its encoder and its decoder are told.

    With fusion, one network serves all catchment series and another all grids; without, each modality has its own.
    A catchment's state of a grid is that of the patches it drains, by their shares.
    """

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        assert config.memory is not None
        self.config, self.memory = config, config.memory
        self.networks = nn.ModuleDict()
        for name, modality in config.modalities.items():
            group, width = self._group(name), config.memory.width
            if group in self.networks:
                continue
            size = state_size(config.memory) * len(config.read_by(name))
            if modality.kind == "series":
                size += config.attributes
            self.networks[group] = nn.Sequential(
                nn.Linear(size, width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(width, width), nn.GELU()
            )

    def _group(self, name: str) -> str:
        return name if self.config.fusion == "none" else f"all_{self.config.modalities[name].kind}"

    def forward(self, batch: Batch, masks: Mapping[str, TokenMask]) -> dict[str, Remembered]:
        """Return what is remembered at the tokens of every modality; rows are B for grids, B * C for series."""
        groups: dict[str, Remembered] = {}
        found = {}
        for name, modality in self.config.modalities.items():
            group = self._group(name)
            if group not in groups:
                groups[group] = (self._of_series if modality.kind == "series" else self._of_grids)(
                    group, self.config.read_by(name), batch, masks
                )
            found[name] = groups[group]
        return found

    def _known(
        self,
        of: Callable[[Batch, str, TokenMask], Seen],
        names: Sequence[str],
        batch: Batch,
        masks: Mapping[str, TokenMask],
    ) -> Tensor:
        """Return the states of all these modalities, ``[R, T, F]``."""
        # In float32 whatever the precision of the products: averages over years lose their slow part else.
        with torch.autocast(batch.static.device.type, enabled=False):
            return torch.cat([states(of(batch, name, masks[name]), self.memory) for name in names], dim=-1)

    def _of_series(self, group: str, names: Sequence[str], batch: Batch, masks: Mapping[str, TokenMask]) -> Remembered:
        known = self._known(self._of_catchments, names, batch, masks)
        static = batch.static.flatten(0, 1)[:, None].expand(-1, batch.days, -1)
        return Remembered(self.networks[group](torch.cat((known, static), dim=-1)))

    def _of_grids(self, group: str, names: Sequence[str], batch: Batch, masks: Mapping[str, TokenMask]) -> Remembered:
        """Read the states of land patches; zero in idle windows.

        Those are windows in which no token of these grids is visible or asked for.
        """
        assert self.config.grid is not None
        grid, days, device = self.config.grid, batch.days, batch.static.device
        busy = torch.zeros(batch.windows, dtype=torch.bool, device=device)
        busy[0] = True
        for name in names:
            busy |= masks[name].visible.any(1) | masks[name].target.any(1)
        some = {name: masks[name].rows(busy) for name in names}
        known = self._known(self._of_patches, names, batch.rows(busy), some)  # [busy * L, T, F]
        read = self.networks[group](known.unflatten(0, (len(some[names[0]].visible), -1)).transpose(1, 2)).flatten(1, 2)
        values: Tensor = read.new_zeros(batch.windows, *read.shape[1:])
        values[busy] = read
        land = torch.tensor(grid.land_patches, device=device)
        place = torch.zeros(days, grid.patches, dtype=torch.int64, device=device)
        place[:, land] = torch.arange(days * len(land), device=device).unflatten(0, (days, -1))
        return Remembered(values, place.flatten())

    def _land(self, batch: Batch, name: str, mask: TokenMask) -> Seen:
        """Return a grid's land patches as ``[B, H, L]`` and ``[B, T, L]``: means over the observed cells."""
        assert self.config.grid is not None
        land = list(self.config.grid.land_patches)
        patches = patchify(batch.grids[name], self.config.grid.patch_size)[:, :, land]
        values = patches.nanmean(-1).nan_to_num(0.0)
        weight = mask.visible.unflatten(1, (batch.days, -1))[:, :, land].to(values.dtype)
        return _with_past(batch, name, mask, values, weight, (batch.windows, 0, len(land)))

    def _of_patches(self, batch: Batch, name: str, mask: TokenMask) -> Seen:
        seen = self._land(batch, name, mask)
        return Seen(*(one.transpose(1, 2).flatten(0, 1) for one in vars(seen).values()))

    def _of_catchments(self, batch: Batch, name: str, mask: TokenMask) -> Seen:
        if self.config.modalities[name].kind == "series":
            values = batch.series[name].flatten(0, 1).nan_to_num(0.0)
            rows = values.shape[0]
            return _with_past(batch, name, mask, values, mask.visible.to(values.dtype), (rows, 0))
        share = self._shares(batch)
        seen = self._land(batch, name, mask)

        def drained(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
            total = torch.einsum("btl,bcl->bct", weight, share).flatten(0, 1)
            sums = torch.einsum("btl,bcl->bct", weight * values, share).flatten(0, 1)
            return sums / total.clamp_min(LEAST), total

        return Seen(*drained(seen.past, seen.past_weight), *drained(seen.values, seen.weight))

    def _shares(self, batch: Batch) -> Tensor:
        """Return the catchments' shares in the land patches, ``[B, C, L]``."""
        assert self.config.grid is not None
        if batch.drains is None or batch.shares is None:
            raise ValueError("drains and shares: fusion needs the patches that each catchment drains")
        b, c, _ = batch.drains.shape
        patches = self.config.grid.patches
        full = batch.shares.new_zeros(b, c, patches + 1)
        full.scatter_(2, torch.where(batch.drains >= 0, batch.drains, patches), batch.shares)
        return full[..., list(self.config.grid.land_patches)]


def _with_past(
    batch: Batch, name: str, mask: TokenMask, values: Tensor, weight: Tensor, nothing: tuple[int, ...]
) -> Seen:
    """Join what is visible of a window with the days before it, unless these are hidden or not there."""
    past = batch.past.get(name)
    if past is None:
        past = values.new_full(nothing, torch.nan)
    elif name in batch.series:
        past = past.flatten(0, 1)
    there = torch.isfinite(past)
    if mask.past is not None:
        there = there & mask.past.reshape(-1, *[1] * (past.ndim - 1))
    return Seen(past.nan_to_num(0.0), there.to(values.dtype), values, weight)
