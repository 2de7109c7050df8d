"""Files as agencies, spreadsheets and models write them, read without a store around them: values, days and units."""

from __future__ import annotations

import bz2
import io
import lzma
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests import factory
from tests.unit.preparation.test_grid import LAT, LATLON, LON
from watercli.errors import DataError
from watercli.preparation.build import requests
from watercli.preparation.joined_sources import joined
from watercli.preparation.readers import attributes, cf, dates, registry
from watercli.preparation.readers.sources import Sources
from watercli.preparation.readers.text import text_of

DAYS = factory.days()
FLOW = pd.DataFrame(
    np.random.default_rng(0).gamma(1.0, 5.0, (365, 4)).round(2) + 0.01, index=DAYS, columns=list(factory.GAUGES)
)
WIDE = {"layout": "wide"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder that holds attributes alone."""
    factory.write_attributes(tmp_path)
    return tmp_path


def read(data: Path, files: str, table: dict[str, Any], to: str = "m3/s", **source: Any) -> pd.DataFrame:
    """Return flow by day and gauge."""
    gauges = source.pop("gauges", [])
    source = {"reader": "table", "variable": "q", "files": files, "table": table, **source}
    modality = {"kind": "series", "units": to, "source": source}
    config = factory.config(modalities={"flow": modality}, recipe__catchments__gauges=gauges)
    return joined(requests(config, Sources(data))["flow"]).transpose("time", "catchment").to_pandas()


def read_grid(data: Path, units: str = "mm/day", grid: dict[str, Any] | None = None, **source: Any) -> xr.DataArray:
    """Return a grid ``(time, y, x)`` from all NetCDF files."""
    source = {"reader": "grid", "variable": "pr", "files": "*.nc", **source}
    changes = LATLON | {f"recipe__grid__{name}": value for name, value in (grid or {}).items()}
    config = factory.config(modalities={"rain": {"kind": "grid", "units": units, "source": source}}, **changes)
    return registry.READERS["grid"].read(requests(config, Sources(data))["rain"]).compute()


def check(found: pd.DataFrame, expected: pd.DataFrame = FLOW) -> None:
    pd.testing.assert_frame_equal(found, expected, check_names=False, check_dtype=False, check_freq=False, rtol=1e-5,
                                  check_column_type=False, check_index_type=False)  # fmt: skip


def lines(**columns: Any) -> str:
    text: str = FLOW.assign(**columns).to_csv(index_label="date", lineterminator="\n")
    return text


# Text.


def test_decimal_commas_where_nothing_else_is_odd(data: Path) -> None:
    FLOW.to_csv(data / "a.csv", index_label="date", sep=";", decimal=",")
    check(read(data, "a.csv", WIDE | {"separator": ";", "decimal": ","}))


@pytest.mark.parametrize("kind", ["bzip2", "xz", "zip", "utf-16-le", "utf-16-be"])
def test_texts_in_other_coats(tmp_path: Path, kind: str) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.csv", lines())
    content = {"bzip2": bz2.compress(lines().encode()), "xz": lzma.compress(lines().encode()),
               "zip": archive.getvalue()}  # fmt: skip
    (tmp_path / "a.csv").write_bytes(content[kind] if kind in content else lines().encode(kind))
    assert text_of(tmp_path / "a.csv", "a.csv", lambda *_: None) == lines()


def test_columns_that_are_no_gauges(data: Path) -> None:
    """Flags beside the flows do no harm where the recipe names the gauges; otherwise the error says so."""
    (data / "a.csv").write_text(lines(flag="A").replace(",", "|"))
    check(read(data, "a.csv", WIDE | {"separator": "|"}, gauges=list(FLOW)))
    with pytest.raises(DataError, match=r"if 'flag' is no gauge, name the gauges in recipe.catchments.gauges"):
        read(data, "a.csv", WIDE | {"separator": "|"})


def test_all_that_is_no_number_is_said_at_once(data: Path) -> None:
    (data / "a.csv").write_text("date,01001\n2001-01-01,Ice\n2001-01-02,1.5\n2001-01-03,Eqp\n2001-01-04,***\n")
    with pytest.raises(DataError, match=r"has 'Ice' .* name it in .*missing_values\); so are 'Eqp', '\*\*\*'"):
        read(data, "a.csv", WIDE)


@pytest.mark.parametrize(
    ("text", "table", "message"),
    [
        ("date,01001\n", WIDE, "has no line below the names of its columns"),
        ("gauge_id,date,q\n,2001-01-01,1\n", {"layout": "long"}, "has no gauge id on line 2; mend or remove that row"),
        ("date,01001\n5s,14n\n2001-01-01,1\n", WIDE, r"set .*table.lines_below_names to 1"),
        ("<!DOCTYPE html>", WIDE, "is a web page"),
    ],
)
def test_tables_that_are_none(data: Path, text: str, table: dict[str, Any], message: str) -> None:
    (data / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read(data, "a.csv", table)


def test_a_folder_is_no_file(data: Path) -> None:
    (data / "flows").mkdir()
    (data / "flow.csv").write_text(lines())
    with pytest.raises(DataError, match=r"'flows' \(.*files\) is a folder; name the files in it, such as flows/\*.csv"):
        read(data, "flows", WIDE)
    with pytest.raises(DataError, match=r"No file matches 'Flow.csv'.* did you mean 'flow.csv'"):
        read(data, "Flow.csv", WIDE)


# Dates.


def test_hours_are_exact() -> None:
    """24:00 ends its day, zones may be half an hour apart, and what is not read to its end is no time."""
    texts = ["2001-01-01 24:00", "2001-01-01T05:30+05:30", "2001-01-01 0100", "2001-01-01 9:00 UTC"]
    found = dates.to_times(pd.Series(texts), "a.csv", utc=True)
    assert [f"{time:%d %H:%M}" for time in found] == ["02 00:00", "01 00:00", "01 01:00", "01 09:00"]
    written = "%d/%m/%Y %H:%M"
    assert dates.to_times(pd.Series(["31/12/2000 24:00"]), "a.csv", written, utc=True)[0] == pd.Timestamp("2001-01-01")
    assert dates.to_days(pd.Series(["31/12/2000 24:00"]), "a.csv", written)[0] == pd.Timestamp("2000-12-31")
    with pytest.raises(DataError, match=r"has '2001-01-01 01:00 PM' for a date .* to '%Y-%m-%d %I:%M %p'"):
        dates.to_times(pd.Series(["2001-01-01 01:00 PM"]), "a.csv", utc=True, setting="source")


def test_two_digits_of_a_year_are_never_in_the_future() -> None:
    found = dates.to_days(pd.Series(["31/12/59", "01/01/01", "29/02/60"]), "a.csv", "%d/%m/%y")
    assert list(found.year) == [1959, 2001, 1960]


@pytest.mark.parametrize(
    ("columns", "written"),
    [
        ({"y": "%Y", "m": "%b", "d": "%d"}, dates.ISO),
        ({"y": "%Y", "m": "%m", "d": "%d", "h": "%H"}, dates.ISO),
        ({"date": "%Y-%m-%d", "time": "%H:%M"}, dates.ISO),
        ({"year": "%Y", "doy": "%j"}, "%Y %j"),
    ],
)
def test_dates_in_several_columns(data: Path, columns: dict[str, str], written: str) -> None:
    table = FLOW.assign(**{name: DAYS.strftime(form) for name, form in columns.items()})
    table.to_csv(data / "a.csv", index=False)
    check(read(data, "a.csv", WIDE | {"date": list(columns), "date_format": written}))


# NetCDF.


def series(**attributes: Any) -> xr.Dataset:
    """Return flows by gauge and day."""
    values = (("gauge_id", "date"), FLOW.to_numpy().T, {"units": "m3/s", **attributes})
    return xr.Dataset({"q": values}, coords={"gauge_id": list(FLOW), "date": DAYS})


@pytest.mark.parametrize("late", [-4e-6, -1e-9, 1.0])
def test_the_day_of_a_netcdf_series(data: Path, late: float) -> None:
    """Stamps a fraction of a second short of midnight, or a day late, at the end of their bounds."""
    first = (DAYS - pd.Timestamp("1900-01-01")).days.to_numpy(np.float64)
    flows = series().assign_coords(date=("date", first + late, {"units": "days since 1900-01-01"}))
    if late > 0:
        flows["date"].attrs["bounds"] = "date_bnds"
        flows["date_bnds"] = (("date", "nv"), np.stack([first, first + 1], axis=1))
    flows.to_netcdf(data / "a.nc")
    check(read(data, "a.nc", {"layout": "long"}))


def test_units_of_variables_by_gauge(data: Path) -> None:
    flows = xr.Dataset({gauge: ("date", 1000 * FLOW[gauge], {"units": "l/s"}) for gauge in FLOW}, {"date": DAYS})
    flows.to_netcdf(data / "a.nc")
    check(read(data, "a.nc", WIDE))
    flows["01001"].attrs["units"] = "m3/s"
    flows.to_netcdf(data / "b.nc")
    with pytest.raises(DataError, match=r"variables of b.nc state different units \(l/s, m3/s\)"):
        read(data, "b.nc", WIDE)


def test_marks_by_other_names_of_the_attribute(data: Path) -> None:
    flows = series(nodata=-5.0)
    flows["q"][:, 3] = -5.0
    flows.to_netcdf(data / "a.nc")
    check(read(data, "a.nc", {"layout": "long"}), FLOW.drop(DAYS[3]).reindex(DAYS))


def test_members_of_an_ensemble_are_not_mixed(data: Path) -> None:
    xr.concat([series(), series()], "member").to_netcdf(data / "a.nc")
    with pytest.raises(DataError, match=r"has the further dims \(member\); keep one of each"):
        read(data, "a.nc", {"layout": "long"})


# Attributes.


def test_areas_are_in_the_units_that_their_file_states(data: Path) -> None:
    table = pd.read_csv(data / "attributes" / "topographic.csv", dtype={"gauge_id": str}).assign(clay=1.0)
    flows = table.set_index("gauge_id").to_xarray()
    flows["area"].attrs["units"] = "mi2"
    flows.to_netcdf(data / "a.nc")
    table.to_parquet(data / "a.parquet")
    areas = {}
    for file in ("a.nc", "a.parquet"):
        section = {"tables": [{"files": file}], "attributes": {"clay": {"column": "clay"}}}
        catchments = factory.config(recipe__catchments=section).recipe.catchments
        tables = attributes.read_tables(catchments, Sources(data))
        areas[file] = attributes.select(tables, catchments, list(factory.GAUGES))["@area"].to_numpy()
    np.testing.assert_allclose(areas["a.parquet"], table["area"])
    np.testing.assert_allclose(areas["a.nc"], table["area"] * 1.609344**2)


# Grids.

RAIN = np.random.default_rng(1).gamma(0.3, 4.0, (30, 12, 9)).astype(np.float32)


def grid(values: np.ndarray, times: Any, units: str = "mm/day", x: np.ndarray = LON, y: np.ndarray = LAT) -> xr.Dataset:
    """Return rain on latitudes and longitudes."""
    return xr.Dataset(
        {"pr": (("time", "lat", "lon"), values, {"units": units})},
        coords={
            "time": ("time", times, {"standard_name": "time"}),
            "lat": ("lat", y, {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": ("lon", x, {"standard_name": "longitude", "units": "degrees_east"}),
        },
    )


def test_sums_since_the_start_of_a_simulation(data: Path) -> None:
    """WRF's rain: the error names the setting, and a run that begins anew loses nothing."""
    hourly = np.repeat(RAIN[:10] / 24, 24, axis=0)
    times = pd.date_range("2001-01-01", periods=241, freq="h")
    sums = np.concatenate([np.zeros_like(RAIN[:1]), hourly.cumsum(axis=0)])
    grid(sums, times, "mm").to_netcdf(data / "a.nc")
    for accumulation in ("none", "since_midnight"):
        with pytest.raises(DataError, match=r"never falls, as sums since the start .*accumulation to since_start"):
            read_grid(data, daily={"aggregation": "sum", "label": "end", "accumulation": accumulation})
    sums[121:] -= sums[120]
    grid(sums, times, "mm").to_netcdf(data / "a.nc")
    found = read_grid(data, daily={"aggregation": "sum", "accumulation": "since_start"})
    np.testing.assert_allclose(found, RAIN[:10], rtol=1e-3, atol=1e-3)
    assert found["time"].values[0] == DAYS[0]


@pytest.mark.parametrize("west", [179.6, -180.4])
def test_a_grid_across_the_date_line(data: Path, west: float) -> None:
    x = 179.65 + 0.1 * np.arange(9)
    grid(RAIN, DAYS[:30], x=(x + 180) % 360 - 180, y=LAT + 0.05).to_netcdf(data / "a.nc")
    np.testing.assert_array_equal(read_grid(data), RAIN)
    bounds = [west, 52.0, west + 0.9, 53.2]
    np.testing.assert_allclose(read_grid(data, grid={"bounds": bounds, "cell": 0.1}), RAIN)


@pytest.mark.parametrize(
    ("times", "units"),
    [
        (DAYS[:30].strftime("%Y%m%d").astype(float) + 0.5, "day as %Y%m%d.%f"),
        (DAYS[:30].strftime("%Y%m%d").astype(int), ""),
        (DAYS[:30].strftime("%Y-%m-%d").to_numpy(str), ""),
    ],
)
def test_times_that_are_dates_as_they_are_written(data: Path, times: Any, units: str) -> None:
    rain = grid(RAIN, times)
    rain["time"].attrs |= {"units": units} if units else {}
    rain.to_netcdf(data / "a.nc")
    found = read_grid(data)
    np.testing.assert_array_equal(found, RAIN)
    assert (found.indexes["time"] == DAYS[:30]).all()


def test_numbers_of_days_are_no_dates() -> None:
    assert cf._plain_dates(pd.Index(np.arange(365))) is None


def test_months_are_no_days(data: Path) -> None:
    rain = grid(RAIN, np.arange(30))
    rain["time"].attrs["units"] = "months since 2001-01-01"
    rain.to_netcdf(data / "a.nc")
    with pytest.raises(DataError, match=r"The times of a.nc are in units that are no days or hours"):
        read_grid(data)
