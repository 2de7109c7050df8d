"""``python -m tests.benchmarks.scaling``: what training at larger sizes takes, from a cost model and stated inputs.

The cost of a window is counted on the model itself, at sizes that a laptop can run. It is a polynomial of second degree
in the number of land patches: tokens cost the same each, and so do pairs of tokens that attend to each other. Days have
unlike numbers of visible patches, and are padded to the longest; the more patches, the less: too few of them mislead.
``--measure`` counts anew and prints the coefficients that stand in `COUNTED`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from multimodal_mae.config import GridConfig
from multimodal_mae.mae import MultiModalMAE, total_loss
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.random_windows import batch_of, masks_of
from watercli.config import Config, load
from watercli.data.structure import model_config
from watercli.output.sizes import duration, in_bytes

CATCHMENTS, ATTRIBUTES = 8, 25
"""Catchments in a window, attributes of each."""
SIZES = (32, 96, 192)
"""Land patches at which costs are counted."""


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


COUNTED = Cost(
    flops=(14_392_754_176, 92_064_144, 299_911),
    kept=(223_197_764, 736_115, 915.24),
    parameters=(2_610_152, 512),
)
"""Of a window of the configuration gb: what `measure` returned."""


@dataclass(frozen=True)
class Gpus:
    """The machines. Measured were the two rates of reading, on two cores that are not theirs, and the least step."""

    number: int
    in_machine: int
    peak: float = 989e12
    """FLOP/s of dense bf16 matrix products: an H100 SXM, by its data sheet."""
    share: float = 0.05
    """Part of the peak that is reached while the GPU computes; so small a width reaches no more."""
    least_step: float = 0.19
    """Seconds of a step in which Python and the launching of kernels keep the GPU waiting (measured)."""
    memory: float = 80e9
    within: float = 300e9
    """Bytes/s between GPUs of a machine, each way, as an all-reduce sees it (NVLink 4)."""
    between: float = 25e9
    """Bytes/s between machines: one port of 200 Gbit/s for each."""
    copies: float = 2.3e9
    """Bytes/s of windows that a process copies out of a grid in its memory (measured)."""
    decodes: float = 0.38e9
    """Bytes/s of windows that a core decodes out of a store (measured)."""
    workers: int = 8
    """``train.workers``: cores that decode for each GPU, where the grids are not in memory."""

    def exchange(self, size: float) -> float:
        """Return the seconds in which a ring all-reduce sums ``size`` bytes over all GPUs."""
        slowest = self.within if self.number <= self.in_machine else self.between
        return self.sent(size) / slowest

    def sent(self, size: float) -> float:
        """Return the bytes that each process sends in a ring all-reduce of ``size`` bytes."""
        return 2 * (self.number - 1) / self.number * size


@dataclass(frozen=True)
class Domain:
    """What is trained on."""

    name: str
    patches: int
    """Land patches in a window."""
    cells: int
    """Cells of a grid, sea included, as the store holds them."""
    days: int
    windows_each: int
    """Windows of a step on each GPU."""
    in_memory: bool
    """Whether each process holds the grids decoded in main memory."""
    grids: int = 2
    tiles: int = 1
    """Windows that it takes to cover the domain once."""
    epochs: int = 100


@dataclass(frozen=True)
class Forecast:
    """What a domain takes on some GPUs: seconds, bytes."""

    compute: float
    read: float
    """To read the windows of a step, at the same time as the step before is computed."""
    exchange: float
    least: float
    steps: float
    """In an epoch."""
    state: float
    """Weights, gradients and moments of a GPU, without ZeRO."""
    kept: float
    """Activations of a GPU, without checkpointing."""
    host: float
    """Grids in the main memory of a machine."""
    store: float
    drawn: float
    """Decoded bytes that all processes together read from the store in a second; once it is in memory, none."""
    checkpoint: float

    @property
    def step(self) -> float:
        """Seconds of a step; the exchange is taken not to hide behind the backward pass."""
        return max(self.compute, self.read, self.least) + self.exchange

    @property
    def bound(self) -> str:
        """What a step waits for."""
        times = {"computing": self.compute, "reading": self.read, "launching": self.least}
        return max(times, key=lambda name: times[name])


def forecast(domain: Domain, gpus: Gpus, cost: Cost, window: int) -> Forecast:
    """Return what training takes: the arithmetic, all of it."""
    flops, kept, parameters = cost.at(domain.patches)
    read = domain.windows_each * domain.cells / domain.tiles * window * domain.grids * 4
    store = 4.0 * domain.cells * domain.grids * domain.days
    compute = domain.windows_each * flops / (gpus.peak * gpus.share)
    reading = read / (gpus.copies if domain.in_memory else gpus.decodes * gpus.workers)
    exchange = gpus.exchange(4 * parameters)
    return Forecast(
        compute=compute,
        read=reading,
        exchange=exchange,
        least=gpus.least_step,
        drawn=0 if domain.in_memory else gpus.number * read / (max(compute, reading, gpus.least_step) + exchange),
        steps=domain.days * domain.tiles / (domain.windows_each * gpus.number),
        state=16 * parameters,
        kept=domain.windows_each * kept,
        host=store * min(gpus.number, gpus.in_machine) if domain.in_memory else 0,
        store=store,
        checkpoint=12 * parameters,
    )


GB = Domain("GB, 5 km", patches=94, cells=290 * 180, days=14_610, windows_each=16, in_memory=True)
GLOBE = Domain("globe, whole", patches=19_000, cells=1800 * 3600, days=14_610, windows_each=1, in_memory=False,
               epochs=2)  # fmt: skip
TILES = Domain("globe, 48 tiles", patches=400, cells=1800 * 3600, days=14_610, windows_each=16, in_memory=False,
               tiles=48, epochs=2)  # fmt: skip
CASES = [(GB, Gpus(4, 4)), (GB, Gpus(64, 8)), (TILES, Gpus(4, 4)), (TILES, Gpus(64, 8)), (GLOBE, Gpus(64, 8))]


def count(config: Config, patches: int) -> tuple[float, float, float]:
    """Return FLOP (forward and backward), bytes kept for backward and parameters, of one window on so many patches."""
    py, px = config.recipe.grid.patch_size if config.recipe else (10, 10)
    structure = model_config(config, GridConfig((py, px * patches), (py, px), tuple(range(patches))), ATTRIBUTES)
    torch.manual_seed(0)
    model = MultiModalMAE(structure)
    batch = batch_of(structure, config.window_days, 1, CATCHMENTS, config.grid_days)
    masks = masks_of(batch, structure)
    own = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held = total_loss(model(batch, masks).predictions, structure)
    # Only attention that is written out as matrix products is counted.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        total_loss(model(batch, masks).predictions, structure).backward()
    del held
    return counter.get_total_flops(), sum(kept.values()), sum(one.numel() for one in model.parameters())


def measure(config: Config) -> Cost:
    """Return the coefficients of a configuration's cost, from three numbers of patches."""
    found = np.array([count(config, patches) for patches in SIZES])
    curve = [np.polyfit(SIZES, found[:, which], 2)[::-1] for which in (0, 1)]
    line = np.polyfit(SIZES, found[:, 2], 1)[::-1]
    return Cost(*(tuple(float(one) for one in of) for of in (*curve, line)))  # type: ignore[arg-type]


def rows() -> Iterator[str]:
    """Yield the lines of the tables in ``docs/results/scaling.md``."""
    window = load("gb").grid_days
    found = [(domain, gpus, forecast(domain, gpus, COUNTED, window)) for domain, gpus in CASES]
    yield "| domain | GPUs | FLOP of a window | computing | reading | exchange | a step waits for | an epoch | in all |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for domain, gpus, one in found:
        flops = COUNTED.at(domain.patches)[0]
        epoch = one.steps * one.step
        yield (
            f"| {domain.name} | {gpus.number} | {flops:.2g} | {one.compute:.2g} s | {one.read:.2g} s | "
            f"{one.exchange:.1g} s | {one.bound} | {duration(epoch)} | {domain.epochs} epochs: "
            f"{duration(epoch * domain.epochs)} |"
        )
    yield ""
    heads = ("domain", "GPUs", "weights and optimiser", "activations", "fits 80 GB", "grids in main memory", "store",
             "read from it", "checkpoint")  # fmt: skip
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for domain, gpus, one in found:
        fits = "yes" if one.state + one.kept < gpus.memory else "**no**"
        yield (
            f"| {domain.name} | {gpus.number} | {in_bytes(one.state)} | {in_bytes(one.kept)} | {fits} | "
            f"{in_bytes(one.host)} | {in_bytes(one.store)} | {in_bytes(one.drawn)}/s | {in_bytes(one.checkpoint)} |"
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
