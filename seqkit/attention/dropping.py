"""Dropout of exact weights: which ones go depends on a seed, the head, the query and the key alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.kernels.attention.arguments import check_numbers
from seqkit.kernels.attention.dropout import kept

__all__ = ["Drop", "drop_of", "factors"]


class Drop(NamedTuple):
    """What is dropped.

    Args:
        share: Probability of a weight to go, above 0.
        seed: A whole number, int64 without dimensions.
    """

    share: float
    seed: Tensor


def drop_of(dropout: float, seed: int | Tensor | None, like: Tensor) -> Drop | None:
    """Checks the arguments; None where nothing is dropped.

    Raises:
        ValueError: `dropout` lies outside of [0, 1), or comes without a seed.
    """
    check_numbers(None, None, dropout, seed)
    return Drop(float(dropout), torch.as_tensor(seed, dtype=torch.int64, device=like.device)) if dropout > 0 else None


def factors(drop: Drop, start: int, keys: Tensor, like: Tensor) -> Tensor:
    """Factors of exact weights (B, H, C, K): 0 for those that go, 1 / (1 - share) for the others.

    The choice is that of `seqkit.kernels.attention`.

    Args:
        drop: What is dropped.
        start: Position of the first row.
        keys: Positions of keys (K,), or of each row (B, H, C, K).
        like: Queries of the rows (B, H, C, D), whose dtype the factors have.
    """
    batch, heads, rows, _ = like.shape
    number = torch.arange(batch * heads, device=keys.device).view(batch, heads)
    at = torch.arange(start, start + rows, device=keys.device)
    return kept(drop.seed, number, at, keys, drop.share).to(like.dtype) / (1 - drop.share)
