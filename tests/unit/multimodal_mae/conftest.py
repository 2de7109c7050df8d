"""Small and report-sized models and batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.config import GridConfig, MAEConfig, ModalityConfig
from multimodal_mae.layers import patchify
from multimodal_mae.mae import MultiModalMAE
from multimodal_mae.masking import TokenMask
from multimodal_mae.tasks import Task, WindowTasks, draw_noise, mask_windows

SMALL = MAEConfig(
    modalities={
        "rain": ModalityConfig("grid"),
        "warmth": ModalityConfig("grid"),
        "flow": ModalityConfig("series"),
        "loss": ModalityConfig("series"),
    },
    grid=GridConfig((6, 8), (3, 4), (0, 1, 3)),
    attributes=3,
    width=16,
    decoder_width=8,
    heads=2,
    dropout=0.0,
    grid_layers=3,
    series_layers=2,
    decoder_layers=2,
)


def make_batch(
    config: MAEConfig, *, windows: int = 2, catchments: int = 3, days: int = 6, missing: float = 0.0
) -> Batch:
    """Return a random batch; a share of the values of each modality is missing."""
    generator = torch.Generator().manual_seed(1)

    def holed(*shape: int) -> torch.Tensor:
        values = torch.randn(shape, generator=generator)
        return values.masked_fill(torch.rand(shape, generator=generator) < missing, torch.nan)

    grids = {}
    cells = {}
    for name in config.of_kind("grid"):
        assert config.grid is not None
        y, x = config.grid.shape
        day_gone = torch.rand((windows, days, 1, 1), generator=generator) < missing
        fields = holed(windows, days, y, x).masked_fill(day_gone, torch.nan)
        grids[name] = patchify(fields, config.grid.patch_size)[:, :, list(config.grid.land_patches)]
        cells[name] = torch.ones(grids[name].shape[2:], dtype=torch.bool)
    series = {name: holed(windows, catchments, days) for name in config.of_kind("series")}
    return Batch(grids, cells, series, torch.randn(windows, catchments, config.attributes, generator=generator))


def make_masks(batch: Batch, config: MAEConfig, seed: int = 0) -> dict[str, TokenMask]:
    noise = draw_noise(
        config,
        windows=batch.windows,
        catchments=batch.static.shape[1],
        days=batch.days,
        generator=torch.Generator().manual_seed(seed),
    )
    return mask_windows(batch, config, WindowTasks.same(Task.RANDOM_MASKING, batch.windows), noise)


def make_model(config: MAEConfig, seed: int = 0) -> MultiModalMAE:
    """Return a model in inference mode whose FiLM layers are no identity."""
    torch.manual_seed(seed)
    model = MultiModalMAE(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "film" in name:
                parameter.normal_(std=0.2)
    return model.eval()


@pytest.fixture
def small() -> MAEConfig:
    return SMALL


@pytest.fixture(params=["crossmae", "wfm", "standard", "selected", "input", "self-attention"])
def variant(request: pytest.FixtureRequest) -> MAEConfig:
    return {
        "crossmae": replace(SMALL, use_weighted_fm=False),
        "wfm": SMALL,
        "standard": replace(SMALL, use_weighted_fm=False, use_cross_attn=False),
        "selected": replace(SMALL, use_fm_layers=(0, 2)),
        "input": replace(SMALL, use_input=True),
        "self-attention": replace(SMALL, decoder_self_attn=True),
    }[request.param]
