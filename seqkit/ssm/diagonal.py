"""Real states as conjugate pairs and back."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pairs_to_real", "real_to_pairs"]


def real_to_pairs(x: Tensor) -> Tensor:
    """Splits a real state [Re, Im] (..., N) into complex halves of conjugate pairs (..., N/2).

    Example:
        >>> real_to_pairs(torch.tensor([1.0, 2.0]))
        tensor([1.+2.j])
    """
    real, imaginary = x.chunk(2, dim=-1)
    return torch.complex(real.contiguous(), imaginary.contiguous())


def pairs_to_real(x: Tensor) -> Tensor:
    """Joins complex halves (..., N/2) into a real state [Re, Im] (..., N).

    Example:
        >>> pairs_to_real(torch.tensor([1.0 + 2.0j]))
        tensor([1., 2.])
    """
    return torch.cat([x.real, x.imag], dim=-1)
