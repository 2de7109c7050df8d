"""Units as the field writes them; what would hang or mislead is refused."""

from __future__ import annotations

import pytest

from watercli.hydrology.units import parse, stated_in

FOOT = 0.3048


@pytest.mark.parametrize(
    ("text", "plain", "factor"),
    [
        ("0.1 mm/day", "mm/day", 0.1),
        ("0.1mm d-1", "mm/day", 0.1),
        ("10^3 m3 s-1", "m3/s", 1000),
        ("10**-3 m", "m", 1e-3),
        ("1e-3", "1", 1e-3),
        ("mm/24h", "mm/day", 1),
        ("mm/24 hours", "mm/day", 1),
        ("mm per 24 h", "mm/day", 1),
        ("MLD", "m3/day", 1000),
        ("ML/d", "m3/day", 1000),
        ("mgd", "m3/day", 3785.411784),
        ("kcfs", "m3/s", 1000 * FOOT**3),
        ("cfs", "m3/s", FOOT**3),
        ("acre-ft/day", "m3/day", 43_560 * FOOT**3),
        ("l/s/km2", "mm/day", 0.0864),
        ("m³ s⁻¹", "m3/s", 1),
        ("m of water equivalent", "m", 1),
        ("m of water equivalent per day", "m/day", 1),
        ("%", "1", 0.01),
        ("Percent", "1", 0.01),
        ("Mm3/day", "m3/day", 1e6),  # millions, as no river carries cubic megametres
        ("MCM/d", "m3/day", 1e6),
        ("mm3/day", "m3/day", 1e-9),
        ("million m3/day", "m3/day", 1e6),
        ("Mgal/d", "m3/day", 3785.411784),
        ("gpm", "m3/day", 1440 * 0.003785411784),  # no geopotential metres
        ("Cubic Feet Per Second", "m3/s", FOOT**3),
        ("cu ft/s", "m3/s", FOOT**3),
        ("cumecs", "m3/s", 1),
        ("TAF/day", "m3/day", 43_560_000 * FOOT**3),
        ("M3/S", "m3/s", 1),
        ("[m3 s-1]", "m3/s", 1),
        ("cfs/mi2", "mm/day", FOOT**3 * 86_400 * 1000 / 1609.344**2),
        ("mm/3h", "mm/day", 8),
        ("mm per 15 min", "mm/day", 96),
        ("MM/DAY", "mm/day", 1),
        ("tenths of mm", "mm", 0.1),
        ("1/10 mm", "mm", 0.1),
        ("hundredths of an inch", "mm", 0.254),
        ("mm H2O", "mm", 1),
        ("kg m{-2} s{-1}", "kg/m2/s", 1),
        ("Wm-2", "W/m2", 1),
        ("ly/day", "W/m2", 41_840 / 86_400),
        ("mb", "Pa", 100),
        ("KPA", "Pa", 1000),
        ("Sq. Mi.", "km2", 1.609344**2),
        ("ac", "km2", 0.0040468564),
        ("HA", "km2", 0.01),
    ],
)
def test_how_the_field_writes_units(text: str, plain: str, factor: float) -> None:
    assert parse(text).to(parse(plain).units).magnitude == pytest.approx(factor, rel=1e-5)


@pytest.mark.parametrize(
    "text", ["degrees C", "degree_C", "deg C", "degC", "°C", "C", "Celsius", "Degrees Celsius", "ºC", "℃", "[°C]"]
)
def test_degrees_are_no_angles(text: str) -> None:
    assert parse(text).to("kelvin").magnitude == pytest.approx(274.15)


@pytest.mark.parametrize(
    "text",
    ["10**10**10 mm", "mm 9**9**9", "(10)**(10)**10 mm", "mm**10**10", "m**999999999", "m" * 200, "rain", "0 mm"],
)
def test_what_is_no_unit_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match="are no units"):
        parse(text)


def test_kelvin_in_capitals() -> None:
    assert parse("Kelvin") == parse("K")


def test_units_by_other_names_of_the_attribute() -> None:
    assert stated_in({"unit": "mm"}) == "mm"
    assert stated_in({"units": "", "Units": "K"}) == "K"
    assert stated_in({"long_name": "rain"}) is None
