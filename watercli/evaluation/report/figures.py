"""The figures of the report: training, where and how well flow is simulated, a masked field, the learned maps.

Colours: Okabe and Ito (2008), summary apart by the colour-blind; fields in cividis, viridis and PuOr.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from watercli.baselines.method import Method
from watercli.baselines.registry import METHODS
from watercli.evaluation.comparison import Compared
from watercli.evaluation.forecast import FORECASTS, Forecast
from watercli.evaluation.reconstruction import Example
from watercli.evaluation.report.formatting import number
from watercli.evaluation.report.svg import STYLE, TO_GAUGE, Picture, picture
from watercli.evaluation.simulation import Flow
from watercli.store import Store

OBSERVED = "#000000"
MAX_LINES = 9
"""Lines that can be summary apart."""
LAND = ListedColormap(["#e4e4e0"])
MASKED = "#d9d9d9"
SHOWN_DAYS = 365


def training_curves(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Picture | None:
    """Draw training and validation loss of each modality that has any; None without rows."""
    table = pd.DataFrame(list(rows))
    if table.empty or not {"step", "split"} <= set(table.columns):
        return None
    by_modality = {name: f"loss/{name}" for name in names}
    trained = {name: key for name, key in by_modality.items() if key in table and table[key].notna().any()}
    keys = {"all, weighted": "loss", **trained}
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
            label_plainly(axis.yaxis)
        for axis in axes.flat[len(keys) :]:
            axis.axis("off")
        for axis in axes.flat[max(len(keys) - 2, 0) : len(keys)]:
            axis.tick_params(labelbottom=True)
            axis.set_xlabel("step")
        figure.supylabel("mean squared error, standardised", fontsize=11)
        axes[0, 0].legend()
    last = table[table["split"] == "validation"]
    summary = (
        f"Validation loss {last['loss'].iloc[0]:.3g} at first, {last['loss'].iloc[-1]:.3g} at last."
        if len(last)
        else ""
    )
    caption = f"Loss while pretraining, in all and by modality (1 = no better than the training mean). {summary}"
    return picture(figure, alt=f"Training and validation loss against step. {summary}", caption=caption, name="loss")


def nse_map(flow: Flow, store: Store) -> Picture:
    """Draw the main method's efficiency at each gauge on the land mask."""
    nse = flow.data["score"].sel({"metric": "nse", "method": flow.main})
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
        points.set_urls([f"{TO_GAUGE}{gauge}" for gauge in flow.data["catchment"].values[scored]])
        left_out = np.isin(flow.data["catchment"].values, list(flow.left_out))
        others = ~scored & ~left_out
        if others.any():
            axis.scatter(x[others], y[others], s=9, color="#777777", lw=0, label="not judged: seen in training")
        if left_out.any():
            axis.scatter(x[left_out], y[left_out], marker="x", color="#D55E00", label="not scored")
        if (~scored).any():
            figure.legend(loc="outside lower center", ncols=2, fontsize=10)
        figure.colorbar(points, ax=axis, label=f"NSE of {flow.main_method.label}", extend="min", shrink=0.75)
    values = nse.values[np.isfinite(nse.values)]
    alt = f"Map of the NSE of {flow.main_method.label} at {len(values)} gauges, from {values.min():.2f} to "
    alt += f"{values.max():.2f}"
    caption = f"NSE of {flow.main_method.label} on the scored period; grey: land."
    return picture(figure, alt=alt, caption=caption, name="map", linked=True)


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


def drawn(flow: Flow) -> list[str]:
    """Return the methods that a figure of many lines shows: all, or the main one and those marked for it."""
    if len(flow.methods) <= MAX_LINES:
        return flow.methods
    return [name for name in flow.methods if name == flow.main or METHODS[name].in_distribution]


def nse_distribution(flow: Flow) -> Picture:
    """Draw the share of catchments below each efficiency, for the foremost methods."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 4.4))
        axis = figure.subplots()
        medians = []
        for name in drawn(flow):
            method = METHODS[name]
            nse = flow.data["score"].sel({"metric": "nse", "method": name}).values
            nse = np.sort(nse[np.isfinite(nse)])
            if not len(nse):
                continue
            share = np.arange(1, len(nse) + 1) / len(nse)
            style: dict[str, Any] = {"color": method.colour, "linestyle": method.line}
            style["lw"] = 2.4 if name == flow.main else 1.7
            axis.step(np.concatenate([[-9.0], nse, [1.0]]), np.concatenate([[0.0], share, [1.0]]), where="post",
                      label=method.label, **style)  # fmt: skip
            medians.append(f"{method.label} {np.median(nse):.2f}")
        axis.axhline(0.5, color="#999999", lw=0.8)
        axis.set(xlim=(-0.5, 1), ylim=(0, 1), xlabel="NSE", ylabel="share of catchments")
        figure.legend(loc="outside lower center", ncols=1, fontsize=10)
    alt = f"Cumulative distribution of NSE over catchments; medians: {'; '.join(medians)}"
    caption = "Share of catchments with an NSE below the value on the axis; further right is better."
    if len(drawn(flow)) < len(flow.methods):
        caption += " The other methods are in the table."
    return picture(figure, alt=alt, caption=caption, name="cdf")


def hydrographs(flow: Flow) -> Picture:
    """Draw a year of observed and simulated flow of the best, the median and the worst catchment."""
    nse = flow.data["score"].sel({"metric": "nse", "method": flow.main})
    ranked = nse.dropna("catchment").sortby(nse.dropna("catchment"))["catchment"].values
    chosen = dict(zip(("best", "median", "worst"), (ranked[-1], ranked[len(ranked) // 2], ranked[0]), strict=True))
    year = _fullest_year(flow.data["scored"].sel(catchment=list(chosen.values())).values)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 7.0))
        axes = figure.subplots(3, 1, sharex=True)
        for axis, (rank, gauge) in zip(axes, chosen.items(), strict=True):
            _hydrograph(axis, flow.data.sel(catchment=gauge), year, rank, flow.main)
        figure.legend(*axes[0].get_legend_handles_labels(), ncols=3, loc="outside upper left")
    summary = ", ".join(f"{rank} {gauge} (NSE {float(nse.sel(catchment=gauge)):.2f})" for rank, gauge in chosen.items())
    caption = (
        f"A year of {flow.target} in {flow.units} in the catchments where {flow.main_method.label} is best, "
        "median and worst by NSE of the whole scored period. Gaps: not observed, or an input missing."
    )
    alt = f"Observed and simulated flow ({flow.main_method.label}): {summary}"
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
    axis.plot(time, year["observed"], color=OBSERVED, lw=1.1, label="observed")
    shown = [name for name in ("climatology", main) if name in simulated["method"].values]
    for method in shown:
        axis.plot(time, simulated.sel({"method": method}), color=METHODS[method].colour, lw=1.5,
                  label=METHODS[method].label)  # fmt: skip
    nse = here["score"].sel(metric="nse")
    summary = ", ".join(f"{method} {float(nse.sel({'method': method})):.2f}" for method in reversed(shown))
    name = str(here["gauge_name"].item()) if "gauge_name" in here.coords else ""
    axis.set_title(f"{rank}: {here['catchment'].item()} {name}   (NSE: {summary})", fontsize=10.5)
    axis.set(ylabel=here["observed"].attrs["units"], xlim=(time[0], time[-1]))
    axis.set_ylim(bottom=min(0.0, float(year["observed"].min(skipna=True).fillna(0))))
    ticks = pd.date_range(time[0], time[-1], freq="2MS")
    axis.set_xticks(ticks, [f"{tick:%b}\n{tick:%Y}" if tick.month <= 2 else f"{tick:%b}" for tick in ticks])


def experiments(compared: Compared) -> Picture:
    """Draw the share of catchments below each efficiency, for every experiment and the foremost other methods."""
    labels = [row.label for row in compared.rows]
    methods = [method for method in METHODS.values() if method.in_distribution and method.label in compared.summaries]
    others = {method.label: method for method in methods}
    colours = mpl.color_sequences["tab10"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 5))
        axis = figure.subplots()
        for number, label in enumerate([*labels, *others]):
            nse = compared.scores.sel({"metric": "nse", "method": label}).values
            nse = np.sort(nse[np.isfinite(nse)])
            share = np.arange(1, len(nse) + 1) / len(nse)
            style: dict[str, Any] = (
                {"color": others[label].colour, "linestyle": ":", "lw": 1.3}
                if label in others
                else {"color": colours[number % len(colours)], "lw": 2.0}
            )
            axis.step(np.concatenate([[-9.0], nse, [1.0]]), np.concatenate([[0.0], share, [1.0]]), where="post",
                      label=label, **style)  # fmt: skip
        axis.set(xlim=(-0.5, 1), ylim=(0, 1), xlabel="NSE", ylabel="share of catchments below")
        axis.grid(color="#e6e9ec")
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    medians = "; ".join(f"{label} {compared.summaries[label]['nse'].median:.2f}" for label in [*labels, *others])
    alt = f"Cumulative distribution of NSE over {compared.catchments} catchments; medians: {medians}"
    caption = "Share of catchments with an NSE below the value on the axis; further right is better."
    return picture(figure, alt=alt, caption=caption, name="experiments")


def forecast_skill(forecast: Forecast) -> Picture:
    """Draw the median efficiency of every method by lead time."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 4.2))
        axis = figure.subplots()
        lead_times = forecast.data["lead_time"].values
        medians = forecast.medians()
        for name, values in medians.items():
            method = FORECASTS[name]
            axis.plot(lead_times, values, color=method.colour, linestyle=method.line, marker="o", ms=4,
                      label=method.label)  # fmt: skip
        lowest = float(np.nanmin(list(medians.values())))
        axis.set(xlabel="lead time (days)", ylabel="median NSE", ylim=(max(lowest - 0.05, -0.5), 1), xticks=lead_times)
        axis.grid(color="#e6e9ec")
        figure.legend(loc="outside lower center", ncols=1, fontsize=10)
    ends = "; ".join(
        f"{FORECASTS[name].label} {number(values[0])} to {number(values[-1])}" for name, values in medians.items()
    )
    alt = f"Median NSE by lead time of {lead_times[0]} to {lead_times[-1]} days: {ends}"
    return picture(figure, alt=alt, caption="Median NSE over catchments, by lead time.", name="forecast")


def scatter(flow: Flow) -> Picture:
    """Draw simulated against observed flow of all scored days of all catchments, as a density on logarithmic axes."""
    scored = flow.data["scored"].values
    observed = flow.data["observed"].values[scored].astype(np.float64)
    simulated = flow.data["simulated"].sel({"method": flow.main}).values[scored].astype(np.float64)
    # Days of no flow, and what rounds to it, stand at the edge of the axes.
    low = max(float(np.percentile(observed[observed > 0], 0.1)), 1e-3) if (observed > 0).any() else 1e-3
    high = max(float(observed.max()), float(simulated.max()), 2 * low)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 4.4))
        axis = figure.subplots()
        cells = axis.hexbin(
            observed.clip(low, high), simulated.clip(low, high), gridsize=60, bins="log", mincnt=1,
            xscale="log", yscale="log", cmap="cividis", linewidths=0.1,
        )  # fmt: skip
        axis.plot([low, high], [low, high], color="#D55E00", lw=1.2)
        axis.set(
            xlim=(low, high), ylim=(low, high), aspect="equal",
            xlabel=f"observed ({flow.units})", ylabel=f"{flow.main_method.label} ({flow.units})",
        )  # fmt: skip
        label_plainly(axis.xaxis, axis.yaxis)
        figure.colorbar(cells, ax=axis, label="catchment days", shrink=0.8, format="{x:g}")
    alt = f"Density of {scored.sum():,} catchment days: {flow.main_method.label} against observed flow, around 1:1"
    caption = f"All {scored.sum():,} scored catchment days; the line is where both are equal."
    return picture(figure, alt=alt, caption=caption, name="scatter")


def label_plainly(*axes: Axis) -> None:
    """Label logarithmic axes by plain numbers: formulas are off, as a gauge's name may look like one."""
    for axis in axes:
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")


def reliability(judged: xr.Dataset, main: Method) -> Picture:
    """Draw the coverage of central intervals against their probability: median and middle half of the catchments."""
    levels, coverage = 100 * judged["level"].values, 100 * judged["coverage"]
    middle, low, high = (coverage.quantile(share, "catchment", skipna=True).values for share in (0.5, 0.25, 0.75))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 4.2))
        axis = figure.subplots()
        axis.plot([0, 100], [0, 100], color="#999999", lw=0.9, label="nominal")
        axis.fill_between(levels, low, high, color=main.colour, alpha=0.25, lw=0, label="half of the catchments")
        axis.plot(levels, middle, color=main.colour, marker="o", ms=4, label="median catchment")
        axis.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
        axis.set(xlabel="probability of the interval (%)", ylabel="scored days inside (%)")
        axis.legend(loc="upper left")
    summary = ", ".join(f"{level:.0f} %: {value:.0f} %" for level, value in zip(levels[::4], middle[::4], strict=True))
    alt = f"Coverage of the predictive intervals against their probability; median catchment: {summary}"
    caption = "Days inside the intervals. Below the line: the intervals are too narrow, and the model is overconfident."
    return picture(figure, alt=alt, caption=caption, name="reliability")


def factors(properties: xr.Dataset, flow: Flow, names: Mapping[str, str]) -> Picture | None:
    """Draw the main method's efficiency against what the catchments are like; None if nothing varies."""
    skill = flow.data["score"].sel({"metric": "nse", "method": flow.main}).values
    shown = [
        str(name) for name in properties["factor"].values if np.isfinite(properties["correlation"].sel(factor=name))
    ]
    if not shown:
        return None
    lines = -(-len(shown) // 2)
    bottom = float(np.clip(np.nanmin(skill) - 0.05, -0.5, 0.5))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 2.5 * lines))
        axes = figure.subplots(lines, 2, sharey=True, squeeze=False)
        for axis, name in zip(axes.flat, shown, strict=False):
            values = properties["value"].sel(factor=name).values
            axis.scatter(values, skill.clip(bottom), s=16, color=flow.main_method.colour, alpha=0.75, lw=0)
            axis.set_xlabel(names[name])
            axis.set_title(f"rank correlation {number(float(properties['correlation'].sel(factor=name)))}")
            known = values[np.isfinite(values) & np.isfinite(skill)]
            if known.min() > 0 and known.max() > 20 * known.min():
                axis.set_xscale("log")
                label_plainly(axis.xaxis)
            axis.set_ylim(bottom, 1)
        for axis in axes.flat[len(shown) :]:
            axis.axis("off")
        figure.supylabel("NSE", fontsize=11)
    summary = ", ".join(f"{names[name]} {number(float(properties['correlation'].sel(factor=name)))}" for name in shown)
    alt = f"NSE of {flow.main_method.label} against four properties of the catchments; rank correlations: {summary}"
    caption = f"NSE of {flow.main_method.label} in each catchment. Values below {number(bottom)} stand there."
    return picture(figure, alt=alt.replace(" four ", f" {len(shown)} "), caption=caption, name="factors")


def masked_field(example: Example, store: Store) -> Picture:
    """Draw a field, what the encoder saw of it, what the model made of that, and the error."""
    filled = np.where(example.seen, example.truth, example.predicted)
    error = np.where(example.seen, np.nan, example.predicted - example.truth)
    finite = example.truth[np.isfinite(example.truth)]
    low, high = float(min(0.0, finite.min())), float(np.percentile(finite, 99.5))
    # Nine tenths of the errors decide the scale, so that a single storm does not bleach the rest.
    span = float(np.nanpercentile(np.abs(error), 98)) if np.isfinite(error).any() else 1.0
    rows, columns = (slice(index.min(), index.max() + 1) for index in np.nonzero(np.isfinite(example.truth)))
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
    summary = (
        f"{example.name} on {example.date:%d %B %Y}, {share:.0%} of the land hidden; "
        f"RMSE there {rmse:.2g} {example.units}"
    )
    caption = (
        f"{summary}. {example.why}; the mask is random, of the usual share. "
        "The encoder also saw the visible patches of the other days "
        "of the window. Hatched grey: hidden from the encoder (in the error panel: seen, so not predicted)."
    )
    alt = f"Four maps: truth, visible part, reconstruction, error. {summary}"
    return picture(figure, alt=alt, caption=caption, name=f"field{example.date:%Y%m%d}")


def layer_weight_maps(weights: Mapping[str, NDArray[Any]], labels: Mapping[str, Sequence[str]]) -> Picture | None:
    """Draw what mixes encoder layers into each feature map, ``[K, layers]`` by modality; None without any."""
    if not weights:
        return None
    bound = max(float(np.abs(values).max()) for values in weights.values())
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
