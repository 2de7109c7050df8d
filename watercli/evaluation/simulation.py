"""River flow without its own past: every method's simulation, scored on the same test days of the same catchments.

Shapes: C catchments, N dates (training, validation, test), T test days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from watercli.baselines.context import Context, Flags, Floats
from watercli.baselines.features import Features
from watercli.baselines.method import Method
from watercli.baselines.registry import METHODS, in_order, labels
from watercli.baselines.ridge import Fitted, Task
from watercli.data.windows import Indices
from watercli.evaluation.protocol import Case, Protocol
from watercli.hydrology.scores import catchment_scores, metric_units, varies
from watercli.log import log
from watercli.store import Store
from watercli.transforms import TRANSFORMS, Transform

SHOWN = 5
"""Catchments that a line names at most."""


@dataclass(frozen=True)
class Flow:
    """Simulated and observed flow, and the scores of every method."""

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
    def main_method(self) -> Method:
        """Record of the main method."""
        return METHODS[self.main]

    @property
    def methods(self) -> list[str]:
        """Methods that were tried, in the order of `METHODS`."""
        return [str(method) for method in self.data["method"].values]


def judge_flow(context: Context, features: Features) -> Flow:
    """Score every method on the same days of the test period.

    Only gauges that gave no flow to training are scored, if there are any; otherwise all are.
    """
    store, target = context.store, context.target
    chosen = chosen_methods(context)
    simulated = _simulate(context, [method for method in chosen if method.simulate])
    probes = [method for method in chosen if method.fit]
    task = make_task(context, features, simulated, probes=bool(probes))
    fits = _fit(features, task, probes)
    simulated |= {name: fit.simulated for name, fit in fits.items()}
    simulated = {name: simulated[name] for name in in_order(simulated)}
    scored = _scored(task, store.dataset[target].values[:, context.dates.test], simulated)
    left_out = _left_out(context, task, scored)
    units = context.checkpoint.config.modalities[target].units
    return Flow(
        main="probe" if _probe_is_main(context, simulated) else "simulation",
        data=_dataset(store, target, context.dates.test, simulated, scored, units),
        target=target,
        units=units,
        visible=context.embedder.modalities,
        hidden=list(context.embedder.excluded),
        saw={name: METHODS[name].saw_in(context) for name in simulated},
        fits=fits,
        left_out=left_out,
        counts=_counts(task, scored) | {"catchments_left_out": len(left_out)},
        ungauged=context.ungauged,
    )


def chosen_methods(context: Context) -> list[Method]:
    """Return the methods that are named and can serve; the model's own simulation is always among them.

    One warning for each reason names the others.
    """
    methods = [METHODS[name] for name in in_order(("simulation", *context.settings.methods))]
    reasons = {method.name: _cannot_serve(method, context) for method in methods}
    for reason in dict.fromkeys(reason for reason in reasons.values() if reason is not None):
        lacking = labels(name for name in reasons if reasons[name] == reason)
        log.warning("Left out, as %s: %s", reason, lacking)
    quick = context.settings.quick
    return [method for method in methods if reasons[method.name] is None and (method.is_quick or not quick)]


def left_out_for_speed(context: Context) -> list[str]:
    """Return the names of the methods that ``evaluate.quick`` leaves out, of those that are named and can serve."""
    methods = [METHODS[name] for name in in_order(context.settings.methods)]
    return [method.name for method in methods if not method.is_quick and _cannot_serve(method, context) is None]


def _cannot_serve(method: Method, context: Context) -> str | None:
    """Return why a method has no answer in this run; None if it may have one."""
    if context.ungauged and method.needs_own_flow:
        return "they learn from flow of the gauge itself, and only gauges that training never saw are scored"
    if method.needs_cross_modal_attention and not context.cross_modal:
        return "the run has no cross-modal attention (model.cross_modal_attention)"
    return context.without_evidence if method.needs_evidence_head else None


def _simulate(context: Context, methods: list[Method]) -> dict[str, Floats]:
    """Return the simulations ``[C, T]`` by name; one warning names all methods without any."""
    simulated: dict[str, Floats] = {}
    for method in methods:
        assert method.simulate is not None
        flow = method.simulate(context)
        if flow is not None and np.isfinite(flow).any():
            simulated[method.name] = flow
    lacking = [method.name for method in methods if method.name not in simulated]
    if lacking:
        reason = "they have no answer for any catchment"
        if context.unseen.all():
            reason = "no gauge of the store gave flow to training"
        log.warning("Left out, as %s: %s", reason, labels(lacking))
    return simulated


def _fit(features: Features, task: Task, probes: list[Method]) -> dict[str, Fitted]:
    if not task.chosen.any():
        return {}
    fits = {}
    for probe in probes:
        assert probe.fit is not None
        log.info("Fitting: %s, %d catchments", probe.label, int(task.chosen.sum()))
        fits[probe.name] = probe.fit(features, task)
    return fits


def _probe_is_main(context: Context, simulated: dict[str, Floats]) -> bool:
    """Return whether the verdict is about the probe: the model has no simulation that reads any input."""
    return "probe" in simulated and not context.ungauged and not context.cross_modal


def make_task(context: Context, features: Features, simulated: dict[str, Floats], *, probes: bool) -> Task:
    """Return what probes learn: the flow of the dates whose inputs are all observed.

    Without ``probes``, no embedding is computed, and a date is complete if its weather is.
    """
    store, settings, dates = context.store, context.settings, context.dates
    complete = features.complete if probes else features.has_weather
    physical: Floats = store.dataset[settings.target].values[:, dates.all]
    train, validation, test = dates.parts
    rows = (complete & np.isfinite(physical))[:, train].sum(1)
    known = np.logical_and.reduce([np.isfinite(flow) for flow in simulated.values()])
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
    """Return the transforms that regressions choose from: the run's own of the target, the root, or none."""
    own = context.checkpoint.scaling.modalities[context.target].transform
    names = dict.fromkeys((own, *(("sqrt",) if floor == 0 else ()), "identity"))
    return {name: TRANSFORMS[name] for name in names}


def _scored(task: Task, observed: Floats, simulated: dict[str, Floats]) -> Flags:
    """Return the days ``[C, T]`` that are observed and that every method has an answer for.

    Those of a catchment whose flow does not vary on them are left out: it has no efficiency.
    """
    answered = np.logical_and.reduce([np.isfinite(flow) for flow in simulated.values()])
    scored: Flags = np.isfinite(observed) & answered & task.chosen[:, None]
    moves = varies(xr.DataArray(np.where(scored, observed, np.nan), dims=("catchment", "time")))
    scored &= moves.values[:, None]
    return scored


def _left_out(context: Context, task: Task, scored: Flags) -> dict[str, str]:
    """Return why catchments are not scored that might have been: gauges that training saw are no part of ungauged."""
    observed = np.isfinite(task.physical[:, task.test])
    rows = (task.complete & np.isfinite(task.physical))[:, task.train].sum(1)
    min_rows = 0 if context.ungauged else context.settings.min_training_rows
    reasons = {}
    for c, gauge in enumerate(context.store.gauge_ids):
        if scored[c].any() or (context.ungauged and not context.unseen[c]):
            continue
        if rows[c] < min_rows:
            reasons[gauge] = f"{rows[c]} complete training rows, fewer than {min_rows}"
        elif not observed[c].any():
            reasons[gauge] = "no observed test day"
        elif np.ptp(task.physical[c, task.test][observed[c]]) == 0:
            reasons[gauge] = "flow that never changes on the test days, and so no NSE"
        else:
            reasons[gauge] = "no observed test days with all inputs on which the flow changes"
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
    units_of_metrics = [metric_units(str(name), units) for name in data["metric"].values]
    data = data.assign_coords(metric_units=("metric", np.array(units_of_metrics, dtype=object)))
    data["score"].attrs = {"long_name": "score over the scored days"}
    data["days"] = data["scored"].sum("time").assign_attrs(long_name="scored days", units="day")
    return data


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Return strings as objects, which every version of Zarr can write."""
    return values if np.issubdtype(values.dtype, np.number) else values.astype(object)


def _run(case: Case) -> Flow:
    return judge_flow(case.context, case.features)


def _has_unseen_gauges(case: Case) -> str | None:
    number = int(case.context.unseen.sum())
    if not number:
        return None
    return f"{number} of its gauges gave no flow to training, and only such gauges are then judged"


def _has_no_unseen_gauge(case: Case) -> str | None:
    return None if case.context.ungauged else "all of its gauges gave flow to training, and none is held out"


def foreseen(context: Context) -> dict[str, str]:
    """Return why catchments cannot be scored, by gauge id, as far as the observed flow alone says it."""
    observed = np.isfinite(context.flow)
    rows, days = observed[:, context.dates.train].sum(1), observed[:, context.dates.test].sum(1)
    least = 0 if context.ungauged else context.settings.min_training_rows
    return {
        gauge: f"{rows[c]} training rows, fewer than {least}" if rows[c] < least else "no observed test day"
        for c, gauge in enumerate(context.store.gauge_ids)
        if (context.unseen[c] or not context.ungauged) and (rows[c] < least or not days[c])
    }


def announce(context: Context) -> None:
    """Log which catchments can be scored, before any work."""
    candidates = int(context.unseen.sum()) if context.ungauged else len(context.store.gauge_ids)
    seen, lacking = "training never saw" if context.ungauged else "gave flow to training", foreseen(context)
    shown = ", ".join(f"{gauge}: {reason}" for gauge, reason in list(lacking.items())[:SHOWN])
    log.info("Flow can be scored at %d of %d catchments that %s%s", candidates - len(lacking), candidates, seen,
             f" (left out are {shown}{', ...' if len(lacking) > SHOWN else ''})" if lacking else "")  # fmt: skip


def cannot_score(case: Case) -> str | None:
    """Return why no catchment can be scored; None if some may."""
    context, lacking = case.context, foreseen(case.context)
    candidates = int(context.unseen.sum()) if context.ungauged else len(context.store.gauge_ids)
    if len(lacking) < candidates:
        return None
    most = int(np.isfinite(context.flow)[:, context.dates.train].sum(1).max())
    if context.ungauged or most >= context.settings.min_training_rows:
        return "no catchment has enough flow in the training period and any in the test period"
    return (
        f"no catchment has more than {most} training rows, and evaluate.min_training_rows is "
        f"{context.settings.min_training_rows}; lower it, or evaluate.probe_stride ({context.settings.probe_stride})"
    )


SIMULATION = Protocol(
    name="simulation",
    run=_run,
    cannot_serve=_has_unseen_gauges,
    alternative="ungauged",
    nothing_to_score=cannot_score,
)
UNGAUGED = Protocol(
    name="ungauged",
    run=_run,
    cannot_serve=_has_no_unseen_gauge,
    alternative="simulation",
    nothing_to_score=cannot_score,
)
