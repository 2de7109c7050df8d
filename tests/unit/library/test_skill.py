"""Regions of a card, where a store has no groups of gauges."""

from __future__ import annotations

import numpy as np

from watercli.library.skill import by_place


def test_a_region_lies_on_one_side_of_an_ocean() -> None:
    corners = {
        "51.5 N, 2.0 W": (51, -3),
        "56.5 N, 4.0 W": (56, -5),
        "40.5 N, 74.0 W": (40, -75),
        "37.5 S, 145.0 E": (-38, 144),
    }
    places = np.array([(south + a, west + 2 * a) for south, west in corners.values() for a in (0.0, 0.5, 1.0)])
    (kind,) = by_place(*places.T)
    assert set(kind.classes) == {f"around {middle}" for middle in corners}
    assert [kind.classes[number] for number in kind.number[::3]] == [f"around {middle}" for middle in corners]


def test_without_four_places_there_are_no_regions() -> None:
    assert not list(by_place(np.array([51.0, 51.0, 52.0, 53.0]), np.zeros(4)))
    assert not list(by_place(np.array([51.0, 52.0, 53.0, 54.0, np.nan]), np.zeros(5)))
