"""Transform and standardisation of every modality and attribute, with statistics of the training period."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from watercli.config import Config
from watercli.data.held_out import held_out_catchments
from watercli.errors import ConfigError, DataError, nearest
from watercli.store import Store
from watercli.transforms import TRANSFORMS, TransformName

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Scale:
    """``(transform(x) - mean) / std`` and back; zero throughout where std is zero.

    Only an attribute may have a std of zero: if it is the same for all gauges, a model learns nothing from it.
    """

    transform: TransformName
    mean: float
    std: float
    least: float | None = None
    """Least and most value at gauges that are not held out, in physical units; of attributes only."""
    most: float | None = None
    gappy: bool = False
    """Some catchments of the run's store lack it; of attributes only."""
    units: str | None = None
    """Units of an attribute; None if they were not recorded."""

    def forward(self, x: NDArray[Any]) -> Array:
        """Physical units to standardised values; NaN stays NaN."""
        deviation = TRANSFORMS[self.transform].forward(x) - self.mean
        scaled: Array = (deviation / self.std if self.std else deviation * 0).astype(np.float32)
        return scaled

    def inverse(self, x: NDArray[Any]) -> Array:
        """Standardised values to physical units; NaN stays NaN."""
        physical: Array = TRANSFORMS[self.transform].inverse(x * self.std + self.mean).astype(np.float32)
        return physical

    def held_to_range(self, x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Return values with those outside the range of the training moved to its nearer end; NaN stays NaN."""
        if self.least is None or self.most is None:
            return x
        held: NDArray[np.floating[Any]] = np.clip(x, self.least, self.most)
        return held

    def widened(self, x: NDArray[np.floating[Any]]) -> Scale:
        """Return the same scale with a range that holds the values ``x`` too."""
        known = [end for end in (*_range(x), self.least, self.most) if end is not None]
        return replace(self, least=min(known, default=None), most=max(known, default=None))


@dataclass(frozen=True)
class Scaling:
    """A scale for each modality and each static attribute; travels with the run."""

    modalities: dict[str, Scale]
    attributes: dict[str, Scale]
    targets: dict[str, Scale] = field(default_factory=dict)
    """Of predictions, for the modalities whose targets are in another space than their inputs."""

    @property
    def has_attribute_gaps(self) -> bool:
        """Whether the run was trained with catchments that lack an attribute."""
        return any(scale.gappy for scale in self.attributes.values())

    def predicted(self, name: str) -> Scale:
        """Return the scale of a modality's predictions."""
        return self.targets.get(name, self.modalities[name])

    @classmethod
    def of(cls, store: Store, config: Config) -> Scaling:
        """Take the statistics from the store, for the modalities and transforms of a configuration.

        Raises
        ------
        ConfigError
            If the store lacks a modality of the configuration, or has it as another kind.
        DataError
            If a modality does not vary over the training period.
        """
        available = store.config.modalities
        held_out = config.train.held_out_gauges
        scales, targets = {}, {}
        for name, modality in config.modalities.items():
            if name not in available:
                raise ConfigError(f"Modality '{name}' is not in {store.path}{nearest(name, available)}")
            if available[name].kind != modality.kind:
                raise ConfigError(
                    f"Modality '{name}' is a {available[name].kind} in {store.path}, not a {modality.kind}"
                )
            spaces: list[TransformName] = [modality.transform, "identity"]
            if held_out and held_out.target == name:
                statistics = [_seen_statistics(store, config, name, transform) for transform in spaces]
            else:
                statistics = [store.statistics(name, transform) for transform in spaces]
            mean, std = statistics[0]
            if not std > 0:
                raise DataError(f"'{name}' in {store.path} does not vary over the training period; leave it out")
            scales[name] = Scale(modality.transform, mean, std)
            if modality.loss == "basin_averaged_nse":
                targets[name] = Scale("identity", 0.0, statistics[1][1])
        return cls(scales, _attribute_scales(store, config), targets)

    def static(self, store: Store) -> Array:
        """Return the standardised static attributes ``[C, A]`` of a store's catchments, NaN where missing.

        A value outside the range of the training is taken for the nearest in it. A network extrapolates badly: the
        shipped British model had a 25th percentile of the NSE of -2.6 at US catchments, and of -0.7 so.

        Raises
        ------
        ConfigError
            If the store's attributes are not those of the run.
        """
        if store.attribute_names != list(self.attributes):
            lacking = [name for name in self.attributes if name not in store.attribute_names]
            raise ConfigError(
                f"The attributes of {store.path} are not those of the run"
                + (f": it lacks '{lacking[0]}'" if lacking else "")
                + "; use the store that the run was trained on, or prepare one with the same attributes"
            )
        if not self.attributes:
            return np.empty((0, 0), dtype=np.float32)
        values = store.dataset["static"].values
        return np.stack(
            [scale.forward(scale.held_to_range(values[:, i])) for i, scale in enumerate(self.attributes.values())],
            axis=1,
        ).astype(np.float32)

    def widened(self, store: Store, config: Config) -> Scaling:
        """Return the same scaling, with attributes' ranges that hold the gauges of a further training too.

        Parameters
        ----------
        store
            Its store, with the attributes of this scaling.
        config
            Its configuration: gauges that are held out widen nothing.
        """
        if not self.attributes:
            return self
        values = store.dataset["static"].values[~held_out_catchments(store, config)]
        attributes = {name: scale.widened(values[:, i]) for i, (name, scale) in enumerate(self.attributes.items())}
        return replace(self, attributes=attributes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Scaling:
        """Return the scaling that `to_dict` made plain."""
        parts = ("modalities", "attributes", "targets")
        return cls(*({name: Scale(**scale) for name, scale in raw.get(part, {}).items()} for part in parts))


def _seen_statistics(store: Store, config: Config, name: str, transform: TransformName) -> tuple[float, float]:
    """Return mean and standard deviation over the training days of the gauges that are not held out."""
    values = store.dataset[name].values[~held_out_catchments(store, config), store.period("train")]
    seen = TRANSFORMS[transform].forward(values[np.isfinite(values)].astype(np.float64))
    if not seen.size:
        raise ConfigError(f"Setting 'train.held_out_gauges' leaves no training day of '{name}'; hold out fewer gauges")
    return float(seen.mean()), float(seen.std())


def _attribute_scales(store: Store, config: Config) -> dict[str, Scale]:
    if not store.attribute_names:
        return {}
    statistics = store.dataset["static_statistics"]
    means = statistics.sel(statistic="mean").values
    deviations = statistics.sel(statistic="std").values
    transforms = store.dataset["attribute_transform"].values
    units = store.dataset["attribute_units"].values
    values, seen = store.dataset["static"].values, ~held_out_catchments(store, config)
    return {
        name: Scale(
            str(transforms[i]),  # type: ignore[arg-type]
            float(means[i]),
            float(deviations[i]),
            *_range(values[seen, i]),
            bool(np.isnan(values[:, i]).any()),
            units=str(units[i]),
        )
        for i, name in enumerate(store.attribute_names)
    }


def _range(values: NDArray[np.floating[Any]]) -> tuple[float | None, float | None]:
    """Return the least and the greatest value; None twice if there is none."""
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (None, None)
