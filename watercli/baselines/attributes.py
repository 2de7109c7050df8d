"""Static attributes as methods without a model read them; shapes: N rows, A attributes, F of them with gaps."""

from __future__ import annotations

import torch
from torch import Tensor


def with_flags(attributes: Tensor, gappy: Tensor) -> Tensor:
    """Return ``[N, A + F]`` of standardised attributes ``[N, A]``, NaN where missing.

    A missing one is 0, the mean of all. One of ``gappy`` ``[A]`` has a flag beside it, 1 where it is known.
    """
    known = torch.isfinite(attributes)
    return torch.cat((attributes.nan_to_num(0.0), known[:, gappy].to(attributes.dtype)), dim=1)


def filled(attributes: Tensor) -> Tensor:
    """Return all rows as `with_flags` does, with a flag for each attribute that some row lacks."""
    return with_flags(attributes, torch.isnan(attributes).any(0))
