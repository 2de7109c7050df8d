"""``python -m tests.benchmarks.bench_gpu``: a training step on one GPU, at the report's shapes and at those of ``gb``.

For each shape and precision: median seconds of forward, backward and AdamW, peak memory, windows a second, and the
share of the matrix-product rate that this GPU was measured to reach in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

import torch
from multimodal_mae.config import GridConfig, MAEConfig
from multimodal_mae.mae import MultiModalMAE, total_loss
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks import scaling
from tests.benchmarks.bench_model import report_structure, variants
from tests.random_windows import batch_of, masks_of
from watercli.config import load
from watercli.data.structure import model_config

console = Console(width=120)
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Cost:
    """What a step takes."""

    seconds: float
    memory: int
    flops: float


def measure(
    structure: MAEConfig,
    windows: int,
    days: int,
    catchments: int,
    precision: str,
    grid_days: int | None = None,
    rounds: int = 7,
) -> Cost:
    """Return the median of ``rounds`` steps after three that do not count."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.manual_seed(0)
    model = MultiModalMAE(structure).to("cuda")
    adam = torch.optim.AdamW(model.parameters(), fused=True)
    batch = batch_of(structure, days, windows, catchments, grid_days).to("cuda")
    masks = masks_of(batch, structure)

    def step() -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.autocast("cuda", dtype=PRECISIONS[precision], enabled=PRECISIONS[precision] is not None):
            predictions = model(batch, masks).predictions
        total_loss(predictions, structure).backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        return time.perf_counter() - start

    with FlopCounterMode(display=False) as counter:
        step()
    seconds = [step() for _ in range(rounds + 2)][2:]
    return Cost(statistics.median(seconds), torch.cuda.max_memory_allocated(), float(counter.get_total_flops()))


def matmul_rate(dtype: torch.dtype) -> float:
    """Return the rate of a matrix product of random numbers, FLOP/s."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(10):
        a @ b
    torch.cuda.synchronize()
    return 10 * 2 * 8192**3 / (time.perf_counter() - start)


def gb() -> tuple[MAEConfig, int, int]:
    """Return the structure of ``gb`` on 94 land patches of the 5 km grid, its window, and the days of its grids."""
    config = load("gb")
    assert config.recipe is not None
    py, px = config.recipe.grid.patch_size
    grid = GridConfig((-(-290 // py) * py, -(-180 // px) * px), (py, px), tuple(range(150, 244)))
    return model_config(config, grid, scaling.ATTRIBUTES), config.window_days, config.grid_days


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, nargs="+", default=[5, 30, 90])
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 16, 64])
    arguments = parser.parse_args()
    rates = {name: matmul_rate(dtype or torch.float32) for name, dtype in PRECISIONS.items()}
    console.print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; matrix products: "
                  + ", ".join(f"{name} {rate / 1e12:.0f} TFLOP/s" for name, rate in rates.items()))  # fmt: skip
    for days in arguments.days:
        for precision in PRECISIONS:
            show_variants(days, precision, rates[precision])
    structure, window, grid_days = gb()
    table = Table("windows", "precision", "ms", "windows/s", "GiB", "GiB a window", "share", title_justify="left",
                  title=f"gb: 94 patches, {window} days, {scaling.CATCHMENTS} catchments a window")  # fmt: skip
    for precision, rate in rates.items():
        for windows in arguments.windows:
            cost = measure(structure, windows, window, scaling.CATCHMENTS, precision, grid_days)
            table.add_row(str(windows), precision, f"{cost.seconds * 1e3:.1f}", f"{windows / cost.seconds:.1f}",
                          f"{cost.memory / 2**30:.2f}", f"{cost.memory / 2**30 / windows:.3f}",
                          f"{cost.flops / cost.seconds / rate:.1%}")  # fmt: skip
    console.print(table)


def show_variants(days: int, precision: str, rate: float) -> None:
    """Print the report's variants, with 4 windows of so many days."""
    found = {name: measure(one, 4, days, 1, precision) for name, one in variants(report_structure()).items()}
    reference = found["CrossMAE"]
    table = Table("", "ms", "ratio", "GiB", "ratio", "share", title_justify="left",
                  title=f"Report's shapes, T = {days}, B = 4, {precision}")  # fmt: skip
    for name, cost in found.items():
        table.add_row(name, f"{cost.seconds * 1e3:.1f}", f"{cost.seconds / reference.seconds:.2f}",
                      f"{cost.memory / 2**30:.2f}", f"{cost.memory / reference.memory:.2f}",
                      f"{cost.flops / cost.seconds / rate:.1%}")  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    main()
