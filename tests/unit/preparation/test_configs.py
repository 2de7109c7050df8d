"""The shipped configurations read data in the layout that they describe."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from tests import factory
from watercli.config import find, load
from watercli.preparation.prepare import prepare

COLUMNS = {  # of the published tables of CAMELS-GB, those that the configuration uses
    "topographic": "gauge_lat gauge_lon area dpsbar elev_min elev_10 elev_50 elev_90 elev_max",
    "climatic": "p_mean aridity p_seasonality high_prec_dur low_prec_dur",
    "landcover": "ewood_perc grass_perc crop_perc urban_perc",
    "soil": "sand_perc clay_perc organic_perc tawc",
    "hydrogeology": "inter_high_perc frac_high_perc no_gw_perc",
}


def published_layout(root: Path) -> Path:
    """Write a year of monthly grids, gauges and attribute tables as the publishers lay them out."""
    times = factory.days()
    for seed, variable in enumerate(("rainfall", "tasmax", "tasmin")):
        options = {"units": "mm"} if variable == "rainfall" else {"units": "degC", "cell_methods": "time: point"}
        folder = root / "haduk_grid" / "5km" / variable
        for path in factory.write_months(folder, times, factory.field(times, seed), variable=variable, **options):
            path.rename(path.with_name(path.name.replace("10km", "5km")))
    for seed, gauge in enumerate(factory.GAUGES):
        factory.write_gauge(root / "camels_gb", gauge, factory.flows(times, seed))
    factory.write_attributes(root)
    places = pd.read_csv(root / "attributes" / "topographic.csv", dtype={"gauge_id": str})
    rng = np.random.default_rng(0)
    for name, columns in COLUMNS.items():
        table = places if name == "topographic" else places[["gauge_id"]]
        random = {column: rng.uniform(1, 90, len(places)) for column in columns.split() if column not in table}
        table.assign(**random).to_csv(root / "camels_gb" / f"CAMELS_GB_{name}_attributes.csv", index=False)
    return root


def test_gb_reads_what_the_publishers_publish(tmp_path: Path) -> None:
    config = load(
        "gb",
        [
            "recipe.period={start: 2001-01-01, end: 2001-12-31}",
            "recipe.splits.train={start: 2001-01-01, end: 2001-06-30}",
            "recipe.splits.validation={start: 2001-07-01, end: 2001-09-30}",
            "recipe.splits.test={start: 2001-10-01, end: 2001-12-31}",
            "recipe.grid.patch_size=[4, 4]",
        ],
    )
    store = prepare(config, tmp_path / "gb.zarr", data=published_layout(tmp_path / "data"))
    assert store.gauge_ids == list(factory.GAUGES)
    assert len(store.attribute_names) == 25
    low, high = factory.field(factory.days(), 2), factory.field(factory.days(), 1)
    np.testing.assert_allclose(store.dataset["temp"].values[:, :12, :9], (low + high) / 2, rtol=1e-5)


def test_no_configuration_holds_a_path_of_a_machine() -> None:
    for name in ("demo", "gb12", "gb"):
        assert not re.search(r"[\s'\"]/|~|[A-Z]:\\", find(name).read_text())
