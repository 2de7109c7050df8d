"""Handing dask's work to a cluster, where there is one; its workers must see the files by the same paths."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from watercli.errors import ConfigError, RunError
from watercli.log import log

TIMEOUT = 20
"""Seconds to wait for the scheduler."""


@contextmanager
def connected(address: str | None, *needed: Path) -> Iterator[None]:
    """Send what dask computes to the scheduler at ``address``; without one, the threads of this process do it.

    ``needed`` are paths that every worker must see.

    Raises
    ------
    ConfigError
        If ``distributed`` is not installed, or no scheduler with workers answers.
    RunError
        If workers do not see the files, cannot run watercli, or die of a block again and again.
    """
    if address is None:
        yield
        return
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise ConfigError("--scheduler needs distributed; install it with pip install 'watercli[cluster]'") from None
    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)  # one that fails must not stay dask's default
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"No dask scheduler answers at {address} (--scheduler); start one with 'dask scheduler', or leave it out"
        ) from error
    warnings.filterwarnings("ignore", "Sending large graph")  # the demo domain, which lies in memory, is sent
    with client, client.as_current():
        try:
            blind = {
                worker for worker, seen in client.run(_sees, [path.absolute() for path in needed]).items() if not seen
            }
        except Exception as error:
            raise RunError(f"The workers at {address} cannot run watercli ({error}); install it there") from error
        workers = client.scheduler_info()["workers"]
        if not workers:
            raise ConfigError(
                f"The dask scheduler at {address} has no workers; start some with 'dask worker {address}'"
            )
        if blind:
            raise RunError(
                f"{len(blind)} of {len(workers)} workers at {address} do not see {needed[0].absolute()}; "
                "they must share its file system"
            )
        log.info("Grids are written by %d workers at %s", len(workers), address)
        try:
            yield
        except KilledWorker as error:
            raise RunError(
                f"Workers at {address} die of a block, of too little memory perhaps; give them more, and the same "
                "command again: it goes on from here"
            ) from error


def _sees(paths: list[Path]) -> bool:
    return all(os.path.exists(path) for path in paths)
