"""A store that has its weather on a grid alone, as a model of series reads it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import watercli as wc
from watercli.errors import ConfigError
from watercli.run.view import as_read_by
from watercli.store import Store

DAYS = {"since": "2002-01-01", "until": "2002-02-28"}


def with_grids(store: Store, units: str, **names: str) -> Store:
    """Return the store with copies of grids by new names, in ``units``, in place of the grids themselves."""
    modalities = dict(store.config.modalities)
    copies = {}
    for new, old in names.items():
        modalities[new] = store.config.modalities[old].model_copy(update={"units": units, "source": ()})
        copies[new] = store.dataset[old].assign_attrs(units=units).rename(new)
    for old in set(names.values()):
        del modalities[old]
    config = store.config.model_copy(update={"modalities": modalities})
    return replace(store, dataset=store.dataset.drop_vars(list(set(names.values()))).assign(copies), config=config)


def mean_over_catchments(store: Store, grid: str) -> np.ndarray:
    """Return the areal means by hand, ``[C, T]``: each patch by its observed cells, each catchment by its patches."""
    (height, width), values = store.patch_size, store.dataset[grid].values
    days, rows, columns = values.shape
    patches = values.reshape(days, rows // height, height, columns // width, width)
    by_patch = np.nanmean(patches, axis=(2, 4)).reshape(days, -1)
    weight = np.where(np.isfinite(by_patch[0]), store.patch_weight, 0)
    return (np.nan_to_num(by_patch) @ weight.T / weight.sum(1)).T


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_the_areal_means_are_read(tiny_store: Store) -> None:
    model = wc.load_model("rivers")
    view = as_read_by(model.checkpoint, tiny_store)
    assert {"precipitation", "temperature"} <= set(view.config.modalities)
    for name, grid in (("precipitation", "precip"), ("temperature", "temp")):
        np.testing.assert_allclose(view.dataset[name], mean_over_catchments(tiny_store, grid), rtol=1e-4, atol=1e-4)
        training = view.dataset[name].values[:, view.period("train")]
        assert view.statistics(name, "identity") == pytest.approx((training.mean(), training.std()), rel=1e-4)
    flow = model.simulate(tiny_store, **DAYS)  # type: ignore[arg-type]
    assert np.isfinite(flow["riverflow"].values).all()
    assert flow["input_available"].sel(input="precipitation").all()


def test_units_of_a_grid_are_converted(tiny_store: Store) -> None:
    model = wc.load_model("rivers").checkpoint
    metres = with_grids(tiny_store, "m/day", rainfall="precip")
    own, other = (as_read_by(model, store).dataset["precipitation"].values for store in (tiny_store, metres))
    np.testing.assert_allclose(other, own * 1000, rtol=1e-5)


def test_a_grid_can_be_named(tiny_store: Store) -> None:
    model = wc.load_model("rivers").checkpoint
    strange = with_grids(tiny_store, "mm/day", wet="precip")
    with pytest.raises(ConfigError, match=r"modality 'precipitation' \(series, mm/day\) is absent"):
        wc.load_model("rivers").simulate(strange, **DAYS)  # type: ignore[arg-type]
    for names in ({"precipitation": "wet"}, {"wet": "precipitation"}):
        view = as_read_by(model, strange, names)
        own = as_read_by(model, tiny_store).dataset["precipitation"]
        np.testing.assert_array_equal(view.dataset["precipitation"], own)


def test_of_two_grids_of_one_quantity_none_is_guessed(tiny_store: Store) -> None:
    both = with_grids(tiny_store, "mm/day", rainfall="precip", tp="precip")
    view = as_read_by(wc.load_model("rivers").checkpoint, both)
    assert "precipitation" not in view.config.modalities


def test_the_mean_temperature_of_two_grids(tiny_store: Store) -> None:
    model = wc.load_model("rivers").checkpoint
    ends = with_grids(tiny_store, "degC", tasmax="temp", tasmin="temp")
    own, made = (as_read_by(model, store).dataset["temperature"].values for store in (tiny_store, ends))
    np.testing.assert_allclose(made, own, rtol=1e-6)


def test_ends_of_a_temperature_that_are_series_come_before_grids(tiny_store: Store) -> None:
    both = with_grids(tiny_store, "degC", tasmax="temp", tasmin="temp")
    series = both.config.modalities["evap"].model_copy(update={"units": "degC", "source": ()})
    own = {name: (both.dataset["evap"] + warmer).rename(name) for name, warmer in (("tmax", 2.0), ("tmin", -1.0))}
    config = both.config.model_copy(update={"modalities": both.config.modalities | dict.fromkeys(own, series)})
    view = as_read_by(
        wc.load_model("rivers").checkpoint, replace(both, dataset=both.dataset.assign(own), config=config)
    )
    np.testing.assert_allclose(view.dataset["temperature"], both.dataset["evap"] + 0.5, rtol=1e-5)
