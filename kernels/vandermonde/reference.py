"""The kernel of a diagonal system as its defining sum."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast

__all__ = ["vandermonde_reference"]


@without_autocast
def vandermonde_reference(a: Tensor, weight: Tensor, length: int) -> Tensor:
    """Evaluates K[l] = 2 Re sum_n weight_n exp(l a_n) term by term; holds all (..., N, L) exponentials.

    Example:
        >>> vandermonde_reference(torch.zeros(1) + 0j, torch.ones(1, 1) + 0j, 3)
        tensor([[2., 2., 2.]])
    """
    steps = torch.arange(length, dtype=a.real.dtype, device=a.device)
    return 2 * (weight @ torch.exp(a.unsqueeze(-1) * steps)).real
