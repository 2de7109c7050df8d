"""A recurrence as the encoder of all series: one learnt state for each catchment and day, and causal.

Its inputs are what is visible of every modality that a catchment may see; what is hidden enters as hidden. Decoders of
series read the state of a day, as weighted feature maps of its blocks, and need no attention: all that is visible on
the day and before is in the state. The blocks are gated linear recurrences or LSTMs.
Shapes: R rows (B windows * C catchments), H days of warm-up, T days of the window, S = H + T, F days of issue, L days
after each, M modalities that are read, A attributes, D width. Inside, days come first: ``[S, R, D]``, ``[L, F, R, D]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from multimodal_mae.areal import catchment_means
from multimodal_mae.attributes import read_attributes
from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig, RecurrenceConfig
from multimodal_mae.encoder import Features
from multimodal_mae.gated_linear import GatedLinearBlock
from multimodal_mae.lstm import LSTMBlock
from multimodal_mae.masking import Selection, TokenMask

ROWS = 64
"""Rows that are read at once on processors where no gradient is wanted: more do not fit into a processor's cache."""


Block = GatedLinearBlock | LSTMBlock
BLOCKS: Mapping[str, type[Block]] = {"linear": GatedLinearBlock, "lstm": LSTMBlock}
"""By ``model.recurrence.cell``."""


class Recurrence(nn.Module):
    """Reads visible values of all series and the static attributes; returns what each block knows of each day."""

    def __init__(self, config: RecurrenceConfig, width: int, modalities: int, attributes: int, dropout: float) -> None:
        super().__init__()
        self.values = nn.Linear(3 * modalities, width)
        self.static = nn.Sequential(nn.Linear(attributes, width), nn.GELU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(BLOCKS[config.cell](width) for _ in range(config.blocks))
        self.dropout = dropout

    def forward(self, values: Tensor, visible: Tensor, static: Tensor, days: int) -> list[Tensor]:
        """Return the embedded input and every block's output ``[R, T, D]``, on the last ``days`` of S.

        ``values`` and ``visible`` are ``[R, M, S]``, standardised and 0 to 1; what is not visible has no part.
        ``static`` is ``[R, I]``.
        """
        if _is_split(values):
            parts = zip(values.split(ROWS), visible.split(ROWS), static.split(ROWS), strict=True)
            return [torch.cat(layer) for layer in zip(*(self(*part, days) for part in parts), strict=True)]
        x = self._embedded(values, visible, static)
        warmup = len(x) - days
        layers = [x[-days:]]
        for number, block in enumerate(self.blocks, start=1):
            last = number == len(self.blocks)
            x = block(self._dropped(x), warmup, keep=days if last else None)
            layers.append(x[-days:])
        return [layer.transpose(0, 1) for layer in layers]

    def forecast(
        self, values: Tensor, visible: Tensor, static: Tensor, issued: Tensor, ahead: Tensor, shown: Tensor, warmup: int
    ) -> list[Tensor]:
        """Return the embedded input and every block's output ``[R, F * L, D]`` on the days after some days of S.

        ``issued`` is ``[F]``, ``ahead`` and ``shown`` are ``[R, M, F, L]``: values and how visible they are on the days
        after these.
        """
        if _is_split(values):
            split = (tensor.split(ROWS) for tensor in (values, visible, static, ahead, shown))
            parts = [
                self.forecast(of_past, seen, attributes, issued, later, of_later, warmup)
                for of_past, seen, attributes, later, of_later in zip(*split, strict=True)
            ]
            return [torch.cat(layer) for layer in zip(*parts, strict=True)]
        x, later = self._embedded(values, visible, static), self._embedded(ahead, shown, static).transpose(0, 1)
        layers = [later]
        for block in self.blocks:
            assert isinstance(block, Block)
            x, later = block.forecast(self._dropped(x), warmup, issued, self._dropped(later))
            layers.append(later)
        return [layer.permute(2, 1, 0, 3).flatten(1, 2) for layer in layers]

    def _embedded(self, values: Tensor, visible: Tensor, static: Tensor) -> Tensor:
        """Return ``[..., R, D]`` of values and how visible they are ``[R, M, ...]``, and attributes ``[R, I]``."""
        # Squares too: of a square root of rain, the rain itself.
        channels = torch.cat((values * visible, values.square() * visible, visible), dim=1)
        weight = self.values.weight.dtype
        embedded: Tensor = self.values(channels.movedim((0, 1), (-2, -1)).to(weight)) + self.static(static.to(weight))
        return embedded

    def _dropped(self, x: Tensor) -> Tensor:
        """Drop features for the whole sequence of a row: a mask for each day costs more than the recurrence."""
        if not self.training or not self.dropout:
            return x
        kept = torch.rand_like(x[:1]) >= self.dropout
        return x * (kept.to(x.dtype) / (1 - self.dropout))


def _is_split(values: Tensor) -> bool:
    return not torch.is_grad_enabled() and values.device.type == "cpu" and len(values) > ROWS


class RecurrentEncoder(nn.Module):
    """Encodes all series of catchments, and the grids that feed them, by one `Recurrence`."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        assert config.recurrence is not None
        self.config = config
        self.inputs = config.read_by(config.of_kind("series")[0])
        self.recurrence = Recurrence(
            config.recurrence, config.width, len(self.inputs), config.attribute_inputs, config.dropout
        )
        self.handed = config.map_layers("series")

    def forward(self, batch: Batch, masks: Mapping[str, TokenMask]) -> tuple[Tensor, ...]:
        """Return the layers that are handed over, ``[R, T, D]`` each."""
        values, visible = self._inputs(batch, masks)
        return self._handed(self.recurrence(values, visible, read_attributes(batch, self.config), batch.days))

    def forecast(
        self, batch: Batch, masks: Mapping[str, TokenMask], issued: Tensor, ahead: Mapping[str, Tensor]
    ) -> tuple[Tensor, ...]:
        """Return the layers that are handed over, ``[R, F * L, D]`` each, of days after some days of the windows.

        ``issued`` ``[F]`` are days of the window, ``ahead`` ``[B, C, F, L]`` values of the days after them, NaN where
        nothing is known.
        """
        values, visible = self._inputs(batch, masks)
        later = torch.stack([ahead[name].flatten(0, 1) for name in self.inputs], dim=1)
        warmup = values.shape[-1] - batch.days
        layers = self.recurrence.forecast(
            values, visible, read_attributes(batch, self.config), warmup + issued,
            later.nan_to_num(0.0), torch.isfinite(later).to(later.dtype), warmup,
        )  # fmt: skip
        return self._handed(layers)

    def _handed(self, layers: Sequence[Tensor]) -> tuple[Tensor, ...]:
        embedded, *blocks = layers
        chosen = [blocks[number] for number in self.handed]
        return (embedded, *chosen) if self.config.use_input else tuple(chosen)

    def _inputs(self, batch: Batch, masks: Mapping[str, TokenMask]) -> tuple[Tensor, Tensor]:
        """Return values and how visible they are, ``[R, M, S]`` both."""
        days = [self._days(name, batch, masks[name]) for name in self.inputs]
        return torch.stack([value for value, _ in days], dim=1), torch.stack([shown for _, shown in days], dim=1)

    def _days(self, name: str, batch: Batch, mask: TokenMask) -> tuple[Tensor, Tensor]:
        """Return values and how visible they are (0 to 1), ``[R, S]`` both: of the warm-up, then of the window."""
        if name in batch.series:
            values, weight = batch.series[name].flatten(0, 1), mask.visible
        else:
            assert self.config.grid is not None
            values, weight = catchment_means(batch, name, mask, self.config.grid)
        assert self.config.recurrence is not None
        warmup = self.config.recurrence.warmup_days
        # Of a grid that is read on the window's last days only, the areal mean is known on the days before them.
        missing = warmup + batch.days - values.shape[1]
        before = batch.history[name].flatten(0, 1) if name in batch.history else values[:, :0]
        if before.shape[1] < missing:  # the store begins later
            before = nn.functional.pad(before, (missing - before.shape[1], 0), value=torch.nan)
        known = torch.isfinite(before)
        if mask.past is not None:
            known = known & mask.past.repeat_interleave(len(known) // len(mask.past))[:, None]
        values, weight = torch.cat((before, values), 1), torch.cat((known.to(values.dtype), weight.to(values.dtype)), 1)
        return torch.where(weight > 0, values, 0).nan_to_num(0.0), weight


class StateDecoder(nn.Module):
    """Predicts a series from the recurrence's state of the day: feature maps, one hidden layer, a head."""

    def __init__(self, config: MAEConfig, non_negative: bool = False) -> None:
        super().__init__()
        maps = config.decoder_layers if config.use_weighted_fm else 1
        self.norm = nn.Identity() if config.use_weighted_fm else nn.LayerNorm(config.width)
        self.hidden = nn.ModuleList(nn.Linear(config.width, config.decoder_width) for _ in range(maps))
        self.head = nn.Linear(config.decoder_width, 1)
        self.non_negative = non_negative

    def forward(
        self,
        layers: Sequence[Tensor],
        queries: Selection,
        feature_maps: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """Predict ``[R, Q, 1]`` at days ``[R, Q]``; return also what the head reads, ``[R, Q, E]``.

        That is zero in rows without a query. ``layers`` are those of the encoder, ``[R, T, D]`` each; ``feature_maps``
        makes of them, at the queries alone, what each hidden layer reads.
        """
        # A simulation asks for every day, and queries are in order.
        if queries.index.shape == layers[0].shape[:2] and bool(queries.valid.all()):
            states = self._decoded(feature_maps(layers))
        else:
            busy = queries.valid.any(1)
            busy[0] = True  # weights that are never used would get no gradient
            day = queries.index[busy][..., None]
            at_queries = [layer[busy].gather(1, day.expand(-1, -1, layer.shape[-1])) for layer in layers]
            decoded = self._decoded(feature_maps(at_queries))
            states = decoded.new_zeros(len(busy), *decoded.shape[1:])
            states[busy] = decoded
        values: Tensor = self.head(states)
        return softplus(values) if self.non_negative else values, states

    def _decoded(self, maps: Sequence[Tensor]) -> Tensor:
        """Return what the head reads, ``[R, Q, E]``, of what each hidden layer reads, ``[R, Q, D]``."""
        hidden = sum(linear(self.norm(read)) for linear, read in zip(self.hidden, maps, strict=True))
        assert isinstance(hidden, Tensor)
        return nn.functional.gelu(hidden)


def features_of(layers: tuple[Tensor, ...], mask: TokenMask, maps: tuple[Tensor, ...]) -> Features:
    """Return the features of one series: those of its catchment's days, valid where the series is visible."""
    day = torch.arange(layers[0].shape[1], device=layers[0].device).expand(layers[0].shape[:2])
    return Features(layers, day, mask.visible, day, maps)
