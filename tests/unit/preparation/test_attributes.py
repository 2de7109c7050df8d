"""Attribute tables of users' own: ids, marks, units of areas, places that are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import factory
from tests.unit.preparation.test_series import frame as flows
from tests.unit.preparation.test_series import of
from watercli.config import load
from watercli.errors import ConfigError, DataError
from watercli.preparation.readers import ids, places
from watercli.store import Store

Build = Callable[..., Store]
GAUGES = factory.GAUGES
AREAS = 150.0 * (1 + np.arange(len(GAUGES)))


def table(**columns: Any) -> pd.DataFrame:
    """Return attributes of the synthetic gauges, with columns changed."""
    base = {"gauge_id": list(GAUGES), "gauge_lat": [50.1, 50.2, 50.3, 50.4], "gauge_lon": [-5.1, -5.2, -5.3, -5.4],
            "area": AREAS, "clay": [10.0, 20.0, 30.0, 40.0]}  # fmt: skip
    return pd.DataFrame(base | columns)


@pytest.fixture
def place(data: Path, build: Build) -> Callable[..., Store]:
    """Write the table and prepare by it; ``_settings`` are of the table, others of the catchments."""

    def run(frame: pd.DataFrame, _settings: dict[str, Any] | None = None, _sep: str = ",", **catchments: Any) -> Store:
        frame.to_csv(data / "own.csv", index=False, sep=_sep)
        flows().to_csv(data / "flows.csv", index=False)
        section = {
            "tables": [{"files": "own.csv", **(_settings or {})}],
            "gauge_name": None,
            "attributes": {"clay": {"column": "clay"}},
            **catchments,
        }
        modalities = of("table", "q", "flows.csv", units="m3/s", table={"layout": "wide"})
        return build(recipe__catchments=section, modalities=modalities)

    return run


def clay(store: Store) -> np.ndarray:
    values: np.ndarray = store.dataset["static"].sel(attribute="clay").values
    return values


def test_marks_and_decimal_commas(place: Callable[..., Store], logged: pytest.LogCaptureFixture) -> None:
    """Words and numbers, however the numbers are written; what is left in is asked about."""
    frame = table(clay=["10.5", "no data", "-999.0", "40"])
    drop = {"on_missing": "drop"}
    store = place(frame, {"missing_values": [-999, "No Data"]}, **drop)
    assert store.gauge_ids == [GAUGES[0], GAUGES[3]]
    np.testing.assert_allclose(clay(store), [10.5, 40.0])
    with pytest.raises(DataError, match=r"'no data' .* name it in recipe.catchments.tables.0.missing_values"):
        place(frame)
    assert "a missing mark?" not in logged.text
    place(table(clay=[10.5, 20.0, -999.0, 40.0]))
    assert "1 gauge (10003) has -999 (column 'clay' of own.csv): a missing mark? Name it in" in logged.text
    commas = table(clay=["10,5", "20,25", "30", "40"], area=[f"{area:g}" for area in AREAS])
    for column in ("gauge_lat", "gauge_lon"):
        commas[column] = commas[column].astype(str).str.replace(".", ",")
    store = place(commas, {"decimal": ","}, _sep=";")
    np.testing.assert_allclose(clay(store), [10.5, 20.25, 30.0, 40.0])
    np.testing.assert_allclose(store.dataset["latitude"].values, [50.1, 50.2, 50.3, 50.4])
    with pytest.raises(DataError, match=r"decimal commas: set recipe.catchments.tables.0.decimal"):
        place(commas, _sep=";")


@pytest.mark.parametrize("area", [0.0, -9999.0])
def test_no_area(place: Callable[..., Store], area: float) -> None:
    frame = table(area=[150.0, area, 450.0, 600.0])
    with pytest.raises(DataError, match=rf"1 gauge \(02002\) has no positive area \({area:g} in column 'area'\)"):
        place(frame)
    assert place(frame, on_missing="drop").gauge_ids == [GAUGES[0], GAUGES[2], GAUGES[3]]


@pytest.mark.parametrize(("units", "size"), [("m2", 1e6), ("ha", 100.0), ("mi2", 1 / 2.589988110336)])
def test_areas_in_other_units(place: Callable[..., Store], units: str, size: float) -> None:
    store = place(table(area=AREAS * size), area_units=units)
    np.testing.assert_allclose(store.dataset["area"].values, AREAS, rtol=1e-6)


def test_areas_that_cannot_be(place: Callable[..., Store]) -> None:
    with pytest.raises(DataError, match=r"have an area of 1.5e\+08 km2 .* state its units in recipe.catchments.area_u"):
        place(table(area=AREAS * 1e6))
    with pytest.raises(ConfigError, match=r"recipe.catchments.area_units is 'mm', which is no area"):
        place(table(), area_units="mm")


def test_places_that_are_none(place: Callable[..., Store], logged: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DataError, match=r"latitude beyond 90 degrees \(250000\); columns .* must hold degrees"):
        place(table(gauge_lat=[250000.0] * 4, gauge_lon=[400000.0] * 4))
    with pytest.raises(DataError, match=r"latitude beyond 90 degrees \(-95.1\); swap recipe.catchments.latitude"):
        place(table(gauge_lat=[-95.1, -95.2, -95.3, -95.4], gauge_lon=[40.1, 40.2, 40.3, 40.4]))
    with pytest.raises(DataError, match=r"a longitude of -400; columns"):
        place(table(gauge_lon=[-5.0, -5.0, -400.0, -5.0]))
    store = place(table(gauge_lon=[354.9, 354.8, 354.7, 354.6]))
    np.testing.assert_allclose(store.dataset["longitude"].values, [-5.1, -5.2, -5.3, -5.4])


def test_swapped_coordinates_are_warned_of(place: Callable[..., Store], logged: pytest.LogCaptureFixture) -> None:
    right = table()
    place(right)
    assert "when latitude and longitude are swapped" not in logged.text
    place(right.rename(columns={"gauge_lat": "gauge_lon", "gauge_lon": "gauge_lat"}))
    assert "inside it when latitude and longitude are swapped" in logged.text
    assert "longitudes of the other sign" not in logged.text
    place(table(gauge_lon=[5.1, 5.2, 5.3, 5.4]))
    assert "inside it with longitudes of the other sign: west is negative" in logged.text


def test_a_west_longitude_without_its_sign_is_warned_of(logged: pytest.LogCaptureFixture) -> None:
    """A gauge of the United States that lies in China; gauges that are alone in their own right are not named."""
    recipe = load("gb").recipe
    assert recipe is not None
    assert recipe.catchments is not None
    latitude = pd.Series([40.0, 40.1, 40.2, 64.0, -30.0], index=list("abcde"))
    longitude = pd.Series([-90.0, -90.5, 91.0, -150.0, 145.0], index=latitude.index)
    places.longitudes(latitude, longitude, recipe.catchments)
    assert "1 gauge (c) lies more than 1000 km from every other gauge (c: longitude 91)" in logged.text
    logged.clear()
    places.longitudes(latitude, longitude.replace(91.0, -91.0), recipe.catchments)
    assert not logged.records


@pytest.mark.parametrize(
    ("spell", "settings"),
    [
        (lambda gauge: gauge.lstrip("0"), {"gauge_id_digits": 5}),
        (lambda gauge: f"{int(gauge)}.0", {"gauge_id_digits": 5}),
        (lambda gauge: f"USGS-{gauge}", {"gauge_id_prefix": "USGS-"}),
        (lambda gauge: f"GB_{int(gauge)}", {"gauge_id_prefix": "GB_", "gauge_id_digits": 5}),
        (lambda gauge: f'="{gauge}"', {}),
    ],
)
def test_ids_in_other_spellings(
    place: Callable[..., Store], spell: Callable[[str], str], settings: dict[str, Any]
) -> None:
    frame = table(gauge_id=[spell(gauge) for gauge in GAUGES])
    if settings:
        with pytest.raises(DataError, match=r"they differ only in .*set recipe.catchments.tables.0.gauge_id_"):
            place(frame)
    store = place(frame, settings)
    assert store.gauge_ids == list(GAUGES)
    np.testing.assert_allclose(clay(store), [10.0, 20.0, 30.0, 40.0])


@pytest.mark.parametrize("ids_are", ["dimension", "variable"])
def test_attributes_in_netcdf(place: Callable[..., Store], data: Path, ids_are: str) -> None:
    """As in a file that holds the series too: variables along the ids are attributes, what is declared is missing."""
    frame = table(clay=[10.0, -9999.0, 30.0, 40.0])
    dataset = frame.set_index("gauge_id").to_xarray()
    if ids_are == "variable":
        dataset = dataset.rename(gauge_id="station").reset_index("station").rename(station="gauge_id")
    dataset["streamflow"] = (("date", dataset["clay"].dims[0]), np.ones((5, 4)))
    dataset.to_netcdf(data / "own.nc", engine="netcdf4", encoding={"clay": {"_FillValue": -9999.0}})
    store = place(frame, {"files": "own.nc"}, on_missing="drop")
    assert store.gauge_ids == [GAUGES[0], GAUGES[2], GAUGES[3]]
    np.testing.assert_allclose(clay(store), [10.0, 30.0, 40.0])
    np.testing.assert_allclose(store.dataset["area"].values, AREAS[[0, 2, 3]])
    with pytest.raises(DataError, match=r"own.nc has no variable 'id' of gauge ids"):
        place(frame, {"files": "own.nc", "gauge_id": "id"})


@pytest.mark.parametrize(
    ("gauge", "known", "hint"),
    [
        ("01013500", ["1013500"], "they differ only in leading zeros; set table.gauge_id_digits to 8"),
        ("1013500.0", ["01013500"], "leading zeros and the '.0' of a number; set series.gauge_id_digits to 8"),
        ("USGS-1013500", ["01013500"], "set series.gauge_id_prefix to 'USGS-' and set series.gauge_id_digits to 8"),
        ("01013500", ["1.013500E+06"], "a spreadsheet has made a number of it; save ids as text"),
        ("A1", ["a1"], "they differ only in capitals or signs; mend one of them"),
        ("39001", ["39002"], "the nearest id there is 39002"),
        ("39001", ["x"], ""),
    ],
)
def test_hints(gauge: str, known: list[str], hint: str) -> None:
    assert ids.hint(gauge, known, "series", "table").endswith(hint)
