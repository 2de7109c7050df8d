"""The methods that say what a river did: their names, in the order of the tables, and what each saw."""

from __future__ import annotations

from watercli.baselines.context import Context
from watercli.baselines.gr4j import NEAREST_DONOR
from watercli.baselines.neighbours import NEAREST

SIMULATION = "simulation"
PROBE = "probe"
FUSED = "probe_decoder_state"
METHODS: dict[str, str] = {
    SIMULATION: "simulation by the model",
    "fine_tuned": "the model, fine-tuned",
    "from_scratch": "the model, trained for this alone",
    "neighbour_correction": "the simulation, corrected by its errors at nearby gauges",
    PROBE: "linear probe, one for each gauge",
    "probe_untrained": "the same probe on the model before training",
    "probe_regional": "linear probe, one for all gauges",
    FUSED: "linear probe on fused features, one for each gauge",
    "probe_mlp": "network on the embeddings, one for all gauges",
    "weather_ridge": "ridge on raw weather",
    "ema_mlp": "the moving-average network",
    "lstm": "the LSTM",
    "gr4j": "GR4J",
    "nearest": "the nearest gauge",
    "inverse_distance": "the nearest 5 gauges, by inverse distance",
    "climatology": "day-of-year climatology",
    "persistence": "persistence",
}
"""All methods, in the order of the tables."""
HEADS = (PROBE, "probe_untrained", "probe_regional", FUSED, "probe_mlp", "weather_ridge")
"""Methods that learn from embeddings, or from weather as a probe does, and from the gauge's own flow."""
OWN_FLOW = (*HEADS, "persistence")
"""Methods that need the flow of the gauge itself: there is none of them where it is hidden in training."""
SEE_NEIGHBOURS = ("neighbour_correction", "nearest", "inverse_distance")
"""Methods that see flow of other gauges on the day itself."""


def saw(context: Context, spans: list[int]) -> dict[str, str]:
    """Return what each method saw, in words."""
    target, days, ungauged = context.target, context.embedder.days, context.ungauged
    seen, read = ", ".join(context.embedder.modalities), ", ".join(context.read_by_model)
    means = ", ".join(str(span) for span in spans[1:])
    own = f"fitted to the gauge's own {target} of the training dates"
    structure = context.checkpoint.structure
    gauges = f"trained on the {target} of other gauges only" if ungauged else f"trained on all gauges' {target}"
    remembered = (
        f" and a memory of {structure.antecedent_state.past_days} days before" if structure.antecedent_state else ""
    )
    looks = "" if structure.causal else "; up to half a window of later weather too"
    others = ", hidden ones left out" * ungauged
    model = (
        f"{read} and static attributes of a window of {days} days{remembered}{looks}; {gauges}; the {target} of the "
        "days simulated and of all before is hidden"
    )
    steps = context.settings.fine_tune_steps
    embedding = f"frozen embedding of the {days} days up to the day ({seen}); never {target}"
    return {
        SIMULATION: model,
        "fine_tuned": f"the same; {steps} more steps on simulations of {target} alone",
        "from_scratch": f"the same; {steps} steps on simulations of {target} from random weights, no pretraining",
        "neighbour_correction": f"the simulation, and the {target} of the nearest {NEAREST} gauges on the day{others}",
        PROBE: f"{embedding}; {own}",
        "probe_untrained": f"as the probe, but the encoder's weights are random; {own}",
        "probe_regional": f"the same embedding and the static attributes; fitted to all gauges' {target} at once",
        FUSED: f"what the model's decoder of {target} makes of {read}, static attributes and its memory on the day, "
        f"before its last layer; {own}",
        "probe_mlp": f"the same embedding and the static attributes; a small network {gauges}",
        "weather_ridge": f"catchment means of {seen} on the day and over the last {means} days, no model; {own}",
        "ema_mlp": f"moving averages of {read} over 1 to 512 days, the last 7 days, static attributes; a small "
        f"network {gauges}",
        "lstm": f"{read} of a year and more before the day, and static attributes; one LSTM {gauges}",
        "gr4j": "rain and potential evaporation; calibrated "
        + (NEAREST_DONOR if ungauged else f"on the gauge's own {target} of the training dates"),
        "nearest": f"the {target} of the nearest gauge on the day itself{others}",
        "inverse_distance": f"the {target} of the nearest {NEAREST} gauges on the day itself{others}",
        "climatology": f"the gauge's own {target} of the training dates, 15-day circular mean",
        "persistence": f"the latest observed {target} before the day, as a rule yesterday's: it sees flow of the gauge "
        "itself, which no other method sees",
    }
