"""River flow from frozen embeddings: linear probes beside baselines, on the same test days of the same catchments.

Shapes: C catchments, N dates (training, validation, test), T test days, F features.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from watercli.checkpoint import Checkpoint
from watercli.config import Config, Evaluate
from watercli.data.scaling import hidden_catchments
from watercli.data.windows import Indices
from watercli.embed import Embedder
from watercli.errors import ConfigError, nearest
from watercli.evaluation.blocks import series_blocks
from watercli.evaluation.climatology import Climatology
from watercli.evaluation.leakage import check_probe
from watercli.evaluation.metrics import catchment_scores, metric_units
from watercli.evaluation.moving_average import fit_and_simulate
from watercli.evaluation.neighbours import NEAREST, from_neighbours
from watercli.evaluation.probe import Fitted, Task, gauged, shared
from watercli.evaluation.simulation import simulate
from watercli.evaluation.weather import antecedent, catchment_weather
from watercli.log import log, progress
from watercli.store import Store

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
SPANS = (1, 3, 7)
"""Days over which raw weather is averaged, beside the whole window."""
PROBE = "probe"
SIMULATION = "simulation"
METHODS = {
    SIMULATION: "simulation by the model",
    PROBE: "linear probe, one for each gauge",
    "probe_shared": "linear probe, one for all gauges",
    "weather_ridge": "ridge on raw weather",
    "moving_average": "the moving-average network",
    "nearest": "the nearest gauge",
    "inverse_distance": "the nearest 5 gauges, by inverse distance",
    "climatology": "day-of-year climatology",
    "persistence": "persistence",
}
"""All methods, in the order of the tables; a run with hidden gauges has no probes."""
UNGAUGED = (SIMULATION, "moving_average", "nearest", "inverse_distance", "climatology")
"""Methods at gauges that were hidden in training; climatology is fitted to their own flow, for comparison."""


@dataclass(frozen=True)
class Flow:
    """What came out of the river-flow part."""

    main: str
    """The method that the verdict is about."""
    data: xr.Dataset
    """``observed``, ``scored`` (catchment, time), ``simulated`` (predictor, catchment, time), ``score`` (metric,
    predictor, catchment)."""
    target: str
    units: str
    visible: list[str]
    """Modalities that the encoder saw."""
    hidden: list[str]
    saw: dict[str, str]
    """In words, by method."""
    fits: dict[str, Fitted]
    left_out: dict[str, str]
    """Reason by gauge id."""
    counts: dict[str, int]
    """Rows and days used and left out, by what they are."""
    ungauged: bool = False
    """Only gauges that gave no flow to training are scored."""

    @property
    def methods(self) -> list[str]:
        """Methods that were tried, in the order of `METHODS`."""
        return [str(method) for method in self.data["predictor"].values]


def reason_to_skip(checkpoint: Checkpoint, store: Store, settings: Evaluate) -> str | None:
    """Return why there can be no river-flow part, or None if there can.

    Raises
    ------
    ConfigError
        If ``evaluate.target`` names no series of the run (the default may be absent).
    """
    target, known = settings.target, checkpoint.config.modalities
    if not store.gauge_ids:
        return "the store has no catchments"
    if target not in known:
        if target == type(settings)().target:
            return f"the run has no series '{target}'"
        series = checkpoint.config.of_kind("series")
        raise ConfigError(f"Setting 'evaluate.target' names '{target}', which the run lacks{nearest(target, series)}")
    if known[target].kind == "grid":
        series = checkpoint.config.of_kind("series")
        raise ConfigError(f"Setting 'evaluate.target' names '{target}', a grid; name a series{nearest(target, series)}")
    if len(known) == 1:
        return f"the run has no modality besides '{target}' that an encoder could see"
    return None


@dataclass(frozen=True)
class _Dates:
    """Day indices: every ``probe_stride`` days of training and validation, every test day."""

    train: Indices
    validation: Indices
    test: Indices

    @classmethod
    def of(cls, embedder: Embedder, stride: int) -> _Dates:
        periods = [embedder.store.period(name) for name in ("train", "validation", "test")]
        strides = (stride, stride, 1)
        ends = [embedder.ends(one.start, one.stop - 1, step) for one, step in zip(periods, strides, strict=True)]
        return cls(*ends)

    @property
    def all(self) -> Indices:
        return np.concatenate([self.train, self.validation, self.test])

    @property
    def parts(self) -> tuple[slice, slice, slice]:
        """Positions of the three along `all`."""
        first, second = len(self.train), len(self.train) + len(self.validation)
        return slice(0, first), slice(first, second), slice(second, second + len(self.test))


def judge_flow(checkpoint: Checkpoint, store: Store, config: Config) -> Flow:
    """Let every method say what the river did in the test period, and score all on the same days.

    At gauges that were hidden in training only, if there are any; else at all.
    """
    settings, target = config.evaluate, config.evaluate.target
    hidden = tuple(dict.fromkeys((*config.embed.hide, target)))
    if target not in config.embed.hide:
        log.info(
            "'%s' is hidden from the encoder, as it is what the probe predicts, though embed.hide lacks it", target
        )
    embedder = Embedder(checkpoint, store, hidden)
    dates = _Dates.of(embedder, settings.probe_stride)
    check_probe(store, target, embedder.modalities, dates.train, dates.validation, dates.test)
    gauges = checkpoint.config.train.hidden_gauges
    nowhere = np.zeros(len(store.gauge_ids), dtype=bool)
    unseen = hidden_catchments(store, checkpoint.config) if gauges and gauges.of == target else nowhere
    ungauged = bool(unseen.any())

    daily = catchment_weather(store, checkpoint.scaling, embedder.modalities, slice(0, store.period("test").stop))
    # A mean over a span begins to count on the last day: where that is missing, so is the row.
    today: Flags = np.logical_and.reduce(np.isfinite(daily))[:, dates.all]
    spans = sorted({min(span, embedder.days) for span in (*SPANS, embedder.days)})

    regional = _regional(embedder, store, config, daily, dates, unseen)
    baselines = {**regional, **_baselines(store, target, dates.test)}
    fits: dict[str, Fitted] = {}
    if ungauged:
        task = _task(checkpoint, store, settings, dates, today, baselines, unseen)
    else:
        weather = np.where(today[..., None], antecedent(daily, dates.all, spans), np.nan)
        with tempfile.TemporaryDirectory(prefix="watercli-") as folder:
            embedded = _embeddings(
                embedder,
                dates.all,
                np.flatnonzero(today.any(0)),
                config.embed.batch,
                config.train.memory_gib,
                Path(folder),
            )
            complete = today & np.isfinite(embedded).all(-1)
            task = _task(checkpoint, store, settings, dates, complete, baselines, ~unseen)
            log.info("Fitting ridge regressions for %d catchments", int(task.chosen.sum()))
            fits = {
                PROBE: gauged(embedded, task),
                "probe_shared": shared(embedded, checkpoint.scaling.static(store), task),
                "weather_ridge": gauged(weather, task),
            }
    simulated = {**{name: fit.simulated for name, fit in fits.items()}, **baselines}
    simulated = {name: simulated[name] for name in METHODS if name in simulated and (name in UNGAUGED or not ungauged)}
    scored = _scored(task, store.dataset[target].values[:, dates.test], simulated)
    fused = checkpoint.structure.fusion != "none"
    return Flow(
        main=SIMULATION if ungauged or fused else PROBE,
        data=_dataset(store, target, dates.test, simulated, scored, checkpoint.config.modalities[target].units),
        target=target,
        units=checkpoint.config.modalities[target].units,
        visible=embedder.modalities,
        hidden=list(hidden),
        saw=_saw(embedder, target, spans, ungauged),
        fits=fits,
        left_out=_left_out(store, task, scored, settings.min_training_rows),
        counts=_counts(task, scored),
        ungauged=ungauged,
    )


def _read_by_model(embedder: Embedder, target: str) -> list[str]:
    """Return the modalities that a simulation reads; without fusion there is none, and rivals see what probes see."""
    structure = embedder.checkpoint.structure
    read = structure.read_by(target) if structure.fusion != "none" else embedder.modalities
    return [name for name in read if name in embedder.modalities]


def _regional(
    embedder: Embedder, store: Store, config: Config, daily: Floats, dates: _Dates, unseen: Flags
) -> dict[str, Floats]:
    """Return ``[C, T]`` of the methods that need no flow of the gauge itself, in physical units."""
    checkpoint = embedder.checkpoint
    settings, target = config.evaluate, config.evaluate.target
    # The network sees what the model sees of the catchment, no less and no more.
    known = [number for number, name in enumerate(embedder.modalities) if name in _read_by_model(embedder, target)]
    flow = store.dataset[target].values.astype(np.float64)
    seen = np.where(unseen[:, None], np.nan, flow)
    found = {SIMULATION: simulate(checkpoint, store, target, slice(dates.test[0], dates.test[-1] + 1))}
    if settings.moving_average_steps:
        found["moving_average"] = fit_and_simulate(
            daily[known],
            checkpoint.scaling.static(store),
            seen,
            train=store.period("train"),
            days=slice(dates.test[0], dates.test[-1] + 1),
            steps=settings.moving_average_steps,
            noise=checkpoint.config.train.attribute_noise,
            seed=config.seed,
        )
    if len(store.gauge_ids) > 1 and {"latitude", "longitude"} <= set(store.dataset.variables):
        found |= from_neighbours(store, flow[:, dates.test], ~unseen)
    return found


def _embeddings(
    embedder: Embedder, ends: Indices, worth: Indices, batch: int, memory_gib: float, folder: Path
) -> NDArray[np.float32]:
    """Return ``[C, N, M * K * D]``, NaN where a modality was absent; beyond ``memory_gib`` it lives in a file."""
    shape = (len(embedder.store.gauge_ids), len(ends), int(np.prod(embedder.shape)))
    found: NDArray[np.float32]
    if np.prod(shape) * 4 > memory_gib * 2**30:
        found = np.memmap(folder / "embeddings", dtype=np.float32, mode="w+", shape=shape)
    else:
        found = np.empty(shape, dtype=np.float32)
    found[:] = np.nan
    log.info("Embedding %d dates of %d catchments", len(worth), shape[0])
    with progress() as display:
        task = display.add_task("embed", total=len(worth))
        done = 0
        for some, values in embedder.windows(ends[worth], batch):
            found[:, worth[done : done + len(some)]] = values.swapaxes(0, 1).reshape(shape[0], len(some), -1)
            done += len(some)
            display.update(task, completed=done)
    return found


def _baselines(store: Store, target: str, test: Indices) -> dict[str, Floats]:
    """Return ``[C, T]`` of the methods that know nothing but the target, in physical units."""
    own = Climatology.of(series_blocks(store, target, store.period("train")), len(store.gauge_ids))
    earlier = pd.DataFrame(store.dataset[target].values.T).ffill().shift(1)
    return {
        "climatology": own.at(store.times[test]).T,
        "persistence": earlier.to_numpy()[test].T,
    }


def _task(
    checkpoint: Checkpoint,
    store: Store,
    settings: Evaluate,
    dates: _Dates,
    complete: Flags,
    baselines: dict[str, Floats],
    candidates: Flags,
) -> Task:
    scale = checkpoint.scaling.modalities[settings.target]
    physical: Floats = store.dataset[settings.target].values[:, dates.all]
    train, validation, test = dates.parts
    rows = (complete & np.isfinite(physical))[:, train].sum(1)
    known = np.logical_and.reduce([np.isfinite(one) for one in baselines.values()])
    days = (complete & np.isfinite(physical))[:, test] & known
    # What is never negative while training (flow, rain, evaporation) is not simulated as such.
    floor = 0.0 if np.nanmin(physical[:, train], initial=np.inf) >= 0 else -np.inf
    return Task(
        target=scale.forward(physical),
        physical=physical,
        complete=complete,
        train=train,
        validation=validation,
        test=test,
        chosen=candidates & (rows >= settings.min_training_rows) & days.any(1),
        inverse=lambda x: np.maximum(scale.inverse(x), floor),
        alphas=settings.alphas,
    )


def _scored(task: Task, observed: Floats, simulated: dict[str, Floats]) -> Flags:
    """Return the days ``[C, T]`` that are observed and that every method has an answer for."""
    answered = np.logical_and.reduce([np.isfinite(one) for one in simulated.values()])
    scored: Flags = np.isfinite(observed) & answered & task.chosen[:, None]
    return scored


def _left_out(store: Store, task: Task, scored: Flags, least: int) -> dict[str, str]:
    observed = np.isfinite(task.physical[:, task.test])
    rows = (task.complete & np.isfinite(task.target))[:, task.train].sum(1)
    reasons = {}
    for c, gauge in enumerate(store.gauge_ids):
        if scored[c].any():
            continue
        if rows[c] < least:
            reasons[gauge] = f"{rows[c]} complete training rows, fewer than {least}"
        elif not observed[c].any():
            reasons[gauge] = "no observed test day"
        else:
            reasons[gauge] = "no observed test day with all inputs"
    return reasons


def _counts(task: Task, scored: Flags) -> dict[str, int]:
    known = np.isfinite(task.target)[:, task.train][task.chosen]
    inputs = task.complete[:, task.train][task.chosen]
    observed = np.isfinite(task.physical[:, task.test])[task.chosen]
    per_gauge = task.rows[task.chosen].sum(1)
    return {
        "catchments": int(scored.any(1).sum()),
        "catchments_left_out": int((~scored.any(1)).sum()),
        "training_rows": int(per_gauge.sum()),
        "training_rows_fewest": int(per_gauge.min(initial=np.iinfo(np.int64).max)) if per_gauge.size else 0,
        "training_rows_most": int(per_gauge.max(initial=0)),
        "training_rows_without_inputs": int((known & ~inputs).sum()),
        "training_rows_without_target": int((~known).sum()),
        "test_days": int(scored.sum()),
        "test_days_without_inputs": int(observed.sum() - scored.sum()),
        "test_days_not_observed": int((~observed).sum()),
    }


def _saw(embedder: Embedder, target: str, spans: list[int], ungauged: bool) -> dict[str, str]:
    seen, days = ", ".join(embedder.modalities), embedder.days
    read = ", ".join(_read_by_model(embedder, target))
    means = ", ".join(str(span) for span in spans[1:])
    own = f"fitted to the gauge's own {target} of the training dates"
    structure = embedder.checkpoint.structure
    gauges = f"trained on the {target} of other gauges only" if ungauged else f"trained on all gauges' {target}"
    remembered = f" and a memory of {structure.memory.past_days} days before" if structure.memory else ""
    looks = "" if structure.causal else "; up to half a window of later weather too"
    return {
        SIMULATION: f"{read} and static attributes of a window of {days} days{remembered}{looks}; {gauges}; the "
        f"{target} of the days simulated and of all before is hidden",
        PROBE: f"frozen embedding of the {days} days up to the day ({seen}); never {target}; {own}",
        "probe_shared": f"the same embedding and the static attributes; fitted to all gauges' {target} at once",
        "weather_ridge": f"catchment means of {seen} on the day and over the last {means} days, no model; {own}",
        "moving_average": f"moving averages of {read} over 1 to 512 days, the last 7 days, static attributes; a small "
        f"network {gauges}",
        "nearest": f"the {target} of the nearest gauge on the day itself" + (", hidden ones left out" * ungauged),
        "inverse_distance": f"the {target} of the nearest {NEAREST} gauges on the day itself"
        + (", hidden ones left out" * ungauged),
        "climatology": f"the gauge's own {target} of the training dates, 15-day circular mean",
        "persistence": f"the latest observed {target} before the day, as a rule yesterday's: it sees flow that no "
        "other method sees",
    }


def _dataset(
    store: Store, target: str, test: Indices, simulated: dict[str, Floats], scored: Flags, units: str
) -> xr.Dataset:
    place = {
        name: ("catchment", store.dataset[name].values, dict(store.dataset[name].attrs))
        for name in ("gauge_name", "latitude", "longitude", "area", "gauge_y", "gauge_x")
        if name in store.dataset
    }
    place = {name: (dims, _plain(values), attrs) for name, (dims, values, attrs) in place.items()}
    data = xr.Dataset(
        {
            "observed": (
                ("catchment", "time"),
                store.dataset[target].values[:, test],
                {"units": units, "long_name": f"observed {target}"},
            ),
            "simulated": (
                ("predictor", "catchment", "time"),
                np.stack(list(simulated.values())).astype(np.float32),
                {"units": units, "long_name": f"simulated {target}"},
            ),
            "scored": (("catchment", "time"), scored, {"long_name": "day is part of the scores"}),
        },
        coords={
            "predictor": np.array(list(simulated), dtype=object),
            "catchment": np.array(store.gauge_ids, dtype=object),
            "time": ("time", store.times[test], {"standard_name": "time"}),
            **place,
        },
    )
    observed = data["observed"].where(data["scored"])
    data["score"] = catchment_scores(data["simulated"].astype(np.float64), observed.astype(np.float64))
    of_metrics = [metric_units(str(name), units) for name in data["metric"].values]
    data = data.assign_coords(metric_units=("metric", np.array(of_metrics, dtype=object)))
    data["score"].attrs = {"long_name": "score over the scored days"}
    data["days"] = data["scored"].sum("time").assign_attrs(long_name="scored days", units="day")
    return data


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Return strings as objects, which every version of Zarr can write."""
    return values if np.issubdtype(values.dtype, np.number) else values.astype(object)
