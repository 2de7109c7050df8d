"""The model's structure as frozen dataclasses; a wrong value raises ``ValueError`` that names the setting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["grid", "series"]
CrossModalAttention = Literal["none", "decoder", "joint"]


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


@dataclass(frozen=True)
class AntecedentStateConfig:
    """What a model remembers of the days before a token; see `multimodal_mae.antecedent_state`."""

    time_constants: tuple[float, ...] = tuple(float(2**k) for k in range(10))
    """Days after which a value has faded to 1/e, one for each moving average."""
    recent_days: int = 7
    """Latest days that are kept one by one, the token's own included."""
    width: int = 256
    """Width of the network that reads the states."""

    def __post_init__(self) -> None:
        if not self.time_constants or min(self.time_constants) <= 0:
            raise ValueError("antecedent_state.time_constants: must be positive, at least one")
        if self.recent_days < 1:
            raise ValueError("antecedent_state.recent_days: must be at least 1, the day itself")

    @property
    def past_days(self) -> int:
        """Days before a window that are worth reading: what is older weighs less than 2 % in the slowest average."""
        return max(math.ceil(4 * max(self.time_constants)), self.recent_days - 1)


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
class MAEConfig:
    """Structure of a `multimodal_mae.mae.MultiModalMAE`."""

    modalities: Mapping[str, ModalityConfig]
    grid: GridConfig | None = None
    """Required if any modality is a grid."""
    attributes: int = 0
    """Number of static attributes of a catchment; required if any modality is a series."""
    width: int = 256
    decoder_width: int = 128
    heads: int = 8
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    """On MLPs and projections; none inside attention, which would force its slow path."""
    grid_layers: int = 6
    grid_attention_scope: Literal["window", "same_day"] = "window"
    """Which patches attend to each other: those of the whole window, or of one day (cost linear in the days)."""
    grid_cross_attention_scope: Literal["window", "same_day"] = "window"
    """Which visible patches a masked one is predicted from: those of the whole window, or of its day. With both this
    and ``grid_attention_scope`` by day, a grid's cost is linear in the days."""
    series_layers: int = 4
    decoder_layers: int = 4
    use_cross_attn: bool = True
    """True: CrossMAE decoder; False: standard MAE decoder."""
    use_weighted_fm: bool = True
    fm_layers: Mapping[Kind, tuple[int, ...] | None] | None = None
    """Encoder layers that feed the weighted feature maps, by kind; None means all."""
    use_input: bool = False
    """The embedded input is one more feature map, the first."""
    decoder_self_attn: bool = False
    """CrossMAE decoder only: queries also attend to each other."""
    kept_mask_ratio: float | None = None
    """Share of the observed tokens that is decoded and scored; None means every masked one."""

    cross_modal_attention: CrossModalAttention = "none"
    """none: a modality is predicted from itself; decoder: its decoder also attends to other modalities' encoder tokens;
    joint: these tokens first go through transformer layers together."""
    joint_layers: int = 2
    """Transformer layers of joint cross-modal attention."""
    antecedent_state: AntecedentStateConfig | None = None
    """What tokens know of the days before them, beyond the window; None: nothing."""
    causal: bool = False
    """A token sees no later day: neither its features nor its prediction change with what comes after."""

    def __post_init__(self) -> None:
        kinds = {modality.kind for modality in self.modalities.values()}
        if not kinds:
            raise ValueError("modalities: there is none")
        if "grid" in kinds and self.grid is None:
            raise ValueError("grid: grid modalities need the grid's shape")
        if "series" in kinds and self.attributes < 1:
            raise ValueError("attributes: series modalities need at least one static attribute")
        for setting in ("width", "decoder_width"):
            if getattr(self, setting) % self.heads:
                raise ValueError(f"{setting}: {getattr(self, setting)} is no multiple of heads ({self.heads})")
            if getattr(self, setting) % 2:
                raise ValueError(f"{setting}: must be even for the sine-cosine positions")
        if self.use_weighted_fm and not self.use_cross_attn:
            raise ValueError("use_weighted_fm: needs use_cross_attn (the standard MAE decoder reads one map only)")
        if self.decoder_self_attn and not self.use_cross_attn:
            raise ValueError("decoder_self_attn: the standard MAE decoder has it anyway; set it to false")
        if self.grid_cross_attention_scope == "same_day" and not self.use_cross_attn:
            raise ValueError(
                "grid_cross_attention_scope: same_day needs use_cross_attn (the standard MAE decoder reads the window)"
            )
        if self.cross_modal_attention != "none" and not self.use_cross_attn:
            raise ValueError(
                "cross_modal_attention: needs use_cross_attn (the standard MAE decoder reads its own modality)"
            )
        if self.causal and not self.use_cross_attn:
            raise ValueError("causal: needs use_cross_attn (the standard MAE decoder looks both ways)")
        if not self.use_weighted_fm and (self.use_input or self.fm_layers is not None):
            raise ValueError("use_input and use_fm_layers: choose layers for use_weighted_fm, which is off")
        for name, modality in self.modalities.items():
            if self.kept_mask_ratio is not None and self.kept_mask_ratio > modality.mask_ratio:
                raise ValueError(f"kept_mask_ratio: {self.kept_mask_ratio} exceeds the mask_ratio of '{name}'")
        for kind in kinds:
            self._check_layers(kind)

    def _check_layers(self, kind: Kind) -> None:
        chosen, depth = self.map_layers(kind), self.depth(kind)
        if not chosen or min(chosen) < 0 or max(chosen) >= depth or len(set(chosen)) < len(chosen):
            raise ValueError(f"use_fm_layers: {list(chosen)} must be distinct layers 0 to {depth - 1} ({kind})")
        if max(chosen) != depth - 1:
            raise ValueError(
                f"use_fm_layers: must include the last {kind} layer {depth - 1}, otherwise it learns nothing"
            )

    def depth(self, kind: Kind) -> int:
        """Return the number of encoder layers of a kind."""
        return self.grid_layers if kind == "grid" else self.series_layers

    def map_layers(self, kind: Kind) -> tuple[int, ...]:
        """Return the encoder layers whose outputs are handed over (``use_input`` adds one before them)."""
        depth = self.depth(kind)
        if not self.use_weighted_fm:
            return (depth - 1,)
        chosen = (self.fm_layers or {}).get(kind)
        return tuple(range(depth)) if chosen is None else chosen

    def read_by(self, name: str) -> list[str]:
        """Return the modalities that a modality is predicted from: itself, and with cross-modal attention others.

        A catchment sees all series and the grids that are ``feeds_catchments``, a grid sees all grids.
        """
        if self.cross_modal_attention == "none":
            return [name]
        series = self.modalities[name].kind == "series"
        return [
            other
            for other, modality in self.modalities.items()
            if (modality.kind == "series" or modality.feeds_catchments if series else modality.kind == "grid")
        ]

    def of_kind(self, kind: Kind) -> list[str]:
        """Return the names of the modalities of one kind."""
        return [name for name, modality in self.modalities.items() if modality.kind == kind]
