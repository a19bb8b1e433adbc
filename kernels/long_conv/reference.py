"""The causal convolution as its defining sum."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast

__all__ = ["long_conv_reference", "toeplitz"]


def toeplitz(k: Tensor, length: int) -> Tensor:
    """Returns the lower triangular Toeplitz matrices T[l, s] = k[l - s], (..., length, length).

    Example:
        >>> toeplitz(torch.tensor([1.0, 2.0]), 3)
        tensor([[1., 0., 0.],
                [2., 1., 0.],
                [0., 2., 1.]])
    """
    taps = min(length, k.shape[-1])
    padded = torch.nn.functional.pad(k[..., :taps], (0, length + 1 - taps))  # a zero at index `length` fills s > l
    steps = torch.arange(length, device=k.device)
    lags = steps.unsqueeze(-1) - steps
    return padded[..., torch.where(lags < 0, length, lags)]


@without_autocast
def long_conv_reference(u: Tensor, k: Tensor, D: Tensor | None = None) -> Tensor:
    """Evaluates y[l] = sum_{s <= l} k[l - s] u[s] + D u[l] as a dense matrix product.

    Example:
        >>> long_conv_reference(torch.tensor([[[1.0, 0.0, 2.0]]]), torch.tensor([[1.0, 3.0]]))
        tensor([[[1., 3., 2.]]])
    """
    shared = u if k.dim() == 2 else u.unsqueeze(1)
    y = (toeplitz(k, u.shape[-1]) @ shared.unsqueeze(-1)).squeeze(-1)
    return y if D is None else y + D.unsqueeze(-1) * shared
