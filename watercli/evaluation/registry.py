"""The registry of protocols, in the order in which they are run and reported."""

from __future__ import annotations

from watercli import plugins
from watercli.evaluation.protocol import Protocol
from watercli.plugins import Registry

PROTOCOLS = Registry(plugins.PROTOCOLS, Protocol)
"""Built-in protocols, then those that installed packages add."""
