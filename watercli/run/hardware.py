"""The machine that a run is trained on, for its record."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch


def hardware() -> dict[str, Any]:
    """Return the processor, its cores and the GPUs of this machine."""
    return {"cpu": _processor(), "cores": os.cpu_count() or 1, "gpus": _gpus()}


def _processor() -> str:
    """Return the processor's name; on Linux from the kernel, as Python knows the architecture alone there."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _gpus() -> list[str]:
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
