"""Encodes windows of a store with a trained model, once for all catchments, and pools what belongs to each.

The embedding of a date sees the window that ends on it (a causal model: as much of a window as lies up to it), the
antecedent state of the model, nothing later, and none of the excluded inputs. ``causal=False`` puts the window around
the date. Grids have windows of their own where the model reads them on fewer days than series.
Shapes: B windows, C catchments, T days (G of grids), L visible tokens, N dates, M modalities, K maps, S ways of pooling
over time, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.config import Kind
from multimodal_mae.encoder import Features
from multimodal_mae.mae import ModelOutput, MultiModalMAE
from multimodal_mae.masking import show_all
from numpy.typing import NDArray
from torch import Tensor

from watercli.config import Embed
from watercli.data.reader import WindowReader
from watercli.data.windows import Indices
from watercli.errors import ConfigError, nearest
from watercli.inference.pooling import Moments, Places, labels, pool
from watercli.inference.window_dates import Dates
from watercli.run.checkpoint import Checkpoint
from watercli.run.compatibility import check_fits, with_absent_series
from watercli.store import Store

POOLS = ("last", "mean")
CATCHMENT_DAYS = 250_000
"""Days of catchments that go through the model at once, at most: each takes some 10 kB on the way to an embedding."""
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Embedder:
    """Embeds dates of the catchments of a store.

    Raises
    ------
    ConfigError
        If run and store do not fit each other, or a setting does not fit them.
    """

    checkpoint: Checkpoint
    store: Store
    excluded: tuple[str, ...]
    """Modalities that the encoder never sees."""
    pooling: tuple[str, ...] = POOLS
    """How a window's days become one embedding; see `watercli.inference.pooling.labels`."""
    only: tuple[str, ...] = ()
    """Modalities that are embedded; empty: all that are not excluded."""
    gauges: tuple[str, ...] = ()
    """Gauge ids of the catchments that are embedded; empty: all."""
    causal: bool = True
    """Nothing after a date is seen; False: the window lies around the date."""
    layers: bool = False
    """Also the features of each encoder layer."""
    decoder_state: bool = False
    """Also the last states of the decoders of the excluded series."""
    patches: bool = False
    """Also the embeddings of land patches."""
    device: str = "cpu"

    @classmethod
    def of(cls, checkpoint: Checkpoint, store: Store, settings: Embed, device: str = "cpu") -> Embedder:
        """Return what embeds as the settings say."""
        return cls(
            checkpoint,
            store,
            excluded=settings.excluded_inputs,
            pooling=settings.pooling,
            only=settings.modalities,
            gauges=settings.catchments,
            causal=settings.causal,
            layers=settings.layers,
            decoder_state=settings.decoder_state,
            patches=settings.patches,
            device=device,
        )

    def __post_init__(self) -> None:
        known, structure = self.checkpoint.config.modalities, self.checkpoint.structure
        for setting, names in (("excluded_inputs", self.excluded), ("modalities", self.only)):
            for name in names:
                if name not in known:
                    raise ConfigError(
                        f"Setting 'embed.{setting}' names '{name}', which the run does not have{nearest(name, known)}"
                    )
        check_fits(self.checkpoint, self.store, self.excluded)
        for name in self.only:
            if name in self.excluded:
                raise ConfigError(
                    f"Setting 'embed.modalities' names '{name}', which 'embed.excluded_inputs' excludes; choose one"
                )
        if not self.modalities:
            raise ConfigError("Setting 'embed.excluded_inputs' leaves no modality to embed; exclude fewer")
        if not self.store.gauge_ids:
            raise ConfigError(f"{self.store.path} has no catchments to embed; add catchments to its recipe")
        for gauge in self.gauges:
            if gauge not in self.store.gauge_ids:
                raise ConfigError(
                    f"Setting 'embed.catchments' names gauge '{gauge}', which {self.store.path} lacks"
                    f"{nearest(gauge, self.store.gauge_ids)}"
                )
        if not self.causal and structure.causal:
            raise ConfigError(
                "The run's model is causal (model.causal): its features of a day never see a later one; "
                "leave out --no-causal"
            )
        if self.patches and not self.grids:
            raise ConfigError("Setting 'embed.patches' needs an embedded grid, and there is none; leave it out")
        if self.decoder_state and not all(structure.reads_others(name) for name in self.targets):
            raise ConfigError(
                "Setting 'embed.decoder_state' needs a run with model.cross_modal_attention or model.recurrence, and "
                "this one has neither; leave it out"
            )
        if self.decoder_state and not self.targets:
            raise ConfigError(
                "Setting 'embed.decoder_state' needs an excluded series, and 'embed.excluded_inputs' has none; name one"
            )

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities that are embedded."""
        known = self.checkpoint.config.modalities
        return [name for name in known if name not in self.excluded and (not self.only or name in self.only)]

    @property
    def grids(self) -> list[str]:
        """Names of the embedded modalities that are grids."""
        return [name for name in self.modalities if self.checkpoint.config.modalities[name].kind == "grid"]

    @property
    def targets(self) -> list[str]:
        """Names of the excluded series, whose decoder states may be written."""
        return [name for name in self.checkpoint.config.of_kind("series") if name in self.excluded]

    @property
    def days(self) -> int:
        """Days in the longest window that is embedded: T, or G where grids alone are."""
        config = self.checkpoint.config
        return config.window_days if set(self.modalities) - set(self.grids) else config.grid_days

    @property
    def labels(self) -> list[str]:
        """What stands along S."""
        return labels(self.pooling, self.days)

    def _days_of(self, kind: Kind) -> int:
        """Return the days of a window of a kind."""
        config = self.checkpoint.config
        return config.grid_days if kind == "grid" else config.window_days

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """M, K, S, D of an embedding."""
        structure = self.checkpoint.structure
        maps = structure.decoder_layers if structure.use_weighted_fm else 1
        return len(self.modalities), maps, len(self.labels), structure.width

    @property
    def deepest(self) -> int:
        """Layers that the deepest of the embedded modalities' encoders hands over."""
        structure, known = self.checkpoint.structure, self.checkpoint.config.modalities
        return max(len(structure.map_layers(known[name].kind)) for name in self.modalities) + structure.use_input

    @cached_property
    def catchments(self) -> Indices:
        """Positions in the store of the embedded catchments."""
        return np.array([number for number, gauge in enumerate(self.store.gauge_ids)
                         if not self.gauges or gauge in self.gauges], dtype=np.int64)  # fmt: skip

    @cached_property
    def dates(self) -> Dates:
        """Which of the longest windows serves which date, and which dates all embedded modalities have windows of."""
        by_kind = [self._dates_of(kind) for kind in self._passes]
        longest = max(by_kind, key=lambda dates: dates.days)
        return replace(longest, not_before=max(dates.first for dates in by_kind))

    def _dates_of(self, kind: Kind) -> Dates:
        """Return which window of a kind serves which date."""
        structure = self.checkpoint.structure
        settled = structure.recurrence is not None and kind == "series"
        return Dates(self._days_of(kind), len(self.store.times), structure.causal, not self.causal, settled=settled)

    @property
    def _passes(self) -> dict[Kind, list[str]]:
        """The modalities that are embedded in one pass through the model, by the kind whose windows they have.

        One pass serves all where all have the same windows: a transformer of series may read grids.
        """
        kinds: dict[Kind, list[str]] = {"series": [], "grid": []}
        for name in self.modalities:
            by_recurrence = self.checkpoint.structure.recurrence is not None
            kinds["grid" if by_recurrence and name in self.grids else "series"].append(name)
        if self.targets and self.decoder_state:
            return {kind: names for kind, names in kinds.items() if names or kind == "series"}
        return {kind: names for kind, names in kinds.items() if names}

    @cached_property
    def model(self) -> MultiModalMAE:
        """The trained model.

        Raises
        ------
        RunError
            If the weights cannot be read.
        """
        return self.checkpoint.model(self.device)

    @cached_property
    def _reader(self) -> WindowReader:
        store = with_absent_series(self.checkpoint, self.store)
        return WindowReader(store, self.checkpoint.config_for(store), self.checkpoint.scaling)

    @cached_property
    def _area(self) -> Tensor:
        return torch.from_numpy(self.store.patch_weight[self.catchments]).to(self.device)

    def ends(self, first: int, last: int, stride: int = 1) -> Indices:
        """Return the day indices from ``first`` to ``last`` on which a whole window ends."""
        return np.arange(max(first, self.days - 1), last + 1, stride, dtype=np.int64)

    def starts(self, ends: Indices) -> Indices:
        """Return the first day that the encoder sees of each date."""
        return self.dates.starts(ends)

    def windows(self, ends: Indices, batch: int) -> Iterator[tuple[Indices, NDArray[np.float32]]]:
        """Yield some ends, in order, and their embeddings ``[N, C, M, K, S, D]``; NaN where nothing was visible.

        ``ends`` ascend; ``batch`` windows are encoded at a time.
        """
        for part, arrays in self.encode(ends, batch):
            yield part, arrays["embedding"]

    def encode(self, dates: Indices, batch: int) -> Iterator[tuple[Indices, Arrays]]:
        """Yield some of the ascending dates, in order, and the arrays of each, by name.

        ``embedding`` ``[N, C, M, K, S, D]``; ``visible_days`` ``[N, C, M]``; ``layer_embedding`` ``[N, C, M, layers,
        S, D]``, ``decoder_state`` ``[N, C, targets, decoder width]`` and ``patch_embedding`` ``[N, land patches,
        grids, K, S, D]`` if the settings say so.
        """
        size = max(min(batch, CATCHMENT_DAYS // (len(self.catchments) * self.days)), 1)
        for part in self._in_windows("series" if "series" in self._passes else "grid", dates, size):
            found = [self._encode_pass(kind, part, size) for kind in self._passes]
            yield part, self._in_order(found)

    def _in_windows(self, kind: Kind, dates: Indices, size: int) -> Iterator[Indices]:
        """Yield ascending dates in parts that lie in ``size`` windows of a kind."""
        unique, window = np.unique(self._dates_of(kind).starts(dates), return_inverse=True)
        for first in range(0, len(unique), size):
            yield dates[(window >= first) & (window < first + size)]

    def _in_order(self, found: list[dict[str, dict[str, NDArray[Any]]]]) -> Arrays:
        """Return arrays of all modalities from those of each pass, by variable and modality, in their order."""
        by_name: dict[str, dict[str, NDArray[Any]]] = {variable: {} for arrays in found for variable in arrays}
        for arrays in found:
            for variable, of_modalities in arrays.items():
                by_name[variable] |= of_modalities
        order = [*self.modalities, *self.targets]
        return {
            variable: np.stack([of_modalities[name] for name in order if name in of_modalities], axis=2)
            for variable, of_modalities in by_name.items()
        }

    def _encode_pass(self, kind: Kind, dates: Indices, size: int) -> dict[str, dict[str, NDArray[Any]]]:
        """Return the arrays ``[N, ...]`` of the modalities of a pass, by variable and modality."""
        parts = [self._encode(kind, part) for part in self._in_windows(kind, dates, size)]
        return {
            variable: {name: np.concatenate([part[variable][name] for part in parts]) for name in of_modalities}
            for variable, of_modalities in parts[0].items()
        }

    @torch.inference_mode()
    def _encode(self, kind: Kind, dates: Indices) -> dict[str, dict[str, NDArray[Any]]]:
        """Return the arrays of dates that one batch of windows serves, by variable and modality."""
        model, names, first = self.model, self._passes[kind], self._dates_of(kind).starts(dates)
        starts, window = np.unique(first, return_inverse=True)
        at = Moments(*(torch.from_numpy(positions).to(self.device) for positions in (window, dates - first)))
        batch = self._read(kind, starts).to(self.device)
        predicted = self.targets if self.decoder_state and kind == "series" else []
        masks = show_all(batch, model.config, self.excluded, targets=predicted)
        output: ModelOutput = model(batch, masks, names=predicted, features=names)
        arrays: dict[str, dict[str, NDArray[Any]]] = {}
        for name in names:
            for variable, values in self._of(name, output.features[name], batch, at).items():
                arrays.setdefault(variable, {})[name] = values.cpu().numpy()
        for name, states in output.decoder_states.items():
            arrays.setdefault("decoder_state", {})[name] = at.of(states.unflatten(0, (len(starts), -1))).cpu().numpy()
        return arrays

    def _read(self, kind: Kind, starts: Indices) -> Batch:
        """Return the windows of a kind that start on some days; a pass of grids alone reads no catchment."""
        if kind == "grid":
            before = self._days_of("series") - self._days_of("grid")
            return self._reader.read(starts - before, np.empty((len(starts), 0), dtype=np.int64))
        catchments = np.tile(self.catchments, (len(starts), 1))
        return self._reader.read(starts, catchments, with_grids=self.checkpoint.structure.recurrence is None)

    def _of(self, name: str, features: Features, batch: Batch, at: Moments) -> dict[str, Tensor]:
        """Return the arrays of one modality, ``[N, C, ...]`` each."""
        grid = name in self.grids
        days = batch.days_of("grid" if grid else "series")
        places = Places(features, days, self._area if grid else None, batch.windows)
        weight = places.weight()

        def pooled(values: Sequence[Tensor], places: Places, weight: Tensor) -> Tensor:
            each = [
                pool(places.daily(tokens), weight, at, self.pooling, lags=self.days, around=not self.causal)
                for tokens in values
            ]
            return torch.stack(each, dim=2)

        shown = (weight > 0).to(torch.int16)
        seen = at.of(shown.cumsum(-1)) if self.causal else shown.sum(-1)[at.window]
        arrays = {"embedding": pooled(features.maps, places, weight), "visible_days": seen.to(torch.int16)}
        if self.layers:
            layers = pooled(features.layers, places, weight)
            beyond = self.deepest - layers.shape[2]
            arrays["layer_embedding"] = torch.nn.functional.pad(layers, (0, 0, 0, 0, 0, beyond), value=torch.nan)
        if self.patches and grid:
            land = torch.from_numpy(self.store.land_patches).to(self.device)
            own = replace(places, area=torch.eye(self._area.shape[1], device=self.device)[land])
            arrays["patch_embedding"] = pooled(features.maps, own, own.weight())
        return arrays
