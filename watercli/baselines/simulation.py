"""The model's own simulation of flow, which all other methods are held against."""

from __future__ import annotations

from watercli.baselines import wording
from watercli.baselines.context import Context, Floats
from watercli.baselines.method import Method
from watercli.data.simulation import SimulationWindows


def simulation(context: Context) -> Floats:
    """Return the test days of the model's simulation, ``[C, T]``."""
    return context.simulated[:, context.of_simulated(context.test)]


def _saw(context: Context) -> str:
    structure, target = context.checkpoint.structure, context.target
    windows = SimulationWindows.of(context.checkpoint.config.window_days, structure)
    past = structure.recurrence.warmup_days if structure.recurrence else structure.past_days
    before = f" and {past} days before" if past else ""
    later = "" if structure.causal else "; up to half a window of later weather too"
    return (
        f"{wording.weather(context)} and static attributes of a window of {windows.days} days{before}{later}; "
        f"{wording.all_gauges(context)}; the {target} of the days simulated and of all before is hidden"
    )


SIMULATION = Method(
    name="simulation",
    label="simulation by the model",
    colour="#D55E00",
    saw=_saw,
    simulate=simulation,
    in_distribution=False,
    in_summary=False,
)
