"""``python -m tests.scaling``: what training at sizes that nobody here has takes, from a cost model and stated inputs.

The cost of a window is counted on the model itself, at sizes that a laptop can run, and is a polynomial of second degree
in the number of land patches: every token costs the same, every pair of tokens that attend to each other the same.
``--measure`` counts anew and prints the coefficients that stand in `COUNTED`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model.batch import Batch
from model.config import GridConfig, MAEConfig
from model.mae import MultiModalMAE, total_loss
from model.masking import draw_noise, mask_batch
from watercli.config import Config, load
from watercli.data.dataset import model_config

CATCHMENTS, DRAINED, ATTRIBUTES = 8, 2, 25
"""Catchments in a window, patches that each drains, attributes of each: about what gb has."""
SIZES = (8, 16, 24)
"""Land patches at which costs are counted."""
WIDTH = 128
"""Of the lines that are printed."""


@dataclass(frozen=True)
class Cost:
    """What a window costs: coefficients of 1, P and P**2, for P land patches."""

    flops: tuple[float, float, float]
    """Forward and backward, attention included."""
    kept: tuple[float, float, float]
    """Bytes kept for the backward pass, in fp32."""
    parameters: tuple[float, float]
    """Coefficients of 1 and P."""

    def at(self, patches: int) -> tuple[float, float, float]:
        """Return FLOP and bytes of a window, and parameters, with so many land patches."""
        powers = 1, patches, patches**2
        flops, kept = (sum(a * b for a, b in zip(of, powers, strict=True)) for of in (self.flops, self.kept))
        return flops, kept, self.parameters[0] + self.parameters[1] * patches


COUNTED = Cost((0, 0, 0), (0, 0, 0), (0, 0))
"""Of a window of the configuration gb: see `measure`."""


@dataclass(frozen=True)
class Gpus:
    """What is assumed of the machines; none of it was measured here."""

    number: int
    in_machine: int
    peak: float = 989e12
    """FLOP/s of dense bf16 matrix products: an H100 SXM, by its data sheet."""
    share: float = 0.2
    """Part of the peak that a model of so small a width reaches. The greatest unknown: time is inversely proportional."""
    memory: float = 80e9
    within: float = 300e9
    """Bytes/s between GPUs of a machine, each way, as all-reduce sees it (NVLink 4)."""
    between: float = 25e9
    """Bytes/s between machines (one port of 200 Gbit/s for each machine)."""

    def exchange(self, size: float) -> float:
        """Return the seconds in which a ring all-reduce sums ``size`` bytes over all GPUs."""
        slowest = self.within if self.number <= self.in_machine else self.between
        return 2 * (self.number - 1) / self.number * size / slowest


@dataclass(frozen=True)
class Domain:
    """What is trained on."""

    name: str
    patches: int
    """Land patches in a window."""
    cells: int
    """Cells of a grid, sea included, as the store holds them."""
    grids: int
    days: int
    windows_each: int
    """Windows of a step on each GPU."""
    tiles: int = 1
    """Windows that it takes to cover the domain once."""
    epochs: int = 20


@dataclass(frozen=True)
class Forecast:
    """What a domain takes on some GPUs: seconds, bytes."""

    compute: float
    exchange: float
    steps: float
    """In an epoch."""
    state: float
    kept: float
    read: float
    """Bytes that all processes read in a second."""
    store: float
    checkpoint: float

    @property
    def step(self) -> float:
        """Seconds of a step, the exchange not hidden behind the backward pass."""
        return self.compute + self.exchange


def forecast(domain: Domain, gpus: Gpus, cost: Cost, window: int) -> Forecast:
    """Return what training takes: the arithmetic, all of it."""
    flops, kept, parameters = cost.at(domain.patches)
    compute = domain.windows_each * flops / (gpus.peak * gpus.share)
    exchange = gpus.exchange(4 * parameters)
    steps = domain.days * domain.tiles / (domain.windows_each * gpus.number)
    of_window = domain.cells / domain.tiles * window * domain.grids * 4
    return Forecast(
        compute=compute,
        exchange=exchange,
        steps=steps,
        state=16 * parameters,
        kept=domain.windows_each * kept,
        read=gpus.number * domain.windows_each * of_window / (compute + exchange),
        store=4.0 * domain.cells * domain.grids * domain.days,
        checkpoint=12 * parameters,
    )


GB = Domain("GB, 5 km", patches=94, cells=290 * 180, grids=2, days=14_610, windows_each=8)
GLOBE = Domain("globe, 0.1 degree, whole", patches=19_000, cells=1800 * 3600, grids=2, days=14_610, windows_each=1)
TILED = Domain("globe, tiles of 20 degrees", patches=400, cells=1800 * 3600, grids=2, days=14_610, windows_each=2,
               tiles=48, epochs=2)  # fmt: skip
CASES = [(GB, Gpus(4, 4)), (GB, Gpus(64, 8)), (GLOBE, Gpus(64, 8)), (TILED, Gpus(4, 4)), (TILED, Gpus(64, 8))]


def batch_of(config: MAEConfig, days: int) -> Batch:
    """Return one window of noise, every cell and every day observed."""
    assert config.grid is not None
    patches = len(config.grid.land_patches)
    past = config.memory.past_days if config.memory else 0
    grids = {name: torch.randn(1, days, *config.grid.shape) for name in config.of_kind("grid")}
    series = {name: torch.randn(1, CATCHMENTS, days) for name in config.of_kind("series")}
    return Batch(
        grids=grids,
        cells={name: torch.ones(config.grid.shape, dtype=torch.bool) for name in grids},
        series=series,
        static=torch.randn(1, CATCHMENTS, config.attributes),
        drains=torch.arange(DRAINED).expand(1, CATCHMENTS, DRAINED),
        shares=torch.full((1, CATCHMENTS, DRAINED), 1 / DRAINED),
        past={name: torch.randn(1, past, patches) for name in grids}
        | {name: torch.randn(1, CATCHMENTS, past) for name in series}
        if past
        else {},
    )


def count(config: Config, patches: int) -> tuple[float, float, float]:
    """Return FLOP (forward and backward), bytes kept for backward and parameters, of one window on so many patches."""
    py, px = config.recipe.grid.patch_size if config.recipe else (10, 10)
    structure = model_config(config, GridConfig((py, px * patches), (py, px), tuple(range(patches))), ATTRIBUTES)
    torch.manual_seed(0)
    model, batch = MultiModalMAE(structure), batch_of(structure, config.window)
    noise = draw_noise(structure, windows=1, catchments=CATCHMENTS, days=config.window,
                       generator=torch.Generator().manual_seed(0))  # fmt: skip
    masks = mask_batch(batch, structure, noise)
    own = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held = total_loss(model(batch, masks), structure)
    # Only attention that is written out as matrix products is counted.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        total_loss(model(batch, masks), structure).backward()
    del held
    return counter.get_total_flops(), sum(kept.values()), sum(one.numel() for one in model.parameters())


def measure(config: Config) -> Cost:
    """Return the coefficients of a configuration's cost, from three numbers of patches."""
    found = np.array([count(config, patches) for patches in SIZES])
    curve = [np.polyfit(SIZES, found[:, which], 2)[::-1] for which in (0, 1)]
    line = np.polyfit(SIZES, found[:, 2], 1)[::-1]
    return Cost(*(tuple(float(one) for one in of) for of in (*curve, line)))  # type: ignore[arg-type]


def rows() -> Iterator[str]:
    """Yield the lines of the table in ``docs/scaling.md``."""
    window = load("gb").window
    yield "| domain | GPUs | FLOP a window | step: computing + exchange | an epoch | epochs, in all | weights and optimiser, activations of a GPU | read | store, uncompressed | checkpoint |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for domain, gpus in CASES:
        found = forecast(domain, gpus, COUNTED, window)
        flops, *_ = COUNTED.at(domain.patches)
        epoch = found.steps * found.step / 3600
        fits = "" if found.state + found.kept < gpus.memory else ": does not fit"
        yield (
            f"| {domain.name} | {gpus.number} | {flops:.2g} | {found.compute:.2g} + {found.exchange:.1g} s | "
            f"{epoch:.2g} h | {domain.epochs}: {epoch * domain.epochs / 24:.2g} days | "
            f"{found.state / 1e9:.2g}, {found.kept / 1e9:.3g} GB{fits} | {found.read / 1e9:.2g} GB/s | "
            f"{found.store / 1e9:,.0f} GB | {found.checkpoint / 1e9:.2g} GB |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true")
    if parser.parse_args().measure:
        print(measure(load("gb")))  # noqa: T201
        return
    print("\n".join(rows()))  # noqa: T201


if __name__ == "__main__":
    main()
