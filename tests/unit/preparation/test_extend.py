"""Later days for a store: its earlier ones stay as they are, and the whole is what preparing it at once would give."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tests import factory
from watercli.config import Config, load
from watercli.errors import ConfigError, DataError
from watercli.preparation.prepare import append, prepare
from watercli.store import Store

END, LATER = "2002-01-31", "2003-03-15"
LATER_PERIOD = {"start": "2001-01-01", "end": LATER}


def give(root: Path, last: str) -> None:
    """Write the sources as they are known on a day: records of all days until then, rain in one file for each year."""
    times = factory.days("2001-01-01", LATER)
    values = factory.field(times)
    for year in (2001, 2002, 2003):
        chosen = (times.year == year) & (times <= last)
        if chosen.any():
            factory.write_grid(root / "rainfall" / f"{year}.nc", times[chosen], values[chosen], packed=True)
    for old in root.glob("timeseries/*"):
        old.unlink()
    for seed, gauge in enumerate(factory.GAUGES):
        factory.write_gauge(root, gauge, factory.flows(times, seed)[: int((times <= last).sum())])
    factory.write_attributes(root)


def config(**changes: Any) -> Config:
    return factory.config(**({"recipe__period": {"start": "2001-01-01", "end": END}} | changes))


def chunks(store: Path) -> dict[str, bytes]:
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and path.name not in ("zarr.json", "manifest.json")
    }


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    give(root / "data", END)
    prepare(config(), root / "store.zarr", data=root / "data")
    return root


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder that ends with LATER."""
    root = tmp_path_factory.mktemp("later")
    give(root, LATER)
    return root


@pytest.fixture
def known(template: Path, tmp_path: Path) -> Path:
    """Return a data folder that ends with END, beside a store made of it."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return tmp_path / "data"


def replace(data: Path, later: Path) -> None:
    """Put the later files in the place of the earlier ones."""
    shutil.rmtree(data)
    shutil.copytree(later, data)


def test_extended_is_as_good_as_made_at_once(
    known: Path, later: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "store.zarr"
    before, old = Store.open(out), chunks(out)
    replace(known, later)
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("INFO", "watercli"):
        patch.setattr("watercli.log.log.propagate", True)
        between = append(config(recipe__period={"start": "2001-01-01", "end": "2002-09-01"}), out, data=known)
    assert "Statistics are unchanged: the training period (2001-01-01 to 2001-06-30) lies before" in caplog.text
    new = chunks(out)
    rewritten = {name for name in old if new[name] != old[name]}
    # The shard of days 360 to 719 was begun; series and time have a second chunk now.
    assert rewritten == {"precip/c/1/0/0"}
    assert {"riverflow/c/0/1", "time/c/1"} <= set(new)

    after = append(config(recipe__period=LATER_PERIOD), out, data=known)  # and again, as the years go by
    assert "precip/c/2/0/0" in chunks(out)
    whole = prepare(config(recipe__period=LATER_PERIOD), tmp_path / "whole.zarr", data=known)
    xr.testing.assert_identical(after.dataset.drop_attrs().load(), whole.dataset.drop_attrs().load())
    for name in after.dataset.variables:
        assert after.dataset[name].attrs == whole.dataset[name].attrs
    assert after.config == whole.config
    assert after.dataset.attrs["ancestry"] == [before.fingerprint, between.fingerprint]
    assert after.fingerprint not in (before.fingerprint, between.fingerprint, whole.fingerprint)
    one, other = (json.loads(store.dataset.attrs["quality"])["missing"] for store in (after, whole))
    for name in other:
        assert one[name] == pytest.approx(other[name], abs=2e-6)
    names = [record["name"] for record in json.loads(after.dataset.attrs["sources"])]
    assert "rainfall/2001.nc" in names
    assert "rainfall/2003.nc" in names
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_earlier_values_that_differ_now(
    known: Path, later: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = Store.open(tmp_path / "store.zarr").dataset["riverflow"].load()
    replace(known, later)
    path = next((known / "timeseries").glob("*_02002_*"))
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[11] = ",".join([*lines[11].split(",")[:4], "9.75", "19.5"])
    path.write_text("\n".join(lines), encoding="utf-8")
    (known / "timeseries" / path.name.replace("02002", "77777")).write_text("\n".join(lines), encoding="utf-8")
    next((known / "timeseries").glob("*_01001_*")).unlink()
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("INFO", "watercli"):
        patch.setattr("watercli.log.log.propagate", True)
        after = append(config(recipe__period=LATER_PERIOD), tmp_path / "store.zarr", data=known)
    assert "riverflow: 1 of 4 catchments are in no file, their new days are missing (01001)" in caplog.text
    assert "riverflow: 1 earlier values would be others now; the store keeps its own" in caplog.text
    assert "Statistics would have changed: 1 values of the training period differ" in caplog.text
    kept = after.dataset["riverflow"].load()
    np.testing.assert_array_equal(kept[:, : before.sizes["time"]], before)
    assert np.isnan(kept.sel(catchment="01001")[before.sizes["time"] :]).all()
    assert after.gauge_ids == list(factory.GAUGES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"recipe__period": {"start": "2001-01-01", "end": "2002-01-30"}},
            r"store.zarr ends on 2002-01-31, after recipe.period.end; set that to a later day",
        ),
        (
            {"recipe__grid__land_threshold": 0.4},
            r"--append: recipe.grid.land_threshold: 0.5 -> 0.4 against .*store.zarr",
        ),
        ({"modalities__evap__units": "m/day"}, r"--append: modalities.evap.units: mm/day -> m/day"),
        ({"recipe__splits__train__end": "2001-06-29"}, r"--append: recipe.splits.train.end"),
    ],
)
def test_what_cannot_be_appended(known: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    before = chunks(tmp_path / "store.zarr")
    with pytest.raises(ConfigError, match=message):
        append(config(**({"recipe__period": LATER_PERIOD} | changes)), tmp_path / "store.zarr", data=known)
    assert chunks(tmp_path / "store.zarr") == before


def test_nothing_to_add(known: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = chunks(tmp_path / "store.zarr")
    own = Store.open(tmp_path / "store.zarr")
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("INFO", "watercli"):
        patch.setattr("watercli.log.log.propagate", True)
        assert append(own.config, own.path, data=known).fingerprint == own.fingerprint
    assert "ends on 2002-01-31 already: nothing to add" in caplog.text
    assert chunks(tmp_path / "store.zarr") == before


def test_no_file_of_the_new_days(known: Path, tmp_path: Path) -> None:
    before = chunks(tmp_path / "store.zarr")
    with pytest.raises(DataError, match=r"^No file holds a day from 2002-02-01 to 2003-03-15; add the files"):
        append(config(recipe__period=LATER_PERIOD), tmp_path / "store.zarr", data=known)
    assert chunks(tmp_path / "store.zarr") == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_quality_of_the_new_days_is_told_and_that_of_the_old_is_kept(known: Path, later: Path, tmp_path: Path) -> None:
    out = tmp_path / "store.zarr"
    for root, last in ((known, END), (later, LATER)):
        times = factory.days("2001-01-01", last)
        frame = factory.flows(factory.days("2001-01-01", LATER), 1)[: len(times)]
        frame.iloc[200:215, frame.columns.get_loc("discharge_spec")] = 0.5
        frame.iloc[390:405, frame.columns.get_loc("discharge_spec")] = 0.5  # the seam lies at 396
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(root, tmp_path / "copy")
        next((tmp_path / "copy" / "timeseries").glob("*_02002_*")).unlink()
        factory.write_gauge(tmp_path / "copy", "02002", frame)
        changes = {"recipe__quality__to_missing": ["flat"]}
        if root == known:
            before = prepare(config(**changes), out, data=tmp_path / "copy", overwrite=True).dataset.attrs["quality"]
    after = append(config(recipe__period=LATER_PERIOD, **changes), out, data=tmp_path / "copy")
    quality = json.loads(after.dataset.attrs["quality"])
    assert quality["earlier_findings"] == [json.loads(before)["findings"]]
    assert quality["findings"]["riverflow"]["flat"] == {"places": 1, "days": 9}
    assert json.loads(before)["set_to_missing"] == {"riverflow": {"flat": 15}}
    assert quality["set_to_missing"] == {"riverflow": {"flat": 24}}
    assert "Days from 2002-02-01 on" in (tmp_path / "store.zarr.quality.md").read_text(encoding="utf-8")


def test_another_grid(known: Path, later: Path, tmp_path: Path) -> None:
    replace(known, later)
    times = factory.days("2002-02-01", "2002-03-31")
    for old in (known / "rainfall").iterdir():
        old.unlink()
    factory.write_grid(known / "rainfall" / "moved.nc", times, factory.field(times), y=factory.Y + 5000)
    with pytest.raises(DataError, match=r"'precip' is on another grid than 'precip in .*store.zarr'"):
        append(config(recipe__period=LATER_PERIOD), tmp_path / "store.zarr", data=known)


def test_the_demo_domain_and_no_store(known: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The demo domain is generated as a whole"):
        append(load("demo"), tmp_path / "store.zarr", data=known)
    with pytest.raises(ConfigError, match=r"No store at .*none.zarr"):
        append(config(), tmp_path / "none.zarr", data=None)
