"""Simulated flow of every catchment, gauged or not: `simulator` runs the model, `export` writes what it says."""

from __future__ import annotations

from watercli.simulation.export import export_simulation
from watercli.simulation.simulator import simulate

__all__ = ["export_simulation", "simulate"]
