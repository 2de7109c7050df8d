"""Regionalisation: flow signatures of the test period, at gauges whose flow is not known.

Signatures as in Addor et al. (2018), A ranking of hydrological signatures based on their predictability in space, Water
Resources Research 54, 8792-8812, doi:10.1029/2018WR022606; the head is a ridge regression.
Shapes: C catchments, F features, S signatures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from watercli.baselines.context import Context, Flags, Floats
from watercli.baselines.weather import catchment_rain
from watercli.evaluation.downstream.inputs import Inputs
from watercli.evaluation.downstream.judging import LEAST_GAUGES, comparison, fitted, in_common, nothing_to_score, pairs
from watercli.evaluation.protocol import Case, Protocol, Section
from watercli.hydrology.signatures import SIGNATURES, table
from watercli.log import log


def regionalise(
    features: Floats, target: Floats, fits: Sequence[tuple[Flags, Flags]], alphas: Sequence[float]
) -> Floats:
    """Return a signature of the scored gauges ``[C]``, by ridge regression of its square root on features ``[C, F]``.

    The penalty is chosen by generalised cross-validation over the gauges that the head learns from. NaN at gauges that
    are not scored, or lack a feature.
    """
    predicted = np.full(len(target), np.nan)
    whole = np.isfinite(features).all(1)
    for learns, scored in fits:
        known = learns & whole & np.isfinite(target)
        if known.sum() < LEAST_GAUGES or not (scored & whole).any():
            continue
        ridge = make_pipeline(StandardScaler(), RidgeCV(alphas))
        head = TransformedTargetRegressor(ridge, func=np.sqrt, inverse_func=_square, check_inverse=False)
        head.fit(features[known], np.maximum(target[known], 0))
        predicted[scored & whole] = head.predict(features[scored & whole])
    return predicted


def _square(root: Floats) -> Floats:
    return np.square(np.maximum(root, 0))


@dataclass(frozen=True)
class Judged:
    """One signature, observed and predicted, over the gauges that have both; NaN at others."""

    name: str
    observed: Floats
    """``[C]``."""
    predicted: Mapping[str, Floats]
    """``[C]`` by input."""

    @property
    def known(self) -> Flags:
        """Gauges that have it, ``[C]``."""
        return np.isfinite(self.observed)

    def explained(self) -> dict[str, float]:
        """Return R2 over gauges by input."""
        return {
            name: float(r2_score(self.observed[self.known], values[self.known]))
            for name, values in self.predicted.items()
        }

    def errors(self) -> dict[str, Floats]:
        """Return absolute errors ``[C]`` by input, in standard deviations of the signature over gauges."""
        spread = np.nanstd(self.observed)
        return {name: np.abs(values - self.observed) / spread for name, values in self.predicted.items()}


def judge_regionalisation(inputs: Inputs, notes: list[str]) -> Section | None:
    """Score the prediction of signatures; None, with a note, if too few gauges have any."""
    context, fits = inputs.context, pairs(inputs.context)
    rain = catchment_rain(context.store, context.test)
    observed = table(context.flow[:, context.test], context.store.times[context.test], rain)
    features = {name: np.concatenate([means, inputs.attributes], axis=1) for name, means in inputs.means()}
    features = {name: values for name, values in features.items() if values.size}
    log.info("Regionalising %d signatures", len(SIGNATURES))
    judged = []
    for name, signature in zip(SIGNATURES, observed, strict=True):
        with threadpool_limits(1):
            predicted = {of: regionalise(x, signature, fits, context.settings.alphas) for of, x in features.items()}
        one = in_common({"observed": signature, **predicted})
        if np.isfinite(one["observed"]).sum() >= LEAST_GAUGES and np.nanstd(one["observed"]) > 0:
            judged.append(Judged(name, one.pop("observed"), one))
    if not judged:
        notes.append("Protocol 'regionalisation' is left out: too few gauges have flow in the test period")
        return None
    return _section(context, judged)


def _section(context: Context, judged: Sequence[Judged]) -> Section:
    explained = pd.DataFrame([signature.explained() for signature in judged])
    explained.insert(0, "signature", [signature.name for signature in judged])
    explained.insert(1, "gauges", [int(signature.known.sum()) for signature in judged])
    median = explained.drop(columns="signature").median().rename(None).to_frame().T
    median.insert(0, "signature", "median of all")
    median["gauges"] = median["gauges"].astype(int)
    errors = {name: _mean([signature.errors()[name] for signature in judged]) for name in judged[0].predicted}
    return Section(
        "Regionalisation of flow signatures",
        f"R² of signatures of the test period, predicted {fitted(context)}. By mean error over signatures, "
        f"{comparison({name: -of for name, of in errors.items()}, context.config.seed)}",
        pd.concat([median, explained], ignore_index=True),
        _by_catchment(context.store.gauge_ids, judged),
    )


def _mean(errors: Sequence[Floats]) -> Floats:
    """Return the mean error of each gauge over the signatures that it has, ``[C]``; NaN without any."""
    stacked = np.stack(errors)
    known = np.isfinite(stacked)
    total, number = np.where(known, stacked, 0).sum(0), known.sum(0)
    mean: Floats = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    return mean


def _by_catchment(gauges: Sequence[str], judged: Sequence[Judged]) -> pd.DataFrame:
    return pd.DataFrame([
        {"gauge_id": gauges[c], "signature": signature.name, "observed": signature.observed[c],
         **{name: values[c] for name, values in signature.predicted.items()}}
        for signature in judged
        for c in np.flatnonzero(signature.known).tolist()
    ])  # fmt: skip


def _run(case: Case) -> Section | None:
    return judge_regionalisation(case.inputs, case.notes)


REGIONALISATION = Protocol(name="regionalisation", run=_run, slow=True, nothing_to_score=nothing_to_score)
