"""Pooling by shares of time: how much of a series lies above several levels, smoothly, so that levels train."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from seqkit.checks import check_positive, check_positive_int
from seqkit.nn.pool import Pool, PoolState, inside_lengths, register_pool

__all__ = ["SharePool"]

GOLDEN = (math.sqrt(5) - 1) / 2
BAND = 0.15
"""Share of samples on either side of a level by which its width is measured."""
STEEP = 4.0
"""How many times a level's slope fits into its width at the start."""
NARROWEST = 1e-8
"""Least width of a level, in deviations of its channel: some series of a set may be this small beside others."""
FARTHEST = 3.0
"""Deviations at which a pooled value is held: a series unlike all others is not extrapolated to."""


@register_pool("share")
class SharePool(Pool):
    """Shares of samples above levels, the mean and the maximum of each channel, standardised.

        s_k = 1/L sum_l sigmoid(exp(a_k) (x_l - level_k) / width_k - b_k),   k = 1..T

    What a mean loses, how often and how far a channel swings, stays. `a` and `b` are trained from 0; levels, widths and
    the units of what is pooled come from data by `set_levels`, and suit channels of deviation 1 before.

    Args:
        d_model: Channels D.
        levels: Number of levels T of each channel.

    Source:
        Dempster, Petitjean, Webb 2020, ROCKET (arXiv:1910.13051), for shares of positive values as features, and
        MiniRocket (arXiv:2012.08791) for levels at quantiles. Differs: smooth and trained, with an online form.

    Cost: O(T D) a sample.

    Example:
        >>> pool = SharePool(2, levels=3)
        >>> pool(torch.randn(4, 50, 2)).shape
        torch.Size([4, 10])
    """

    def __init__(self, d_model: int, *, levels: int = 4) -> None:
        super().__init__(d_model)
        self.levels = check_positive_int("levels", levels)
        shares = _shares(d_model, levels)
        self.sharpness = nn.Parameter(torch.zeros(levels, d_model))
        self.shift = nn.Parameter(torch.zeros(levels, d_model))
        self.register_buffer("unit", torch.ones(d_model))
        self.register_buffer("level", torch.special.ndtri(shares.clamp(0.02, 0.98)).float())
        self.register_buffer("slope", torch.full((levels, d_model), STEEP))
        self.register_buffer("centre", torch.zeros(self.width))
        self.register_buffer("scale", torch.ones(self.width))
        self.unit: Tensor
        self.level: Tensor
        self.slope: Tensor
        self.centre: Tensor
        self.scale: Tensor

    @property
    def width(self) -> int:
        """(T + 2) D."""
        return (self.levels + 2) * self.d_model

    @torch.no_grad()
    def set_levels(self, series: Sequence[Tensor], random: Generator, steepness: float = STEEP) -> None:
        """Takes levels, widths and units from training series.

        Levels of a channel are quantiles of its values in one series, drawn for it; their shares follow each other by
        the golden ratio, which covers 0 to 1 evenly. Pooled values come out with mean 0 and deviation 1.

        Args:
            series: What is pooled of each series, (L, D) each.
            random: Source of chance.
            steepness: How many times a level's slope fits into its width: large ones count nearly yes or no.

        Raises:
            ValueError: no series, another number of channels, or a steepness that is not positive.
        """
        check_positive("steepness", steepness)
        if not series or any(one.dim() != 2 or one.shape[1] != self.d_model for one in series):
            raise ValueError(f"`series` must hold series of {self.d_model} channels, (L, D) each, and at least one")
        self.unit.copy_(torch.cat(list(series)).double().std(dim=0, correction=0).clamp_min(1e-12))
        shares = _shares(self.d_model, self.levels).to(self.level.device)
        drawn = random.integers(len(series), size=self.d_model)
        for i in np.unique(drawn):
            alike = torch.from_numpy(np.flatnonzero(drawn == i)).to(self.level.device)
            ranked = (series[i][:, alike] / self.unit[alike]).sort(dim=0).values
            low, middle, high = (_at(ranked, shares[:, alike] + move) for move in (-BAND, 0.0, BAND))
            self.level[:, alike] = middle
            self.slope[:, alike] = steepness / (high - low + NARROWEST)
        pooled = torch.cat([self._pooled(*self._sums(one[None]), one.new_tensor([len(one)])) for one in series])
        self.centre.copy_(pooled.mean(dim=0))
        # A value that is the same in all of training says nothing: its deviation must not make it loud.
        self.scale.copy_(pooled.std(dim=0, correction=0) + 1e-3)

    def initial_state(self, batch_size: int = 1) -> PoolState:
        """Sums and maxima of nothing, (B, (T + 2) D), in float64 as those of `MeanPool`."""
        _, seen = super().initial_state(batch_size)
        return PoolState(self.start.new_zeros(batch_size, self.width, dtype=torch.float64), seen)

    def scan(
        self,
        x: Tensor,
        state: PoolState,
        lengths: Tensor | None = None,
        *,
        rate: float | Tensor = 1.0,
        timestamps: Tensor | None = None,
    ) -> tuple[Tensor, PoolState]:
        """Running shares, mean and maximum."""
        inside, lengths = inside_lengths(x, lengths)
        # Looking whether there is padding stalls the queue of an accelerator; a processor saves a third of its work.
        whole = x.device.type == "cpu" and not torch.compiler.is_compiling() and bool((lengths == x.shape[1]).all())
        sums, largest = self._sums(x, None if whole else inside)
        before, highest = state.value[:, : sums.shape[1]], state.value[:, sums.shape[1] :]
        sums = sums + before
        largest = torch.where((state.seen > 0)[:, None], torch.maximum(largest.to(highest.dtype), highest), largest)
        seen = state.seen + lengths
        pooled = ((self._pooled(sums, largest, seen) - self.centre) / self.scale).clamp(-FARTHEST, FARTHEST)
        return pooled.to(x.dtype), PoolState(torch.cat([sums, largest], dim=1), seen)

    def _sums(self, x: Tensor, inside: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Sums over samples of what lies above each level and of the values, float64, and the largest."""
        if inside is not None:
            x = torch.where(inside, x, x.new_zeros(()))
        slope = self.slope * self.sharpness.exp()
        offset = -(slope * self.level + self.shift)
        slope = slope / self.unit
        sums = []
        for k in range(self.levels):  # one after the other: together they would hold T times the series
            above = torch.sigmoid(torch.addcmul(offset[k], x, slope[k]))
            sums.append((above if inside is None else above * inside).sum(dim=1))
        largest = x if inside is None else torch.where(inside, x, x.new_full((), -torch.inf))
        return torch.cat([*sums, x.sum(dim=1) / self.unit], dim=1).double(), largest.amax(dim=1) / self.unit

    def _pooled(self, sums: Tensor, largest: Tensor, seen: Tensor) -> Tensor:
        """Before standardising."""
        return torch.cat([sums / seen[:, None], largest.to(sums.dtype)], dim=1).to(self.scale.dtype)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"d_model={self.d_model}, levels={self.levels}"


def _shares(d_model: int, levels: int) -> Tensor:
    """Share of samples below each level, (T, D), float64."""
    count = torch.arange(1, d_model * levels + 1, dtype=torch.float64)
    return (count * GOLDEN % 1.0).view(d_model, levels).T


def _at(ranked: Tensor, shares: Tensor) -> Tensor:
    """Values of sorted columns (L, D) at shares (T, D) of their length."""
    return ranked.gather(0, (shares.clamp(0, 1) * (len(ranked) - 1)).round().long())
