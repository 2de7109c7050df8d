"""Tables of users' own: how they are encoded, laid out, dated and marked, and what an error tells to set."""

from __future__ import annotations

import datetime
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests import factory
from tests.unit.preparation.test_series import TO_MM, flow, frame, long, of, stored
from watercli.errors import ConfigError, DataError
from watercli.preparation.readers import dates, plain_text, tabular
from watercli.preparation.readers.tabular import Format
from watercli.store import Store

Build = Callable[..., Store]
GAUGES = factory.GAUGES
WIDE = {"layout": "wide"}


def quiet(*_: object) -> None:
    """Say nothing."""


def own(variable: str, files: str, table: dict[str, Any], **source: Any) -> dict[str, Any]:
    return of("table", variable, files, units="m3/s", table=table, **source)


def check(store: Store, missing: slice | list[int] | None = None) -> None:
    """Every gauge has its flow, but on the days that are ``missing``."""
    assert store.gauge_ids == list(GAUGES)
    for seed, gauge in enumerate(GAUGES):
        expected = flow(seed) * TO_MM[seed]
        if missing is not None:
            expected[missing] = np.nan
        np.testing.assert_allclose(stored(store, gauge), expected, rtol=1e-5)


# Encodings and formats.


@pytest.mark.parametrize("encoding", ["gzip", "utf-16", "utf-16-le with a mark", "cp1252"])
def test_encodings(data: Path, build: Build, encoding: str) -> None:
    text = frame().to_csv(index=False).replace("date", "Jour é")
    contents = {
        "gzip": gzip.compress(text.encode()),
        "utf-16": text.encode("utf-16"),
        "utf-16-le with a mark": b"\xff\xfe" + text.replace("\n", "\r\n").encode("utf-16-le"),
        "cp1252": text.encode("cp1252"),
    }
    (data / "flows.csv").write_bytes(contents[encoding])
    check(build(modalities=own("q", "flows.csv", WIDE | {"date": "Jour é"})))


def test_a_compressed_file_for_each_gauge(data: Path, build: Build) -> None:
    (data / "own").mkdir()
    for gauge in GAUGES:
        text = frame()[["date", gauge]].rename(columns={gauge: "q"}).to_csv(index=False)
        (data / "own" / f"{gauge}.csv.gz").write_bytes(gzip.compress(text.encode()))
    check(build(modalities=own("q", "own/*.csv.gz", {})))


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"PK\x03\x04rest", "is a zip archive; unpack it"),
        (b"BZh91", "cannot be read as text: it is damaged"),
        (b"\x89HDF\r\n", "is NetCDF or HDF5, not text"),
        (b"\x1f\x8b\x08 torn", "cannot be read as text: it is damaged"),
    ],
)
def test_files_that_are_no_text(data: Path, build: Build, content: bytes, advice: str) -> None:
    (data / "flows.csv").write_bytes(content)
    with pytest.raises(DataError, match=f"flows.csv {advice}"):
        build(modalities=own("q", "flows.csv", WIDE))


def test_an_excel_workbook(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    """Dates and numbers as Excel keeps them, a title above, a failed formula, and a sheet of remarks before."""
    rows = frame().assign(date=lambda table: pd.to_datetime(table["date"]))
    with pd.ExcelWriter(data / "flows.xlsx") as writer:
        pd.DataFrame({"remarks": ["checked"]}).to_excel(writer, sheet_name="notes", index=False)
        rows.to_excel(writer, sheet_name="flow", index=False, startrow=2)
        writer.sheets["flow"]["A1"] = "Daily flow in m3/s"
        for column in range(2, 2 + len(GAUGES)):
            writer.sheets["flow"].cell(row=7, column=column).value = "#N/A"
    source = own("q", "flows.xlsx", WIDE | {"sheet": "flow", "skip_lines": 2})
    check(build(modalities=source), missing=[3])
    with pytest.raises(DataError, match=r"flows.xlsx has no sheet 'flows'; did you mean 'flow'"):
        build(modalities=own("q", "flows.xlsx", WIDE | {"sheet": "flows"}))
    with pytest.raises(DataError, match=r"flows.xlsx has no column 'date'"):  # of the sheets the first is read
        build(modalities=own("q", "flows.xlsx", WIDE))
    assert "flows.xlsx has the sheets notes, flow: 'notes' is read; name another by the setting sheet" in logged.text


def test_a_torn_workbook(data: Path, build: Build) -> None:
    frame().to_excel(data / "flows.xlsx", index=False)
    content = (data / "flows.xlsx").read_bytes()
    (data / "flows.xlsx").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"flows.xlsx is a zip archive; unpack it"):
        build(modalities=own("q", "flows.xlsx", WIDE))


def test_a_german_export(data: Path, build: Build) -> None:
    """Lines above the names, a line of units below, semicolons, decimal commas, comments among the values."""
    rows = frame().to_csv(index=False, sep=";", decimal=",").splitlines()
    text = [
        "Landesamt",
        "",
        "Abfluss, Tagesmittel",
        rows[0],
        ";m³/s;m³/s;m³/s;m³/s",
        *rows[1:9],
        "// geprüft",
        *rows[9:],
    ]
    (data / "flows.csv").write_text("\n".join(text))
    layout = WIDE | {"separator": ";", "skip_lines": 3, "lines_below_names": 1, "comment": "//"}
    check(build(modalities=own("q", "flows.csv", layout | {"decimal": ","})))
    with pytest.raises(DataError, match=r"on line 6; .*decimal commas: set modalities.riverflow.source.table.decimal"):
        build(modalities=own("q", "flows.csv", layout))
    with pytest.raises(DataError, match=r"5 columns on line 4, not 1 .* leave lines above the names out by skip_lines"):
        build(modalities=own("q", "flows.csv", WIDE | {"separator": ";"}))


def test_decimal_commas_are_not_decimal_points(data: Path, build: Build) -> None:
    """Where the comma is the decimal sign, 1.250 may be a thousand: it is refused, not read as 1.25."""
    (data / "flows.csv").write_text("date;01001\n2001-01-01;1.250\n2001-01-02;1,5\n")
    with pytest.raises(DataError, match=r"has '1.250' for '01001' on line 2; it must be a number"):
        build(modalities=own("q", "flows.csv", WIDE | {"separator": ";", "decimal": ","}))


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("Ice", r"if 'Ice' marks a missing value, name it in modalities.riverflow.source.table.missing_values"),
        ('"1,250.0"', "the thousands have a separator"),
        ("<0.01", r"take the sign beside the number out of the file, or name '<0.01' in .*missing_values"),
        ("1.2e", "take the sign beside the number out of the file"),
        ("-inf", "infinite: mend it"),
    ],
)
def test_what_is_no_number(data: Path, build: Build, value: str, remedy: str) -> None:
    lines = frame()[["date", "01001"]].to_csv(index=False).splitlines()
    lines[7] = f"2001-01-07,{value}"
    (data / "flows.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"for '01001' on line 8; it must be a number, .*{remedy}"):
        build(modalities=own("q", "flows.csv", WIDE))


def test_the_fast_parser_reads_what_the_strict_one_reads(tmp_path: Path) -> None:
    """Quotes, blank lines, spaces, old line ends: equal to the last bit; what is torn is left to the strict one."""
    path = tmp_path / "table.csv"
    values = np.random.default_rng(0).gamma(1.0, 5.0, 200)
    rows = [
        f'"{day:%Y-%m-%d}", {value!r} ,"x"' for day, value in zip(factory.days()[:200], values.tolist(), strict=True)
    ]
    rows[5] = '"2001-01-06", NA,"x"'
    rows.insert(50, "")
    path.write_text("\r\n".join(["# station", '"date","flow","note"', *rows]))
    fast = plain_text.read(path, "table.csv", quiet, tabular.CSV, ["date"], ["flow"], ())
    strict = tabular.read_lines(path, "table.csv", quiet).columns(["date", "flow"])
    assert fast["date"].tolist() == strict["date"].tolist()
    np.testing.assert_array_equal(fast["flow"].to_numpy(), tabular.to_numbers(strict["flow"], "table.csv", "flow"))
    assert np.isnan(fast["flow"][5])
    assert np.isfinite(fast["flow"].drop(5)).all()
    for torn in ('"2001-09-01",1.5', '"2001-09-01",1.5,x,y', "# later\n2001-09-01,1,x", "2001-09-01,inf,x", '"a,b",1'):
        path.write_text("\n".join(["date,flow,note", "2001-08-01,1,x", torn]))
        with pytest.raises(plain_text.Unsure):
            plain_text.read(path, "table.csv", quiet, tabular.CSV, ["date"], ["flow"], ())
    spaces = Format((" ",))
    path.write_text("date flow\n2001-08-01  1\n2001-08-02\n")
    with pytest.raises(plain_text.Unsure):
        plain_text.read(path, "table.csv", quiet, spaces, ["date"], ["flow"], ())


def test_a_long_table_held_as_categories(data: Path, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_text, "LARGE", 1000)
    long().to_csv(data / "flows.csv", index=False)
    check(build(modalities=own("q", "flows.csv", {"layout": "long", "gauge_id": "station"})))


def test_each_file_is_parsed_once(data: Path, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two modalities of the same files: the second takes what the first has read, with marks of its own respected."""
    (data / "own").mkdir()
    for seed, gauge in enumerate(GAUGES):
        table = pd.DataFrame({"date": factory.days().strftime("%Y-%m-%d"), "q": flow(seed), "rain": flow(seed + 10)})
        table.to_csv(data / "own" / f"{gauge}.csv", index=False)
    parsed: list[str] = []
    parser = plain_text.read

    def counted(path: Path, name: str, *rest: Any) -> pd.DataFrame:
        parsed.append(name)
        return parser(path, name, *rest)

    monkeypatch.setattr(plain_text, "read", counted)
    modalities = own("q", "own/*.csv", {})
    modalities |= {"rain": of("table", "rain", "own/*.csv", units="mm/day", table={})["riverflow"]}
    store = build(modalities=modalities)
    check(store)
    np.testing.assert_allclose(store.dataset["rain"].sel(catchment="01001").values, flow(10), rtol=1e-5)
    assert len(parsed) == len(GAUGES)
    parsed.clear()
    modalities["rain"]["source"]["missing_values"] = [-999]
    build(modalities=modalities)
    assert len(parsed) == 2 * len(GAUGES)


# Missing values.


def test_marks_are_in_units_of_the_source(data: Path, build: Build) -> None:
    """-999 m3/s is compared before the flow becomes mm/day; -28316.8 is what -1e6 ft3/s became elsewhere."""
    table = frame()
    table.loc[3:5, "01001"] = -999.0
    table.loc[6, "01001"] = -28316.818359
    table.to_csv(data / "flows.csv", index=False)
    store = build(modalities=own("q", "flows.csv", WIDE, missing_values=[-999, -28316.8]))
    assert np.isnan(stored(store, "01001")[3:7]).all()
    np.testing.assert_allclose(stored(store, "01001")[7:], (flow(0) * TO_MM[0])[7:], rtol=1e-5)


def test_a_mark_of_zero_leaves_small_flows(data: Path, build: Build) -> None:
    table = frame()
    table.loc[3, "01001"], table.loc[4, "01001"] = 0.0, 1e-6
    table.to_csv(data / "flows.csv", index=False)
    values = stored(build(modalities=own("q", "flows.csv", WIDE, missing_values=[0])), "01001")
    assert np.isnan(values[3])
    assert values[4] > 0


@pytest.mark.parametrize("mark", [-9999.0, -99.0, 1e20, -28316.8])
def test_a_repeated_impossible_value(data: Path, build: Build, logged: pytest.LogCaptureFixture, mark: float) -> None:
    table = frame()
    table.loc[10:29, "02002"] = mark
    table.to_csv(data / "flows.csv", index=False)
    build(modalities=own("q", "flows.csv", WIDE))
    assert f"({mark:g} in the files) again and again: a missing mark? Name it in" in logged.text
    assert "modalities.riverflow.source.missing_values, or set recipe.quality.to_missing to [range]" in logged.text
    assert "are these the units" not in logged.text
    logged.clear()
    values = stored(build(modalities=own("q", "flows.csv", WIDE, missing_values=[mark])), "02002")
    assert np.isnan(values[10:30]).all()
    assert "a missing mark?" not in logged.text


def test_rounding_noise_is_no_mark(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    table = frame()
    table.loc[10:29, "02002"] = -4.5e-05
    table.to_csv(data / "flows.csv", index=False)
    build(modalities=own("q", "flows.csv", WIDE))
    assert "a missing mark?" not in logged.text


def test_marks_in_netcdf(data: Path, build: Build) -> None:
    """What a file declares is missing, and what the recipe names too."""
    table = long()
    table["date"] = pd.to_datetime(table["date"])
    dataset = table.set_index(["station", "date"]).to_xarray()
    values = dataset["q"].to_numpy()
    values[:, 3], values[:, 4] = -9999.0, -777.0
    dataset.to_netcdf(data / "flows.nc", engine="netcdf4", encoding={"q": {"_FillValue": -9999.0}})
    layout = {"layout": "long", "gauge_id": "station"}
    check(build(modalities=own("q", "flows.nc", layout, missing_values=[-777])), missing=[3, 4])


def test_marks_of_published_formats(data: Path, build: Build) -> None:
    (data / "caravan").mkdir()
    for seed, gauge in enumerate(GAUGES):
        table = pd.DataFrame({"date": factory.days().strftime("%Y-%m-%d"), "streamflow": flow(seed)})
        table.loc[3:4, "streamflow"] = -9999.0
        table.to_csv(data / "caravan" / f"{gauge}.csv", index=False)
    store = build(modalities=of("caravan", "streamflow", "caravan/*.csv", missing_values=[-9999]))
    np.testing.assert_allclose(stored(store, "01001")[5:], flow(0)[5:], rtol=1e-5)
    assert np.isnan(stored(store, "01001")[3:5]).all()


# Dates.


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("%d/%m/%Y", r"set modalities.riverflow.source.table.date_format to '%d/%m/%Y'"),
        ("%m/%d/%Y", r"date_format to '%m/%d/%Y'"),
        ("%d-%b-%y", r"date_format to '%d-%b-%y'"),
        ("%d.%m.%Y", r"date_format to '%d.%m.%Y'"),
    ],
)
def test_an_error_names_the_format_of_dates(data: Path, build: Build, written: str, remedy: str) -> None:
    table = frame()
    table["date"] = pd.to_datetime(table["date"]).dt.strftime(written)
    table.to_csv(data / "flows.csv", index=False)
    with pytest.raises(DataError, match=remedy):
        build(modalities=own("q", "flows.csv", WIDE))
    check(build(modalities=own("q", "flows.csv", WIDE | {"date_format": written})))


def test_dates_that_are_none() -> None:
    def refused(value: str) -> str:
        with pytest.raises(DataError) as caught:
            dates.to_days(pd.Series(["2001-01-01", value], index=pd.Index([2, 3], name="line")), "a.csv")
        return str(caught.value)

    assert refused("") == "a.csv has no date on line 3; mend or remove that line"
    assert "'2001-02-29' is no day of the calendar" in refused("2001-02-29")
    assert "has '36892' for a date on line 3" in refused("36892")


def test_midnights_of_another_zone_are_warned_of(data: Path, build: Build, logged: pytest.LogCaptureFixture) -> None:
    table = frame()
    local = factory.days().tz_localize("Europe/Zurich").tz_convert("UTC")
    table["date"] = local.strftime("%Y-%m-%dT%H:%M:%SZ")
    table.to_csv(data / "flows.csv", index=False)
    store = build(modalities=own("q", "flows.csv", WIDE))
    assert "has stamps at 22:00, 23:00, which may be midnights of a zone east of UTC" in logged.text
    np.testing.assert_allclose(stored(store, "01001")[:-1], (flow(0) * TO_MM[0])[1:], rtol=1e-5)
    logged.clear()
    table["date"] = factory.days().strftime("%Y-%m-%d 09:00")
    table.to_csv(data / "flows.csv", index=False)
    check(build(modalities=own("q", "flows.csv", WIDE)))
    assert "flows.csv has stamps at 09:00: the time of day is cut off, the date kept as stamped" in logged.text


def test_hours_become_days(data: Path, build: Build) -> None:
    """Hourly flow in UTC, by a mean over days that begin at 09:00; a day that lacks an hour is missing."""
    hours = pd.date_range("2001-01-01 09:00", "2001-12-31 08:00", freq="h")
    values = np.random.default_rng(0).gamma(1.0, 5.0, len(hours)).round(3)
    table = pd.DataFrame({"time": hours.strftime("%Y-%m-%d %H:%M"), "q": values, "gauge_id": "01001"}).drop(index=30)
    table.to_csv(data / "flows.csv", index=False)
    layout = {"layout": "long", "date": "time"}
    with pytest.raises(DataError, match=r"has a value every 1 hours; .* in modalities.riverflow.source.daily"):
        build(modalities=own("q", "flows.csv", layout))
    daily = {"aggregation": "mean", "day_start_hour": 9, "label": "start"}
    store = build(modalities=own("q", "flows.csv", layout, daily=daily))
    expected = values.reshape(-1, 24).mean(axis=1) * TO_MM[0]
    expected[1] = np.nan
    np.testing.assert_allclose(stored(store, "01001")[:364], expected, rtol=1e-5)
    assert store.dataset["riverflow"].attrs["day"].startswith("09:00 to 09:00 UTC 1 day later, mean of 24 values")


# Layouts.


def test_rows_by_another_column(data: Path, build: Build) -> None:
    """Days of another quality are missing; the codes may be numbers."""
    table = long()
    table["code"] = np.where(table["date"].isin(["2001-01-04", "2001-01-05"]), 3, 1)
    table.to_csv(data / "flows.csv", index=False)
    layout = {"layout": "long", "gauge_id": "station", "where": {"code": [1, 2]}}
    check(build(modalities=own("q", "flows.csv", layout)), missing=[3, 4])
    with pytest.raises(DataError, match=r"flows.csv has no column 'quality'"):
        build(modalities=own("q", "flows.csv", layout | {"where": {"quality": ["A"]}}))


def test_errors_name_the_layout(data: Path, build: Build) -> None:
    frame().to_csv(data / "flows.csv", index=False)
    with pytest.raises(DataError, match=r"no column 'gauge_id'.* set modalities.riverflow.source.table.layout to file"):
        build(modalities=own("q", "flows.csv", {"layout": "long"}))
    with pytest.raises(DataError, match=r"no column 'q'.* or set modalities.riverflow.source.table.layout to wide"):
        build(modalities=own("q", "flows.csv", {"layout": "file"}))
    frame().to_csv(data / "flows.csv", index=False, sep=";")
    with pytest.raises(DataError, match=r"no column 'date'.*set modalities.riverflow.source.table.separator to ';'"):
        build(modalities=own("q", "flows.csv", {"layout": "file"}))


def test_a_wide_table_with_parts_of_the_date(data: Path, build: Build) -> None:
    table = frame()
    when = pd.to_datetime(table["date"])
    table = table.assign(Year=when.dt.year, month=when.dt.month, day=when.dt.day)
    table.to_csv(data / "flows.csv", index=False)
    check(build(modalities=own("q", "flows.csv", WIDE)))


@pytest.mark.parametrize("ids", ["dimension", "variable", "characters"])
def test_netcdf_with_variables_of_other_dimensions(data: Path, build: Build, ids: str) -> None:
    """A grid in the same file is not read; the ids may be a variable beside the dimension, even one of characters."""
    values = np.stack([flow(seed) for seed in range(len(GAUGES))])
    dataset = xr.Dataset(
        {"q": (("station", "date"), values), "elevation": (("y", "x"), np.ones((300, 400)))},
        coords={"date": factory.days()},
    )
    names = np.array(GAUGES, dtype="S" if ids == "characters" else object)
    dataset["station" if ids == "dimension" else "gauge"] = ("station", names)
    dataset.to_netcdf(data / "flows.nc", engine="netcdf4")
    gauge_id = "station" if ids == "dimension" else "gauge"
    check(build(modalities=own("q", "flows.nc", {"layout": "long", "gauge_id": gauge_id})))
    for layout in ("file", "wide"):
        with pytest.raises(DataError, match=r"has the dims \(.*; set .*source.table.layout to long"):
            build(modalities=own("q", "flows.nc", {"layout": layout}))


def test_a_netcdf_for_each_gauge(data: Path, build: Build) -> None:
    (data / "own").mkdir()
    for seed, gauge in enumerate(GAUGES):
        dataset = xr.Dataset(
            {"q": (("date", "one"), flow(seed)[:, None]), "soil": (("layer",), np.arange(4.0))},
            coords={"date": factory.days()},
        )
        dataset.to_netcdf(data / "own" / f"{gauge}.nc", engine="netcdf4")
    check(build(modalities=own("q", "own/*.nc", {})))


@pytest.mark.parametrize("calendar", ["360_day", "noleap"])
def test_netcdf_of_other_calendars(data: Path, build: Build, logged: pytest.LogCaptureFixture, calendar: str) -> None:
    """As in grids: no value moves to another date. Days that are stamped at their end are those of their bounds."""
    days = factory.days()
    begins = xr.date_range(f"{days[0]:%Y-%m-%d}", f"{days[-2]:%Y-%m-%d}", calendar=calendar, use_cftime=True)
    bounds = np.stack([begins, begins + datetime.timedelta(days=1)], axis=1)
    values = np.stack([1 + np.arange(len(begins)) + 1000.0 * seed for seed in range(len(GAUGES))])
    dataset = xr.Dataset(
        {"q": (("station", "date"), values), "date_bnds": (("date", "bnds"), bounds)},
        coords={"date": ("date", bounds[:, 1], {"bounds": "date_bnds"}), "station": list(GAUGES)},
    )
    dataset.to_netcdf(data / "flows.nc", engine="netcdf4")
    store = build(modalities=own("q", "flows.nc", {"layout": "long", "gauge_id": "station"}))
    where = next(row for row, day in enumerate(begins) if (day.month, day.day) == (3, 1))
    area = float(store.dataset["area"].sel(catchment="01001"))
    flow = store.dataset["riverflow"].sel(catchment="01001")
    np.testing.assert_allclose(flow.sel(time=f"{begins[0].year}-03-01"), (1 + where) * 86.4 / area, rtol=1e-5)
    assert f"flows.nc has the calendar {calendar}: dates are kept" in logged.text
    as_list = dataset.drop_vars("date_bnds").rename(date="row").isel(station=0, row=slice(50))
    as_list = as_list.assign(date=("row", bounds[:50, 0]), station=("row", ["01001"] * 50)).drop_vars("row")
    as_list.to_netcdf(data / "flows.nc", engine="netcdf4")
    with pytest.raises(DataError, match=rf"'date' in flows.nc has dates of the calendar {calendar} in a list; write"):
        build(modalities=own("q", "flows.nc", {"layout": "long", "gauge_id": "station"}))


# Gauge ids.


def test_ids_without_their_zeros(data: Path, build: Build) -> None:
    """pandas writes ids as 1001.0 where a row of the column was empty; the recipe says how many digits they have."""
    table = long()
    table["station"] = table["station"].astype(int).astype(float)
    table.to_csv(data / "flows.csv", index=False)
    layout = {"layout": "long", "gauge_id": "station"}
    remedy = r"it is 10003 there: .* the '.0' of a number; set modalities.<name>.source.gauge_id_digits to 5"
    with pytest.raises(DataError, match=remedy):
        build(modalities=own("q", "flows.csv", layout))
    check(build(modalities=own("q", "flows.csv", layout, gauge_id_digits=5)))
    table.to_parquet(data / "flows.parquet")
    with pytest.raises(DataError, match=r"as decimal numbers; set modalities.riverflow.source.gauge_id_digits"):
        build(modalities=own("q", "flows.parquet", layout))
    check(build(modalities=own("q", "flows.parquet", layout, gauge_id_digits=5)))


def test_a_gauge_of_the_recipe_that_is_spelt_otherwise(data: Path, build: Build) -> None:
    table = long()
    table["station"] = "GB-" + table["station"]
    table.to_csv(data / "flows.csv", index=False)
    modalities = own("q", "flows.csv", {"layout": "long", "gauge_id": "station"})
    remedy = "it is GB-01001 there: they differ only in the prefix GB-; set modalities.riverflow.source.gauge_id_prefix"
    with pytest.raises(ConfigError, match=remedy):
        build(modalities=modalities, recipe__catchments__gauges=["01001"])


# Transposed tables, compact dates, merged files.


def test_transposed_tables(data: Path, build: Build) -> None:
    frame().set_index("date").T.to_csv(data / "flows.csv", index_label="date")
    places = pd.read_csv(data / "attributes" / "topographic.csv", dtype=str).set_index("gauge_id")
    places.T.to_csv(data / "attributes" / "topographic.csv", sep=";", index_label="gauge_id")
    table = {"files": "attributes/topographic.csv", "transposed": True}
    changes = {
        "recipe__catchments__tables": [table],
        "recipe__catchments__attributes": {"area": {"column": "area", "units": "km2"}},
        "modalities": own("q", "flows.csv", WIDE | {"transposed": True}),
    }
    check(build(**changes))
    factory.edit(data / "flows.csv", "\n01001,", "\n01001,much")
    with pytest.raises(DataError, match=r"flows\.csv has 'much.*' for '01001' in column 2"):
        build(**changes)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_compact_dates(data: Path, build: Build, ending: str) -> None:
    table = frame()
    table["date"] = pd.to_datetime(table["date"]).dt.strftime("%Y%m%d").astype(int)
    getattr(table, f"to_{ending}")(data / f"flows.{ending}", index=False)
    check(build(modalities=own("q", f"flows.{ending}", WIDE)))


def test_a_caravan_merged_into_one_file(data: Path, build: Build) -> None:
    """Series and attributes of all gauges in one netCDF."""
    places = pd.read_csv(data / "attributes" / "topographic.csv", dtype={"gauge_id": str}).set_index("gauge_id")
    merged = xr.Dataset(
        {
            "streamflow": (("gauge_id", "date"), [flow(seed) for seed in range(4)], {"units": "mm/d"}),
            **{name: ("gauge_id", places[name].to_numpy()) for name in ("gauge_lat", "gauge_lon", "area")},
        },
        coords={"gauge_id": list(GAUGES), "date": factory.days()},
    )
    merged.to_netcdf(data / "caravan.nc")
    layout = {"layout": "long", "gauge_id": "gauge_id", "date": "date"}
    changes = {
        "recipe__catchments__tables": [{"files": "caravan.nc"}],
        "recipe__catchments__attributes": {"area": {"column": "area", "units": "km2"}},
        "recipe__catchments__gauge_name": None,
    }
    with pytest.raises(
        DataError, match=r"is read by modalities\.riverflow\.source\.reader 'table' and table {layout: long"
    ):
        build(**changes, modalities=of("caravan", "streamflow", "caravan.nc"))
    store = build(**changes, modalities=of("table", "streamflow", "caravan.nc", table=layout))
    np.testing.assert_allclose(stored(store, "10003"), flow(2), rtol=1e-5)
    assert store.dataset["area"].values.tolist() == [150, 300, 450, 600]
