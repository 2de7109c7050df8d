"""River flow without its own past: every method's simulation, scored on the same test days of the same catchments.

Shapes: C catchments, N dates (training, validation, test), T test days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from watercli.baselines.cache import Cache
from watercli.baselines.context import Context, Dates, Flags, Floats
from watercli.baselines.probes import HEADS, Inputs
from watercli.baselines.registry import FUSED, METHODS, OWN_FLOW, PROBE, SIMULATION, saw
from watercli.baselines.ridge import Fitted, Task
from watercli.baselines.weather_driven import RIVALS
from watercli.config import Config, Evaluate
from watercli.data.windows import Indices
from watercli.errors import ConfigError, nearest
from watercli.evaluation.leakage import check_probe
from watercli.hydrology.scores import catchment_scores, metric_units
from watercli.inference.embedder import Embedder
from watercli.log import log
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store
from watercli.transforms import TRANSFORMS, Transform


@dataclass(frozen=True)
class Flow:
    """What came out of the river-flow part."""

    main: str
    """The method that the verdict is about."""
    data: xr.Dataset
    """``observed``, ``scored`` (catchment, time), ``simulated`` (method, catchment, time), ``score`` (metric,
    method, catchment)."""
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
        return [str(method) for method in self.data["method"].values]


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
    test = store.period("test")
    if not np.isfinite(store.dataset[target].values[:, test]).any():
        first, last = store.times[[test.start, test.stop - 1]]
        return f"{store.path.name} has no '{target}' in the test period ({first:%Y-%m-%d} to {last:%Y-%m-%d})"
    return None


def set_scene(checkpoint: Checkpoint, store: Store, config: Config, cache: Cache, device: str = "cpu") -> Context:
    """Return what all methods are given; the encoder never sees the target, whatever ``embed`` says."""
    settings, target = config.evaluate, config.evaluate.target
    hidden = tuple(dict.fromkeys((*config.embed.excluded_inputs, target)))
    if target not in config.embed.excluded_inputs:
        log.info(
            "'%s' is hidden from the encoder, as it is what the probe predicts, though embed.excluded_inputs lacks it",
            target,
        )
    embedder = Embedder(checkpoint, store, hidden, device=device)
    dates = Dates.of(embedder, settings.probe_stride)
    check_probe(store, target, embedder.modalities, dates.train, dates.validation, dates.test)
    return Context(checkpoint, store, config, cache, embedder, dates)


def judge_flow(context: Context, inputs: Inputs) -> Flow:
    """Let every method say what the river did in the test period, and score all on the same days.

    At gauges that were hidden in training only, if there are any; else at all.
    """
    checkpoint, store, settings, target = context.checkpoint, context.store, context.settings, context.target
    # Whatever is asked for, the model's own answer is there: the verdict is about it.
    wanted = [name for name in METHODS if name in (SIMULATION, *settings.methods)]
    wanted = [name for name in wanted if not (context.ungauged and name in OWN_FLOW)]
    if not inputs.fusion:
        wanted = [name for name in wanted if name != FUSED]
    found: dict[str, Floats] = {}
    for name in wanted:
        answer = RIVALS[name](context) if name in RIVALS else None
        if answer is not None and np.isfinite(answer).any():
            found[name] = answer
        elif name in RIVALS:
            log.warning("Left out, as it has no answer for any catchment: %s", METHODS[name])
    task = make_task(context, inputs, found, heads=any(name in HEADS for name in wanted))
    fits: dict[str, Fitted] = {}
    for name in wanted:
        if name in HEADS and task.chosen.any():
            log.info("Fitting: %s, %d catchments", METHODS[name], int(task.chosen.sum()))
            fits[name] = HEADS[name](inputs, task)
    found |= {name: fit.simulated for name, fit in fits.items()}
    simulated = {name: found[name] for name in METHODS if name in found}
    scored = _scored(task, store.dataset[target].values[:, context.dates.test], simulated)
    left_out = _left_out(context, task, scored)
    return Flow(
        main=SIMULATION if context.ungauged or inputs.fusion or PROBE not in simulated else PROBE,
        data=_dataset(store, target, context.dates.test, simulated, scored, checkpoint.config.modalities[target].units),
        target=target,
        units=checkpoint.config.modalities[target].units,
        visible=context.embedder.modalities,
        hidden=list(context.embedder.excluded),
        saw=saw(context, inputs.spans),
        fits=fits,
        left_out=left_out,
        counts=_counts(task, scored) | {"catchments_left_out": len(left_out)},
        ungauged=context.ungauged,
    )


def make_task(context: Context, inputs: Inputs, rivals: dict[str, Floats], *, heads: bool) -> Task:
    """Return what probes are to learn: the flow of the dates whose inputs are all there.

    Where ``heads`` is false, no embedding is computed, and a date is complete if its weather is.
    """
    store, settings, dates = context.store, context.settings, context.dates
    complete = inputs.complete if heads else inputs.today
    physical: Floats = store.dataset[settings.target].values[:, dates.all]
    train, validation, test = dates.parts
    rows = (complete & np.isfinite(physical))[:, train].sum(1)
    known = np.logical_and.reduce([np.isfinite(one) for one in rivals.values()])
    days = (complete & np.isfinite(physical))[:, test] & known
    # What is never negative while training (flow, rain, evaporation) is not simulated as such.
    floor = 0.0 if np.nanmin(physical[:, train], initial=np.inf) >= 0 else -np.inf
    candidates = context.unseen if context.ungauged else np.ones(len(rows), dtype=bool)
    return Task(
        physical=physical,
        complete=complete,
        train=train,
        validation=validation,
        test=test,
        chosen=candidates & (context.ungauged | (rows >= settings.min_training_rows)) & days.any(1),
        spaces=_spaces(context, floor),
        floor=floor,
        alphas=settings.alphas,
    )


def _spaces(context: Context, floor: float) -> dict[str, Transform]:
    """Return what regressions may be linear in: the run's own transform of the target, its root, or itself."""
    own = context.checkpoint.scaling.modalities[context.target].transform
    names = dict.fromkeys((own, *(("sqrt",) if floor == 0 else ()), "identity"))
    return {name: TRANSFORMS[name] for name in names}


def _scored(task: Task, observed: Floats, simulated: dict[str, Floats]) -> Flags:
    """Return the days ``[C, T]`` that are observed and that every method has an answer for."""
    answered = np.logical_and.reduce([np.isfinite(one) for one in simulated.values()])
    scored: Flags = np.isfinite(observed) & answered & task.chosen[:, None]
    return scored


def _left_out(context: Context, task: Task, scored: Flags) -> dict[str, str]:
    """Return why catchments are not scored that might have been: gauges that training saw are no part of ungauged."""
    observed = np.isfinite(task.physical[:, task.test])
    rows = (task.complete & np.isfinite(task.physical))[:, task.train].sum(1)
    least = 0 if context.ungauged else context.settings.min_training_rows
    reasons = {}
    for c, gauge in enumerate(context.store.gauge_ids):
        if scored[c].any() or (context.ungauged and not context.unseen[c]):
            continue
        if rows[c] < least:
            reasons[gauge] = f"{rows[c]} complete training rows, fewer than {least}"
        elif not observed[c].any():
            reasons[gauge] = "no observed test day"
        else:
            reasons[gauge] = "no observed test day with all inputs"
    return reasons


def _counts(task: Task, scored: Flags) -> dict[str, int]:
    known = np.isfinite(task.physical)[:, task.train][task.chosen]
    inputs = task.complete[:, task.train][task.chosen]
    observed = np.isfinite(task.physical[:, task.test])[task.chosen]
    per_gauge = task.rows[task.chosen].sum(1)
    return {
        "catchments": int(scored.any(1).sum()),
        "training_rows": int(per_gauge.sum()),
        "training_rows_fewest": int(per_gauge.min(initial=np.iinfo(np.int64).max)) if per_gauge.size else 0,
        "training_rows_most": int(per_gauge.max(initial=0)),
        "training_rows_without_inputs": int((known & ~inputs).sum()),
        "training_rows_without_target": int((~known).sum()),
        "test_days": int(scored.sum()),
        "test_days_without_inputs": int(observed.sum() - scored.sum()),
        "test_days_not_observed": int((~observed).sum()),
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
                ("method", "catchment", "time"),
                np.stack(list(simulated.values())).astype(np.float32),
                {"units": units, "long_name": f"simulated {target}"},
            ),
            "scored": (("catchment", "time"), scored, {"long_name": "day is part of the scores"}),
        },
        coords={
            "method": np.array(list(simulated), dtype=object),
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
