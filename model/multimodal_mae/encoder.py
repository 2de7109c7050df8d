"""Encoders: one for each kind; each returns its per-layer features.

Shapes: R rows, N tokens, L visible tokens, D width; B windows, T days, P patches, V values of a patch, I numbers read
of the attributes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from multimodal_mae.antecedent_state import Antecedent
from multimodal_mae.config import GridConfig, MAEConfig
from multimodal_mae.layers import EncoderLayer, no_later, sincos
from multimodal_mae.masking import select


@dataclass(frozen=True)
class Features:
    """Normed outputs of the chosen encoder layers (first the embedded input, if ``use_input``)."""

    layers: tuple[Tensor, ...]
    """``[R, L, D]`` each; a series encoder's last token is the one of the static attributes."""
    index: Tensor
    """``[R, L]`` token of the row that stands there: day * P + patch for grids, day for series, -1 for static."""
    valid: Tensor
    """``[R, L]`` bool; False is padding."""
    day: Tensor
    """``[R, L]`` day of the window, -1 for the static attributes."""
    maps: tuple[Tensor, ...] = ()
    """What decoder layers read, ``[R, L, D]``: a weighted feature map for each, or one for all (the last layer)."""

    def rows_of_maps(self, rows: Tensor) -> Features:
        """Return some of the rows, without the layers."""
        return Features(
            (),
            self.index[rows],
            self.valid[rows],
            self.day[rows],
            tuple(feature_map[rows] for feature_map in self.maps),
        )

    @property
    def padding(self) -> Tensor | None:
        """``valid``, or None if there is no padding (which lets attention take its fast path)."""
        return None if bool(self.valid.all()) else self.valid


class Encoder(nn.Module):
    """What both kinds share: transformer layers, a final norm, and which layers are handed over."""

    def __init__(self, config: MAEConfig, depth: int, handed: tuple[int, ...], condition: int = 0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(config.width, config.heads, config.mlp_ratio, config.dropout, condition) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(config.width)
        self.handed = handed
        self.use_input = config.use_input
        self.causal = config.causal
        self.antecedent = nn.Linear(config.antecedent_state.width, config.width) if config.antecedent_state else None

    def add_antecedent(self, x: Tensor, antecedent: Antecedent | None, row: Tensor, token: Tensor) -> Tensor:
        """Add to tokens ``[R, L, D]`` the antecedent state at these tokens of these rows, ``[R, L]`` both."""
        if self.antecedent is None or antecedent is None:
            return x
        with_state: Tensor = x + self.antecedent(antecedent.at(row, token))
        return with_state

    def run(self, x: Tensor, valid: Tensor, day: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        """Return the normed features ``[R, L, D]`` of embedded tokens ``[R, L, D]`` of days ``[R, L]``."""
        padding = None if bool(valid.all()) else valid
        if self.causal:
            padding = no_later(day, day, valid)
        features = [self.norm(x)] if self.use_input else []
        for number, layer in enumerate(self.layers):
            x = layer(x, padding, condition)
            if number in self.handed:
                # Normed here, layer by layer: with weighted maps over raw outputs this norm would get no gradient.
                features.append(self.norm(x))
        return features


class GridEncoder(Encoder):
    """Encodes the visible land patches of a window: of all its days together, or of each day by itself."""

    def __init__(self, config: MAEConfig, grid: GridConfig) -> None:
        super().__init__(config, config.grid_layers, config.map_layers("grid"))
        self.embed = nn.Linear(grid.values, config.width)
        self.position = nn.Embedding(len(grid.land_patches), config.width)
        self.by_day = config.grid_attention_scope == "same_day"
        # Row of ``position`` for each patch; patches at sea have none and are never visible.
        row = torch.zeros(grid.patches, dtype=torch.int64)
        row[list(grid.land_patches)] = torch.arange(len(grid.land_patches))
        self.register_buffer("row", row, persistent=False)
        self.row: Tensor

    def forward(self, patches: Tensor, visible: Tensor, antecedent: Antecedent | None = None) -> Features:
        """Encode ``[B, T, P, V]`` (NaN = missing) where ``[B, T * P]`` says visible."""
        b, t, p, v = patches.shape
        spans = t if self.by_day else 1
        # Rows that attend among themselves: windows, or their days.
        seen = visible.reshape(b * spans, -1)
        busy = seen.any(1)
        busy[0] = True  # an encoder that is never called would leave its weights without a gradient
        rows = busy.nonzero()[:, 0]
        chosen = select(seen[rows])
        index = chosen.index + (rows % spans * (t * p // spans))[:, None]
        day, patch, window = index // p, index % p, (rows // spans)[:, None].expand_as(index)
        values = patches.reshape(b, t * p, v)[window, index]
        # What is not finite here is sea within a visible coastal patch, or padding.
        x = self.embed(torch.where(torch.isfinite(values), values, 0).to(self.embed.weight.dtype))
        x = x + self.position(self.row[patch]) + sincos(t, x.shape[-1], x)[day]
        x = self.add_antecedent(x, antecedent, window, index)
        layers = self.run(x, chosen.valid, day)
        if spans == 1 and len(rows) == b:
            return Features(tuple(layers), index, chosen.valid, day)
        # Lay the tokens out by window again.
        together = select(visible)
        place = torch.zeros(b * spans, dtype=torch.int64, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        rank = seen.cumsum(1) - 1
        row = torch.arange(b, device=rows.device)[:, None] * spans + together.index // (t * p // spans)
        column = rank.reshape(b, t * p).gather(1, together.index).clamp_min(0)
        picked = tuple(layer[place[row], column] for layer in layers)
        return Features(picked, together.index, together.valid, together.index // p)


class SeriesEncoder(Encoder):
    """Encodes the visible days of a catchment's series, conditioned by its static attributes."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__(config, config.series_layers, config.map_layers("series"), config.attribute_inputs)
        self.embed = nn.Linear(1, config.width)
        self.static = nn.Linear(config.attribute_inputs, config.width)

    def forward(
        self, series: Tensor, static: Tensor, visible: Tensor, antecedent: Antecedent | None = None
    ) -> Features:
        """Encode ``[R, T]`` (NaN = missing) of catchments ``[R, I]`` where ``[R, T]`` says visible."""
        chosen = select(visible)
        values = series.gather(1, chosen.index)[..., None]
        static = static.to(self.static.weight.dtype)
        x = self.embed(torch.where(torch.isfinite(values), values, 0).to(static.dtype))
        x = x + sincos(series.shape[1], x.shape[-1], x)[chosen.index]
        row = torch.arange(len(series), device=series.device)[:, None].expand_as(chosen.index)
        x = self.add_antecedent(x, antecedent, row, chosen.index)
        token = self.static(static)[:, None]
        layers = tuple(
            torch.cat((feature, token), dim=1) for feature in self.run(x, chosen.valid, chosen.index, static)
        )
        of_token = torch.ones_like(chosen.index[:, :1])
        index = torch.cat((chosen.index, -of_token), dim=1)
        return Features(layers, index, torch.cat((chosen.valid, of_token.bool()), dim=1), index)
