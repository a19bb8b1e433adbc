"""Filters with a tap at every whole lag, over signals that are linear between samples at any times."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["even_taps", "n_even_taps", "ramps", "weights_at"]


def ramps(taps: Tensor) -> Tensor:
    """The sums `R(x) = sum_i k_i max(x - i, 0)` at x = 0, 1 .. n, from which weights of linear signals are taken.

    A sample at lag b between neighbours at the lags a > b > c (the older first) has the share of a triangle of each
    tap, and the sum over taps is (R(a) - R(b)) / (a - b) - (R(b) - R(c)) / (b - c). R is linear between whole numbers.

    Args:
        taps: k, (n, F).

    Returns:
        (n + 1, F) in float64: differences of R are taken twice.

    Example:
        >>> ramps(torch.tensor([[1.0], [2.0]])).flatten()
        tensor([0., 1., 4.], dtype=torch.float64)
    """
    return F.pad(taps.double().cumsum(0).cumsum(0), (0, 0, 1, 0))


def ramps_at(table: Tensor, lags: Tensor) -> Tensor:
    """R at any lags (...), float64: 0 for negative ones, linear beyond the last; returns (..., F)."""
    lags = lags.clamp(min=0)
    whole = lags.floor().clamp(max=len(table) - 2)
    index = whole.long()
    below = table[index]
    return below + (lags - whole)[..., None] * (table[index + 1] - below)


def weights_at(table: Tensor, own: Tensor, nodes: Tensor, *, later: bool = False) -> Tensor:
    """Weights of samples in the sum of taps over a linear signal, `sum_i k_i v(t - i)`.

    Args:
        table: What `ramps` returned, (n + 1, F).
        own: Times t of the outputs, (B, R).
        nodes: Times of K samples with a neighbour on each side, (B, K + 2), increasing, float64.
        later: Whether the taps are at t + 1 + i instead.

    Returns:
        (B, R, K, F), float64.

    Example:
        >>> table, own = ramps(torch.tensor([[1.0], [2.0]])), torch.tensor([[2.0]])
        >>> weights_at(table, own, torch.tensor([[-1.0, 0.5, 2.0, 3.0]])).flatten()  # v(1) lies a third of the way up
        tensor([1.3333, 1.6667], dtype=torch.float64)
    """
    lags = own[:, :, None] - nodes[:, None]
    sums = ramps_at(table, (-lags - 1) if later else lags)
    slopes = sums.diff(dim=2) / nodes.diff(dim=1)[:, None, :, None]
    return slopes.diff(dim=2)


def n_even_taps(n_taps: int, rate: float) -> int:
    """Number of samples, its own among them, that n taps from lag 0 on read at even steps."""
    return math.ceil((n_taps - 1) / rate) + 1


def even_taps(taps: Tensor, rate: float, count: int, *, later: bool = False) -> Tensor:
    """Taps for samples `rate` apart of filters that are given for those 1 apart.

    Args:
        taps: (n, F).
        rate: Step.
        count: How many are asked for.
        later: Whether the taps given are at the lags -1, -2 .., and those returned at 0, -rate, -2 rate ...

    Returns:
        (F, count).

    Example:
        >>> even_taps(torch.tensor([[1.0], [2.0], [4.0]]), 2.0, 3)  # lag 1 lies between two samples
        tensor([[2., 5., 0.]])
    """
    if rate == 1:
        return F.pad(taps, (0, 0, int(later), count))[:count].mT
    places = rate * torch.arange(-1, count + 1, dtype=torch.float64, device=taps.device) - int(later)
    return (ramps_at(ramps(taps), places).diff(n=2, dim=0) / rate).to(taps.dtype).mT
