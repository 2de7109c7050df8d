"""The context of a method: the run, the store, the days, and the gauges whose flow may be seen.

Shapes: I inputs, C catchments, N dates (training, validation, test), D days of the store, T test days.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from watercli.baselines.cache import Cache
from watercli.baselines.informed import Informed
from watercli.baselines.mlp import Regional
from watercli.baselines.weather import catchment_weather
from watercli.config import Config, Evaluate
from watercli.data.evidence import FlowErrors, Network
from watercli.data.windows import Indices
from watercli.inference.embedder import Embedder
from watercli.inference.provenance import trained_gauges
from watercli.run.checkpoint import Checkpoint
from watercli.run.evidence import FittedEvidence, load_evidence
from watercli.run.simulator import simulate
from watercli.store import Store

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Dates:
    """Day indices: every ``probe_stride`` days of training and validation, every test day."""

    train: Indices
    validation: Indices
    test: Indices

    @classmethod
    def of(cls, embedder: Embedder, stride: int) -> Dates:
        """Return the dates on which a whole window ends."""
        periods = [embedder.store.period(name) for name in ("train", "validation", "test")]
        strides = (stride, stride, 1)
        ends = [
            embedder.ends(period.start, period.stop - 1, step) for period, step in zip(periods, strides, strict=True)
        ]
        return cls(*ends)

    @property
    def all(self) -> Indices:
        """All of them, in this order."""
        return np.concatenate([self.train, self.validation, self.test])

    @property
    def parts(self) -> tuple[slice, slice, slice]:
        """Positions of the three along `all`."""
        first, second = len(self.train), len(self.train) + len(self.validation)
        return slice(0, first), slice(first, second), slice(second, second + len(self.test))


@dataclass(frozen=True)
class Context:
    """The run and the store, and all that follows from them."""

    checkpoint: Checkpoint
    store: Store
    config: Config
    cache: Cache
    embedder: Embedder
    dates: Dates

    @property
    def settings(self) -> Evaluate:
        """Settings of the evaluation."""
        return self.config.evaluate

    @property
    def device(self) -> str:
        """Where the model works."""
        return self.embedder.device

    @property
    def target(self) -> str:
        """The series that is predicted."""
        return self.settings.target

    @cached_property
    def unseen(self) -> Flags:
        """Catchments that gave no flow to training, ``[C]``: held out there, or not in its store at all."""
        gauges, held_out = self.store.gauge_ids, self.checkpoint.config.train.held_out_gauges
        new = ~np.isin(gauges, trained_gauges(self.checkpoint, self.store))
        if held_out is None or held_out.target != self.target:
            return new
        return new | np.isin(gauges, self.checkpoint.held_out_gauges)

    @property
    def ungauged(self) -> bool:
        """Whether there are such catchments: they alone are then scored."""
        return bool(self.unseen.any())

    @cached_property
    def flow(self) -> Floats:
        """All observed flow ``[C, D]``, in physical units: for scores, and for what a method is allowed to see."""
        return self.store.dataset[self.target].values.astype(np.float64)

    @property
    def seen_flow(self) -> Floats:
        """The flow that methods may learn from, ``[C, D]``: NaN at gauges that gave none to training."""
        return np.where(self.unseen[:, None], np.nan, self.flow)

    @property
    def test(self) -> slice:
        """Test days, along D."""
        return slice(int(self.dates.test[0]), int(self.dates.test[-1]) + 1)

    @property
    def read_by_model(self) -> list[str]:
        """Modalities that a simulation reads; without cross-modal attention, those that probes see."""
        structure, embedded = self.checkpoint.structure, self.embedder.modalities
        read = structure.read_by(self.target) if self.cross_modal else embedded
        return [name for name in read if name in embedded]

    @property
    def cross_modal(self) -> bool:
        """Whether the run's decoders read other modalities: without, a simulation of hidden flow knows nothing."""
        return self.checkpoint.structure.reads_others(self.target)

    @property
    def has_neighbours(self) -> bool:
        """Whether flow of several gauges may be seen, and their places are known."""
        return bool((~self.unseen).sum() > 1) and {"latitude", "longitude"} <= set(self.store.dataset.variables)

    @property
    def days(self) -> slice:
        """Days from the store's first to the last of any split, along D: what methods run through."""
        return slice(0, max(self.store.period(split).stop for split in ("train", "validation", "test")))

    @cached_property
    def weather(self) -> Floats:
        """Standardised daily weather of the embedded modalities, ``[I, C, days]``."""
        return catchment_weather(self.store, self.checkpoint.scaling, self.embedder.modalities, self.days)

    @cached_property
    def is_optional(self) -> Flags:
        """Which of the embedded modalities a catchment may lack, ``[I]``: missing, they are as their mean, 0."""
        modalities = self.checkpoint.config.modalities
        return np.array([modalities[name].dropout > 0 for name in self.embedder.modalities], dtype=bool)

    @property
    def weather_of_model(self) -> Floats:
        """The part of `weather` that the model's simulation reads: other methods see no less and no more."""
        read = self.read_by_model
        return self.weather[[number for number, name in enumerate(self.embedder.modalities) if name in read]]

    @property
    def regional(self) -> Regional:
        """The flow and attributes that regional methods learn from."""
        return Regional(
            static=self.checkpoint.scaling.static(self.store),
            flow=self.seen_flow,
            train=self.store.period("train"),
            noise=self.checkpoint.config.train.attribute_noise_std,
            seed=self.config.seed,
        )

    def about(self, **more: Any) -> dict[str, Any]:
        """Return all that the result of a method depends on, if it knows the store but not the model."""
        config = self.checkpoint.config
        return {
            "store": self.store.fingerprint,
            "target": self.target,
            "inputs": self.read_by_model,
            "scaling": self.checkpoint.scaling.to_dict(),
            "unseen": np.flatnonzero(self.unseen).tolist(),
            "noise": config.train.attribute_noise_std,
            "seed": self.config.seed,
            **more,
        }

    def about_model(self, **more: Any) -> dict[str, Any]:
        """Return all that a result of the model depends on."""
        return self.about(weights=self._weights, **more)

    @cached_property
    def _weights(self) -> str:
        return self.checkpoint.fingerprint_of_weights()

    @property
    def simulates_throughout(self) -> bool:
        """Whether an evidence head serves, which reads errors of the whole record."""
        return self.fitted_evidence is not None and not self.settings.quick

    @cached_property
    def simulated(self) -> Floats:
        """The model's own simulation over the validation and test periods, ``[C, simulated_days]``."""
        days = self.simulated_days
        if self.simulates_throughout:
            return self.simulated_throughout[:, days]
        shape = (len(self.store.gauge_ids), days.stop - days.start)

        def fill(array: Floats) -> None:
            array[:] = simulate(self.checkpoint, self.store, self.target, days, device=self.device)

        about = self.about_model(days=[days.start, days.stop], windows="from the store's first day")
        return self.cache.filled("simulation", about, shape, fill)

    @cached_property
    def simulated_throughout(self) -> Floats:
        """The model's own simulation of every day of the store, ``[C, D]``."""

        def fill(array: Floats) -> None:
            days = slice(0, array.shape[1])
            array[:] = simulate(self.checkpoint, self.store, self.target, days, device=self.device)

        about = self.about_model(windows="from the store's first day")
        return self.cache.filled("simulation_throughout", about, self.flow.shape, fill)

    @cached_property
    def fitted_evidence(self) -> FittedEvidence | None:
        """The run's evidence head for the target; None without one, or where no places of gauges are known."""
        if not {"latitude", "longitude", "area"} <= set(self.store.dataset.variables):
            return None
        return load_evidence(self.checkpoint, self.target)

    @property
    def without_evidence(self) -> str | None:
        """Why no evidence head serves; None if one does."""
        if self.fitted_evidence is not None:
            return None
        missing = {"latitude", "longitude", "area"} - set(self.store.dataset.variables)
        return (
            f"the store has no {min(missing)} of gauges" if missing else "the run has no evidence head (train.evidence)"
        )

    @cached_property
    def fingerprint_of_evidence(self) -> str:
        """Hash of the evidence head's weights."""
        assert self.fitted_evidence is not None
        return self.fitted_evidence.fingerprint

    @cached_property
    def informed(self) -> Informed | None:
        """The model informed by evidence; None if the run has no evidence head."""
        fitted = self.fitted_evidence
        if fitted is None:
            return None
        errors = FlowErrors(
            Network.of(self.store),
            self.simulated_throughout,
            self.flow.astype(np.float32),
            self.store.times.dayofyear.to_numpy().astype(np.float64),
            fitted.offset,
            ~self.unseen,
        )
        return Informed(fitted, errors, ~self.unseen)

    @property
    def simulated_days(self) -> slice:
        """Days of `simulated`, along D: validation, test, and what lies between them."""
        validation = self.store.period("validation")
        return slice(min(validation.start, self.test.start), max(validation.stop, self.test.stop))

    def of_simulated(self, days: slice) -> slice:
        """Return where days of the store lie in `simulated`."""
        return slice(days.start - self.simulated_days.start, days.stop - self.simulated_days.start)

    def cached(self, kind: str, depends_on: dict[str, Any], simulate: Callable[[slice], Floats]) -> Floats:
        """Return a simulation ``[C, simulated_days]`` from the cache; it is made first if it is not there.

        ``simulate`` gets these days, along D. ``depends_on`` says all that it depends on, see `about` and
        `about_model`.
        """
        days = self.simulated_days

        def fill(array: Floats) -> None:
            array[:] = simulate(days)

        shape = len(self.store.gauge_ids), days.stop - days.start
        return self.cache.filled(kind, {**depends_on, "days": [days.start, days.stop]}, shape, fill)

    def of_test(self, simulated: Floats | None) -> Floats | None:
        """Return the test days ``[C, T]`` of a simulation ``[C, simulated_days]``."""
        return None if simulated is None else simulated[:, self.of_simulated(self.test)]

    def regionally(self, kind: str, fit: Callable[..., Floats], **sizes: int) -> Floats | None:
        """Return the simulation ``[C, simulated_days]`` of a method that learns from all gauges at once.

        ``fit`` gets the weather, what is known of the gauges, the days, and all ``sizes``. None if no gauge has
        flow for it.
        """
        if not np.isfinite(self.seen_flow[:, self.store.period("train")]).any():
            return None
        depends_on = self.about(**sizes)
        return self.cached(kind, depends_on, lambda days: fit(self.weather_of_model, self.regional, days, **sizes))
