"""The long filters at any times by their defining sum: for unevenly sampled series, and for single samples."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from seqkit.longconv.lags import ramps, weights_at

__all__ = ["filter_directly"]

NUMBERS = 1 << 20
"""Weights of one temporary: as many rows are taken at once as it holds."""


def filter_directly(
    values: Tensor,
    gaps: Tensor,
    taps: Tensor,
    reverse: Tensor | None = None,
    *,
    before: int = 0,
    most: int | None = None,
) -> Tensor:
    """Filters signals that are linear between samples at any times.

        y_l = sum_i k_i v(t_l - i) + sum_i r_i v(t_l + 1 + i)

    Args:
        values: Samples v, (B, n, S), oldest first. The signal rises from 0 in the first one's
            step, and after the last falls to 0 in as long a step.
        gaps: Time from each to its predecessor, (B, n) float64.
        taps: k, (window, S).
        reverse: r, (window, S), or None for a causal map.
        before: Samples that come before the first output.
        most: Samples, with its own, that an output reads back; None for all.

    Returns:
        (B, n - before, S).

    Cost: O(B n min(n, most) S) time; temporaries of some 2^20 numbers, which a backward pass computes again.

    Example:
        >>> values, gaps = torch.tensor([[[1.0], [3.0]]]), torch.tensor([[1.0, 2.0]]).double()
        >>> filter_directly(values, gaps, torch.tensor([[1.0], [10.0]])).flatten()
        tensor([ 1., 23.])
    """
    length, outputs = values.shape[1] - before, []
    row = len(values) * values.shape[2] * (values.shape[1] if most is None else min(values.shape[1], most))
    rows = max(1, min(length, NUMBERS // max(row, 1)))
    tables = ramps(taps), None if reverse is None else ramps(reverse)
    times = gaps.cumsum(1)
    nodes = torch.cat([times[:, :1] - gaps[:, :1], times, times[:, -1:] + gaps[:, -1:]], 1)
    again = length > rows and torch.is_grad_enabled() and (values.requires_grad or taps.requires_grad)
    for start in range(before, values.shape[1], rows):
        stop = min(values.shape[1], start + rows)
        first = 0 if most is None else max(0, start + 1 - most)
        last = stop if reverse is None else values.shape[1]
        own = torch.arange(start, stop, device=values.device)[:, None]
        near = own - torch.arange(first, last, device=values.device) < (values.shape[1] if most is None else most)
        part = values[:, first:last], times[:, start:stop], nodes[:, first : last + 2], near, *tables
        if again:
            outputs.append(checkpoint(_summed, *part, use_reentrant=False, preserve_rng_state=False))
        else:
            outputs.append(_summed(*part))
    return torch.cat(outputs, 1)


def _summed(values: Tensor, own: Tensor, nodes: Tensor, near: Tensor, table: Tensor, reverse: Tensor | None) -> Tensor:
    """Rows of outputs, (B, R, S), of samples (B, K, S)."""
    weights = weights_at(table, own, nodes)
    if reverse is not None:
        weights = weights + weights_at(reverse, own, nodes, later=True)
    weights = (weights * near[:, :, None]).to(values.dtype)
    return torch.einsum("brks,bks->brs", weights, values)
