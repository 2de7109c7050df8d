"""Packed tables: one netCDF of all gauges and decades, of which only what is asked for is read."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.factory import GAUGES, config, data_folder, days
from watercli.config import Config, load, with_overrides
from watercli.errors import ConfigError, DataError
from watercli.preparation.prepare import prepare

PACKED = {"reader": "table", "files": "packed.nc"}
LONG = {"layout": "long", "gauge_id": "gauge_id", "date": "date"}


def packed(path: Path, *, last: int = 366, **more: tuple[tuple[str, ...], np.ndarray]) -> xr.Dataset:
    """Write flow (gauge, date) and potential evaporation by day of the year, packed; gauges in no order."""
    rng, gauges = np.random.default_rng(1), [*reversed(GAUGES), "99999"]
    year = np.arange(1, last + 1)
    data = xr.Dataset(
        {
            "discharge": (("gauge_id", "date"), rng.gamma(1.0, 1.0, (5, 365)).round(2), {"units": "mm/day"}),
            "pet_doy": (("gauge_id", "doy"), year + 1000.0 * np.arange(5)[:, None], {"units": "mm/day"}),
            **more,
        },
        coords={"gauge_id": gauges, "date": days(), "doy": year},
    )
    data["discharge"][1, 5] = np.nan
    packing = {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -32768}
    data.to_netcdf(path, engine="netcdf4", encoding={"discharge": packing})
    return data


def recipe(**changes: object) -> Config:
    return config(
        modalities__riverflow__source={**PACKED, "variable": "discharge", "table": LONG},
        modalities__evap__source={
            **PACKED, "variable": "pet_doy", "table": {"layout": "long", "gauge_id": "gauge_id", "day_of_year": "doy"}
        },
        recipe__catchments__gauges=list(GAUGES),
        **changes,
    )  # fmt: skip


def test_a_packed_file_becomes_series(tmp_path: Path) -> None:
    data = packed(data_folder(tmp_path) / "packed.nc")
    store = prepare(recipe(), tmp_path / "store.zarr", data=tmp_path)
    own = data["discharge"].sel(gauge_id=list(GAUGES)).values
    np.testing.assert_allclose(store.dataset["riverflow"].values, own.astype(np.float32), atol=1e-5)
    assert np.isnan(store.dataset["riverflow"].values).sum() == 1


@pytest.mark.parametrize(("last", "leap"), [(366, 366), (365, 365)])
def test_a_climatology_by_day_of_the_year_becomes_daily(tmp_path: Path, last: int, leap: int) -> None:
    packed(data_folder(tmp_path) / "packed.nc", last=last)
    period = {"start": "2000-12-30", "end": "2001-12-31"}
    store = prepare(recipe(recipe__period=period), tmp_path / "store.zarr", data=tmp_path)
    evaporation = store.dataset["evap"].sel(catchment=GAUGES[0]).values
    np.testing.assert_array_equal(evaporation[:4], 3000 + np.array([365, leap, 1, 2]))


def test_nothing_else_in_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values of a variable of other dimensions are damaged, and nobody is the wiser."""
    packed(data_folder(tmp_path) / "packed.nc", huge=(("gauge_id", "date", "doy"), np.zeros((5, 365, 366), np.int8)))
    read, original = [], xr.DataArray.to_numpy

    def watched(self: xr.DataArray) -> np.ndarray:
        read.append(str(self.name))
        return original(self)

    monkeypatch.setattr(xr.DataArray, "to_numpy", watched)
    prepare(recipe(), tmp_path / "store.zarr", data=tmp_path)
    assert "discharge" in read
    assert "huge" not in read


def test_a_file_names_the_gauges(tmp_path: Path) -> None:
    packed(data_folder(tmp_path) / "packed.nc")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "few.txt").write_text("# two of them\n10003\n\n01001\n", encoding="utf-8")
    store = prepare(config(recipe__catchments__gauges="lists/few.txt"), tmp_path / "store.zarr", data=tmp_path)
    assert store.gauge_ids == ["01001", "10003"]
    assert store.config.recipe is not None
    assert store.config.recipe.catchments is not None
    assert store.config.recipe.catchments.gauges == ("10003", "01001")


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "lists no gauge"), ("01001,02002\n", r"few\.txt has '01001,02002'"), ("77\n", "names 77")],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    data_folder(tmp_path)
    (tmp_path / "few.txt").write_text(text, encoding="utf-8")
    with pytest.raises((ConfigError, DataError), match=message):
        prepare(config(recipe__catchments__gauges="few.txt"), tmp_path / "store.zarr", data=tmp_path)


def test_groups_are_kept_as_coordinates(tmp_path: Path) -> None:
    data_folder(tmp_path)
    store = prepare(config(recipe__catchments__groups={"river": "gauge_name"}), tmp_path / "store.zarr", data=tmp_path)
    assert store.dataset["group_river"].values.tolist() == [f"River {gauge}" for gauge in GAUGES]
    with pytest.raises(DataError, match="No column 'basin'"):
        prepare(config(recipe__catchments__groups={"basin": "basin"}), tmp_path / "no.zarr", data=tmp_path)


def write_camels_us(root: Path, gauges: list[str], forcing: xr.Dataset, flow: xr.Dataset, area: pd.Series) -> None:
    """Write the original text layout of CAMELS-US from the packed files."""
    for gauge in gauges:
        times = pd.DatetimeIndex(forcing["date"].values)
        own = {name: forcing[name].sel(gauge_id=gauge).values for name in ("prcp", "srad", "tmax", "tmin", "vp")}
        lines = ["   45.00", "   100.0", f"   {area[gauge] * 1e6:.0f}"]
        lines += ["Year\tMnth\tDay\tHr\tDayl(s)\tPRCP(mm/day)\tSRAD(W/m2)\tSWE(mm)\tTmax(C)\tTmin(C)\tVp(Pa)"]
        lines += [
            f"{day:%Y %m %d} 12\t30000.00\t{p:.2f}\t{s:.2f}\t0.00\t{high:.2f}\t{low:.2f}\t{vapour:.2f}"
            for day, p, s, high, low, vapour in zip(times, *own.values(), strict=True)
        ]
        folder = root / "basin_mean_forcing" / "maurer" / gauge[:2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{gauge}_lump_maurer_forcing_leap.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        cubic_feet = flow["discharge"].sel(gauge_id=gauge).values * area[gauge] * 1e3 / 86400 / 0.3048**3
        folder = root / "usgs_streamflow" / gauge[:2]
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            f"{gauge} {day:%Y %m %d} " + ("-999.00 M" if np.isnan(value) else f"{value:9.4f} A")
            for day, value in zip(pd.DatetimeIndex(flow["date"].values), cubic_feet, strict=True)
        ]
        (folder / f"{gauge}_streamflow_qc.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_the_text_layout_of_camels_us_holds_what_the_packed_files_hold(real_data: Path, tmp_path: Path) -> None:
    gauges = ["01022500", "09447800", "14400000"]
    us = real_data / "camels_us"
    period = slice("1999-10-01", "2001-09-30")
    with xr.open_dataset(us / "forcing_maurer.nc") as forcing, xr.open_dataset(us / "streamflow.nc") as flow:
        table = pd.read_csv(us / "camels_attributes.csv", dtype={"gauge_id": str}).set_index("gauge_id")
        write_camels_us(
            tmp_path / "data", gauges, forcing.sel(date=period), flow.sel(date=period), table["area_gages2"]
        )
    (tmp_path / "data" / "camels_us").symlink_to(us)
    shorter = [
        "recipe.period={start: 1999-10-01, end: 2001-09-30}",
        "recipe.splits.validation={start: 1999-10-01, end: 1999-12-31}",
        "recipe.splits.test={start: 2000-01-01, end: 2000-03-31}",
        "recipe.splits.train={start: 2000-04-01, end: 2001-09-30}",
        f"recipe.catchments.gauges={gauges}",
    ]
    packed_recipe = with_overrides(load("camels-us"), shorter)
    text = [
        f"modalities.{name}.source={{reader: camels_us, variable: {name}, files: basin_mean_forcing/maurer/*/*.txt}}"
        for name in ("prcp", "srad", "tmax", "tmin", "vp")
    ]
    text += ["modalities.riverflow.source={reader: camels_us, variable: discharge, files: usgs_streamflow/*/*.txt}"]
    packed_store = prepare(packed_recipe, tmp_path / "packed.zarr", data=tmp_path / "data")
    text_store = prepare(with_overrides(packed_recipe, text), tmp_path / "text.zarr", data=tmp_path / "data")
    assert packed_store.gauge_ids == gauges == text_store.gauge_ids
    assert packed_store.dataset["group_huc_02"].values.tolist() == ["01", "15", "17"]
    for name in packed_store.config.modalities:
        left, right = packed_store.dataset[name].values, text_store.dataset[name].values
        assert np.isfinite(left).any(1).all()
        np.testing.assert_allclose(right, left, atol=0.006, rtol=1e-4, err_msg=name)


def test_what_a_packed_file_declares_is_missing(tmp_path: Path) -> None:
    """Marks of another type, several of them, and a valid range in packed units."""
    data = packed(data_folder(tmp_path) / "packed.nc")
    with netCDF4.Dataset(tmp_path / "packed.nc", "a") as dataset:
        flow = dataset["discharge"]
        flow.set_auto_maskandscale(False)
        flow[0, :3] = -99, -9900, 4000
        flow.missing_value = np.array([-99.0, -9900.0])
        flow.valid_range = np.array([-20000, 3999], dtype=np.int16)
    store = prepare(recipe(), tmp_path / "store.zarr", data=tmp_path)
    expected = data["discharge"].sel(gauge_id=list(GAUGES)).values
    expected[-1, :3] = np.nan
    np.testing.assert_allclose(store.dataset["riverflow"].values, expected, atol=1e-5)
