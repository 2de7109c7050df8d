"""Decoders: CrossMAE's, whose queries are the masked positions only, and the standard MAE's for comparison.

Shapes: R rows, L encoder tokens, Q queries, D encoder width, E decoder width, T days, P patches, V values of a token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

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
        found = sincos(days, self.mask_token.numel(), self.mask_token)[day.clamp_min(0)]
        if self.position is not None:
            found = found + self.position(patch.clamp_min(0))
        return found * (index >= 0)[..., None]

    def queries(self, queries: Selection, days: int, known: Antecedent | None) -> Tensor:
        """Return mask tokens ``[R, Q, E]`` at their positions, with the antecedent state there."""
        x = self.mask_token + self.positions(queries.index, days)
        if self.antecedent is None or known is None:
            return x
        row = torch.arange(len(x), device=x.device)[:, None].expand_as(queries.index)
        with_state: Tensor = x + self.antecedent(known.at(row, queries.index))
        return with_state

    def forward(
        self,
        maps: Sequence[Tensor],
        features: Features,
        queries: Selection,
        days: int,
        known: Antecedent | None = None,
    ) -> Tensor:
        """Predict ``[R, Q, V]`` at the queries; the arguments are those of `states`."""
        out: Tensor = self.head(self.states(maps, features, queries, days, known))
        return softplus(out) if self.non_negative else out

    def states(
        self,
        maps: Sequence[Tensor],
        features: Features,
        queries: Selection,
        days: int,
        known: Antecedent | None = None,
    ) -> Tensor:
        """Return what the head reads at the queries, ``[R, Q, E]``; zero in rows without a query.

        ``maps`` holds what the decoder layers read: one ``[R, L, D]`` for each, or a single one for all; ``known`` is
        the antecedent state at each token.
        """
        # Rows without a query (a grid that had not begun, a modality that was not asked for) are not decoded; one is
        # kept, so that every weight has a gradient.
        busy = queries.valid.any(1)
        busy[0] = True
        whole = bool(busy.all())
        if not whole:
            maps = [one[busy] for one in maps]
            features = Features((), features.index[busy], features.valid[busy], features.day[busy])
            queries = Selection(queries.index[busy], queries.valid[busy])
            known = None if known is None else known.rows(busy)
        x: Tensor = self.norm(self.decode(self.queries(queries, days, known), maps, features, queries, days))
        if whole:
            return x
        everywhere = x.new_zeros(len(busy), *x.shape[1:])
        everywhere[busy] = x
        return everywhere

    @abstractmethod
    def decode(self, x: Tensor, maps: Sequence[Tensor], features: Features, queries: Selection, days: int) -> Tensor:
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

    def decode(self, x: Tensor, maps: Sequence[Tensor], features: Features, queries: Selection, days: int) -> Tensor:
        """See `Decoder.decode`."""
        if self.by_day:
            return self._each_day(x, maps, features, queries, days)
        keys, others = features.padding, queries.valid
        if self.causal:
            day = queries.index // self.patches
            keys, others = no_later(day, features.day, features.valid), no_later(day, day, queries.valid)
        for number, block in enumerate(self.blocks):
            x = block(x, others, maps[number if len(maps) > 1 else 0], keys)
        return x

    def _each_day(self, x: Tensor, maps: Sequence[Tensor], features: Features, queries: Selection, days: int) -> Tensor:
        """Decode as `decode` does, the days of a window being rows of their own: a day's queries read its tokens."""
        mine = _of_each_day(queries.index // self.patches, queries.valid, days)
        theirs = _of_each_day(features.day, features.valid, days)
        row = torch.arange(len(x), device=x.device).repeat_interleave(days)[:, None]
        each = x[row, mine.index]
        for number, block in enumerate(self.blocks):
            each = block(each, mine.valid, maps[number if len(maps) > 1 else 0][row, theirs.index], theirs.valid)
        together = torch.zeros_like(x, dtype=each.dtype)
        together[row.expand_as(mine.index)[mine.valid], mine.index[mine.valid]] = each[mine.valid]
        return together


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

    def decode(self, x: Tensor, maps: Sequence[Tensor], features: Features, queries: Selection, days: int) -> Tensor:
        """See `Decoder.decode`."""
        seen = self.embed(maps[0]) + self.positions(features.index, days)
        x = torch.cat((seen, x), dim=1)
        valid = torch.cat((features.valid, queries.valid), dim=1)
        for block in self.blocks:
            x = block(x, None if bool(valid.all()) else valid)
        return x[:, seen.shape[1] :]
