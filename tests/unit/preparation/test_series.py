"""Readers of catchment series: small files faithful to each published format, and what is wrong with some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests import factory
from watercli.errors import ConfigError, DataError
from watercli.preparation import units
from watercli.store import Store

Build = Callable[..., Store]
GAUGES = factory.GAUGES
AREAS = 150.0 * (1 + np.arange(len(GAUGES)))
"""km2, of the synthetic attribute table."""
TO_MM = 86.4 / AREAS
"""mm/day for 1 m3/s."""
FOOT = 0.3048


def flow(seed: int, days: int = 365) -> np.ndarray:
    return np.random.default_rng(seed).gamma(1.0, 5.0, days).round(2) + 0.01


def of(reader: str, variable: str, files: str, wanted: str = "mm/day", **source: Any) -> dict[str, Any]:
    """Return a recipe's modalities: one series."""
    source = {"reader": reader, "variable": variable, "files": files, **source}
    return {"riverflow": {"kind": "series", "units": wanted, "source": source}}


def stored(store: Store, gauge: str) -> np.ndarray:
    values: np.ndarray = store.dataset["riverflow"].sel(catchment=gauge).values
    return values


# CAMELS-US: the layout of basin_timeseries_v1p2_metForcing_obsFlow (Newman et al. 2014, doi:10.5065/D6MW2F4D).


def write_usgs(data: Path, gauge: str, times: pd.DatetimeIndex, values: Sequence[float]) -> Path:
    path = data / "usgs_streamflow" / gauge[:2] / f"{gauge}_streamflow_qc.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        f"{gauge} {day:%Y %m %d} {value:9.2f} {'M' if value == -999 else 'A:e' if day.day == 3 else 'A'}"
        for day, value in zip(times, values, strict=True)
    ]
    path.write_text("\n".join(rows) + "\n")
    return path


def write_forcing(data: Path, gauge: str, times: pd.DatetimeIndex, rain: Sequence[float], capitals: bool) -> Path:
    """Daymet names its columns in small letters, Maurer and NLDAS in capitals; tabs and spaces are mixed."""
    source = "maurer" if capitals else "cida"
    path = data / "basin_mean_forcing" / source / gauge[:2] / f"{gauge}_lump_{source}_forcing_leap.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = "dayl(s)\tprcp(mm/day)\tsrad(W/m2)\tswe(mm)\ttmax(C)\ttmin(C)\tvp(Pa)"
    names = "Dayl(s)\tPRCP(mm/day)\tSRAD(W/m2)\tSWE(mm)\tTmax(C)\tTmin(C)\tVp(Pa)" if capitals else names
    rows = [
        f"{day:%Y %m %d} 12\t30172.51\t{value:.2f}\t153.40\t0.00\t{value / 2:.2f}\t-16.30\t171.69"
        for day, value in zip(times, rain, strict=True)
    ]
    path.write_text("\n".join(["  44.85", " 233.00", " 1234567890", f"Year Mnth Day Hr\t{names}", *rows]) + "\n")
    return path


def test_camels_us_streamflow(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    """Cubic feet per second become mm/day by the area of the table; the year is a leap year; -999 is missing."""
    for seed, gauge in enumerate(GAUGES):
        times = factory.days("2000-02-27", "2001-12-31") if seed else factory.days("2001-01-01", "2001-11-30")
        values = flow(seed, len(times))
        values[30:33] = -999
        write_usgs(data, gauge, times, values)
    store = build(modalities=of("camels_us", "streamflow", "usgs_streamflow/*/*_streamflow_qc.txt"))
    assert store.gauge_ids == list(GAUGES)
    first = flow(0, 334) * FOOT**3 * TO_MM[0]
    np.testing.assert_allclose(stored(store, "01001")[33:334], first[33:], rtol=1e-5)
    assert np.isnan(stored(store, "01001")[[30, 31, 32, 334]]).all()
    later = flow(1, 674) * FOOT**3 * TO_MM[1]
    np.testing.assert_allclose(stored(store, "02002"), later[309:], rtol=1e-5)
    assert "converted from ft3/s to mm/day by the area of each catchment" in logged.text
    assert "local days" in store.dataset["riverflow"].attrs["day"]


@pytest.mark.parametrize("capitals", [False, True])
def test_camels_us_forcing(data: Path, build: Build, capitals: bool) -> None:
    for seed, gauge in enumerate(GAUGES):
        write_forcing(data, gauge, factory.days(), flow(seed), capitals)
    files = "basin_mean_forcing/*/*/*_forcing_leap.txt"
    np.testing.assert_allclose(stored(build(modalities=of("camels_us", "prcp", files)), "10003"), flow(2), rtol=1e-5)
    kelvin = build(modalities=of("camels_us", "tmax(C)", files, wanted="K"))
    np.testing.assert_allclose(stored(kelvin, "20004"), (flow(3) / 2).round(2) + 273.15, rtol=1e-4)
    with pytest.raises(DataError, match=r"01001_lump_.*leap.txt has no column 'prec'; did you mean 'prcp'"):
        build(modalities=of("camels_us", "prec", files))


def test_camels_us_files_that_do_not_serve(data: Path, build: Build) -> None:
    modalities = of("camels_us", "QObs", "usgs_streamflow/**/*.txt")
    path = write_usgs(data, "01001", factory.days(), flow(0))
    text = path.read_text()
    path.write_text(text[: -len("  3.17 A\n")])
    with pytest.raises(DataError, match=r"01001_streamflow_qc.txt has 4 columns on line 365, not 6"):
        build(modalities=modalities)
    path.write_text(text.replace("01001 2001 07 04", "01002 2001 07 04"))
    with pytest.raises(DataError, match="holds gauge 01002 on line 185, not 01001"):
        build(modalities=modalities)
    path.write_text(text.replace("2001 07 04", "2001 07 03"))
    with pytest.raises(DataError, match="has the date 2001-07-03 twice, again on line 185"):
        build(modalities=modalities)
    path.write_text("")
    with pytest.raises(DataError, match=r"01001_streamflow_qc.txt is empty"):
        build(modalities=modalities)


def test_attribute_tables_of_camels_us(data: Path, build: Build) -> None:
    """Semicolons, as camels_topo.txt and camels_clim.txt have them; NA is missing."""
    topo = pd.read_csv(data / "attributes" / "topographic.csv", dtype=str)
    topo.to_csv(data / "attributes" / "camels_topo.txt", sep=";", index=False)
    soil = pd.DataFrame({"gauge_id": GAUGES, "clay_frac": ["10.5", "NA", "11", "12"]})
    soil.to_csv(data / "attributes" / "camels_soil.txt", sep=";", index=False, lineterminator="\r\n")
    changes = {
        "recipe__catchments__tables": [{"files": "attributes/camels_*.txt"}],
        "recipe__catchments__attributes": {"clay": {"column": "clay_frac"}},
    }
    with pytest.raises(DataError, match=r"1 gauge \(02002\) has no value of column 'clay_frac' \(for 'clay'\)"):
        build(**changes)
    store = build(**changes, recipe__catchments__on_missing="drop")
    assert store.gauge_ids == ["01001", "10003", "20004"]
    np.testing.assert_array_equal(store.dataset["static"].values[:, 0], [10.5, 11, 12])


def test_dropped_gauges_are_counted(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    factory.write_attributes(data, ["01001", "02002", "99999"])
    store = build(recipe__catchments__on_missing="drop")
    assert store.gauge_ids == ["01001", "02002"]
    assert "2 gauges (10003, 20004) lack an attribute (such as 'gauge_lat'): left out, 2 kept" in logged.text
    assert "1 gauges of the attribute tables are not used" in logged.text
    for gauge in ("01001", "02002"):
        for name in ("topographic", "caravan"):
            factory.edit(data / "attributes" / f"{name}.csv", gauge, gauge.lstrip("0"))
    with pytest.raises(DataError, match="No gauge has a value of every attribute"):
        build(recipe__catchments__on_missing="drop")
    remedy = r"it is 1001 there: they differ only in leading zeros; set recipe.catchments.tables.0.gauge_id_digits to 5"
    with pytest.raises(DataError, match=rf"4 gauges .* have no value .*; 01001: {remedy}"):
        build()


# Caravan: timeseries/{csv,netcdf}/<source>/<gauge_id>.{csv,nc} (Kratzert et al. 2023, and its repository's code that
# writes both: netCDF with the dim date, and units and time zone as global attributes).


def write_caravan(data: Path, gauge: str, kind: str, times: pd.DatetimeIndex, seed: int) -> None:
    path = data / "timeseries" / kind / "camelsgb" / f"camelsgb_{gauge}.{'nc' if kind == 'netcdf' else 'csv'}"
    path.parent.mkdir(parents=True, exist_ok=True)
    values = flow(seed, len(times))
    values[5] = np.nan
    table = pd.DataFrame({"temperature_2m_mean": values / 2, "total_precipitation_sum": values, "streamflow": values})
    table.index = pd.DatetimeIndex(times, name="date")
    if kind == "csv":
        table.to_csv(path, date_format="%Y-%m-%d")
        return
    dataset = xr.Dataset.from_dataframe(table)
    dataset.attrs = {"Timezone": "Europe/London", "Units": "total_precipitation_sum: mm\nstreamflow: mm/d"}
    dataset.to_netcdf(path, engine="netcdf4")


@pytest.mark.parametrize("kind", ["csv", "netcdf"])
def test_caravan(data: Path, build: Build, kind: str) -> None:
    for seed, gauge in enumerate(GAUGES):
        write_caravan(data, gauge, kind, factory.days(end="2001-12-31" if seed else "2001-06-30"), seed)
    files = f"timeseries/{kind}/*/*"
    store = build(modalities=of("caravan", "streamflow", files, gauge_id_prefix="camelsgb_"))
    assert store.gauge_ids == list(GAUGES)
    assert np.isnan(stored(store, "02002")[5])
    assert np.isnan(stored(store, "01001")[181:]).all()
    np.testing.assert_allclose(stored(store, "02002")[6:], flow(1)[6:], rtol=1e-6)
    day = store.dataset["riverflow"].attrs["day"]
    assert "local standard time" in day
    assert ("Europe/London" in day) == (kind == "netcdf")
    with pytest.raises(DataError, match=r"4 gauges \(camelsgb_01001, .* have no value of column 'gauge_lat'"):
        build(modalities=of("caravan", "streamflow", files))
    with pytest.raises(
        DataError, match=r"camelsgb_01001\.\w+ has no (column|variable) 'streamflo'; did you mean 'stream"
    ):
        build(modalities=of("caravan", "streamflo", files))


def test_a_caravan_netcdf_cut_short(data: Path, build: Build) -> None:
    write_caravan(data, "01001", "netcdf", factory.days(), 0)
    path = next(data.glob("timeseries/netcdf/*/*.nc"))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DataError, match=r"camelsgb_01001.nc cannot be read as NetCDF: it is damaged"):
        build(modalities=of("caravan", "streamflow", "timeseries/netcdf/*/*.nc"))


# NRFA: nrfa.ceh.ac.uk/data-formats-types, and the files of the web interface nrfaapps.ceh.ac.uk/nrfa/nrfa-api.html.

PREAMBLE = """file,timestamp,2024-03-05T18:11:35
database,id,nrfa-public-30
database,name,UK National River Flow Archive
station,id,{gauge}
station,name,Avon at Melksham
station,gridReference,ST9029864102
station,descriptionSummary,"Velocity area station, closed in 1980."
dataType,id,{kind}
dataType,name,Gauged Daily Flow
dataType,parameter,Flow
dataType,units,{units}
dataType,period,day (P1D)
dataType,measurementType,Mean
data,first,2001-01-01
data,last,2001-12-31
"""


def write_nrfa(data: Path, gauge: str, values: Sequence[float], kind: str = "gdf", units: str = "m3/s") -> Path:
    path = data / "nrfa" / f"{gauge}_{kind}.csv"
    path.parent.mkdir(exist_ok=True)
    rows = [
        f"{day:%Y-%m-%d}," + (',"M"' if np.isnan(value) else f"{value:.3f}" + (',"E"' if day.day == 2 else ""))
        for day, value in zip(factory.days(), values, strict=True)
    ]
    text = PREAMBLE.format(gauge=gauge, kind=kind, units=units) + "\n".join(rows) + "\n"
    path.write_bytes(("\ufeff" + text).replace("\n", "\r\n").encode())
    return path


def test_nrfa(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    for seed, gauge in enumerate(GAUGES):
        values = flow(seed)
        values[100:110] = np.nan
        write_nrfa(data, gauge, values)
        write_nrfa(data, gauge, values, "cdr", "mm")
    store = build(modalities=of("nrfa", "gdf", "nrfa/*_gdf.csv"))
    np.testing.assert_allclose(stored(store, "02002")[:100], flow(1)[:100] * TO_MM[1], rtol=1e-5)
    assert np.isnan(stored(store, "02002")[100:110]).all()
    assert "48 days are flagged as estimated; they are kept" in logged.text
    assert store.dataset["riverflow"].attrs["day"] == "water days from 09:00 to 09:00 GMT"
    rain = build(modalities=of("nrfa", "cdr", "nrfa/*_cdr.csv"), recipe__catchments__gauges=["10003", "20004"])
    np.testing.assert_allclose(stored(rain, "10003")[:100], flow(2)[:100], rtol=1e-5)
    with pytest.raises(DataError, match=r"nrfa/01001_cdr.csv holds the data type 'cdr', not 'gdf'"):
        build(modalities=of("nrfa", "gdf", "nrfa/*.csv"))


def test_nrfa_files_that_do_not_serve(data: Path, build: Build) -> None:
    modalities = of("nrfa", "gdf", "nrfa/*.csv")
    path = write_nrfa(data, "01001", flow(0))
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b",")])
    with pytest.raises(DataError, match=r"nrfa/01001_gdf.csv has no value after the date on line 380"):
        build(modalities=modalities)
    path.write_bytes(whole[: whole.rindex(b",") - 3])
    with pytest.raises(DataError, match=r"nrfa/01001_gdf.csv has '2001-12' on line 380"):
        build(modalities=modalities)
    path.write_bytes(whole.replace(b"station,id,01001\r\n", b""))
    with pytest.raises(DataError, match="it names no station"):
        build(modalities=modalities)


# Tables of the user's own.


def frame(days: int = 365) -> pd.DataFrame:
    """Return flow in m3/s, a column for each gauge."""
    table = pd.DataFrame({gauge: flow(seed, days) for seed, gauge in enumerate(GAUGES)})
    table.insert(0, "date", factory.days()[:days].strftime("%Y-%m-%d"))
    return table


def long() -> pd.DataFrame:
    return frame().melt("date", var_name="station", value_name="q")


def check(store: Store) -> None:
    assert store.gauge_ids == list(GAUGES)
    for seed, gauge in enumerate(GAUGES):
        np.testing.assert_allclose(stored(store, gauge), flow(seed) * TO_MM[seed], rtol=1e-5)


def test_a_file_for_each_gauge(data: Path, build: Build) -> None:
    """Byte-order mark, Windows line ends, spaces, a decimal day-first date, more columns, two files of one gauge."""
    for gauge in GAUGES:
        table = frame()[["date", gauge]].set_axis([" day ", "flow"], axis=1)
        table[" day "] = pd.to_datetime(table[" day "]).dt.strftime("%d/%m/%Y ")
        table["note"] = "none"
        for name, part in (("a", table[:200]), ("b", table[200:])):
            path = data / "own" / f"q-{gauge}_{name}.csv"
            path.parent.mkdir(exist_ok=True)
            part.to_csv(path, index=False, sep=";", encoding="utf-8-sig", lineterminator="\r\n")
    layout = {"file_name": "q-{gauge_id}_*", "date": "day", "date_format": "%d/%m/%Y", "separator": ";"}
    modalities = of("table", "flow", "own/*.csv")
    modalities["riverflow"]["source"] |= {"units": "m3/s", "table": layout}
    check(build(modalities=modalities))
    (data / "own" / "q-01001_c.csv").write_bytes((data / "own" / "q-01001_a.csv").read_bytes())
    with pytest.raises(
        DataError, match=r"Gauge 01001 has the date 2001-01-01 twice, in own/q-01001_a.csv, own/q-01001_c"
    ):
        build(modalities=modalities)
    modalities["riverflow"]["source"]["table"] = layout | {"file_name": "flow-{gauge_id}"}
    with pytest.raises(
        DataError, match=r"own/q-01001_a.csv is not named like source.table.file_name, 'flow-\{gauge_id\}'"
    ):
        build(modalities=modalities)


@pytest.mark.parametrize("ending", ["csv", "parquet", "nc"])
@pytest.mark.parametrize("layout", ["long", "wide"])
def test_one_table_of_all_gauges(data: Path, build: Build, ending: str, layout: str) -> None:
    table = long() if layout == "long" else frame()
    path = data / f"flows.{ending}"
    if ending == "csv":
        table.to_csv(path, index=False)
    else:
        table["date"] = pd.to_datetime(table["date"])
    if ending == "parquet":
        table.to_parquet(path)
    if ending == "nc":
        index = ["station", "date"] if layout == "long" else ["date"]
        table.set_index(index).to_xarray().to_netcdf(path, engine="netcdf4")
    source = {"units": "m3/s", "table": {"layout": layout, "gauge_id": "station"}}
    check(build(modalities=of("table", "q", path.name, **source)))


def test_tables_that_do_not_serve(data: Path, build: Build) -> None:
    path, source = data / "flows.csv", {"units": "m3/s", "table": {"layout": "long", "gauge_id": "station"}}
    modalities = of("table", "q", "flows.csv", **source)
    long().to_csv(path, index=False)
    whole = path.read_text()
    path.write_text(whole.rstrip().rpartition(",")[0])
    with pytest.raises(DataError, match=r"flows.csv has 2 columns on line 1461, not 3 .* torn"):
        build(modalities=modalities)
    path.write_text(whole.replace("2001-01-02,01001", "2001-01-01,01001"))
    with pytest.raises(DataError, match=r"flows.csv, gauge 01001, has the date 2001-01-01 twice, again on line 3"):
        build(modalities=modalities)
    path.write_text(whole)
    with pytest.raises(DataError, match=r"flows.csv has no column 'Q'; did you mean 'q'|known: date"):
        build(modalities=of("table", "Q", "flows.csv", **source))
    with pytest.raises(ConfigError, match=r"names 01000, of which 'riverflow' has no record .the nearest id there"):
        build(modalities=modalities, recipe__catchments__gauges=["01000"])
    (data / "flows.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(DataError, match=r"flows.parquet cannot be read as Parquet"):
        build(modalities=of("table", "q", "flows.parquet", **source))


def test_dates_with_a_time_and_torn_dates(data: Path, build: Build) -> None:
    table = frame()
    table["date"] += "T00:00:00Z"
    table.to_csv(data / "flows.csv", index=False)
    modalities = of("table", "q", "flows.csv", units="m3/s", table={"layout": "wide"})
    check(build(modalities=modalities))
    last = table[["01001", "date"]].to_csv(index=False).rstrip()
    (data / "flows.csv").write_text(last.removesuffix("-31T00:00:00Z"))
    with pytest.raises(DataError, match=r"flows.csv has '2001-12' for a date on line 366"):
        build(modalities=modalities)


def test_marks_of_missing_values(data: Path, build: Build) -> None:
    table = frame()
    table["01001"] = table["01001"].astype(object)
    table.loc[3:5, "01001"] = ["-999", "-999.0", "--"]
    table.to_csv(data / "flows.csv", index=False)
    source = {"units": "m3/s", "table": {"layout": "wide"}}
    with pytest.raises(DataError, match=r"flows.csv has '--' for '01001' on line 7; it must be a number"):
        build(modalities=of("table", "q", "flows.csv", **source))
    source["table"] = {"layout": "wide", "missing_values": [-999, "--"]}
    store = build(modalities=of("table", "q", "flows.csv", **source))
    assert np.isnan(stored(store, "01001")[3:6]).all()
    assert np.isfinite(stored(store, "01001")[6:]).all()


def test_a_depth_becomes_discharge(data: Path, build: Build) -> None:
    frame().to_csv(data / "flows.csv", index=False)
    source = {"units": "mm/day", "table": {"layout": "wide"}}
    store = build(modalities=of("table", "q", "flows.csv", wanted="m3/s", **source))
    expected = flow(1) / TO_MM[1]
    np.testing.assert_allclose(stored(store, "02002"), expected, rtol=1e-5)


def test_millilitres_a_day_are_no_discharge() -> None:
    """``ml/d`` is written for megalitres, a thousand million times as much."""
    data = xr.DataArray([[1.0]], dims=("catchment", "time"), coords={"catchment": ["a"]})
    megalitres = units.convert(data, "ML/d", "m3/day", "'q'", lambda *_: None)
    np.testing.assert_allclose(megalitres, 1000)
    for written in ("ml/d", "mL day-1"):
        with pytest.raises(
            DataError, match=rf"'q' is in '{written}', millilitres a day, .* state ML/d in the modality"
        ):
            units.convert(data, written, "m3/s", "'q'", lambda *_: None)
        with pytest.raises(DataError, match=r"millilitres a day, .* state ML/d"):
            units.by_area(data, written, "mm/day", np.array([10.0]), "'q'")
        with pytest.raises(ConfigError, match=r"the units of 'q', are millilitres a day; write megalitres as 'ML/d'"):
            units.convert(data, "m3/s", written, "'q'", lambda *_: None)
