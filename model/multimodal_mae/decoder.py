"""Decoders: CrossMAE's, whose queries are the masked positions only, and the standard MAE's for comparison.

Shapes: R rows, L encoder tokens, Q queries, D encoder width, E decoder width, T days, P patches, V values of a token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from multimodal_mae.antecedent_state import Antecedent
from multimodal_mae.config import MAEConfig
from multimodal_mae.encoder import Features
from multimodal_mae.layers import DecoderBlock, SelfBlock, no_later, sincos
from multimodal_mae.masking import Selection, select


class Decoder(ABC, nn.Module):
    """What both decoders share: a mask token, positions, a final norm and a head.

    ``patches`` is 1 for series, which have no spatial position; ``values`` is V.
    """

    def __init__(self, config: MAEConfig, patches: int, values: int, non_negative: bool = False) -> None:
        super().__init__()
        width = config.decoder_width
        self.patches = patches
        self.mask_token = nn.Parameter(torch.empty(width))
        self.position = nn.Embedding(patches, width) if patches > 1 else None
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, values)
        self.non_negative = non_negative
        self.antecedent = nn.Linear(config.antecedent_state.width, width) if config.antecedent_state else None

    def positions(self, index: Tensor, days: int) -> Tensor:
        """Return positions ``[R, Q, E]`` of tokens ``[R, Q]`` (day * P + patch); none for index -1 (static)."""
        day, patch = index // self.patches, index % self.patches
        position = sincos(days, self.mask_token.numel(), self.mask_token)[day.clamp_min(0)]
        if self.position is not None:
            position = position + self.position(patch.clamp_min(0))
        return position * (index >= 0)[..., None]

    def queries(self, queries: Selection, days: int, antecedent: Antecedent | None) -> Tensor:
        """Return mask tokens ``[R, Q, E]`` at their positions, with the antecedent state there."""
        x = self.mask_token + self.positions(queries.index, days)
        if self.antecedent is None or antecedent is None:
            return x
        row = torch.arange(len(x), device=x.device)[:, None].expand_as(queries.index)
        with_state: Tensor = x + self.antecedent(antecedent.at(row, queries.index))
        return with_state

    def forward(
        self, features: Features, queries: Selection, days: int, antecedent: Antecedent | None = None
    ) -> tuple[Tensor, Tensor]:
        """Predict ``[R, Q, V]`` at the queries; return also what the head reads there, ``[R, Q, E]``.

        That is zero in rows without a query. The decoder layers read the maps of ``features``; ``antecedent`` is the
        antecedent state at each token.
        """
        # Rows without a query (a grid that had not begun, a modality that is no target) are not decoded; one is kept,
        # so that every weight has a gradient.
        busy = queries.valid.any(1)
        busy[0] = True
        if bool(busy.all()):
            states: Tensor = self._states(features, queries, days, antecedent)
        else:
            chosen = Selection(queries.index[busy], queries.valid[busy])
            known = None if antecedent is None else antecedent.rows(busy)
            decoded = self._states(features.rows_of_maps(busy), chosen, days, known)
            states = decoded.new_zeros(len(busy), *decoded.shape[1:])
            states[busy] = decoded
        values: Tensor = self.head(states)
        return softplus(values) if self.non_negative else values, states

    def _states(self, features: Features, queries: Selection, days: int, antecedent: Antecedent | None) -> Tensor:
        states: Tensor = self.norm(self.decode(self.queries(queries, days, antecedent), features, queries, days))
        return states

    @abstractmethod
    def decode(self, x: Tensor, features: Features, queries: Selection, days: int) -> Tensor:
        """Return decoded tokens ``[R, Q, E]`` of mask tokens ``x`` ``[R, Q, E]``."""


class CrossDecoder(Decoder):
    """CrossMAE: masked positions attend to encoder tokens, one feature map for each block."""

    def __init__(self, config: MAEConfig, patches: int, values: int, non_negative: bool = False) -> None:
        super().__init__(config, patches, values, non_negative)
        self.causal = config.causal
        self.by_day = config.grid_cross_attention_scope == "same_day" and patches > 1
        self.blocks = nn.ModuleList(
            DecoderBlock(
                config.decoder_width,
                config.width,
                config.heads,
                config.mlp_ratio,
                config.dropout,
                config.decoder_self_attn,
            )
            for _ in range(config.decoder_layers)
        )

    def decode(self, x: Tensor, features: Features, queries: Selection, days: int) -> Tensor:
        """See `Decoder.decode`."""
        if self.by_day:
            return self._each_day(x, features, queries, days)
        keys, others = features.padding, queries.valid
        if self.causal:
            day = queries.index // self.patches
            keys, others = no_later(day, features.day, features.valid), no_later(day, day, queries.valid)
        for block, feature_map in zip(self.blocks, self._maps(features), strict=True):
            x = block(x, others, feature_map, keys)
        return x

    def _each_day(self, x: Tensor, features: Features, queries: Selection, days: int) -> Tensor:
        """Decode as `decode` does, the days of a window being rows of their own: a day's queries read its tokens."""
        queried = _of_each_day(queries.index // self.patches, queries.valid, days)
        read = _of_each_day(features.day, features.valid, days)
        row = torch.arange(len(x), device=x.device).repeat_interleave(days)[:, None]
        each = x[row, queried.index]
        for block, feature_map in zip(self.blocks, self._maps(features), strict=True):
            each = block(each, queried.valid, feature_map[row, read.index], read.valid)
        joined = torch.zeros_like(x, dtype=each.dtype)
        joined[row.expand_as(queried.index)[queried.valid], queried.index[queried.valid]] = each[queried.valid]
        return joined

    def _maps(self, features: Features) -> tuple[Tensor, ...]:
        """Return what each of the layers reads."""
        return features.maps if len(features.maps) > 1 else features.maps * len(self.blocks)


def _of_each_day(day: Tensor, valid: Tensor, days: int) -> Selection:
    """Return which tokens ``[R, N]`` belong to each day: rows ``R * T``."""
    each = torch.arange(days, device=day.device)[:, None]
    return select((valid[:, None] & (day[:, None] == each)).flatten(0, 1))


class StandardDecoder(Decoder):
    """Standard MAE: self-attention over visible and masked tokens of the modality."""

    def __init__(self, config: MAEConfig, patches: int, values: int, non_negative: bool = False) -> None:
        super().__init__(config, patches, values, non_negative)
        self.embed = nn.Linear(config.width, config.decoder_width)
        self.blocks = nn.ModuleList(
            SelfBlock(config.decoder_width, config.heads, config.mlp_ratio, config.dropout)
            for _ in range(config.decoder_layers)
        )

    def decode(self, x: Tensor, features: Features, queries: Selection, days: int) -> Tensor:
        """See `Decoder.decode`."""
        seen = self.embed(features.maps[0]) + self.positions(features.index, days)
        x = torch.cat((seen, x), dim=1)
        valid = torch.cat((features.valid, queries.valid), dim=1)
        for block in self.blocks:
            x = block(x, None if bool(valid.all()) else valid)
        return x[:, seen.shape[1] :]
