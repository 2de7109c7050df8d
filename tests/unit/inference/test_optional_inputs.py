"""Catchments of which less is known than of those of the training: attributes and optional series are missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import RECURRENT
from watercli.config import with_overrides
from watercli.data.scaling import Scaling
from watercli.errors import ConfigError
from watercli.inference import provenance
from watercli.run.checkpoint import Checkpoint
from watercli.run.compatibility import check_fits, with_absent_series
from watercli.run.directory import open_run
from watercli.run.simulator import simulate
from watercli.store import Store
from watercli.training.pretrain import pretrain

DROPS = ("train.attribute_dropout=0.2", "modalities.evap.dropout=0.3")


def with_gap(store: Store) -> Store:
    """Return the store, in which the first catchment lacks its second attribute and the third lacks all."""
    static = store.dataset["static"].copy(deep=True)
    static[0, 1] = np.nan
    static[2] = np.nan
    return replace(store, dataset=store.dataset.assign(static=static))


def without_evap(store: Store) -> Store:
    modalities = {name: modality for name, modality in store.config.modalities.items() if name != "evap"}
    config = store.config.model_copy(update={"modalities": modalities})
    return replace(store, dataset=store.dataset.drop_vars("evap"), config=config)


@pytest.fixture(scope="module")
def run(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A run on a store with gaps, of a model whose attributes and evaporation may be missing."""
    folder: Path = tmp_path_factory.mktemp("runs") / "optional"
    store = with_gap(tiny_store)
    pretrain(with_overrides(tiny_store.config, (*RECURRENT, *DROPS)), store, folder)
    return open_run(folder)


def test_catchments_and_stores_without_it_are_simulated(run: Checkpoint, tiny_store: Store) -> None:
    """As by a store that has the series without a value in it; what is known of others stays as it is."""
    period = slice(600, 640)
    whole = simulate(run, tiny_store, "riverflow", period)
    gap = simulate(run, with_gap(tiny_store), "riverflow", period)
    np.testing.assert_allclose(gap[[1, 3, 4, 5]], whole[[1, 3, 4, 5]], rtol=1e-5)
    assert np.isfinite(gap).all()
    assert (np.abs(gap - whole).max(1)[[0, 2]] > 1e-4).all()
    lacking = without_evap(tiny_store)
    check_fits(run, lacking, excluded=("riverflow",))
    without = simulate(run, with_absent_series(run, lacking), "riverflow", period)
    empty = tiny_store.dataset["evap"] * np.nan
    hollow = replace(tiny_store, dataset=tiny_store.dataset.assign(evap=empty))
    np.testing.assert_allclose(without, simulate(run, hollow, "riverflow", period), rtol=1e-5)
    assert np.abs(without - whole).max() > 1e-4


def test_gaps_have_no_part_in_the_scaling(run: Checkpoint, tiny_store: Store) -> None:
    second = list(run.scaling.attributes.values())[1]
    values = tiny_store.dataset["static"].values[[3, 5], 1]  # 1 and 4 are held out
    assert (second.least, second.most) == (values.min(), values.max())
    assert run.scaling.has_attribute_gaps
    assert Scaling.from_dict(run.scaling.to_dict()) == run.scaling
    outside = provenance.outside(run, with_gap(tiny_store), np.arange(6))
    assert outside is not None
    assert not outside[2].any()


def test_a_model_that_knows_no_gaps_says_so(recurrent_run: Path, tiny_store: Store) -> None:
    checkpoint = open_run(recurrent_run)
    with pytest.raises(ConfigError, match=r"lacks '\w+', and the run was trained with no attribute missing"):
        check_fits(checkpoint, with_gap(tiny_store))
    with pytest.raises(ConfigError, match=r"'evap' .* is absent"):
        check_fits(checkpoint, without_evap(tiny_store), excluded=("riverflow",))
