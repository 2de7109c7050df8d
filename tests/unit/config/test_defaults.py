"""What a configuration leaves out becomes what serves river flow, by its modalities and by the store."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from watercli.config import Config, abilities, difference, find, load, parse, with_overrides
from watercli.errors import ConfigError
from watercli.training.size import sized_for

SAID = ("window_days", "model", "train", "evaluate", "embed")


def bare(name: str, **modalities: dict[str, Any]) -> dict[str, Any]:
    """Return a shipped configuration without windows, model, training, losses and what follows training."""
    raw: dict[str, Any] = yaml.safe_load(find(name).read_text(encoding="utf-8"))
    kept = {key: value for key, value in raw.items() if key not in SAID}
    for modality in kept["modalities"].values():
        for setting in ("loss", "loss_weight"):
            modality.pop(setting, None)
    kept["modalities"] |= modalities
    return kept


def config(raw: dict[str, Any]) -> Config:
    return parse(yaml.safe_dump(raw, sort_keys=False), origin="here", given=True)


def changed(first: Config, second: Config) -> set[str]:
    """Return the settings that differ, but for those of the evaluation and the intervals of validation."""
    lines = difference(first.model_dump(mode="json"), second.model_dump(mode="json"))
    return {line.split(":")[0] for line in lines if not line.startswith(("evaluate", "embed.stride"))}


def test_gb12_has_the_defaults_of_a_store_with_grids() -> None:
    sized = sized_for(load("gb12"), gauges=64, days=4383)
    assert changed(sized, sized_for(config(bare("gb12")), gauges=64, days=4383)) == set()
    assert not sized.sizes_left_out
    model, train = sized.model, sized.train
    assert model.recurrence is not None
    assert model.antecedent_state is not None
    assert (model.width, model.grid_layers, sized.window_days, sized.grid_window_days) == (64, 3, 365, 15)
    assert (train.steps, train.batch_size, train.catchments_per_window) == (2900, 4, 4)


def test_series_of_a_store_with_grids_may_be_left_to_transformers() -> None:
    for model in ({"recurrence": None}, {"cross_modal_attention": "decoder"}):
        chosen = sized_for(config(bare("gb12") | {"model": model}), gauges=64, days=4383)
        assert chosen.model.recurrence is None
        assert (chosen.window_days, chosen.grid_window_days, chosen.train.steps) == (15, None, 3000)


def test_a_store_of_hundreds_of_gauges_has_the_sizes_of_the_shipped_runs() -> None:
    for name, gauges, days in (("gb-wide", 536, 14976), ("gb-wide", 482, 14976), ("camels-us", 531, 3653)):
        sized = sized_for(load(name), gauges, days)
        model, train = sized.model, sized.train
        assert (model.width, model.decoder_width, model.heads, model.decoder_layers) == (128, 128, 8, 1)
        assert model.recurrence is not None
        assert model.causal
        assert (train.steps, train.batch_size, train.catchments_per_window) == (5000, 16, 1)
        assert (train.validate_every, train.checkpoint_every) == (1000, 1000)
        assert sized.window_days == 365
        assert {modality.loss_weight for modality in sized.modalities.values()} == {0.2, 1.0}
        assert sized.modalities["riverflow"].loss == "basin_averaged_nse"


def test_few_gauges_make_a_shorter_training() -> None:
    raw = bare("gb12")
    del raw["modalities"]["precip"]
    sized = sized_for(config(raw), gauges=10, days=4383)
    assert sized.train.steps == 1000
    assert sized.train.validate_every == 200
    with_grid = sized_for(config(bare("gb12")), gauges=3, days=4383)
    assert with_grid.train.catchments_per_window == 3


def test_what_is_given_stays() -> None:
    raw = bare("gb-wide") | {"train": {"steps": 70, "tasks": {}}, "model": {"antecedent_state": {}}}
    sized = sized_for(config(raw), gauges=500, days=9999)
    assert sized.train.steps == 70
    assert sized.train.validate_every == 14
    assert sized.train.tasks.targeted == 0
    assert sized.model.recurrence is None


def test_sizes_that_are_left_out_stay_so_in_a_store() -> None:
    kept = with_overrides(config(bare("gb-wide")), ["train.steps=70"])
    again = parse(kept.to_yaml(), origin="a store")
    assert again == kept
    assert "train.steps" not in again.sizes_left_out
    assert "model.width" in again.sizes_left_out


FLOW = {"kind": "series", "units": "mm/day"}


@pytest.mark.parametrize(
    ("named", "modality", "target"),
    [
        ("runoff_observed", FLOW, "runoff_observed"),
        ("Q", {"kind": "series", "units": "m3/s"}, "Q"),
        ("q", {"kind": "series", "units": "kg/kg"}, None),
        ("riverflow", {"kind": "grid", "units": "mm/day"}, None),
        ("stage", {"kind": "series", "units": "m"}, None),
    ],
)
def test_river_flow_is_recognised(named: str, modality: dict[str, str], target: str | None) -> None:
    raw = bare("gb-wide", **{named: modality})
    if named != "riverflow":
        del raw["modalities"]["riverflow"]
    made = config(raw)
    assert made.target == target
    if target is None:
        assert made.train.tasks.targeted == 0
        assert "name one by the setting target" in " ".join(abilities(made))
    else:
        assert made.train.tasks.targets == made.embed.excluded_inputs == (target,)
        assert made.evaluate.target == target
        assert made.modalities[target].loss == "basin_averaged_nse"
        assert made.modalities["precipitation"].loss_weight == 0.2


def test_of_two_flows_one_is_named() -> None:
    raw = bare("gb-wide", upstream_flow=FLOW, downstream_flow=FLOW)
    del raw["modalities"]["riverflow"]
    assert "several series may be river flow (upstream_flow, downstream_flow)" in " ".join(abilities(config(raw)))
    named = config(raw | {"target": "downstream_flow"})
    assert named.train.tasks.targets == ("downstream_flow",)
    assert abilities(named)[0].endswith("will simulate 'downstream_flow', forecast 'downstream_flow', embed catchments")
    with pytest.raises(ConfigError, match="target names 'downstream', which is no series; did you mean"):
        config(raw | {"target": "downstream"})


def test_a_window_fits_into_every_period() -> None:
    raw = bare("gb-wide")
    raw["recipe"]["splits"]["validation"] = {"start": "2012-10-01", "end": "2012-12-31"}
    assert config(raw).window_days == 92


def test_a_store_of_grids_alone_is_embedded_nowhere() -> None:
    raw = bare("gb12")
    raw["modalities"] = {"precip": raw["modalities"]["precip"]}
    del raw["recipe"]["catchments"]
    assert abilities(config(raw)) == [
        "A run of 'gb12' will reconstruct hidden values",
        "It will not simulate or forecast or embed: there are no catchments; add recipe.catchments and series",
    ]


def test_one_catchment_is_said() -> None:
    assert "no interval" in abilities(load("gb-wide"), gauges=1)[-1]
