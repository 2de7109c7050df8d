"""Time and memory of a training step, at the report's shapes, for the variants that the report compares.

Each variant has a process of its own, whose peak memory is then its own; they take their steps in turn, so that a
foreign load meets all of them.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import resource
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import torch
from multimodal_mae.config import GridConfig, MAEConfig
from multimodal_mae.mae import MultiModalMAE, total_loss
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks.peak import product_rate
from tests.random_windows import batch_of, masks_of
from watercli.config import load
from watercli.data.structure import model_config

WINDOWS = 2
APART = 30
"""Longest windows whose variants fit into memory side by side; longer ones are taken one after the other."""


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[2] * (width + value[3])


def _attention_backward(
    _: Any, query: Sequence[int], key: Sequence[int], value: Sequence[int], *__: Any, **___: Any
) -> int:
    return 5 * _attention(query, key, value) // 2  # the scores once more, and four products


FLASH = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""Operations that torch's counter leaves out."""


@dataclass(frozen=True)
class Case:
    """A model and what it is fed."""

    config: MAEConfig
    days: int
    catchments: int = 1
    bf16: bool = False


@dataclass(frozen=True)
class Cost:
    """What a step takes: forward and backward."""

    seconds: float
    memory: int
    """Bytes that the process held at most, beyond what it held before the model was made."""
    flops: float
    """Of a step; attention included."""
    peak: float
    """Rate of matrix products in GFLOP/s, in the same rounds and precision."""

    @property
    def share(self) -> float:
        """Share of the peak."""
        return self.flops / self.seconds / 1e9 / self.peak


def report_structure(*settings: str) -> MAEConfig:
    """Return CrossMAE at the report's size, without dropout."""
    config = load("report-crossmae", ["model.dropout=0", *settings])
    assert config.shape is not None
    land = tuple(range(200, 200 + config.shape.land_patches))
    return model_config(config, GridConfig(config.shape.grid, config.shape.patch_size, land), config.shape.attributes)


def variants(base: MAEConfig) -> dict[str, MAEConfig]:
    """Return what the report compares, a variant whose cost grows linearly with the days, and one of wider heads."""
    maps = replace(base, use_weighted_fm=True)
    return {
        "standard MAE": replace(base, use_cross_attn=False),
        "CrossMAE": base,
        "CrossMAE + WFM": maps,
        "CrossMAE + WFM, layers 0 2 4 5": replace(maps, fm_layers={"grid": (0, 2, 4, 5)}),
        "CrossMAE + WFM, kept_mask_ratio 0.25": replace(maps, kept_mask_ratio=0.25),
        "CrossMAE + WFM, grid_attention_scope same_day": replace(maps, grid_attention_scope="same_day"),
        "the same, grid_cross_attention_scope same_day": replace(
            maps, grid_attention_scope="same_day", grid_cross_attention_scope="same_day"
        ),
        "CrossMAE + WFM, 2 heads": replace(maps, heads=2),
    }


def serve(case: Case, pipe: Connection, threads: int) -> None:
    """Take a step for each message; send its seconds. At the end, send the peak memory and the operations of a step."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model, batch = MultiModalMAE(case.config), batch_of(case.config, case.days, WINDOWS, case.catchments)
    masks = masks_of(batch, case.config)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=case.bf16):
            predictions = model(batch, masks).predictions
        total_loss(predictions, case.config).backward()

    counter = FlopCounterMode(display=False, custom_mapping=FLASH)
    first = True
    while pipe.recv():
        start = time.perf_counter()
        with counter if first else contextlib.nullcontext():
            step()
        pipe.send(time.perf_counter() - start)
        first = False
    pipe.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
    pipe.send(float(counter.get_total_flops()))


@contextlib.contextmanager
def serving(cases: Mapping[str, Case]) -> Iterator[dict[str, Connection]]:
    """Start a process for each case."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name, case in cases.items():
        mine, theirs = context.Pipe()
        process = context.Process(target=serve, args=(case, theirs, torch.get_num_threads()), daemon=True)
        process.start()
        pipes[name] = mine
        processes.append(process)
    try:
        yield pipes
    finally:
        for process in processes:
            process.terminate()
            process.join()


def measure(cases: Mapping[str, Case], rounds: int) -> dict[str, Cost]:
    """Return what a step of each case costs: the median of ``rounds`` after one that does not count.

    Of windows too long for that (`APART`), a single step of each, one process after the other.
    """
    if max(case.days for case in cases.values()) > APART and len(cases) > 1:
        return {name: measure({name: case}, 1)[name] for name, case in cases.items()}
    long = max(case.days for case in cases.values()) > APART
    with serving(cases) as pipes:
        seconds: dict[str, list[float]] = {name: [] for name in cases}
        rates: dict[bool, list[float]] = {case.bf16: [] for case in cases.values()}
        for number in range(1 if long else rounds + 1):
            for name, pipe in pipes.items():
                pipe.send(True)
                step_seconds = pipe.recv()
                if number or long:
                    seconds[name].append(step_seconds)
            for bf16, measured in rates.items():
                measured.append(product_rate(torch.bfloat16 if bf16 else torch.float32))
        costs = {}
        for name, pipe in pipes.items():
            pipe.send(False)
            peak = statistics.median(rates[cases[name].bf16])
            costs[name] = Cost(statistics.median(seconds[name]), pipe.recv(), pipe.recv(), peak)
    return costs


def show_variants(console: Console, days: int, rounds: int) -> None:
    """Print time, memory and share of the peak of every variant, as ratios to CrossMAE."""
    cases = {name: Case(config, days) for name, config in variants(report_structure()).items()}
    cases["CrossMAE + WFM, bf16"] = replace(cases["CrossMAE + WFM"], bf16=True)
    costs = measure(cases, rounds)
    reference = costs["CrossMAE"]
    table = Table("", "seconds", "ratio", "memory", "ratio", "share of the peak", title_justify="left",
                  title=f"Model step, report's shapes, T = {days}, B = {WINDOWS}, forward + backward")  # fmt: skip
    for name, cost in costs.items():
        table.add_row(
            name,
            f"{cost.seconds:.3g}",
            f"{cost.seconds / reference.seconds:.2f}",
            f"{cost.memory / 2**20:.0f} MiB",
            f"{cost.memory / reference.memory:.2f}",
            f"{cost.share:.0%}",
        )
    console.print(table)


def show_growth(console: Console, rounds: int) -> None:
    """Print how the cost of CrossMAE + WFM grows with days, catchments, patches and width."""
    base = replace(report_structure(), use_weighted_fm=True)
    assert base.grid is not None
    land = base.grid.land_patches
    axes: dict[str, dict[str, Case]] = {
        "days": {str(days): Case(base, days) for days in (5, 10, 20)},
        "days, grid_attention_scope and grid_cross_attention_scope same_day": {
            str(days): Case(replace(base, grid_attention_scope="same_day", grid_cross_attention_scope="same_day"), days)
            for days in (5, 10, 20)
        },
        "catchments": {str(number): Case(base, 5, number) for number in (1, 16, 64)},
        "land patches": {
            str(number): Case(replace(base, grid=replace(base.grid, land_patches=land[:number])), 5)
            for number in (len(land) // 4, len(land) // 2, len(land))
        },
        "width": {str(width): Case(replace(base, width=width, decoder_width=width), 5) for width in (128, 256, 512)},
    }
    table = Table("", "from", "to", "times as much", "time", "memory", title_justify="left",
                  title="How a step of CrossMAE + WFM grows, report's shapes, T = 5 unless said")  # fmt: skip
    for axis, cases in axes.items():
        costs = measure(cases, rounds)
        for smaller, larger in itertools.pairwise(costs):
            table.add_row(
                axis,
                smaller,
                larger,
                f"{int(larger) / int(smaller):.3g}",
                f"{costs[larger].seconds / costs[smaller].seconds:.2f}",
                f"{costs[larger].memory / costs[smaller].memory:.2f}",
            )
    console.print(table)
