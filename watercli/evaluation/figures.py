"""The figures of the report: training, where and how well flow is simulated, a masked field, the learned maps.

Colours: Okabe and Ito (2008), told apart by the colour-blind; fields in cividis, viridis and PuOr.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from watercli.evaluation.methods import METHODS, PROBE, SIMULATION
from watercli.evaluation.pictures import STYLE, Picture, picture
from watercli.evaluation.reconstruction import Example
from watercli.evaluation.riverflow import Flow
from watercli.store import Store

COLOURS = {
    "observed": "#000000",
    SIMULATION: "#D55E00",
    PROBE: "#0072B2",
    "probe_shared": "#56B4E9",
    "weather_ridge": "#009E73",
    "moving_average": "#7A5195",
    "nearest": "#8C8C8C",
    "inverse_distance": "#5C5C5C",
    "climatology": "#E69F00",
    "persistence": "#CC79A7",
}
DASHES = {
    SIMULATION: "-",
    PROBE: "-",
    "probe_shared": "--",
    "weather_ridge": "-.",
    "moving_average": "--",
    "nearest": ":",
    "inverse_distance": "-.",
    "climatology": "-",
    "persistence": ":",
}
LAND = ListedColormap(["#e4e4e0"])
MASKED = "#d9d9d9"
SHOWN_DAYS = 365


def training_curves(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Picture | None:
    """Draw training and validation loss of each modality; None without rows."""
    keys = {"all, weighted": "loss", **{name: f"loss/{name}" for name in names}}
    table = pd.DataFrame(list(rows))
    if table.empty or not {"step", "split"} <= set(table.columns):
        return None
    with mpl.rc_context(STYLE):
        lines = -(-len(keys) // 2)
        figure = Figure(figsize=(6.4, 1.75 * lines + 0.5))
        axes = figure.subplots(lines, 2, sharex=True, squeeze=False)
        for axis, (name, key) in zip(axes.flat, keys.items(), strict=False):
            for split, colour, marker in (("train", "#56B4E9", ""), ("validation", "#D55E00", "o")):
                known = table[(table["split"] == split) & table[key].notna()] if key in table else table[:0]
                axis.plot(
                    known["step"], known[key] if len(known) else [], color=colour, marker=marker, ms=4, label=split
                )
            axis.set_title(name)
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter("")
        for axis in axes.flat[len(keys) :]:
            axis.axis("off")
        for axis in axes.flat[max(len(keys) - 2, 0) : len(keys)]:
            axis.tick_params(labelbottom=True)
            axis.set_xlabel("step")
        figure.supylabel("mean squared error, standardised", fontsize=11)
        axes[0, 0].legend()
    last = table[table["split"] == "validation"]
    told = (
        f"Validation loss {last['loss'].iloc[0]:.3g} at first, {last['loss'].iloc[-1]:.3g} at last."
        if len(last)
        else ""
    )
    caption = f"Loss while pretraining, in all and by modality (1 = no better than the training mean). {told}"
    return picture(figure, alt=f"Training and validation loss against step. {told}", caption=caption, name="loss")


def nse_map(flow: Flow, store: Store) -> Picture:
    """Draw the main method's efficiency at each gauge on the land mask."""
    nse = flow.data["score"].sel(metric="nse", predictor=flow.main)
    scored = flow.data["days"].values > 0
    on_grid = "gauge_x" in flow.data.coords and "land_fraction" in store.dataset
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 5.2))
        axis = figure.subplots()
        if on_grid:
            x, y = flow.data["gauge_x"].values / 1000, flow.data["gauge_y"].values / 1000
            _draw_land(axis, store)
            axis.set(xlabel="easting (km)", ylabel="northing (km)", aspect="equal")
        else:
            x, y = flow.data["longitude"].values, flow.data["latitude"].values
            axis.set(xlabel="longitude (degrees east)", ylabel="latitude (degrees north)")
        points = axis.scatter(
            x[scored], y[scored], c=nse.values[scored], vmin=0, vmax=1, cmap="viridis", s=60, edgecolor="black", lw=0.7
        )
        if (~scored).any():
            axis.scatter(x[~scored], y[~scored], marker="x", color="#D55E00", label="not scored")
            axis.legend(loc="best")
        figure.colorbar(points, ax=axis, label=f"NSE of {METHODS[flow.main]}", extend="min", shrink=0.75)
    values = nse.values[np.isfinite(nse.values)]
    alt = (
        f"Map of the NSE of {METHODS[flow.main]} at {len(values)} gauges, from {values.min():.2f} to {values.max():.2f}"
    )
    caption = f"NSE of {METHODS[flow.main]} on the test period; grey: land."
    return picture(figure, alt=alt, caption=caption, name="map")


def _draw_land(axis: Axes, store: Store) -> None:
    land = store.dataset["land_fraction"].values
    x, y = store.dataset["x"].values / 1000, store.dataset["y"].values / 1000
    shown = np.where(land > 0, 1.0, np.nan)
    axis.imshow(shown, origin="lower", extent=_extent(y, x), cmap=LAND, interpolation="nearest")
    inside = np.argwhere(land > 0)
    if len(inside):
        (low_y, low_x), (high_y, high_x) = inside.min(0), inside.max(0)
        axis.set(xlim=(x[low_x] - 15, x[high_x] + 15), ylim=(y[low_y] - 15, y[high_y] + 15))


def _extent(y: NDArray[Any], x: NDArray[Any]) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top of cells whose centres these are, rows from south to north."""
    dy, dx = (y[1] - y[0]) / 2, (x[1] - x[0]) / 2
    return float(x[0] - dx), float(x[-1] + dx), float(y[0] - dy), float(y[-1] + dy)


def nse_distribution(flow: Flow) -> Picture:
    """Draw the share of catchments below each efficiency, for every method."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 4.4))
        axis = figure.subplots()
        medians = []
        for method in flow.methods:
            label = METHODS[method]
            nse = flow.data["score"].sel(metric="nse", predictor=method).values
            nse = np.sort(nse[np.isfinite(nse)])
            if not len(nse):
                continue
            share = np.arange(1, len(nse) + 1) / len(nse)
            style: dict[str, Any] = {"color": COLOURS.get(method, "#777777"), "linestyle": DASHES.get(method, "-")}
            style["lw"] = 2.4 if method == flow.main else 1.7
            axis.step(np.concatenate([[-9.0], nse, [1.0]]), np.concatenate([[0.0], share, [1.0]]), where="post",
                      label=label, **style)  # fmt: skip
            medians.append(f"{label} {np.median(nse):.2f}")
        axis.axhline(0.5, color="#999999", lw=0.8)
        axis.set(xlim=(-0.5, 1), ylim=(0, 1), xlabel="NSE", ylabel="share of catchments")
        figure.legend(loc="outside lower center", ncols=1, fontsize=10)
    alt = f"Cumulative distribution of NSE over catchments; medians: {'; '.join(medians)}"
    caption = "Share of catchments with an NSE below the value on the axis; further right is better."
    return picture(figure, alt=alt, caption=caption, name="cdf")


def hydrographs(flow: Flow) -> Picture:
    """Draw a year of observed and simulated flow of the best, the median and the worst catchment."""
    nse = flow.data["score"].sel(metric="nse", predictor=flow.main)
    ranked = nse.dropna("catchment").sortby(nse.dropna("catchment"))["catchment"].values
    chosen = dict(zip(("best", "median", "worst"), (ranked[-1], ranked[len(ranked) // 2], ranked[0]), strict=True))
    year = _fullest_year(flow.data["scored"].sel(catchment=list(chosen.values())).values)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 7.0))
        axes = figure.subplots(3, 1, sharex=True)
        for axis, (rank, gauge) in zip(axes, chosen.items(), strict=True):
            _hydrograph(axis, flow.data.sel(catchment=gauge), year, rank, flow.main)
        figure.legend(*axes[0].get_legend_handles_labels(), ncols=3, loc="outside upper left")
    told = ", ".join(f"{rank} {gauge} (NSE {float(nse.sel(catchment=gauge)):.2f})" for rank, gauge in chosen.items())
    caption = (
        f"A year of {flow.target} in {flow.units} in the catchments where {METHODS[flow.main]} is best, "
        "median and worst by NSE of the whole test period. Gaps: not observed, or an input missing."
    )
    alt = f"Observed flow, {METHODS[flow.main]} and climatology: {told}"
    return picture(figure, alt=alt, caption=caption, name="flow", wide=True)


def _fullest_year(scored: NDArray[np.bool_]) -> slice:
    """Return the year with most scored days of ``[C, T]``, the first of equal ones."""
    starts = range(0, max(scored.shape[1] - SHOWN_DAYS, 0) + 1, 30)
    start = max(starts, key=lambda first: int(scored[:, first : first + SHOWN_DAYS].sum()))
    return slice(start, start + SHOWN_DAYS)


def _hydrograph(axis: Axes, here: xr.Dataset, days: slice, rank: str, main: str) -> None:
    year = here.isel(time=days)
    time = pd.DatetimeIndex(year["time"].values)
    simulated = year["simulated"]
    axis.plot(time, year["observed"], color=COLOURS["observed"], lw=1.1, label="observed")
    axis.plot(time, simulated.sel(predictor="climatology"), color=COLOURS["climatology"], lw=1.4, label="climatology")
    axis.plot(time, simulated.sel(predictor=main), color=COLOURS[main], lw=1.6, label=METHODS[main])
    scores = here["score"]
    told = ", ".join(
        f"{name} {float(scores.sel(metric='nse', predictor=method)):.2f}"
        for name, method in ((main, main), ("climatology", "climatology"))
    )
    name = str(here["gauge_name"].item()) if "gauge_name" in here.coords else ""
    axis.set_title(f"{rank}: {here['catchment'].item()} {name}   (NSE: {told})", fontsize=10.5)
    axis.set(ylabel=here["observed"].attrs["units"], xlim=(time[0], time[-1]))
    axis.set_ylim(bottom=min(0.0, float(year["observed"].min(skipna=True).fillna(0))))
    ticks = pd.date_range(time[0], time[-1], freq="2MS")
    axis.set_xticks(ticks, [f"{tick:%b}\n{tick:%Y}" if tick.month <= 2 else f"{tick:%b}" for tick in ticks])


def masked_field(example: Example, store: Store) -> Picture:
    """Draw a field, what the encoder saw of it, what the model made of that, and the error."""
    filled = np.where(example.seen, example.truth, example.predicted)
    error = np.where(example.seen, np.nan, example.predicted - example.truth)
    finite = example.truth[np.isfinite(example.truth)]
    low, high = float(min(0.0, finite.min())), float(np.percentile(finite, 99.5))
    # Nine tenths of the errors decide the scale, so that a single storm does not bleach the rest.
    span = float(np.nanpercentile(np.abs(error), 98)) if np.isfinite(error).any() else 1.0
    rows, columns = (slice(one.min(), one.max() + 1) for one in np.nonzero(np.isfinite(example.truth)))
    extent = _extent(store.dataset["y"].values[rows] / 1000, store.dataset["x"].values[columns] / 1000)
    shape = (extent[3] - extent[2]) / (extent[1] - extent[0])
    panels = (
        ("truth", example.truth, "cividis", (low, high)),
        ("what the encoder saw", np.where(example.seen, example.truth, np.nan), "cividis", (low, high)),
        ("reconstruction, visible kept", filled, "cividis", (low, high)),
        ("error: model minus truth", error, "PuOr", (-span, span)),
    )
    on_land = np.where(np.isfinite(example.truth), 1.0, np.nan)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, min(4.7 * shape + 1.0, 9.5)))
        for axis, (title, field, colours, (bottom, top)) in zip(figure.subplots(2, 2).flat, panels, strict=True):
            axis.imshow(on_land[rows, columns], origin="lower", extent=extent, cmap=ListedColormap([MASKED]))
            hidden = np.isfinite(on_land) & ~np.isfinite(field)
            image = axis.imshow(
                field[rows, columns], origin="lower", extent=extent, cmap=colours, vmin=bottom, vmax=top,
                interpolation="nearest",
            )  # fmt: skip
            if hidden.any():
                axis.contourf(hidden[rows, columns].astype(float), levels=[0.5, 1.5], colors="none", hatches=["////"],
                              extent=extent, origin="lower")  # fmt: skip
            axis.set_title(title)
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set_visible(False)
            figure.colorbar(
                image, ax=axis, shrink=0.8, label=example.units, extend="both" if colours == "PuOr" else "max"
            )
    share = 1 - example.seen.sum() / np.isfinite(example.truth).sum()
    rmse = float(np.sqrt(np.nanmean(np.square(error))))
    told = (
        f"{example.name} on {example.date:%d %B %Y}, {share:.0%} of the land hidden; "
        f"RMSE there {rmse:.2g} {example.units}"
    )
    caption = (
        f"{told}. It is the test day with the largest mean, under a random mask of the usual share. "
        "The encoder also saw the visible patches of the other days "
        "of the window. Hatched grey: hidden from the encoder (in the error panel: seen, so not predicted)."
    )
    return picture(
        figure, alt=f"Four maps: truth, visible part, reconstruction, error. {told}", caption=caption, name="field"
    )


def layer_weight_maps(weights: Mapping[str, NDArray[Any]], labels: Mapping[str, Sequence[str]]) -> Picture | None:
    """Draw what mixes encoder layers into each feature map, ``[K, layers]`` by modality; None without any."""
    if not weights:
        return None
    bound = max(float(np.abs(one).max()) for one in weights.values())
    lines = -(-len(weights) // 2)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 2.0 * lines + 0.4))
        axes = figure.subplots(lines, 2, squeeze=False)
        for axis, (name, values) in zip(axes.flat, weights.items(), strict=False):
            image = axis.imshow(values, cmap="PuOr", vmin=-bound, vmax=bound, aspect="auto")
            axis.set_title(name)
            axis.set_xticks(range(values.shape[1]), labels[name])
            axis.set_yticks(range(values.shape[0]), [str(k + 1) for k in range(values.shape[0])])
            axis.spines[:].set_visible(False)
            if values.size <= 24:
                for (k, layer), value in np.ndenumerate(values):
                    axis.text(layer, k, f"{value:.2f}", ha="center", va="center", fontsize=9,
                              color="white" if abs(value) > 0.6 * bound else "black")  # fmt: skip
        for axis in axes.flat[len(weights) :]:
            axis.axis("off")
        figure.supxlabel("encoder layer", fontsize=11)
        figure.supylabel("feature map (decoder layer)", fontsize=11)
        figure.colorbar(image, ax=axes, label="weight", shrink=0.8)
    caption = "Learned weight of each encoder layer in each weighted feature map, before the map's normalisation."
    alt = f"Heat maps of the layer weights of {', '.join(weights)}"
    return picture(figure, alt=alt, caption=caption, name="layers")
