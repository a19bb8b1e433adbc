"""What a stream of a long convolution remembers: its newest samples, and when they were."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["MonarchState", "is_even", "newest"]


class MonarchState(NamedTuple):
    """The samples of each stream that its filters still read, newest first; 0 before the first sample.

    Args:
        recent: What the short filter reads, (B, 4, 3 D).
        values: What the long filters read, (B, N, S).
        gaps: Time from each of these to its predecessor, (B, N) float64, in training steps; 1 before the first sample.
    """

    recent: Tensor
    values: Tensor
    gaps: Tensor


def newest(x: Tensor, ends: Tensor, count: int) -> Tensor:
    """The newest samples up to each series' end, newest first.

    Args:
        x: Samples, oldest first, (B, n, ...).
        ends: Samples of each series, (B,), at least `count`.
        count: How many are taken.

    Returns:
        (B, count, ...).

    Example:
        >>> newest(torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]), torch.tensor([4, 3]), 2)
        tensor([[4, 3],
                [7, 6]])
    """
    places = ends.to(x.device)[:, None] - 1 - torch.arange(count, device=x.device)
    return x[torch.arange(len(x), device=x.device)[:, None], places]


def is_even(state: MonarchState, rate: float) -> bool:
    """Whether all samples of a state that are not 0, and those after them, came at this step.

    Example:
        >>> values, gaps = torch.tensor([[[3.0], [2.0], [0.0]]]), torch.tensor([[2.0, 2.0, 1.0]])
        >>> is_even(MonarchState(values, values, gaps), 2.0)
        True
    """
    if bool((state.gaps == rate).all()):
        return True
    there = (state.values != 0).any(-1).int().flip(1).cummax(1).values.flip(1)
    return bool(((state.gaps == rate) | (there == 0)).all())
