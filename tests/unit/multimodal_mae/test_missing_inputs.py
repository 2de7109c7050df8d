"""Missing attributes and absent modalities: states that a model is trained with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from multimodal_mae.attributes import read_attributes
from multimodal_mae.batch import Batch
from multimodal_mae.config import MAEConfig, ModalityConfig, RecurrenceConfig
from multimodal_mae.mae import MultiModalMAE
from multimodal_mae.masking import TokenMask
from multimodal_mae.tasks import Task, WindowTasks, draw_absent, draw_missing_attributes, draw_noise, mask_windows

from tests.unit.multimodal_mae.conftest import SMALL, make_batch, make_model

FLOW = 2
"""Position of the series ``flow``."""


def optional(dropout: float = 0.5) -> MAEConfig:
    """Return a causal model with a recurrence, whose series ``loss`` may be absent."""
    recurrence = RecurrenceConfig(warmup_days=4)
    modalities = {
        name: replace(modality, feeds_catchments=modality.kind == "series")
        for name, modality in SMALL.modalities.items()
    } | {"loss": ModalityConfig("series", dropout=dropout)}
    return replace(SMALL, modalities=modalities, recurrence=recurrence, causal=True, attribute_flags=True)


def simulated(config: MAEConfig, batch: Batch, absent: dict[str, torch.Tensor] | None = None) -> dict[str, TokenMask]:
    tasks = WindowTasks.same(Task.SIMULATION, batch.windows, target=FLOW)
    return mask_windows(batch, config, tasks, absent=absent)


def with_history(batch: Batch) -> Batch:
    generator = torch.Generator().manual_seed(5)
    history = {name: torch.randn(*values.shape[:2], 4, generator=generator) for name, values in batch.series.items()}
    return replace(batch, history=history)


@torch.no_grad()
def test_an_absent_series_is_one_without_values() -> None:
    """Values, past and all: where it is absent, what it holds changes nothing, and it is no target."""
    config = optional()
    model = make_model(config)
    batch = with_history(make_batch(config))
    absent = {"loss": torch.tensor([[True, False, True], [False, False, True]])}

    def predict(batch: Batch, absent: dict[str, torch.Tensor] | None) -> torch.Tensor:
        masks = simulated(config, batch, absent)
        values: torch.Tensor = model(batch, masks, names=("flow",)).predictions["flow"].values
        return values.unflatten(0, (2, 3))

    gone = absent["loss"][..., None]
    without = replace(
        batch,
        series=batch.series | {"loss": batch.series["loss"].masked_fill(gone, torch.nan)},
        history=batch.history | {"loss": batch.history["loss"].masked_fill(gone, torch.nan)},
    )
    torch.testing.assert_close(predict(batch, absent), predict(without, None))
    shown, dropped = predict(batch, None), predict(batch, absent)
    assert not torch.allclose(shown[absent["loss"]], dropped[absent["loss"]])
    torch.testing.assert_close(shown[~absent["loss"]], dropped[~absent["loss"]])
    noise = draw_noise(config, windows=2, catchments=3, days=6, generator=torch.Generator().manual_seed(0))
    masks = mask_windows(batch, config, WindowTasks.same(Task.RANDOM_MASKING, 2), noise, absent)
    has_target = masks["loss"].target.any(1).unflatten(0, (2, 3))
    assert (has_target == ~absent["loss"]).all()


def test_what_a_window_predicts_is_never_absent() -> None:
    config, batch = optional(), make_batch(SMALL)
    everywhere = {"flow": torch.ones(2, 3, dtype=torch.bool), "rain": torch.tensor([True, False])}
    masks = mask_windows(batch, config, WindowTasks.same(Task.FORECAST, 2, target=FLOW, lead_time=2), absent=everywhere)
    assert masks["flow"].target.sum() == 2 * 3 * 2
    assert masks["flow"].visible.sum() == 2 * 3 * 4
    assert masks["rain"].visible.any(1).tolist() == [False, True]
    assert masks["rain"].past is not None
    assert masks["rain"].past.tolist() == [False, True]


def test_draws() -> None:
    """Each series for each catchment, by its own probability; without one no number is drawn."""
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    assert draw_absent(SMALL, windows=4, catchments=2, generator=generator) == {}
    assert torch.equal(generator.get_state(), before)
    drawn = draw_absent(optional(0.3), windows=400, catchments=5, generator=generator)
    assert list(drawn) == ["loss"]
    assert drawn["loss"].float().mean().item() == pytest.approx(0.3, abs=0.04)
    missing = draw_missing_attributes((500, 2, 8), 0.2, generator)
    all_at_once = missing.all(-1).float().mean().item()
    assert all_at_once == pytest.approx(0.2, abs=0.05)
    assert missing.float().mean().item() == pytest.approx(1 - 0.8**2, abs=0.05)


def test_attributes_of_one_table_are_missing_together() -> None:
    sets = torch.tensor([[False, True, True, True, False, False], [False, False, False, False, True, True]])
    generator = torch.Generator().manual_seed(0)
    missing = draw_missing_attributes((2000, 2, 6), 0.1, generator, sets)
    table = missing[..., 1:4].all(-1)
    # Its own draw, that of every table and that of all attributes: 1 - 0.9 ** 3. By itself each is rarely missing.
    assert 0.25 < table.float().mean() < 0.30
    tables = missing[..., 1:].all(-1) & ~missing[..., 0]
    assert 0.07 < tables.float().mean() < 0.12
    assert 0.17 < missing[..., 0].float().mean() < 0.21
    plain = draw_missing_attributes((2000, 2, 6), 0.1, torch.Generator().manual_seed(0))
    assert not (plain & ~missing).any()


@torch.no_grad()
@pytest.mark.parametrize("config", [optional(), replace(SMALL, attribute_flags=True)], ids=["recurrence", "encoder"])
def test_a_missing_attribute_is_not_the_mean(config: MAEConfig) -> None:
    """It is read as zero, the mean, and said to be missing, by every encoder of series."""
    model, batch = make_model(config), make_batch(config)
    means = batch.static.clone()
    means[0, 1, 2] = 0.0
    gap = means.clone()
    gap[0, 1, 2] = torch.nan
    read = read_attributes(replace(batch, static=gap), config)
    torch.testing.assert_close(read[:, :3], means.flatten(0, 1))
    assert (read[:, 3:] == 0).nonzero().tolist() == [[1, 2]]
    with_mean, with_gap = (
        model(replace(batch, static=static), simulated(config, batch), names=("flow",)).predictions["flow"].values
        for static in (means, gap)
    )
    rows = torch.arange(len(with_gap)) == 1
    assert not torch.allclose(with_mean[rows], with_gap[rows])
    torch.testing.assert_close(with_mean[~rows], with_gap[~rows])


def test_a_model_without_flags_refuses_gaps() -> None:
    batch = make_batch(SMALL)
    gap = replace(batch, static=batch.static.masked_fill(batch.static > 0, torch.nan))
    with pytest.raises(ValueError, match="without attribute_flags"):
        read_attributes(gap, SMALL)


def test_flags_cost_one_column_each() -> None:
    flagged, plain = (
        sum(parameter.numel() for parameter in MultiModalMAE(config).parameters())
        for config in (optional(), replace(optional(), attribute_flags=False))
    )
    assert flagged - plain == SMALL.attributes * SMALL.width
