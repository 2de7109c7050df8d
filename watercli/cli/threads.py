"""How long the threads of a matrix product spin before they sleep."""

from __future__ import annotations

import os

SPIN = "1000"
"""Turns of GNU OpenMP's waiting loop. Windows/s of the demo's pretraining, 20-step means on two cores:

Alone: 15 (no spinning 13, endless spinning 16.5). Beside two busy processes: 7.5 (no spinning 6, 10,000 turns 1.9).
"""


def wait_briefly() -> None:
    """Have waiting threads sleep soon, unless the user has decided; call it before torch is imported."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN)
