"""The outcome in plain words, in the report and on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable

from watercli.baselines.registry import METHODS, in_order
from watercli.evaluation.report import tables
from watercli.evaluation.report.formatting import interval
from watercli.evaluation.results import Outcome
from watercli.hydrology.scores import LEAST_CATCHMENTS, TOO_FEW, UNDECIDED, Comparison, Summary


def flow_sentences(outcome: Outcome) -> list[str]:
    """Say how the main method does by itself and against the baselines."""
    if outcome.flow is None:
        return []
    if not outcome.flow.counts["catchments"]:
        return ["No catchment could be scored"]
    flow = outcome.flow
    nse = outcome.summaries()[flow.main]["nse"]
    where = "held out in training" if flow.ungauged else "seen in training"
    first = (
        f"{_capital(flow.main_method.label)} reaches a median NSE of {nse.median:.2f}"
        f"{_certainty(nse)} over {nse.count} {'catchment' if nse.count == 1 else 'catchments'} {where}"
    )
    against = outcome.comparisons()
    baselines = [_against(method, against[method], outcome) for method in _in_summary(against)]
    return [first, *baselines, *_gains(outcome)]


def _in_summary(methods: Iterable[str]) -> list[str]:
    """Return the methods that the main one is compared with in words."""
    return [method for method in in_order(methods) if METHODS[method].in_summary]


def _gains(outcome: Outcome) -> list[str]:
    """Say what pretraining adds: the same method on the trained and on the untrained model."""
    pairs, sentences = outcome.pairs(), []
    for trained, untrained in (("probe", "probe_untrained"), ("fine_tuned", "from_scratch")):
        if (trained, untrained) in pairs:
            pair = pairs[trained, untrained]
            gain = pair.difference
            doubt = ", which is not significant" if pair.verdict in (UNDECIDED, TOO_FEW) else ""
            sentences.append(
                f"Pretraining changes the NSE of the median catchment by {gain.median:+.2f} "
                f"({interval(gain.low, gain.high, '+.2f')}){doubt}: {METHODS[trained].label} against "
                f"{METHODS[untrained].label}, better in {pair.better} of "
                f"{pair.count} catchments"
            )
    return sentences


def _against(method: str, pair: Comparison, outcome: Outcome) -> str:
    median = outcome.summaries()[method]["nse"].median
    difference = pair.difference
    return (
        f"It {pair.verdict} {METHODS[method].label} (median NSE {median:.2f}): better in {pair.better} of {pair.count} "
        f"catchments, median difference {difference.median:+.2f} ({interval(difference.low, difference.high, '+.2f')})"
    )


def insight_sentences(outcome: Outcome) -> list[str]:
    """Say how certain the main method is, and whether like rivers lie together in the embedding."""
    flow, insight = outcome.flow, outcome.insight
    if flow is None or insight is None:
        return []
    sentences = []
    if insight.intervals is not None:
        sentences.append(tables.interval_sentence(insight.intervals, flow.units))
    if insight.donors is not None:
        sentences.append(tables.donor_sentence(tables.donors_dict(insight.donors)))
    return sentences


def headline(outcome: Outcome) -> str:
    """Return one sentence that says what the main method beats."""
    if outcome.flow is None and outcome.sections:
        return f"River flow was not judged; below: {_and([section.title for section in outcome.sections.values()])}"
    if outcome.flow is None or not outcome.flow.counts["catchments"]:
        return "River flow was not judged; the reconstruction of masked values is below"
    against = outcome.comparisons()
    baselines = _in_summary(against)
    wins = [METHODS[name].label for name in baselines if _beats(against[name])]
    losses = [METHODS[name].label for name in baselines if not _beats(against[name])]
    subject = "A linear probe on the frozen embeddings"
    if outcome.flow.main != "probe":
        subject = "Without a gauge, " * outcome.flow.ungauged + outcome.flow.main_method.label
    subject = _capital(subject)
    if not baselines:
        median = outcome.summaries()[outcome.flow.main]["nse"].median
        return f"{subject} has a median NSE of {median:.2f}; no baseline was named"
    if outcome.flow.counts["catchments"] < LEAST_CATCHMENTS:
        median = outcome.summaries()[outcome.flow.main]["nse"].median
        number = outcome.flow.counts["catchments"]
        few = "one catchment is" if number == 1 else f"{number} catchments are"
        return f"{subject} has a median NSE of {median:.2f}; {few} too few to compare it with others"
    if not losses:
        return f"{subject} beats {_and(wins)}"
    if not wins:
        return f"{subject} does not beat {_or(losses)}"
    return f"{subject} beats {_and(wins)}, but not {_or(losses)}"


def _certainty(summary: Summary) -> str:
    return f" (95 % interval {interval(summary.low, summary.high)})" if math.isfinite(summary.low) else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _beats(pair: Comparison) -> bool:
    return pair.verdict == "beats"


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
        baselines = [other.rmse for method, other in sums.items() if method != "model" and math.isfinite(other.rmse)]
        (better if sums["model"].rmse < min(baselines, default=math.inf) else worse).append(name)
    parts = []
    if better:
        parts.append(
            f"nearer to the hidden values than climatology, the last visible day and interpolation for {_and(better)}"
        )
    if worse:
        parts.append(f"not nearer than the best of these for {_and(worse)}")
    return f"Reconstructing masked values, the model is {'; '.join(parts)}" if parts else "No masked value was scored"
