"""The report in a browser: no errors, every control does what it says, and all of it fits a phone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from watercli.evaluation.report.formatting import with_minus

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=5000",
    "--window-size=390,844",
)
PROBE = """
<script>
(() => {
  const id = (name) => document.getElementById(name);
  const seen = {};
  const texts = [];
  URL.createObjectURL = (blob) => { texts.push(blob.text()); return "#"; };
  const state = () => ({
    about: id("about").textContent, view: id("in-view").textContent, hash: location.hash,
    lines: [...document.querySelectorAll("#hydrograph path[data-key]")].map((one) => one.dataset.key),
    observed: document.querySelector('#hydrograph path[data-key="observed"]')?.getAttribute("d").length ?? 0,
    dots: document.querySelectorAll("#pairs path").length, here: document.querySelectorAll("svg a.here").length,
  });
  const column = (table, number) => [...id(table).tBodies[0].rows].map((row) => row.cells[number].textContent.trim());
  const click = (name) => { id(name).click(); seen[name] = state(); };
  const step = (name, act) => { act(); seen[name] = state(); };
  const key = (name) => id("hydrograph").dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  seen.loaded = state();
  seen.sorted = column("methods", 1);
  ["best", "worst", "previous", "next", "in", "left", "right", "out"].forEach(click);
  step("plus", () => key("+"));
  step("home", () => key("Home"));
  step("log", () => id("log").click());
  step("box", () => id("shown").querySelector("input").click());
  step("drag", () => {
    const box = id("hydrograph").getBoundingClientRect();
    const at = (type, share) => id("hydrograph").dispatchEvent(new PointerEvent(type,
      { clientX: box.left + share * box.width, clientY: box.top + 60, pointerId: 1, bubbles: true }));
    HTMLElement.prototype.setPointerCapture = () => {};
    at("pointerdown", 0.3); at("pointermove", 0.5); at("pointerup", 0.5);
  });
  seen.readout = id("readout").textContent;
  const heads = id("every-catchment").tHead.rows[0].cells;
  heads[0].querySelector("button").click();
  seen.ascending = [column("every-catchment", 0), heads[0].getAttribute("aria-sort")];
  heads[0].querySelector("button").click();
  seen.descending = [column("every-catchment", 0), heads[0].getAttribute("aria-sort")];
  id("every-catchment-filter").value = column("every-catchment", 0)[1];
  id("every-catchment-filter").dispatchEvent(new Event("input"));
  seen.filtered = [...id("every-catchment").tBodies[0].rows].filter((row) => !row.hidden).length;
  id("every-catchment").closest("section").querySelector(".bar button").click();
  id("save").click();
  // A browser without a screen makes no window as narrow as a phone, but a page.
  document.documentElement.style.width = "390px";
  window.dispatchEvent(new Event("resize"));
  const redrawn = new Promise((done) => setTimeout(done, 500));
  Promise.all([redrawn, ...texts]).then(([, ...all]) => {
    seen.saved = all;
    seen.beyond = [...document.querySelectorAll("body *")].filter((one) => !one.closest(".scroll, svg > *")
      && one.getBoundingClientRect().right > 391).map((one) => `${one.tagName}#${one.id}`);
    const out = document.createElement("pre");
    out.id = "seen";
    out.textContent = JSON.stringify(seen);
    document.body.append(out);
    console.error("deliberate");
  });
})();
</script>
</body>"""


@dataclass(frozen=True)
class Shown:
    """What a browser made of a page."""

    seen: dict[str, Any]
    console: list[str]


@pytest.fixture(scope="module")
def shown(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Open the report at a catchment, some days and an order of the address, and then use every control."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser to look at the report with ({', '.join(BROWSERS)})")
    folder = tmp_path_factory.mktemp("browser")
    page = folder / "report.html"
    page.write_text((out / "report.html").read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")
    address = f"{page.as_uri()}#gauge=03003&from=2002-02-01&to=2002-03-02&sort=methods:1:desc"
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = re.findall(r'CONSOLE[^\]]*\] (".*)', done.stderr)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the page's script did not come to its end: {console}"
    text = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return Shown(json.loads(text), console)


@pytest.fixture(scope="module")
def ranked(out: Path) -> list[str]:
    """Return the scored gauges, the best by the main method first."""
    data = xr.open_zarr(out / "results.zarr").load()
    main = json.loads((out / "results.json").read_text())["riverflow"]["main_method"]
    nse = data["score"].sel({"metric": "nse", "method": main}).where(data["days"] > 0, drop=True).fillna(-1e9)
    return [str(one) for one in nse.sortby(-nse)["catchment"].values]


def first_day(state: dict[str, Any]) -> np.datetime64:
    return np.datetime64(state["view"][:10])


def last_day(state: dict[str, Any]) -> np.datetime64:
    return np.datetime64(state["view"][14:24])


def test_nothing_goes_wrong(shown: Shown) -> None:
    # The last words are the test's own: errors would be seen.
    assert [one.split(",")[0] for one in shown.console] == ['"deliberate"']


def test_the_address_chooses_catchment_days_and_order(shown: Shown) -> None:
    loaded = shown.seen["loaded"]
    assert loaded["about"].startswith("03003 ")
    assert (str(first_day(loaded)), str(last_day(loaded))) == ("2002-02-01", "2002-03-02")
    values = [float(one.replace("\N{MINUS SIGN}", "-")) for one in shown.seen["sorted"]]
    assert values == sorted(values, reverse=True)
    assert loaded["lines"][-1] in ("probe", "simulation")
    assert "observed" in loaded["lines"]
    assert loaded["dots"] >= 2
    assert loaded["here"] == 1, "the map does not show where the catchment is"


def test_a_phone_shows_all_of_its_width(shown: Shown) -> None:
    assert shown.seen["beyond"] == []


def test_catchments_are_chosen(shown: Shown, ranked: list[str]) -> None:
    expected = {"best": 0, "worst": -1, "previous": -2, "next": -1}
    for name, place in expected.items():
        assert shown.seen[name]["about"].startswith(f"{ranked[place]} "), name
        assert f"gauge={ranked[place]}" in shown.seen[name]["hash"]


def test_the_hydrograph_zooms_and_moves(shown: Shown) -> None:
    def days(name: str) -> tuple[np.datetime64, int]:
        state = shown.seen[name]
        return first_day(state), int((last_day(state) - first_day(state)) / np.timedelta64(1, "D"))

    (start, span), whole = days("next"), 89
    assert days("in")[1] == pytest.approx(span / 2, abs=1)
    assert days("left")[0] < days("in")[0]
    assert days("right")[0] > days("left")[0]
    assert days("out") == (np.datetime64("2002-01-01"), whole)
    assert days("plus")[1] == pytest.approx(whole / 2, abs=1)
    assert days("home") == days("out")
    assert 5 < days("drag")[1] < 30
    assert days("drag")[0] > start - np.timedelta64(30, "D")
    assert shown.seen["plus"]["observed"] < shown.seen["home"]["observed"]
    assert shown.seen["log"]["hash"].count("log=1") == 1
    assert set(shown.seen["log"]["lines"]) - set(shown.seen["box"]["lines"]) == {"observed"}
    assert re.match(r"2002-\d\d-\d\d: ", shown.seen["readout"])


def test_tables_sort_filter_and_download(shown: Shown, ranked: list[str]) -> None:
    assert shown.seen["ascending"] == [sorted(ranked), "ascending"]
    assert shown.seen["descending"] == [sorted(ranked, reverse=True), "descending"]
    assert shown.seen["filtered"] == 1
    table, series = (text.split("\r\n") for text in shown.seen["saved"])
    assert table[0].startswith("gauge,name,")
    assert len(table) == len(ranked) + 2
    assert "\N{MINUS SIGN}" not in "".join(table)
    assert series[0].startswith("date,observed,")
    assert len(series) == 90 + 2


def test_the_page_holds_the_flow_that_was_scored(shown: Shown, out: Path, ranked: list[str]) -> None:
    """Sixteen bits are enough: what is downloaded is what results.zarr holds."""
    data = xr.open_zarr(out / "results.zarr").load()
    _, series = shown.seen["saved"]
    names, *rows = [line.split(",") for line in series.split("\r\n") if line]
    observed = np.array([float(row[names.index("observed")] or "nan") for row in rows])
    expected = data["observed"].sel(catchment=ranked[-1]).values
    np.testing.assert_allclose(observed, expected, atol=2e-4 * np.nanmax(data["simulated"].sel(catchment=ranked[-1])))


def test_without_script_the_pictures_remain(out: Path) -> None:
    text = (out / "report.html").read_text(encoding="utf-8")
    assert '<section id="explorer" hidden>' in text
    static = text[text.index('<div class="static">') :]
    assert "<svg" in static[:300] or "<img" in static[:300]
    assert '<html lang="en">' in text, "only the script may say that there is a script"


def test_hyphens_of_names_and_dates_are_no_minus() -> None:
    told = with_minus("window-7 (-0.05 to -0.02), no-memory-window-60, 2013-10-01")
    assert told == "window-7 (\N{MINUS SIGN}0.05 to \N{MINUS SIGN}0.02), no-memory-window-60, 2013-10-01"
