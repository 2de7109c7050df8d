"""Draw the figures of the documentation into ``docs/assets``, as SVG.

``python docs/figures.py`` draws the model and the flow of data. With a store and simulated flow it also draws a
hydrograph beside the map of the gauges::

    watercli pretrain --store gb12.zarr --set train.steps=1000
    watercli simulate --run runs/gb12 --store gb12.zarr --out flow.zarr --since 2013-10-01
    python docs/figures.py gb12.zarr flow.zarr 76005
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

ASSETS = Path(__file__).parent / "assets"
DATA, STEP, MODEL, RESULT = "#DCE9F5", "#F3F3F3", "#FBE8D0", "#DDF0E3"
"""Fills of boxes: what is read or stored, what is done, parts of the model, what comes out."""
INK, GREY, BLUE, ORANGE = "#1B1F24", "#6B7280", "#0072B2", "#D55E00"


def canvas(width: float, height: float) -> tuple[Any, Axes]:
    """Return a figure and an axis without frame, whose unit is an inch."""
    figure = plt.figure(figsize=(width, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(0, height))
    axis.axis("off")
    return figure, axis


def box(axis: Axes, x: float, y: float, width: float, height: float, text: str, fill: str, note: str = "") -> None:
    """Draw a box with its lower left corner at ``x, y``: a bold text, and a note below it."""
    shape = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.08", fc=fill, ec=GREY, lw=0.9)
    axis.add_patch(shape)
    lift = 0.1 + 0.075 * note.count("\n") if note else 0.0
    axis.text(x + width / 2, y + height / 2 + lift, text, ha="center", va="center", weight="bold", size=9, color=INK)
    axis.text(x + width / 2, y + height / 2 - 0.1, note, ha="center", va="center", size=7.5, color=INK)


def arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "", lift: float = 0.09) -> None:
    """Draw an arrow, and a text above its middle."""
    axis.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    )
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + lift)
    axis.text(*middle, text, ha="center", va="bottom", size=8, color=BLUE, family="monospace")


def data_flow() -> Any:
    """Draw what each command reads and writes."""
    figure, axis = canvas(9.2, 2.9)
    box(axis, 0.1, 1.0, 1.75, 0.9, "source files", DATA, "grids, series, attributes\nNetCDF, CSV, Zarr, ...")
    box(axis, 2.85, 1.0, 1.5, 0.9, "store.zarr", DATA, "daily, physical units\nxarray opens it")
    box(axis, 5.35, 1.0, 1.45, 0.9, "runs/NAME", MODEL, "model, checkpoints,\nmetrics")
    for height, name, note in ((2.05, "report.html", "scores beside baselines"), (1.1, "emb.zarr", "embeddings"),
                               (0.15, "flow.zarr", "flow, gauged or not")):  # fmt: skip
        box(axis, 7.75, height, 1.35, 0.7, name, RESULT, note)
    arrow(axis, (1.88, 1.45), (2.82, 1.45), "prepare")
    arrow(axis, (4.38, 1.45), (5.32, 1.45), "pretrain")
    arrow(axis, (6.83, 1.6), (7.72, 2.35), "evaluate", 0.27)
    arrow(axis, (6.83, 1.45), (7.72, 1.45), "embed", 0.02)
    arrow(axis, (6.83, 1.3), (7.72, 0.55), "simulate", -0.5)
    axis.plot([3.6, 3.6, 6.07, 6.07], [0.97, 0.45, 0.45, 0.97], color=GREY, lw=1, ls=":")
    axis.text(4.83, 0.4, "evaluate, embed and simulate read the store too", ha="center", va="top", size=7.5, color=GREY)
    return figure


def model() -> Any:
    """Draw the way from tokens to predictions, for one grid and one series."""
    figure, axis = canvas(9.2, 4.1)
    tokens(axis, 0.15, 2.75, "grid, e.g. rain", "patch x day", rows=4)
    tokens(axis, 0.15, 1.15, "series, e.g. river flow", "catchment x day", rows=1)
    for y, kind in ((2.6, "grid"), (1.0, "series")):
        note = "visible tokens only" if kind == "grid" else "visible tokens, FiLM\nby the attributes"
        box(axis, 2.5, y, 1.6, 0.9, f"{kind} encoder", MODEL, note)
        box(axis, 4.65, y, 1.6, 0.9, "weighted\nfeature maps", MODEL)
        box(axis, 6.8, y, 1.35, 0.9, f"{kind} decoder", MODEL, "queries: masked\ntokens")
        arrow(axis, (1.95, y + 0.45), (2.47, y + 0.45))
        arrow(axis, (4.13, y + 0.45), (4.62, y + 0.45), "layers", 0.05)
        arrow(axis, (6.28, y + 0.45), (6.77, y + 0.45))
        arrow(axis, (8.18, y + 0.45), (8.45, y + 0.45))
        axis.text(8.48, y + 0.45, "predicted\ntokens", ha="left", va="center", size=8, color=INK)
    arrow(axis, (6.28, 2.75), (6.77, 1.75))
    axis.text(6.5, 2.22, "cross-modal attention", ha="right", va="center", size=8, color=BLUE)
    box(
        axis,
        2.5,
        0.12,
        5.65,
        0.55,
        "antecedent state",
        DATA,
        "moving averages of earlier days (1 to 512 days), for grids and series",
    )
    for x in (3.3, 7.47):
        arrow(axis, (x, 0.69), (x, 0.97))
    arrow(axis, (1.0, 0.4), (2.47, 0.4))
    axis.text(0.15, 0.4, "earlier days", ha="left", va="center", size=8, color=INK)
    legend(axis)
    return figure


def tokens(axis: Axes, x: float, y: float, title: str, note: str, rows: int) -> None:
    """Draw tokens as squares, some of them masked, with a title above and a note below."""
    masked = np.random.default_rng(3).random((rows, 10)) < 0.55
    side = 0.16
    for row, column in np.ndindex(masked.shape):
        fill = "white" if masked[row, column] else BLUE
        axis.add_patch(mpl.patches.Rectangle((x + column * side, y + row * side), side, side, fc=fill, ec=GREY, lw=0.6))
    axis.text(x, y + rows * side + 0.08, title, ha="left", va="bottom", size=8.5, weight="bold", color=INK)
    axis.text(x, y - 0.07, note, ha="left", va="top", size=7.5, color=GREY)


def legend(axis: Axes) -> None:
    """Say which squares are visible and which are masked."""
    for x, fill, text in ((2.5, BLUE, "visible token"), (4.0, "white", "masked token: the target")):
        axis.add_patch(mpl.patches.Rectangle((x, 3.75), 0.16, 0.16, fc=fill, ec=GREY, lw=0.6))
        axis.text(x + 0.24, 3.83, text, ha="left", va="center", size=8, color=INK)


def hydrograph_and_map(store: xr.Dataset, flow: xr.Dataset, gauge: str) -> Any:
    """Draw two years of flow at ``gauge``, and the NSE at all gauges on the test days on a map of the land."""
    test = slice(*flow.time.values[flow.split.values == 3][[0, -1]])
    observed, simulated = store.riverflow.sel(time=test).load(), flow.riverflow.sel(time=test).load()
    skill = 1 - ((simulated - observed) ** 2).sum("time") / ((observed - observed.mean("time")) ** 2).sum("time")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.4), width_ratios=(2.1, 1), layout="constrained")
    hydrograph(left, observed.sel(catchment=gauge), simulated.sel(catchment=gauge))
    name = str(store.gauge_name.sel(catchment=gauge).values) if "gauge_name" in store.coords else ""
    score = float(skill.sel(catchment=gauge))
    left.set_title(f"{gauge} {name}: test days, NSE {score:.2f}", size=9, loc="left")
    points = gauge_map(right, store, skill, gauge)
    right.set_title(f"NSE at {skill.size} gauges, median {float(skill.median()):.2f}", size=9, loc="left")
    figure.colorbar(points, ax=right, shrink=0.8, extend="min")
    return figure


def hydrograph(axis: Axes, observed: xr.DataArray, simulated: xr.DataArray) -> None:
    """Draw observed and simulated flow."""
    axis.plot(observed.time, observed, color=INK, lw=1.0, label="observed")
    axis.plot(simulated.time, simulated, color=ORANGE, lw=1.0, label="simulated from weather and attributes")
    axis.set(ylabel="river flow (mm/day)", ylim=(0, None), xlim=(observed.time.values[0], observed.time.values[-1]))
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def gauge_map(axis: Axes, store: xr.Dataset, skill: xr.DataArray, gauge: str) -> Any:
    """Draw the land and the gauges, coloured by their NSE; a ring marks ``gauge``."""
    land = store.land_fraction.where(store.land_fraction > 0)
    axis.pcolormesh(store.x, store.y, land, cmap=mpl.colors.ListedColormap(["#E5E7EB"]), rasterized=True)
    points = axis.scatter(store.gauge_x, store.gauge_y, c=skill, s=18, cmap="viridis", vmin=0.5, vmax=1, lw=0)
    place = store.sel(catchment=gauge)
    axis.scatter(place.gauge_x, place.gauge_y, s=70, fc="none", ec=ORANGE, lw=1.6)
    rows, columns = np.nonzero(np.isfinite(land.values))
    margin = 2e4
    axis.set_xlim(float(store.x[columns.min()]) - margin, float(store.x[columns.max()]) + margin)
    axis.set_ylim(float(store.y[rows.min()]) - margin, float(store.y[rows.max()]) + margin)
    axis.set_aspect("equal")
    axis.axis("off")
    return points


def main(arguments: list[str]) -> None:
    """Draw the figures that the arguments allow."""
    mpl.rcParams["svg.hashsalt"] = "watercli"  # the same figure is the same file
    drawn = {"data-flow": data_flow(), "model": model()}
    if arguments:
        store, flow, gauge = arguments
        drawn["hydrograph-and-map"] = hydrograph_and_map(xr.open_zarr(store), xr.open_zarr(flow), gauge)
    ASSETS.mkdir(exist_ok=True)
    for name, figure in drawn.items():
        figure.savefig(ASSETS / f"{name}.svg", facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1:])
