"""What ``evaluate`` does."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from watercli.config.base import MethodName, Positive, ProtocolName, Section, listed
from watercli.plugins import DOWNSTREAM, METHODS, ON_REQUEST, PROTOCOLS


class Evaluate(Section):
    """What ``evaluate`` does."""

    protocols: Annotated[tuple[ProtocolName, ...], BeforeValidator(listed)] = tuple(
        name for name in PROTOCOLS.built_in if name not in DOWNSTREAM
    )
    """Protocols, as far as the run can serve them. ``reconstruction``: masked values of all modalities.
    ``simulation``: flow, excluded from the inputs, at gauges that training saw. ``ungauged``: the same at held-out
    gauges, if the run has any. ``forecast``: flow of the coming days from flow of the past. ``short_records``: probes
    fitted to short records. ``evidence``: flow at held-out gauges by what is known nearby and of the gauge itself.
    ``gaps``: gaps filled in the test period. These two need a run with an evidence head. Downstream uses of embeddings
    are left out unless named: ``regionalisation`` of flow signatures, ``seasons`` of low flow and floods, choice of
    ``donors``. Plug-ins may add others."""
    target: str = "riverflow"
    """The series that is scored: river flow."""
    methods: Annotated[tuple[MethodName, ...], BeforeValidator(listed)] = tuple(
        name for name in METHODS.built_in if name not in ON_REQUEST
    )
    """Methods of simulation, listed in ``docs/guide/evaluation.md``. Plug-ins are left out unless named, as are
    slow methods: those that train the model once more, and some rivals."""
    quick: bool = False
    """Leave out what takes long: methods that train a network or embed, the evidence head, the search for donors, the
    protocols ``forecast``, ``short_records``, ``evidence``, ``gaps``, and downstream uses. GR4J learns from the last
    ten observed years of a gauge. The option ``--quick``."""
    split: Literal["test", "validation"] = "test"
    """Period that is scored. ``validation`` is for data whose test period has no flow. The checkpoint was chosen on it,
    as were ridge penalties and shares of corrections: scores are optimistic, and there are no predictive intervals."""
    reconstruction_windows: Positive = 64
    """Windows of the test period whose masked values are reconstructed, spread over it."""
    probe_stride: Positive = 5
    """Days between two training (and validation) samples of the probe; every test day is scored."""
    alphas: tuple[Annotated[float, Field(gt=0)], ...] = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4)
    """Ridge penalties, chosen on the validation dates."""
    ema_mlp_steps: Positive = 3000
    """Steps of the EMA-MLP, and of the network on the embeddings."""
    lstm_steps: Positive = 500
    """Steps of the LSTM, of 32 years each."""
    lstm_width: Positive = 64
    """Cells of the LSTM."""
    boosted_trees: Positive = 300
    """Trees of the method ``boosted_trees``."""
    fine_tune_steps: Positive = 500
    """Steps of the methods ``fine_tuned`` and ``from_scratch``."""
    record_years: tuple[Positive, ...] = (1, 2, 5)
    """Lengths of the records that ``short_records`` tries beside all, in years up to the end of the training period."""
    record_rivals: tuple[Literal["level_and_slope", "gr4j", "lstm"], ...] = ("level_and_slope", "gr4j")
    """Rivals of the evidence head in the protocol ``evidence``: level and slope of log flow, GR4J and the LSTM, set,
    calibrated and fine-tuned on the same days of own flow. The LSTM takes long."""
    slow_rival_gauges: Positive = 16
    """Gauges, spread over those scored, at which ``evidence`` calibrates GR4J and fine-tunes the LSTM."""
    max_lead_time: Positive = 7
    """Longest lead time of a forecast, in days; at most the window less one day."""
    forecast_stride: Positive | None = None
    """Days between two forecasts; by default 3, and more in a long test period, so that there are no more than 250."""
    min_training_rows: Annotated[int, Field(gt=1)] = 60
    """A catchment with fewer training samples of the probe than this is not scored."""
    cache: bool = True
    """Keep embeddings and simulations of the slow methods in ``RUN/cache``, for the next evaluation."""
