"""Attributes outside the range of the training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from watercli.config import with_overrides
from watercli.data.scaling import Scaling
from watercli.store import Store


def with_area(store: Store, gauge: str, times: float) -> Store:
    static = store.dataset["static"].copy(deep=True).load()
    static.loc[gauge, "area"] *= times
    return replace(store, dataset=store.dataset.assign(static=static))


def test_attributes_are_held_to_the_range_of_the_training(tiny_store: Store) -> None:
    scaling, area = Scaling.of(tiny_store, tiny_store.config), tiny_store.attribute_names.index("area")
    known, vast = scaling.static(tiny_store), scaling.static(with_area(tiny_store, "03003", 1e4))
    assert vast[2, area] == known[:, area].max() > known[2, area]
    np.testing.assert_array_equal(np.delete(vast, 2, axis=0), np.delete(known, 2, axis=0))


def test_held_out_gauges_do_not_make_the_range_and_a_further_training_widens_it(tiny_store: Store) -> None:
    store = with_area(tiny_store, "03003", 1e4)
    config = with_overrides(store.config, ['train.held_out_gauges={"gauges": ["03003"]}'])
    scaling, area = Scaling.of(store, config), store.attribute_names.index("area")
    most = scaling.attributes["area"].most
    assert most == np.delete(store.dataset["static"].values[:, area], 2).max()
    assert scaling.widened(store, config).attributes["area"].most == most
    widened = scaling.widened(store, store.config)
    assert widened.attributes["area"].most == store.dataset["static"].values[2, area]
    assert widened.static(store)[2, area] > scaling.static(store)[2, area]
