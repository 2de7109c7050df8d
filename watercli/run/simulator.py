"""Simulation: the pretrained model computes flow from weather and attributes, with the flow itself hidden from it.

Shapes: B windows, C catchments, T days of a window, N days, I modalities that the decoder reads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from multimodal_mae.batch import Batch
from multimodal_mae.mae import MultiModalMAE
from multimodal_mae.masking import TokenMask
from numpy.typing import NDArray
from torch import Tensor

from watercli.data.reader import WindowReader
from watercli.data.simulation import SimulationWindows, simulate_windows
from watercli.data.windows import Indices
from watercli.log import track
from watercli.run.checkpoint import Checkpoint
from watercli.run.members import load_models
from watercli.store import Store


@dataclass(frozen=True)
class Simulated:
    """Simulated flow on some dates, and which inputs the model had."""

    flow: NDArray[np.float32]
    """``[C, N]`` in physical units."""
    available: NDArray[np.bool_]
    """``[C, N, I]``: whether an input had a value of the catchment on the day."""
    spread: NDArray[np.float32]
    """``[C, N]``: standard deviation over the members of an ensemble, in physical units; zero of a single model."""


@dataclass(frozen=True)
class Simulator:
    """Simulates a series of catchments, all of which is hidden, its past too; all other modalities are inputs."""

    checkpoint: Checkpoint
    store: Store
    target: str
    device: str = "cpu"
    gauges: tuple[str, ...] = ()
    """Gauge ids of the catchments; empty: all of the store."""

    @cached_property
    def catchments(self) -> Indices:
        """Positions in the store of the simulated catchments, ``[C]``."""
        every = np.arange(len(self.store.gauge_ids))
        return every[np.isin(self.store.gauge_ids, self.gauges)] if self.gauges else every

    @property
    def inputs(self) -> list[str]:
        """Names of the modalities that the target's decoder reads, without the target."""
        return [name for name in self.checkpoint.structure.read_by(self.target) if name != self.target]

    @cached_property
    def members(self) -> list[MultiModalMAE]:
        """The models whose simulations are averaged."""
        return load_models(self.checkpoint, self.device)

    def on(self, store: Store) -> Simulator:
        """Return the same for another store, with the models that are loaded."""
        other = replace(self, store=store)
        vars(other)["members"] = self.members
        return other

    @cached_property
    def _reader(self) -> WindowReader:
        return WindowReader(self.store, self.checkpoint.config_for(self.store), self.checkpoint.scaling)

    @cached_property
    def windows(self) -> SimulationWindows:
        """The windows that dates are simulated in. The first dates of the store know less of what came before."""
        return SimulationWindows.of(self.checkpoint.config.window_days, self.checkpoint.structure, self.device)

    def parts(self, dates: Indices) -> list[Indices]:
        """Cut ascending dates into those that go through the model at once."""
        return self.windows.passes(dates, len(self.catchments))

    def __call__(self, dates: Indices) -> Simulated:
        """Simulate ascending dates, positions in the store."""
        return joined([self._simulate(part) for part in self.parts(dates)])

    def _simulate(self, dates: Indices) -> Simulated:
        """Simulate dates that go through the models at once."""
        groups = [self._pass(dates, group) for group in self.windows.groups(self.catchments)]
        return Simulated(*(np.concatenate(arrays) for arrays in zip(*groups, strict=True)))

    @torch.inference_mode()
    def _pass(
        self, dates: Indices, catchments: Indices
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
        """Return the arrays of `Simulated` for some catchments, by one pass through each model."""
        windows, window, day = self.windows.read(self._reader, dates, catchments)
        batch = windows.to(self.device)
        structure, scale = self.checkpoint.structure, self.checkpoint.scaling.predicted(self.target)
        passed = [simulate_windows(member, batch, structure, self.target) for member in self.members]
        masks = passed[0][1]
        flows = np.stack([scale.inverse(predicted.cpu().numpy()) for predicted, _ in passed])  # [members, B, C, T]
        flow = flows.mean(0)
        by_input = [self._available(name, batch, masks[name]).cpu().numpy() for name in self.inputs]
        available = np.stack(by_input, axis=-1) if by_input else np.zeros((*flow.shape, 0), dtype=bool)
        at = window, slice(None), day
        return flow[at].T, available[at].swapaxes(0, 1), flows.std(0)[at].T

    def _available(self, name: str, batch: Batch, mask: TokenMask) -> Tensor:
        """Return whether a modality has a value of the catchment on each day, ``[B, C, T]``: a grid on its patches."""
        if name in batch.series:
            own: Tensor = mask.visible.unflatten(0, (batch.windows, -1))
            return own
        if name in batch.history and not batch.grid_days:  # a recurrence reads areal means
            return torch.isfinite(batch.history[name][..., -batch.days :])
        assert batch.patch_index is not None
        patches = mask.visible.unflatten(1, (batch.days, -1)).swapaxes(1, 2)  # [B, P, T]
        window = torch.arange(batch.windows, device=patches.device)[:, None, None]
        in_catchment: Tensor = (
            patches[window, batch.patch_index.clamp_min(0)] & (batch.patch_index >= 0)[..., None]
        )  # [B, C, K, T]
        return in_catchment.any(2)


def simulate_all(simulator: Simulator, period: slice) -> Simulated:
    """Simulate every day of a period, with a progress bar."""
    parts = simulator.parts(np.arange(period.start, period.stop))
    return joined(list(map(simulator, track(parts, "simulate"))))


def continued(simulator: Simulator, earlier: Simulated) -> Simulated:
    """Simulate every day of the store, of whose first days there is an ``earlier`` simulation.

    Passes through the model are kept whole or made anew, so that the result has the bytes of `simulate_all`. At most
    one pass of days that are held is made anew, and those whose windows had not ended.
    """
    held, windows = earlier.flow.shape[1], simulator.windows
    parts = simulator.parts(np.arange(len(simulator.store.times)))
    ended = [part[-1] < held and windows.starts(part[-1:])[0] + windows.days <= held for part in parts]
    later = parts[sum(ended) :]
    kept = cut(earlier, later[0][0] if later else held)
    return joined([kept, *map(simulator, track(later, "simulate"))])


def cut(simulated: Simulated, days: int) -> Simulated:
    """Return the first days of a simulation."""
    return Simulated(simulated.flow[:, :days], simulated.available[:, :days], simulated.spread[:, :days])


def joined(parts: list[Simulated]) -> Simulated:
    """Join simulations of dates that follow each other."""
    arrays = ((part.flow, part.available, part.spread) for part in parts)
    return Simulated(*(np.concatenate(of, axis=1) for of in zip(*arrays, strict=True)))


def simulate(
    checkpoint: Checkpoint, store: Store, target: str, period: slice, *, device: str = "cpu"
) -> NDArray[np.float32]:
    """Return ``[C, N]`` of a series in physical units, for every day of a period and every catchment of the store."""
    return simulate_all(Simulator(checkpoint, store, target, device), period).flow
