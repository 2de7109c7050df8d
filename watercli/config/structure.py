"""The domain's size; the structure of the model is `multimodal_mae.config.Structure`."""

from __future__ import annotations

from watercli.config.base import Positive, Section


class Shape(Section):
    """The domain's size, for ``inspect`` of a configuration without a store."""

    grid: tuple[Positive, Positive]
    """Cells along y and x."""
    patch_size: tuple[Positive, Positive] = (10, 10)
    """Cells of a patch along y and x."""
    land_patches: Positive
    """Number of patches that are land."""
    attributes: Positive
    """Number of static attributes."""
