"""Series of unequal length in one batch: the memory stands still where a series ends."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["align", "move_on"]


def align(u: Tensor, lengths: Tensor) -> Tensor:
    """Moves series u (H, S, L) to the right, so that all end with the last sample; from 0, zeros before add nothing.

    Example:
        >>> align(torch.tensor([[[1.0, 2.0, 9.0]]]), torch.tensor([[2]]))
        tensor([[[0., 1., 2.]]])
    """
    length = u.shape[-1]
    source = torch.arange(length, device=u.device) - (length - lengths).unsqueeze(-1)
    moved = u.gather(-1, source.clamp(min=0).expand(u.shape))
    return torch.where(source >= 0, moved, torch.zeros_like(moved))


def move_on(A: Tensor, state: Tensor, lengths: Tensor, longest: int) -> Tensor:
    """Returns A^length c for each state (H, S, N) by squaring A (H, N, N), in float64.

    Example:
        >>> move_on(torch.tensor([[[0.5]]]), torch.ones(1, 2, 1), torch.tensor([[3, 1]]), 3).flatten()
        tensor([0.1250, 0.5000])
    """
    power, c = A.double(), state.double()
    for bit in range(longest.bit_length()):
        c = torch.where(((lengths >> bit) & 1).bool().unsqueeze(-1), c @ power.mT, c)
        power = power @ power
    return c.to(state.dtype)
