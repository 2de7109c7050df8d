"""Static attributes as encoders read them: a missing one is zero, and said to be missing.

Shapes: B windows, C catchments in each, R rows (B * C), A attributes, I numbers that are read of them (A or 2 A).
"""

from __future__ import annotations

import torch
from torch import Tensor

from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig


def read_attributes(batch: Batch, config: MAEConfig) -> Tensor:
    """Return what is read of the attributes, ``[R, I]``: their values, and with ``attribute_flags`` 1 where known.

    Standardised values have a mean of zero, which so stands for a missing one.

    Raises
    ------
    ValueError
        If one is missing, and the model has no flags to know it by.
    """
    static = batch.static.flatten(0, 1)
    known = torch.isfinite(static)
    if config.attribute_flags:
        return torch.cat((static.nan_to_num(0.0), known.to(static.dtype)), dim=-1)
    if not bool(known.all()):
        raise ValueError("static: has missing values, which a model without attribute_flags cannot read")
    return static
