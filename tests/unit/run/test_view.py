"""A store of other names, units and attributes, as a model reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import watercli as wc
from tests.conftest import TINY
from watercli.config import Attribute, Config, load, parse, with_overrides
from watercli.errors import ConfigError
from watercli.preparation.prepare import prepare
from watercli.run import directory
from watercli.run.checkpoint import Checkpoint
from watercli.run.view import View, as_read_by
from watercli.store import Store

NAMES = {"rain": "precip", "wetness": "soil", "tas": "temp", "pet": "evap", "discharge": "riverflow"}
UNITS = {"rain": "cm/day", "tas": "K", "pet": "kg m-2 s-1"}


@pytest.fixture(scope="module")
def foreign_store(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The tiny domain under other names, in other units, with attributes in another order."""
    own = load("demo", TINY)
    modalities = {
        name: own.modalities[known].model_copy(update={"units": UNITS.get(name, own.modalities[known].units)})
        for name, known in NAMES.items()
    }
    config = own.model_copy(update={"modalities": modalities})
    assert own.recipe is not None
    assert own.recipe.catchments is not None
    attributes = dict(reversed(own.recipe.catchments.attributes.items()))
    attributes["basin_area"] = attributes.pop("area")
    catchments = own.recipe.catchments.model_copy(update={"attributes": attributes})
    config = config.model_copy(update={"recipe": own.recipe.model_copy(update={"catchments": catchments})})
    store = prepare(_targets(config), tmp_path_factory.mktemp("foreign") / "foreign.zarr", data=None)
    return _with_discharge(store)


def _with_discharge(store: Store) -> Store:
    """Return the store with discharge in m3/s in place of runoff depth."""
    depth, area = store.dataset["discharge"], store.dataset["area"].values[:, None]
    modalities = dict(store.config.modalities)
    modalities["discharge"] = modalities["discharge"].model_copy(update={"units": "m3/s"})
    config = store.config.model_copy(update={"modalities": modalities})
    return replace(store, dataset=store.dataset.assign(discharge=depth * area / 86.4), config=config)


def _targets(config: Config) -> Config:
    return parse(config.to_yaml(), origin="test", overrides=["target=discharge", "evaluate.target=discharge"])


@pytest.fixture(scope="module")
def recurrent(recurrent_run: Path) -> Checkpoint:
    return directory.open_run(recurrent_run)


def test_the_own_store_is_read_as_it_is(recurrent: Checkpoint, tiny_store: Store) -> None:
    assert as_read_by(recurrent, tiny_store) is tiny_store


def test_other_names_and_units_simulate_the_same(recurrent_run: Path, tiny_store: Store, foreign_store: Store) -> None:
    days = {"since": "2002-01-01", "until": "2002-03-31"}
    own = wc.open_run(recurrent_run).simulate(tiny_store, **days)  # type: ignore[arg-type]
    foreign = wc.open_run(recurrent_run).simulate(foreign_store, **days)  # type: ignore[arg-type]
    np.testing.assert_allclose(foreign["riverflow"].values, own["riverflow"].values, rtol=1e-3)
    assert foreign["riverflow"].attrs["units"] == "mm/day"
    np.testing.assert_array_equal(foreign["input_available"].values, own["input_available"].values)
    assert foreign["attribute"].values.tolist() == own["attribute"].values.tolist()


def test_the_observed_flow_is_converted_by_area(recurrent: Checkpoint, tiny_store: Store, foreign_store: Store) -> None:
    view = as_read_by(recurrent, foreign_store, {"soil": "wetness"})
    np.testing.assert_allclose(
        view.dataset["riverflow"].values, tiny_store.dataset["riverflow"].values, rtol=1e-4, atol=1e-6
    )
    for name in ("evap", "riverflow"):
        assert view.statistics(name, "log1p") == pytest.approx(tiny_store.statistics(name, "log1p"), rel=1e-3)
    static = view.dataset["static"]
    assert view.attribute_names == tiny_store.attribute_names
    np.testing.assert_array_equal(static.values, tiny_store.dataset["static"].values)
    assert as_read_by(recurrent, view, {"soil": "wetness"}) is view


def test_embeddings_are_the_same(recurrent_run: Path, tiny_store: Store, foreign_store: Store) -> None:
    own = wc.open_run(recurrent_run).embed(tiny_store, since="2002-03-30")
    foreign = wc.open_run(recurrent_run, names={"soil": "wetness"}).embed(foreign_store, since="2002-03-30")
    np.testing.assert_allclose(foreign["embedding"].values, own["embedding"].values, rtol=1e-2, atol=1e-3)


def test_two_variables_of_one_quantity_are_not_guessed(
    recurrent: Checkpoint, foreign_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    again = {**foreign_store.config.modalities, "rainfall": foreign_store.config.modalities["rain"]}
    dataset = foreign_store.dataset.assign(rainfall=foreign_store.dataset["rain"])
    config = foreign_store.config.model_copy(update={"modalities": again})
    both = replace(foreign_store, dataset=dataset, config=config)
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("INFO", "watercli"):
        patch.setattr("watercli.log.log.propagate", True)
        view = as_read_by(recurrent, both)
    assert "precip" not in view.config.modalities
    assert "rain or rainfall? --map precip=NAME" in caplog.text
    assert "precip" in as_read_by(recurrent, both, {"precip": "rain"}).config.modalities


def test_names_the_other_way_round(recurrent: Checkpoint, foreign_store: Store) -> None:
    view = as_read_by(recurrent, foreign_store, {"wetness": "soil"})
    assert "soil" in view.config.modalities


def test_what_is_not_named_and_not_known_is_missing(
    recurrent_run: Path, foreign_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    modalities = {name: item for name, item in foreign_store.config.modalities.items() if name != "wetness"}
    fewer = replace(foreign_store, config=foreign_store.config.model_copy(update={"modalities": modalities}))
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("INFO", "watercli"):
        patch.setattr("watercli.log.log.propagate", True)
        run = wc.open_run(recurrent_run)
        with pytest.raises(ConfigError, match=r"'soil' \(grid, 1\) is absent in .*foreign.zarr; .* --map soil=NAME"):
            run.simulate(fewer)
    lines = [[cell.strip() for cell in line.split("│")] for line in caplog.text.splitlines() if "│" in line]
    rows = {name: (read_from, remark) for _, name, read_from, _, _, remark, _ in lines}
    assert rows["soil"][0] == "missing"
    assert rows["precip"][0] == "rain, cm/day to mm/day (both are precipitation)"
    assert rows["area"][0] == "basin_area (from the same column)"


def test_a_place_stands_for_an_attribute(recurrent: Checkpoint, tiny_store: Store) -> None:
    dataset = tiny_store.dataset.isel(attribute=slice(1, None))
    fewer = replace(tiny_store, dataset=dataset.assign_attrs(fingerprint="fewer"))
    view = as_read_by(recurrent, fewer)
    assert isinstance(view, View)
    # The gauges' latitude stands for it.
    np.testing.assert_allclose(
        view.dataset["static"].sel(attribute="gauge_lat").values, tiny_store.dataset["latitude"].values, rtol=1e-6
    )


def test_an_attribute_that_is_missing_is_named(recurrent_run: Path, tiny_store: Store) -> None:
    dataset = tiny_store.dataset.sel(attribute=tiny_store.dataset["attribute"] != "bfihost")
    fewer = replace(tiny_store, dataset=dataset.assign_attrs(fingerprint="fewer"))
    with pytest.raises(ConfigError, match=r"Gauge 01001 of .* lacks 'bfihost', and the run .* --map bfihost=NAME"):
        wc.open_run(recurrent_run).simulate(fewer)


def test_climate_is_computed_from_the_weather_of_the_store(recurrent: Checkpoint, tiny_store: Store) -> None:
    changes = ["recipe.catchments.attributes.bfihost={climate: pet_mean}"]
    checkpoint = replace(recurrent, config=with_overrides(recurrent.config, changes))
    dataset = tiny_store.dataset.sel(attribute=tiny_store.dataset["attribute"] != "bfihost")
    view = as_read_by(checkpoint, replace(tiny_store, dataset=dataset.assign_attrs(fingerprint="fewer")))
    training = tiny_store.dataset["evap"].values[:, tiny_store.period("train")]
    np.testing.assert_allclose(
        view.dataset["static"].sel(attribute="bfihost").values, np.nanmean(training, axis=1), rtol=1e-4
    )
    assert view.fingerprint != "fewer"


def _of_attributes(store: Store, **recipes: str) -> Store:
    """Return the store with its ``bfihost`` under other names, from other columns, in other units."""
    assert store.config.recipe is not None
    assert store.config.recipe.catchments is not None
    named = {name: Attribute.model_validate(yaml.safe_load(recipe)) for name, recipe in recipes.items()}
    rest = [name for name in store.attribute_names if name != "bfihost"]
    values = store.dataset["static"].sel(attribute=["bfihost"] * len(named)).values
    static = np.concatenate([store.dataset["static"].sel(attribute=rest).values, values], axis=1)
    own = dict(zip(store.attribute_names, store.dataset["attribute_units"].values.tolist(), strict=True))
    units = [*(own[name] for name in rest), *(attribute.units for attribute in named.values())]
    dataset = store.dataset.drop_dims("attribute").assign_coords(attribute=np.array([*rest, *named], dtype=object))
    catchments = store.config.recipe.catchments
    attributes = {name: item for name, item in catchments.attributes.items() if name != "bfihost"} | named
    recipe = store.config.recipe.model_copy(
        update={"catchments": catchments.model_copy(update={"attributes": attributes})}
    )
    return replace(
        store,
        dataset=dataset.assign(
            static=(("catchment", "attribute"), static),
            attribute_units=("attribute", np.array(units, dtype=object)),
        ).assign_attrs(fingerprint="renamed"),
        config=store.config.model_copy(update={"recipe": recipe}),
    )


def _read(checkpoint: Checkpoint, store: Store, name: str = "bfihost") -> list[float]:
    values: list[float] = as_read_by(checkpoint, store).dataset["static"].sel(attribute=name).values.tolist()
    return values


@pytest.fixture(scope="module")
def in_percent(recurrent: Checkpoint) -> Checkpoint:
    """A model whose attribute is a percentage, written before units were kept beside its scale."""
    changes = ["recipe.catchments.attributes.bfihost={column: bfi_perc, units: '%'}"]
    attributes = dict(recurrent.scaling.attributes)
    attributes["bfihost"] = replace(attributes["bfihost"], units=None)
    scaling = replace(recurrent.scaling, attributes=attributes)
    return replace(recurrent, config=with_overrides(recurrent.config, changes), scaling=scaling)


def test_an_attribute_is_what_its_column_is(in_percent: Checkpoint, tiny_store: Store) -> None:
    """Not what it is called: two tables may call two things by one name."""
    other = _of_attributes(
        tiny_store, bfihost="{column: bfi_other, units: '%'}", baseflow="{column: bfi_perc, units: '%'}"
    )
    dataset = other.dataset.copy(deep=True)
    dataset["static"].loc[{"attribute": "bfihost"}] = -1.0
    own = tiny_store.dataset["static"].sel(attribute="bfihost").values
    assert _read(in_percent, replace(other, dataset=dataset)) == own.tolist()


def test_units_of_an_attribute_are_converted(in_percent: Checkpoint, tiny_store: Store) -> None:
    own = tiny_store.dataset["static"].sel(attribute="bfihost").values
    assert own.max() < 1
    fractions = _of_attributes(tiny_store, bfihost="{column: bfi_other}")
    np.testing.assert_allclose(_read(in_percent, fractions), own * 100, rtol=1e-6)
    # Where nobody says the units, 45 is no fraction.
    percentages = fractions.dataset.copy(deep=True)
    percentages["static"].loc[{"attribute": "bfihost"}] *= 100
    np.testing.assert_allclose(_read(in_percent, replace(fractions, dataset=percentages)), own * 100, rtol=1e-6)


def test_an_attribute_of_that_name_that_means_another_thing_is_missing(
    in_percent: Checkpoint, tiny_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("INFO", "watercli"):
        patch.setattr("watercli.log.log.propagate", True)
        assert np.isnan(_read(in_percent, _of_attributes(tiny_store, bfihost="{column: depth, units: mm}"))).all()
    assert "the store's is in mm, not %" in " ".join(caplog.text.split())
    named = _of_attributes(tiny_store, depth="{column: depth, units: mm}")
    with pytest.raises(ConfigError, match=r"'depth' of .* is an attribute in mm, which cannot become the model's"):
        as_read_by(in_percent, named, {"bfihost": "depth"})


def test_a_name_that_does_not_exist(recurrent: Checkpoint, foreign_store: Store) -> None:
    with pytest.raises(ConfigError, match=r"--map soil=wetnes: .*foreign.zarr has no 'wetnes'; did you mean 'wetness'"):
        as_read_by(recurrent, foreign_store, {"soil": "wetnes"})
    with pytest.raises(ConfigError, match=r"--map sol=wetness: the model has no input 'sol'; did you mean 'soil'"):
        as_read_by(recurrent, foreign_store, {"sol": "wetness"})


def test_units_of_another_kind_are_refused(recurrent: Checkpoint, foreign_store: Store) -> None:
    with pytest.raises(ConfigError, match=r"'tas' of .* is a grid in K, which cannot become the model's 'precip'"):
        as_read_by(recurrent, foreign_store, {"precip": "tas"})


def test_values_far_from_the_training_are_warned_of(
    recurrent: Checkpoint, tiny_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    statistics = tiny_store.dataset["statistics"].copy(deep=True).load()
    statistics.loc["temp", :, "mean"] += 273.15
    dataset = tiny_store.dataset.assign(statistics=statistics).assign_attrs(fingerprint="warm")
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("WARNING", "watercli"):
        patch.setattr("watercli.log.log.propagate", True)
        as_read_by(recurrent, replace(tiny_store, dataset=dataset))
    assert "has mean 281 and standard deviation" in caplog.text
    assert "check its units and source" in caplog.text
