"""The model's structure as frozen dataclasses; a wrong value raises ``ValueError`` that names the setting.

`Structure` is what a user chooses. Bounds stand in its annotations, where what reads a configuration finds them;
combinations that are impossible are refused on construction. Importing this module imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

Kind = Literal["grid", "series"]
CrossModalAttention = Literal["none", "decoder", "joint"]
Cell = Literal["linear", "lstm"]
Scope = Literal["window", "same_day"]
Positive = Annotated[int, Gt(0)]


@dataclass(frozen=True)
class AntecedentStateConfig:
    """What a token knows of the days before it, beyond the window; see ``docs/explain/model.md``."""

    time_constants: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] = tuple(float(2**k) for k in range(10))
    """Days after which a value has faded to 1/e, one for each moving average."""
    recent_days: Positive = 7
    """Latest days that are kept one by one, the day itself included."""
    width: Positive = 256
    """Width of the network that reads the states."""

    def __post_init__(self) -> None:
        if not self.time_constants or min(self.time_constants) <= 0:
            raise ValueError("time_constants: must be positive, at least one")
        if self.recent_days < 1:
            raise ValueError("recent_days: must be at least 1, the day itself")

    @property
    def past_days(self) -> int:
        """Days before a window that are worth reading: what is older weighs less than 2 % in the slowest average."""
        return max(math.ceil(4 * max(self.time_constants)), self.recent_days - 1)


@dataclass(frozen=True)
class RecurrenceConfig:
    """A recurrence that encodes all series of a catchment together; see ``docs/explain/model.md``."""

    cell: Cell = "linear"
    """What holds the state: linear, a gated linear recurrence; lstm, an LSTM, which takes longer and learns more."""
    blocks: Positive = 2
    """Recurrences, each reading the one before."""
    warmup_days: Positive = 365
    """Days before a window over which the state settles; what they held is all that is known of the past."""


@dataclass(frozen=True)
class LayersByKind:
    """Encoder layers that feed the weighted feature maps, for each kind."""

    grid: tuple[int, ...] | None = None
    series: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Structure:
    """Structure of the MultiModalMAE; see ``docs/explain/model.md``."""

    width: Positive = 256
    """Width of the encoders."""
    decoder_width: Positive = 128
    """Width of the decoders."""
    heads: Positive = 8
    """Attention heads, in encoders and decoders."""
    mlp_ratio: Annotated[float, Ge(0.5)] = 4.0
    """Hidden width of an MLP over its width."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    """On MLPs and projections; none inside attention, which would force its slow path."""
    grid_layers: Positive = 6
    """Layers of a grid encoder."""
    grid_attention_scope: Scope = "window"
    """Which patches attend to each other: those of all days of the window, or those of a day; then the encoder's cost
    grows linearly with the window, and what came before reaches a day through the antecedent state."""
    grid_cross_attention_scope: Scope = "window"
    """Which visible patches a masked one is predicted from: those of all days of the window, or those of its day; then
    the decoder's cost grows linearly too."""
    series_layers: Positive = 4
    """Layers of a series encoder."""
    decoder_layers: Positive = 4
    """Layers of a decoder, and so weighted feature maps."""
    use_cross_attn: bool = True
    """True: CrossMAE decoder; False: standard MAE decoder (self-attention over visible and masked tokens)."""
    use_weighted_fm: bool = True
    """Each decoder layer reads its own learned mixture of encoder layers; False: all read the last one."""
    use_fm_layers: tuple[int, ...] | LayersByKind | None = None
    """Layers that feed the maps: null for all; a list is for the grid encoders (series encoders keep all of theirs);
    ``{grid: [...], series: [...]}`` for both."""
    use_input: bool = False
    """The embedded input is one more layer that feeds the maps, the first."""
    decoder_self_attn: bool = False
    """CrossMAE decoder only: masked tokens also attend to each other."""
    cross_modal_attention: CrossModalAttention = "none"
    """none: each modality is predicted from itself. decoder: a decoder also attends to the others' tokens, a catchment
    to those of the patches that it overlaps. joint: transformer layers mix these tokens first."""
    joint_layers: Positive = 2
    """Transformer layers of ``cross_modal_attention: joint``."""
    recurrence: RecurrenceConfig | None = None
    """One recurrence encodes all series of a catchment together, and their decoders read its state of the day; null for
    a transformer for each series. ``{}`` takes the defaults."""
    antecedent_state: AntecedentStateConfig | None = None
    """Moving averages of what came before a day, at many time scales; null for none. ``{}`` takes the defaults."""
    causal: bool = False
    """True: features and predictions of a day see no later day, as simulation and forecast must."""
    kept_mask_ratio: Annotated[float, Gt(0), Le(1)] | None = None
    """Share of all tokens that is decoded and scored, drawn from the masked ones; null for every masked one."""

    def __post_init__(self) -> None:
        for setting in ("width", "decoder_width"):
            if getattr(self, setting) % self.heads:
                raise ValueError(f"{setting}: {getattr(self, setting)} is no multiple of heads ({self.heads})")
            if getattr(self, setting) % 2:
                raise ValueError(f"{setting}: must be even for the sine-cosine positions")
        if not self.use_cross_attn:
            self._check_standard_decoder()
        if self.recurrence and not self.causal:
            raise ValueError("recurrence: knows no later day, so causal must be true")
        if not self.use_weighted_fm and self.use_input:
            raise ValueError("use_input: chooses a layer for use_weighted_fm, which is off")
        if not self.use_weighted_fm and self.use_fm_layers is not None:
            raise ValueError("use_fm_layers: chooses layers for use_weighted_fm, which is off")

    def _check_standard_decoder(self) -> None:
        """Refuse what needs the CrossMAE decoder."""
        if self.use_weighted_fm:
            raise ValueError("use_weighted_fm: needs use_cross_attn (the standard MAE decoder reads one map only)")
        if self.decoder_self_attn:
            raise ValueError("decoder_self_attn: the standard MAE decoder has it anyway; set it to false")
        if self.grid_cross_attention_scope == "same_day":
            raise ValueError(
                "grid_cross_attention_scope: same_day needs use_cross_attn (the standard MAE decoder reads the window)"
            )
        if self.recurrence:
            raise ValueError("recurrence: needs use_cross_attn (the standard MAE decoder reads tokens)")
        if self.cross_modal_attention != "none":
            raise ValueError(
                "cross_modal_attention: needs use_cross_attn (the standard MAE decoder reads its own modality)"
            )
        if self.causal:
            raise ValueError("causal: needs use_cross_attn (the standard MAE decoder looks both ways)")

    def depth(self, kind: Kind) -> int:
        """Return the number of encoder layers of a kind."""
        if kind == "grid":
            return self.grid_layers
        return self.recurrence.blocks if self.recurrence else self.series_layers

    @property
    def past_days(self) -> int:
        """Days before a window that have a part in what is known on its first day."""
        averages = self.antecedent_state.past_days if self.antecedent_state else 0
        return max(averages, self.recurrence.warmup_days if self.recurrence else 0)

    def map_layers(self, kind: Kind) -> tuple[int, ...]:
        """Return the encoder layers whose outputs are handed over (``use_input`` adds one before them)."""
        depth = self.depth(kind)
        if not self.use_weighted_fm:
            return (depth - 1,)
        layers = self.use_fm_layers
        if not isinstance(layers, LayersByKind):
            # A plain list is meant for the (deeper) grid encoders, as in the method's own experiments.
            layers = LayersByKind(grid=layers)
        chosen = layers.grid if kind == "grid" else layers.series
        return tuple(range(depth)) if chosen is None else chosen


@dataclass(frozen=True)
class ModalityConfig:
    """One modality: its kind, the share of its observed tokens that is masked, the weight of its loss."""

    kind: Kind
    mask_ratio: float = 0.75
    loss_weight: float = 1.0
    non_negative: bool = False
    """Predictions pass through a softplus, as those of a quantity that is never negative."""
    feeds_catchments: bool = True
    """With cross-modal attention, catchments see this grid on the patches that they overlap."""
    dropout: float = 0.0
    """Share of the training windows of a catchment (of a grid: of all) in which it is absent."""


@dataclass(frozen=True)
class GridConfig:
    """The grid that all grid modalities share, in whole patches."""

    shape: tuple[int, int]
    """Cells along y and x."""
    patch_size: tuple[int, int]
    """Cells of a patch along y and x."""
    land_patches: tuple[int, ...]
    """Row-major indices of the patches that are encoded and decoded, ascending."""

    def __post_init__(self) -> None:
        for cells, patch, axis in zip(self.shape, self.patch_size, "yx", strict=True):
            if cells % patch:
                raise ValueError(f"patch_size: {patch} cells along {axis} do not divide the grid's {cells}")
        if not self.land_patches:
            raise ValueError("land_patches: the grid has no land patch")
        if list(self.land_patches) != sorted(set(self.land_patches)) or self.land_patches[-1] >= self.patches:
            raise ValueError(f"land_patches: must ascend and stay below {self.patches}")

    @property
    def patches(self) -> int:
        """Number of patches, land or not."""
        return (self.shape[0] // self.patch_size[0]) * (self.shape[1] // self.patch_size[1])

    @property
    def values(self) -> int:
        """Number of cells in a patch."""
        return self.patch_size[0] * self.patch_size[1]


@dataclass(frozen=True)
class MAEConfig(Structure):
    """All that a `multimodal_mae.mae.MultiModalMAE` is built from: a structure, and what it is built for."""

    modalities: Mapping[str, ModalityConfig] = field(kw_only=True)
    """By name, in their order."""
    grid: GridConfig | None = None
    """Required if any modality is a grid."""
    attributes: int = 0
    """Number of static attributes of a catchment; required if any modality is a series."""
    attribute_flags: bool = False
    """Beside each attribute the model reads whether it is known: for a model that is trained with missing ones."""

    @classmethod
    def of(
        cls,
        structure: Structure,
        modalities: Mapping[str, ModalityConfig],
        grid: GridConfig | None = None,
        attributes: int = 0,
        attribute_flags: bool = False,
    ) -> MAEConfig:
        """Return the configuration of a model of some structure."""
        settings: dict[str, Any] = {setting.name: getattr(structure, setting.name) for setting in fields(Structure)}
        return cls(**settings, modalities=modalities, grid=grid, attributes=attributes, attribute_flags=attribute_flags)

    def __post_init__(self) -> None:
        super().__post_init__()
        kinds = {modality.kind for modality in self.modalities.values()}
        if not kinds:
            raise ValueError("modalities: there is none")
        if "grid" in kinds and self.grid is None:
            raise ValueError("grid: grid modalities need the grid's shape")
        if "series" in kinds and self.attributes < 1:
            raise ValueError("attributes: series modalities need at least one static attribute")
        for name, modality in self.modalities.items():
            if self.kept_mask_ratio is not None and self.kept_mask_ratio > modality.mask_ratio:
                raise ValueError(f"kept_mask_ratio: {self.kept_mask_ratio} exceeds the mask_ratio of '{name}'")
        for kind in sorted(kinds):
            self._check_layers(kind)

    def _check_layers(self, kind: Kind) -> None:
        chosen, depth = self.map_layers(kind), self.depth(kind)
        if not chosen or min(chosen) < 0 or max(chosen) >= depth or len(set(chosen)) < len(chosen):
            raise ValueError(f"use_fm_layers: {list(chosen)} must be distinct layers 0 to {depth - 1} ({kind})")
        if max(chosen) != depth - 1:
            raise ValueError(
                f"use_fm_layers: must include the last {kind} layer {depth - 1}, otherwise it learns nothing"
            )

    @property
    def attribute_inputs(self) -> int:
        """Numbers that the model reads of a catchment's attributes."""
        return self.attributes * (2 if self.attribute_flags else 1)

    def read_by(self, name: str) -> list[str]:
        """Return the modalities that a modality is predicted from: itself, and with cross-modal attention others.

        A catchment sees all series and the grids that are ``feeds_catchments``, a grid sees all grids. A recurrence
        always reads all that a catchment may see.
        """
        series = self.modalities[name].kind == "series"
        if self.cross_modal_attention == "none" and not (series and self.recurrence):
            return [name]
        return [
            other
            for other, modality in self.modalities.items()
            if (modality.kind == "series" or modality.feeds_catchments if series else modality.kind == "grid")
        ]

    def attended_by(self, name: str) -> list[str]:
        """Return the modalities whose encoder tokens a modality's decoder reads.

        A series that a recurrence encodes has them in its state: of grids it reads areal means, not tokens.
        """
        if self.recurrence and self.modalities[name].kind == "series":
            return [name]
        return self.read_by(name)

    def reads_others(self, name: str) -> bool:
        """Return whether a modality is predicted from others too: without, one that is hidden wholly is unknown."""
        return len(self.read_by(name)) > 1

    def of_kind(self, kind: Kind) -> list[str]:
        """Return the names of the modalities of one kind."""
        return [name for name, modality in self.modalities.items() if modality.kind == kind]
