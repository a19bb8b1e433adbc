"""The long filters at any times by their defining sum: for unevenly sampled series, and for single samples."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from seqkit.longconv.filter import filter_at

__all__ = ["filter_directly"]

NUMBERS = 1 << 21
"""Numbers of one temporary: as many rows are taken at once as it holds."""


def filter_directly(
    values: Tensor, times: Tensor, table: Tensor, reverse: Tensor | None = None, *, before: int, most: int | None
) -> Tensor:
    """Sums filters over samples at any times.

        y_l = sum_(j <= l) h(t_l - t_j) v_j + sum_(j > l) g(t_j - t_l) v_j

    Args:
        values: Samples v times their own steps, (B, n, S), oldest first.
        times: (B, n) float64.
        table: h at whole times, (window + 1, S); see `filter_at`.
        reverse: g likewise, or None for a causal map.
        before: Samples that come before the first output.
        most: Samples, with its own, that an output reads back; None for all.

    Returns:
        (B, n - before, S).

    Cost: O(B n min(n, most) S) time; temporaries of 2^21 numbers, which a backward pass computes again.

    Example:
        >>> values, times = torch.ones(1, 3, 1), torch.tensor([[0.0, 0.5, 2.0]]).double()
        >>> filter_directly(values, times, torch.tensor([[4.0], [2.0], [0.0]]), before=0, most=None).flatten()
        tensor([4., 7., 5.])
    """
    length, outputs = values.shape[1] - before, []
    row = len(values) * values.shape[2] * (values.shape[1] if most is None else min(values.shape[1], most))
    rows = max(1, min(length, NUMBERS // max(row, 1)))
    again = length > rows and torch.is_grad_enabled() and (values.requires_grad or table.requires_grad)
    for start in range(0, length, rows):
        stop = min(length, start + rows)
        first = 0 if most is None else max(0, before + start + 1 - most)
        last = before + stop if reverse is None else values.shape[1]
        own = torch.arange(before + start, before + stop, device=values.device)
        keys = torch.arange(first, last, device=values.device)
        allowed = torch.ones(len(own), len(keys), dtype=torch.bool, device=values.device)
        if reverse is None:
            allowed &= keys <= own[:, None]
        if most is not None:
            allowed &= own[:, None] - keys < most
        part = values[:, first:last], times[:, first:last], times[:, before + start : before + stop], allowed
        if again:
            outputs.append(checkpoint(_summed, *part, table, reverse, use_reentrant=False, preserve_rng_state=False))
        else:
            outputs.append(_summed(*part, table, reverse))
    return torch.cat(outputs, 1)


def _summed(
    values: Tensor, times: Tensor, own: Tensor, allowed: Tensor, table: Tensor, reverse: Tensor | None
) -> Tensor:
    """Rows of outputs, (B, R, S), of samples (B, K, S)."""
    lags = own[:, :, None] - times[:, None]
    weights = filter_at(table, lags.clamp(min=0))
    if reverse is not None:
        weights = torch.where((lags >= 0)[..., None], weights, filter_at(reverse, (-lags).clamp(min=0)))
    weights = weights * allowed[:, :, None]
    return torch.einsum("brks,bks->brs", weights, values)
