"""Failures of training that are no bugs: each ends in a sentence that says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from watercli.errors import RunError
from watercli.output.atomic import DISK_FULL

LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")
"""What gloo and NCCL say in a process when another has died."""


@contextlib.contextmanager
def in_a_sentence(run: Path | None) -> Iterator[None]:
    """Turn a full disk, memory that runs out and a killed data worker into a `RunError`; None: nothing is written."""
    again = f"continue with 'watercli pretrain --run {run} --resume'" if run else "try again"
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise RunError(f"The disk of {run} can take no more ({error.strerror}); make room and {again}") from error
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, RuntimeError) or isinstance(error, torch.OutOfMemoryError) or "t allocate" in text:
            raise RunError(
                "Memory ran out; raise train.gradient_accumulation, set train.activation_checkpointing=true or lower "
                f"train.grid_cache_gib, and {again}"
            ) from error
        if "DataLoader worker" in text:
            raise RunError(
                f"A process that reads windows ahead was killed (out of memory?); lower train.workers and {again}"
            ) from error
        raise


def lost_another(error: BaseException) -> bool:
    """Return whether a process failed only because another had died."""
    return isinstance(error, torch.distributed.DistError) or any(words in str(error) for words in LOST)
