"""Neighbour-error correction of other methods' simulations, so that they see what the corrected model sees."""

from __future__ import annotations

from collections.abc import Callable

from watercli.baselines import ema_mlp, gr4j, lstm, wording
from watercli.baselines.context import Context, Floats
from watercli.baselines.method import Method
from watercli.baselines.neighbours import NEIGHBOURS, after_correction


def _method(rival: Method, simulate: Callable[[Context], Floats | None], colour: str) -> Method:
    """Return the method that corrects ``rival``, whose flow ``[C, simulated_days]`` is that of ``simulate``."""
    return Method(
        name=f"{rival.name}_neighbour_correction",
        label=f"{rival.label} after neighbour-error correction",
        colour=colour,
        line=rival.line,
        saw=lambda context: (
            f"what {rival.label} sees, and the {context.target} of the nearest {NEIGHBOURS} gauges on the day"
            f"{wording.held_out(context)}"
        ),
        simulate=lambda context: context.of_test(after_correction(context, simulate(context))),
        sees_other_gauges=True,
        in_distribution=False,
        in_summary=False,
        on_request=True,
        slow=rival.slow,
    )


EMA_MLP = _method(ema_mlp.EMA_MLP, ema_mlp.simulate, "#B08CC8")
LSTM = _method(lstm.LSTM, lstm.simulate, "#6DB585")
GR4J = _method(gr4j.GR4J, gr4j.simulate, "#D9C27A")
