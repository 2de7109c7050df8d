"""What callers may give: paths, dates, names, settings."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import watercli as wc
from watercli.api.arguments import Date, Names, as_config, as_date, as_names, as_overrides, in_section


@pytest.mark.parametrize(
    "value",
    [
        "2014-10-01",
        "2014-10-01T12:00",
        dt.date(2014, 10, 1),
        dt.datetime(2014, 10, 1, 6),
        np.datetime64("2014-10-01"),
        np.datetime64("2014-10-01T00:00:00.000000000"),
        pd.Timestamp("2014-10-01"),
    ],
    ids=str,
)
def test_a_date_is_any_date(value: Date) -> None:
    assert as_date(value, "--since") == dt.date(2014, 10, 1)


@pytest.mark.parametrize("value", ["2014-02-30", "1/10/2014", "", np.datetime64("NaT"), pd.NaT], ids=str)
def test_what_is_no_date_is_refused(value: Date) -> None:
    with pytest.raises(wc.ConfigError, match=r"--since '.*' is no date; write it as 2014-10-01"):
        as_date(value, "--since")


@pytest.mark.parametrize(
    "names",
    [
        ["01001", "02002"],
        ("01001", "02002"),
        np.array(["01001", "02002"], dtype=object),
        pd.Index(["01001", "02002"]),
        xr.DataArray(["01001", "02002"], dims="catchment"),
        (gauge for gauge in ("01001", "02002")),
    ],
    ids=lambda names: type(names).__name__,
)
def test_names_are_any_sequence(names: Names) -> None:
    assert as_names(names) == ["01001", "02002"]


def test_one_name_or_none() -> None:
    assert as_names("01001") == ["01001"]
    assert as_names([]) == []


def test_settings_are_a_mapping_or_as_on_the_command_line() -> None:
    changes = {"train.steps": 7, "train.held_out_gauges": None, "evaluate.methods": ["gr4j"], "name": "yes"}
    config = as_config("demo", changes)
    assert (config.train.steps, config.evaluate.methods, config.name) == (7, ("gr4j",), "yes")
    assert as_config("demo", as_overrides(changes)) == config
    assert as_config(config, "train.steps=8").train.steps == 8
    assert as_config(config) is config


def test_options_become_settings() -> None:
    given = in_section(
        "embed", since=pd.Timestamp("2006-01-01"), stride=7, catchments="01001", causal=None, layers=True
    )
    assert given == [
        'embed.since="2006-01-01"',
        "embed.stride=7",
        'embed.catchments="01001"',
        "embed.layers=true",
    ]


def test_a_path_is_a_string_or_a_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(wc.load_config("demo").to_yaml(), encoding="utf-8")
    assert wc.load_config(file) == wc.load_config(str(file)) == wc.load_config("demo")
