"""Phrases that say what a method saw; methods share them."""

from __future__ import annotations

from watercli.baselines.context import Context


def own_flow(context: Context) -> str:
    """Say that a method is fitted gauge by gauge."""
    return f"fitted to the gauge's own {context.target} of the training dates"


def all_gauges(context: Context) -> str:
    """Say of which gauges a regional method knows the flow."""
    target = context.target
    return f"trained on the {target} of other gauges only" if context.ungauged else f"trained on all gauges' {target}"


def held_out(context: Context) -> str:
    """Say that held-out gauges lend no flow, where there are any."""
    return ", held-out ones excepted" if context.ungauged else ""


def weather(context: Context) -> str:
    """Name the modalities that the model's simulation reads."""
    return ", ".join(context.read_by_model)


def embedding(context: Context) -> str:
    """Say what an embedding is made of."""
    embedder = context.embedder
    modalities = ", ".join(embedder.modalities)
    return f"frozen embedding of the {embedder.days} days up to the day ({modalities}); never {context.target}"
