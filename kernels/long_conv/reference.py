"""The convolution as its defining sum."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import HALF, without_autocast

__all__ = ["long_conv_reference", "masked", "padding", "toeplitz"]


def toeplitz(k: Tensor, length: int, center: int = 0) -> Tensor:
    """Returns the Toeplitz matrices T[l, s] = k[center + l - s], (..., length, length), 0 outside the taps.

    Example:
        >>> toeplitz(torch.tensor([1.0, 2.0]), 3)
        tensor([[1., 0., 0.],
                [2., 1., 0.],
                [0., 2., 1.]])
    """
    padded = torch.nn.functional.pad(k, (0, 1))  # a zero after the taps fills what no tap reaches
    steps = torch.arange(length, device=k.device)
    taps = center + steps.unsqueeze(-1) - steps
    return padded[..., torch.where((taps < 0) | (taps >= k.shape[-1]), k.shape[-1], taps)]


def padding(lengths: Tensor, length: int) -> Tensor:
    """Returns where samples lie past their series' end, (B, length); nowhere for an empty `lengths`.

    Example:
        >>> padding(torch.tensor([1, 3]), 3)
        tensor([[False,  True,  True],
                [False, False, False]])
    """
    return torch.arange(length, device=lengths.device) >= lengths.unsqueeze(-1)


def masked(value: Tensor, lengths: Tensor) -> Tensor:
    """Sets what lies past a series' end, whatever it is, to 0; (B, ..., L), all series whole for empty `lengths`.

    Example:
        >>> masked(torch.tensor([[1.0, float("nan")]]), torch.tensor([1]))
        tensor([[1., 0.]])
    """
    if lengths.numel() == 0:
        return value
    past = padding(lengths, value.shape[-1])
    return value.masked_fill(past.view(len(past), *[1] * (value.dim() - 2), -1), 0)


@without_autocast
def long_conv_reference(u: Tensor, k: Tensor, gate: Tensor, lengths: Tensor, center: int) -> Tensor:
    """Evaluates y[l] = gate[l] sum_s k[center + l - s] u[s] as a dense matrix product.

    u (B, H, L), k (M, H, taps), gate (B, M, H, L) or empty, lengths (B,) or empty; returns (B, M, H, L).

    Example:
        >>> u, k, none = torch.tensor([[[1.0, 0.0, 2.0]]]), torch.tensor([[[1.0, 3.0]]]), torch.zeros(0)
        >>> long_conv_reference(u, k, none, none, 0)
        tensor([[[[1., 3., 2.]]]])
    """
    signal = masked(u.float() if u.dtype in HALF else u, lengths).unsqueeze(1)
    y = (toeplitz(k, u.shape[-1], center) @ signal.unsqueeze(-1)).squeeze(-1)
    if gate.numel():
        y = y * masked(gate.to(y.dtype), lengths)
    return masked(y, lengths).to(u.dtype)
