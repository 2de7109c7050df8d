"""The outcome in plain words, in the report and on the terminal."""

from __future__ import annotations

import math

from watercli.baselines.registry import METHODS, PROBE
from watercli.evaluation.report import tables
from watercli.evaluation.results import Outcome
from watercli.hydrology.scores import Comparison

RIVALS = ("ema_mlp", "lstm", "gr4j", "inverse_distance", "climatology", "weather_ridge", "persistence")
"""Methods that the main one is compared with in words."""


def flow_sentences(outcome: Outcome) -> list[str]:
    """Say how the main method does by itself and against its rivals."""
    if outcome.flow is None:
        return []
    if not outcome.flow.counts["catchments"]:
        return ["No catchment could be scored"]
    flow = outcome.flow
    nse = outcome.summaries()[flow.main]["nse"]
    where = "hidden from training" if flow.ungauged else "seen in training"
    first = (
        f"{_capital(METHODS[flow.main])} reaches a median NSE of {nse.median:.2f} "
        f"(95 % interval {nse.low:.2f} to {nse.high:.2f}) over {nse.count} catchments {where}"
    )
    against = outcome.comparisons()
    rivals = [_against(method, against[method], outcome) for method in RIVALS if method in against]
    return [first, *rivals, *_gains(outcome)]


def _gains(outcome: Outcome) -> list[str]:
    """Say what pretraining adds: the same head on the trained and on the untrained model."""
    found, sentences = outcome.pairs(), []
    for trained, untrained in (("probe", "probe_untrained"), ("fine_tuned", "from_scratch")):
        if (trained, untrained) in found:
            one = found[trained, untrained]
            gain = one.difference
            told = "" if one.verdict != "cannot be told from" else ", which cannot be told from nothing"
            sentences.append(
                f"Pretraining changes the NSE of the median catchment by {gain.median:+.2f} ({gain.low:+.2f} to "
                f"{gain.high:+.2f}){told}: {METHODS[trained]} against {METHODS[untrained]}, better in {one.better} of "
                f"{one.count} catchments"
            )
    return sentences


def _against(method: str, one: Comparison, outcome: Outcome) -> str:
    other = outcome.summaries()[method]["nse"].median
    difference = one.difference
    return (
        f"It {one.verdict} {METHODS[method]} (median NSE {other:.2f}): better in {one.better} of {one.count} "
        f"catchments, median difference {difference.median:+.2f} ({difference.low:+.2f} to {difference.high:+.2f})"
    )


def insight_sentences(outcome: Outcome) -> list[str]:
    """Say how certain the main method is, and whether like rivers lie together in the embedding."""
    flow, found = outcome.flow, outcome.insight
    if flow is None or found is None:
        return []
    sentences = []
    if found.intervals is not None:
        sentences.append(tables.interval_sentence(found.intervals, flow.units))
    if found.donors is not None:
        sentences.append(tables.donor_sentence(tables.donors_dict(found.donors)))
    return sentences


def headline(outcome: Outcome) -> str:
    """Return one sentence that says what the main method beats."""
    if outcome.flow is None or not outcome.flow.counts["catchments"]:
        return "River flow was not judged; the reconstruction of masked values is below"
    against = outcome.comparisons()
    rivals = [name for name in RIVALS if name in against]
    wins = [METHODS[name] for name in rivals if _beats(against[name])]
    losses = [METHODS[name] for name in rivals if not _beats(against[name])]
    subject = "A linear probe on the frozen embeddings"
    if outcome.flow.main != PROBE:
        subject = "Without a gauge, " * outcome.flow.ungauged + METHODS[outcome.flow.main]
    subject = _capital(subject)
    if not rivals:
        median = outcome.summaries()[outcome.flow.main]["nse"].median
        return f"{subject} has a median NSE of {median:.2f}; no baseline was asked for"
    if not losses:
        return f"{subject} beats {_and(wins)}"
    if not wins:
        return f"{subject} does not beat {_or(losses)}"
    return f"{subject} beats {_and(wins)}, but not {_or(losses)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _beats(one: Comparison) -> bool:
    return one.verdict == "beats"


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _or(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def reconstruction_sentence(outcome: Outcome) -> str:
    """Say for which modalities the model is nearer to the hidden values than every baseline, by RMSE."""
    better: list[str] = []
    worse: list[str] = []
    for name, sums in outcome.reconstruction.sums.items():
        if not sums["model"].count:
            continue
        rivals = [one.rmse for method, one in sums.items() if method != "model" and math.isfinite(one.rmse)]
        (better if sums["model"].rmse < min(rivals, default=math.inf) else worse).append(name)
    parts = []
    if better:
        parts.append(
            f"nearer to the hidden values than climatology, the latest visible day and interpolation for {_and(better)}"
        )
    if worse:
        parts.append(f"not nearer than the best of these for {_and(worse)}")
    return f"Reconstructing masked values, the model is {'; '.join(parts)}" if parts else "No masked value was scored"
