"""What a stream of a long convolution remembers: its newest samples, and when they were."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["MonarchState", "newest"]


class MonarchState(NamedTuple):
    """The samples of each stream that its filters still read, newest first; 0 before the first sample.

    Args:
        recent: What the short filter reads, (B, 4, 3 D).
        gaps: Time from each of these to its predecessor, (B, 4) float64, in training steps.
        values: What the long filters read, times its own step, (B, N, S); 0 from the window on.
        ages: Time since each of these before the newest sample, (B, N) float64; at most the window.
    """

    recent: Tensor
    gaps: Tensor
    values: Tensor
    ages: Tensor


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
