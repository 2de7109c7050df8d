"""Attention, transformer layers, positions and patches.

Shapes: R rows, L tokens, Q queries, D width, H heads; B windows, T days, Y X cells, P patches (L of them land), V
values of a patch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


def patchify(fields: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Cut ``[B, T, Y, X]`` into row-major patches ``[B, T, P, V]``."""
    py, px = patch_size
    b, t, y, x = fields.shape
    blocks = fields.reshape(b, t, y // py, py, x // px, px).transpose(3, 4)
    return blocks.reshape(b, t, (y // py) * (x // px), py * px)


def among_patches(on_land: Tensor, land: Sequence[int], patches: int) -> Tensor:
    """Put land patches ``[B, T, L, V]`` in their places among all of the grid, ``[B, T, P, V]``.

    The others are NaN, or False.
    """
    b, t, _, v = on_land.shape
    full = on_land.new_full((b, t, patches, v), math.nan if on_land.is_floating_point() else 0)
    full[:, :, list(land)] = on_land
    return full


def unpatchify(patches: Tensor, shape: tuple[int, int], patch_size: tuple[int, int]) -> Tensor:
    """Join row-major patches ``[B, T, P, V]`` to ``[B, T, Y, X]``; the inverse of `patchify`."""
    (y, x), (py, px) = shape, patch_size
    b, t = patches.shape[:2]
    blocks = patches.reshape(b, t, y // py, x // px, py, px).transpose(3, 4)
    return blocks.reshape(b, t, y, x)


def sincos(days: int, width: int, like: Tensor) -> Tensor:
    """Return fixed sine-cosine positions ``[days, width]`` (Vaswani et al. 2017, arXiv 1706.03762, section 3.5)."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=like.device, dtype=torch.float32) * (-math.log(10_000.0) / half))
    angles = torch.arange(days, device=like.device, dtype=torch.float32)[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1).to(like.dtype)


def gather(x: Tensor, index: Tensor) -> Tensor:
    """Return rows ``[R, L, D]`` of ``[R, N, D]`` at ``[R, L]``."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def no_later(query_day: Tensor, key_day: Tensor, valid: Tensor) -> Tensor:
    """Return which valid keys ``[R, L]`` are of no later day than each query: ``[R, Q, L]`` bool."""
    return valid[:, None] & (key_day[:, None] <= query_day[:, :, None])


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, valid: Tensor | None) -> Tensor:
    """Scaled dot-product attention over the valid keys.

    A row without a valid key attends to nothing: its result is zero, not NaN.

    Parameters
    ----------
    q, k, v
        ``[R, Q, D]``, ``[R, L, D]``, ``[R, L, D]``.
    heads
        Number of heads; D is a multiple of it.
    valid
        Which keys count: ``[R, L]`` bool, or ``[R, Q, L]`` where it depends on the query, or None if all do.
    """
    # In fp32 on a CPU, where attention's backward pass takes twice as long in bf16.
    kept, exact = q.dtype, q.device.type == "cpu"
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    with torch.autocast("cpu", enabled=False) if exact else nullcontext():
        if exact:
            q, k, v = q.float(), k.float(), v.float()
        if valid is None:
            out = scaled_dot_product_attention(q, k, v)
        else:
            allowed = valid[:, None] if valid.ndim == 2 else valid
            has_key = allowed.any(-1, keepdim=True)
            out = scaled_dot_product_attention(q, k, v, attn_mask=(allowed | ~has_key)[:, None]) * has_key[:, None]
    return out.transpose(1, 2).flatten(2).to(kept)


class SelfAttention(nn.Module):
    """Multi-head self-attention with biases, as ``nn.MultiheadAttention`` counts them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Map ``[R, L, D]`` to ``[R, L, D]``; ``valid`` marks the keys that count, as for `attend`."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        out: Tensor = self.out(attend(q, k, v, self.heads, valid))
        return out


class CrossAttention(nn.Module):
    """Queries of one width attend to tokens of another (CrossMAE, arXiv 2401.14391); no bias but at the output."""

    def __init__(self, width: int, key_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(key_width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, keys: Tensor, valid: Tensor | None) -> Tensor:
        """Map queries ``[R, Q, D]`` and keys ``[R, L, K]`` to ``[R, Q, D]``."""
        k, v = self.kv(keys).chunk(2, dim=-1)
        out: Tensor = self.out(attend(self.q(x), k, v, self.heads, valid))
        return out


class MLP(nn.Sequential):
    """Linear, GELU, Linear, each followed by dropout."""

    def __init__(self, width: int, ratio: float, dropout: float) -> None:
        hidden = int(width * ratio)
        super().__init__(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width), nn.Dropout(dropout)
        )


class FiLM(nn.Module):
    """Scale and shift from a condition: ``(1 + gamma) * x + beta`` (Perez et al. 2018, arXiv 1709.07871)."""

    def __init__(self, condition: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(condition, 2 * width)

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return gamma and beta ``[R, 1, D]``, both within (-1, 1), of a condition ``[R, A]``."""
        gamma, beta = torch.tanh(self.linear(condition))[:, None].chunk(2, dim=-1)
        return gamma, beta


class EncoderLayer(nn.Module):
    """Post-norm transformer layer; with ``condition`` attributes, FiLM follows each of its two norms."""

    def __init__(self, width: int, heads: int, ratio: float, dropout: float, condition: int = 0) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.dropout = nn.Dropout(dropout)
        self.norm1 = nn.LayerNorm(width)
        self.mlp = MLP(width, ratio, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.film = FiLM(condition, width) if condition else None

    def forward(self, x: Tensor, valid: Tensor | None, condition: Tensor | None = None) -> Tensor:
        """Map ``[R, L, D]`` to ``[R, L, D]``; ``condition`` is ``[R, A]``."""
        film = self.film(condition) if self.film is not None else None
        x = _modulate(self.norm1(x + self.dropout(self.attention(x, valid))), film)
        return _modulate(self.norm2(x + self.mlp(x)), film)


def _modulate(x: Tensor, film: tuple[Tensor, Tensor] | None) -> Tensor:
    return x if film is None else (1 + film[0]) * x + film[1]


class DecoderBlock(nn.Module):
    """Pre-norm CrossMAE block: queries attend to encoder tokens, optionally to each other first."""

    def __init__(
        self, width: int, key_width: int, heads: int, ratio: float, dropout: float, self_attention: bool
    ) -> None:
        super().__init__()
        self.norm_self = nn.LayerNorm(width) if self_attention else None
        self.self_attention = SelfAttention(width, heads) if self_attention else None
        self.norm1 = nn.LayerNorm(width)
        self.attention = CrossAttention(width, key_width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, ratio, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, queries: Tensor | None, keys: Tensor, valid: Tensor | None) -> Tensor:
        """Map ``[R, Q, D]`` to ``[R, Q, D]``; ``queries`` and ``valid`` mark what counts, as for `attend`."""
        if self.self_attention is not None and self.norm_self is not None:
            x = x + self.dropout(self.self_attention(self.norm_self(x), queries))
        x = x + self.dropout(self.attention(self.norm1(x), keys, valid))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class SelfBlock(nn.Module):
    """Pre-norm self-attention block of the standard MAE decoder (He et al. 2022, arXiv 2111.06377)."""

    def __init__(self, width: int, heads: int, ratio: float, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, ratio, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Map ``[R, L, D]`` to ``[R, L, D]``."""
        x = x + self.dropout(self.attention(self.norm1(x), valid))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def initialise(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for linear layers, N(0, 0.02) for positions, zeros for FiLM.

    A FiLM layer thus starts as the identity (as in Perez et al. 2018); ``module.apply(initialise)`` visits
    children first, so that its zeros stand.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    elif isinstance(module, FiLM):
        nn.init.zeros_(module.linear.weight)
        nn.init.zeros_(module.linear.bias)
