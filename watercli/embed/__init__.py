"""Embeddings: the weighted feature maps that the decoders read, pooled over the tokens that belong to a catchment.

`watercli.embed.embedder` encodes, `watercli.embed.layout` says what an export holds, `watercli.embed.export` writes it.
"""

from __future__ import annotations

from watercli.embed.embedder import Embedder
from watercli.embed.export import append, check_devices, embed
from watercli.embed.formats import format_of
from watercli.embed.layout import layer_weights
from watercli.embed.plan import dry_run

__all__ = ["Embedder", "append", "check_devices", "dry_run", "embed", "format_of", "layer_weights"]
