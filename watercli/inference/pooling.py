"""Tokens of a window become one vector for each place and date: first over space, day by day, then over time.

Shapes: B windows, C places (catchments or patches), T days, P patches, R rows, L visible tokens, N dates, S ways of
pooling over time, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from multimodal_mae.encoder import Features
from torch import Tensor

LAST, MEAN, DAYS = "last", "mean", "days"


def labels(pools: Sequence[str], days: int) -> list[str]:
    """Return what is written along ``pooling``: ``days`` stands for ``lag_0`` (the date) to the window's length."""
    return [label for pool in pools for label in ([f"lag_{lag}" for lag in range(days)] if pool == DAYS else [pool])]


@dataclass(frozen=True)
class Places:
    """Which tokens of one modality belong to which place, and how much."""

    features: Features
    days: int
    area: Tensor | None
    """``[C, P]`` shares of places in patches; None for a series, whose rows are the places themselves."""
    windows: int

    def daily(self, values: Tensor) -> Tensor:
        """Return the sums of share times value ``[B, C, T, D]`` of token values ``[R, L, D]``."""
        patches = 1 if self.area is None else self.area.shape[1]
        f = self.features
        # What is padding, or the token of the static attributes, goes to an extra place, which is dropped.
        place = torch.where(f.valid & (f.index >= 0), f.index, self.days * patches)
        dense = values.new_zeros(len(values), self.days * patches + 1, values.shape[-1])
        dense.scatter_(1, place[..., None].expand_as(values), values)
        if self.area is None:
            own: Tensor = dense[:, :-1].unflatten(0, (self.windows, -1))
            return own
        return torch.einsum("cp,btpd->bctd", self.area, dense[:, :-1].unflatten(1, (self.days, patches)))

    def weight(self) -> Tensor:
        """Return the share of each place that is visible on each day, ``[B, C, T]``."""
        f = self.features
        return self.daily(torch.ones_like(f.index, dtype=torch.float32)[..., None])[..., 0]


@dataclass(frozen=True)
class Moments:
    """Which days of which windows are embedded: window and day of the window of each date, ``[N]`` both."""

    window: Tensor
    day: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Return ``[N, C, ...]`` of ``[B, C, T, ...]``: each date's own day."""
        own: Tensor = values[self.window, :, self.day]
        return own


def pool(sums: Tensor, weight: Tensor, at: Moments, pools: Sequence[str], *, lags: int, around: bool) -> Tensor:
    """Return ``[N, C, S, D]`` of daily sums ``[B, C, T, D]`` and weights ``[B, C, T]``; NaN where nothing was visible.

    No day after the date counts, but in the mean where ``around`` is true. ``lags`` are the days of the longest window:
    a shorter one has none of the earlier.
    """
    days = weight.shape[-1]
    row, date = at.window, at.day
    seen = weight > 0
    pooled = []
    for label in pools:
        if label == LAST:
            day = torch.arange(days, device=weight.device)
            latest = torch.where(seen, day, -1).cummax(-1).values  # [B, C, T]
            of = at.of(latest)  # [N, C]
            pooled.append(_ratio(_pick(sums, row, of), _pick(weight, row, of).masked_fill(of < 0, 0)))
        elif label == MEAN:
            until = torch.full_like(date, days - 1) if around else date
            moment = Moments(row, until)
            pooled.append(_ratio(moment.of(sums.cumsum(2)), moment.of(weight.cumsum(2))))
        else:
            for lag in range(lags):
                moment = Moments(row, (date - lag).clamp_min(0))
                pooled.append(_ratio(moment.of(sums), moment.of(weight).masked_fill((date < lag)[:, None], 0)))
    return torch.stack(pooled, dim=2)


def _pick(values: Tensor, window: Tensor, day: Tensor) -> Tensor:
    """Return ``[N, C, ...]`` of ``[B, C, T, ...]`` at windows ``[N]`` and days ``[N, C]``."""
    place = torch.arange(values.shape[1], device=values.device)
    return values[window[:, None], place, day.clamp_min(0)]


def _ratio(sums: Tensor, weight: Tensor) -> Tensor:
    """Return ``[N, C, D]`` of sums and total weights ``[N, C]``; NaN where the weight is 0."""
    weight = weight[..., None]
    return torch.where(weight > 0, sums / weight.clamp_min(1e-12), torch.nan)
