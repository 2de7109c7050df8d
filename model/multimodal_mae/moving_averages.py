"""Moving averages as the antecedent state: many time scales, at a cost that does not grow with their reach.

A day's state holds exponential moving averages of a modality with fixed time constants, of its values and of their
squares, and the latest days one by one. It is a linear recurrence over what is visible,
``s(t) = a s(t-1) + (1-a) x(t)`` with ``a = exp(-1 / time constant)``: what the days before a window leave is carried
into it, and goes on through its visible days. Averages are taken over the visible days only, and how much was visible
is part of the state. A state never knows a later day.
Shapes: B windows, C catchments in each, R rows (B * C, or B * L for L land patches), T days, H days before the window,
N averages, F state variables of a modality, G of them carried into a window, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from multimodal_mae.antecedent_state import Antecedent, AntecedentState
from multimodal_mae.areal import MIN_WEIGHT, catchment_means, land_means
from multimodal_mae.attributes import read_attributes
from multimodal_mae.batch import Batch
from multimodal_mae.config import AntecedentStateConfig, GridConfig, MAEConfig
from multimodal_mae.masking import TokenMask

NEGLIGIBLE = 1e-30
"""A day that counts less than this counts nothing: products with subnormal numbers take twenty times as long."""
MIN_STD = 0.02
"""Standard deviation below which a state variable is taken as constant."""


@dataclass(frozen=True)
class Seen:
    """What is visible of a modality."""

    carried: Tensor
    """What the days before the window leave, ``[R, G]``, as `carry` returns it."""
    values: Tensor
    """Of the window's days, ``[R, T]``."""
    weight: Tensor
    """How much each counts (0 to 1), ``[R, T]``."""


def state_size(config: AntecedentStateConfig) -> int:
    """Return F."""
    return 3 * len(config.time_constants) + 2 * config.recent_days


def carried_size(config: AntecedentStateConfig) -> int:
    """Return G."""
    return 3 * len(config.time_constants) + 2 * (config.recent_days - 1)


def gains(config: AntecedentStateConfig, age: Tensor) -> Tensor:
    """Return how much a day counts in each average ``age`` ``[...]`` days later, ``[..., N]``; 0 before it."""
    times = torch.tensor(config.time_constants, device=age.device, dtype=age.dtype)
    return -torch.expm1(-1 / times) * fading(config, age.clamp_min(0)) * (age >= 0)[..., None]


def fading(config: AntecedentStateConfig, days: Tensor) -> Tensor:
    """Return what is left of each average after ``days`` ``[...]``, ``[..., N]``."""
    times = torch.tensor(config.time_constants, device=days.device, dtype=days.dtype)
    left = torch.exp(-days[..., None] / times)
    return torch.where(left > NEGLIGIBLE, left, 0)


def channels(values: Tensor, weight: Tensor) -> Tensor:
    """Return what is averaged, ``[..., 3, T]`` of ``[..., T]``: values, squares, and how much there was of them."""
    return torch.stack((weight * values, weight * values.square(), weight), dim=-2)


def carry(values: Tensor, weight: Tensor, config: AntecedentStateConfig) -> Tensor:
    """Return what days leave behind, ``[R, G]`` of values and weights ``[R, H]``: sums, and the latest days.

    Nothing known is all zero.
    """
    age = torch.arange(values.shape[-1] - 1, -1, -1, device=values.device, dtype=values.dtype)
    sums = channels(values, weight) @ gains(config, age)
    return joined(sums, latest_days(weight * values, weight, config))


def latest_days(values: Tensor, weight: Tensor, config: AntecedentStateConfig) -> Tensor:
    """Return the last days that are kept one by one, ``[..., 2, recent - 1]`` of ``[..., H]``; 0 before them."""
    both = torch.stack((values, weight), dim=-2)
    count = config.recent_days - 1
    return nn.functional.pad(both, (count, 0))[..., both.shape[-1] :]


def joined(sums: Tensor, latest: Tensor) -> Tensor:
    """Return ``[..., G]`` of the sums ``[..., 3, N]`` and the latest days ``[..., 2, recent - 1]``."""
    return torch.cat((sums.flatten(-2), latest.flatten(-2)), dim=-1)


def states(seen: Seen, config: AntecedentStateConfig) -> Tensor:
    """Return the state of every day of the windows, ``[R, T, F]``: averages, mean squares, weights, latest days."""
    averages, count = len(config.time_constants), config.recent_days - 1
    sums, latest = seen.carried.split((3 * averages, 2 * count), dim=-1)
    within = channels(seen.values, seen.weight)
    day = torch.arange(within.shape[-1], device=within.device, dtype=within.dtype)
    kernel = gains(config, day[:, None] - day)  # [T, T, N]
    total = torch.einsum("rcs,tsn->rctn", within, kernel)
    total = total + sums.unflatten(-1, (3, averages))[:, :, None] * fading(config, day + 1)
    values, squares, weights = total.unbind(1)
    known = weights > MIN_WEIGHT
    scale = torch.where(known, 1 / weights.clamp_min(MIN_WEIGHT), 0)
    daily = torch.cat((latest.unflatten(-1, (2, count)), within[:, ::2]), dim=-1)
    recent = daily.unfold(-1, config.recent_days, 1)  # [R, 2, T, recent]
    return torch.cat((values * scale, squares * scale, weights, recent[:, 0], recent[:, 1]), dim=-1)


class MovingAverages(AntecedentState):
    """Networks that read the states of all modalities that a token may see.

    With cross-modal attention, one network serves all catchment series and another all grids; without, each modality
    has its own.
    A catchment's state of a grid is that of the patches that it overlaps, by their weights.
    """

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        assert config.antecedent_state is not None
        self.config, self.state = config, config.antecedent_state
        self.networks = nn.ModuleDict()
        self.groups: dict[str, str] = {}
        """A modality that each network serves, by the network's name."""
        for name, modality in config.modalities.items():
            group, width = self._group(name), config.antecedent_state.width
            if group in self.groups or (modality.kind == "series" and config.recurrence):
                continue
            self.groups[group] = name
            variables = state_size(config.antecedent_state) * len(config.read_by(name))
            size = variables + (config.attribute_inputs if modality.kind == "series" else 0)
            self.networks[group] = nn.Sequential(
                nn.Linear(size, width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(width, width), nn.GELU()
            )
            # Kept with the weights; nothing is trained of them.
            self.register_buffer(f"mean_{group}", torch.zeros(variables))
            self.register_buffer(f"std_{group}", torch.ones(variables))

    @torch.no_grad()
    def standardise(self, windows: Iterable[tuple[Batch, Mapping[str, TokenMask]]]) -> None:
        """Have the networks read standardised states, by their means and deviations over some windows.

        The average of a year hardly varies beside a day's value, and a network would be slow to use it.
        """
        sums: dict[str, Tensor] = {}
        for batch, masks in windows:
            for group, name in self.groups.items():
                read = self._states(name, batch, masks).flatten(0, -2).double()
                moments = torch.stack((read.sum(0), read.square().sum(0), torch.full_like(read[0], len(read))))
                sums[group] = sums[group] + moments if group in sums else moments
        for group, (total, squares, count) in sums.items():
            mean = total / count
            std = (squares / count - mean.square()).clamp_min(0).sqrt()
            self.get_buffer(f"mean_{group}").copy_(mean)
            # What never varies is left as it is.
            self.get_buffer(f"std_{group}").copy_(torch.where(std > MIN_STD, std, 1.0))

    def _group(self, name: str) -> str:
        return name if self.config.cross_modal_attention == "none" else f"all_{self.config.modalities[name].kind}"

    def forward(self, batch: Batch, masks: Mapping[str, TokenMask]) -> dict[str, Antecedent]:
        """See `AntecedentState`."""
        groups = {
            group: (self._of_series if self.config.modalities[name].kind == "series" else self._of_grids)(
                group, name, batch, masks
            )
            for group, name in self.groups.items()
            if batch.days_of(self.config.modalities[name].kind)
        }
        return {name: groups[group] for name in self.config.modalities if (group := self._group(name)) in groups}

    def _states(self, name: str, batch: Batch, masks: Mapping[str, TokenMask]) -> Tensor:
        """Return the states of all modalities that a modality reads, ``[R, T, F]``."""
        of = self._of_catchments if self.config.modalities[name].kind == "series" else self._of_patches
        # In float32 whatever the precision of the products: otherwise averages over years lose their slow part.
        with torch.autocast(batch.static.device.type, enabled=False):
            return torch.cat(
                [states(of(batch, other, masks[other]), self.state) for other in self.config.read_by(name)], dim=-1
            )

    def _standardised(self, group: str, states: Tensor) -> Tensor:
        standardised: Tensor = (states - self.get_buffer(f"mean_{group}")) / self.get_buffer(f"std_{group}")
        return standardised

    def _of_series(self, group: str, name: str, batch: Batch, masks: Mapping[str, TokenMask]) -> Antecedent:
        read = self._standardised(group, self._states(name, batch, masks))
        static = read_attributes(batch, self.config)[:, None].expand(-1, batch.days, -1)
        return Antecedent(self.networks[group](torch.cat((read, static), dim=-1)))

    def _of_grids(self, group: str, name: str, batch: Batch, masks: Mapping[str, TokenMask]) -> Antecedent:
        """Read the states of land patches; zero in idle windows.

        Those are windows in which no token of these grids is visible or a target.
        """
        assert self.config.grid is not None
        grid, days, device = self.config.grid, batch.grid_days, batch.static.device
        busy = torch.zeros(batch.windows, dtype=torch.bool, device=device)
        busy[0] = True
        grids = self.config.read_by(name)
        for other in grids:
            busy |= masks[other].visible.any(1) | masks[other].target.any(1)
        busy_masks = {other: masks[other].rows(busy) for other in grids}
        read = self._standardised(group, self._states(name, batch.rows(busy), busy_masks))  # [busy * L, T, F]
        by_day = read.unflatten(0, (len(busy_masks[name].visible), -1)).transpose(1, 2)
        vectors = self.networks[group](by_day).flatten(1, 2)
        values: Tensor = vectors.new_zeros(batch.windows, *vectors.shape[1:])
        values[busy] = vectors
        land = torch.tensor(grid.land_patches, device=device)
        place = torch.zeros(days, grid.patches, dtype=torch.int64, device=device)
        place[:, land] = torch.arange(days * len(land), device=device).unflatten(0, (days, -1))
        return Antecedent(values, place.flatten())

    @property
    def _grid(self) -> GridConfig:
        assert self.config.grid is not None
        return self.config.grid

    def _of_patches(self, batch: Batch, name: str, mask: TokenMask) -> Seen:
        values, weight = (daily.transpose(1, 2).flatten(0, 1) for daily in land_means(batch, name, mask, self._grid))
        return Seen(self._carried(batch.past.get(name), mask, len(values)), values, weight)

    def _of_catchments(self, batch: Batch, name: str, mask: TokenMask) -> Seen:
        if self.config.modalities[name].kind == "series":
            values = batch.series[name].flatten(0, 1).nan_to_num(0.0)
            past = batch.past.get(name)
            return Seen(self._carried(past, mask, len(values)), values, mask.visible.to(values.dtype))
        means, weight = catchment_means(batch, name, mask, self._grid)
        return Seen(self._carried(batch.catchment_grid_past.get(name), mask, len(means)), means, weight)

    def _carried(self, past: Tensor | None, mask: TokenMask, rows: int) -> Tensor:
        """Return what is carried into each of the rows, ``[R, G]``; nothing where the past is hidden or not there."""
        if past is None:
            return mask.visible.new_zeros(rows, carried_size(self.state), dtype=torch.float32)
        carried = past.flatten(0, 1)
        return carried if mask.past is None else carried * mask.past.repeat_interleave(rows // len(mask.past))[:, None]
