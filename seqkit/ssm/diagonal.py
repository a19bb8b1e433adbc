"""Recurrence of a diagonal discrete system over blocks, in conjugate pairs, without an (H, N, L) intermediate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqkit.kernels.vandermonde import vandermonde

__all__ = ["diagonal_final_state", "diagonal_response", "pairs_to_real", "real_to_pairs"]


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


def diagonal_response(exponent: Tensor, C: Tensor, x: Tensor, length: int) -> Tensor:
    """Output of the state alone, `y_l = 2 Re sum_n C_n exp((l+1) a_n) x_n` for l = 0 .. length-1.

    Args:
        exponent: Exponent a per sample, (H, N/2), complex.
        C: Output maps, (H, M, N/2), complex.
        x: States, (B, H, N/2), complex.
        length: Number of samples.

    Returns:
        Outputs, (B, M, H, length), real.

    Example:
        >>> a = torch.tensor([[math.log(0.5) + 0j]], dtype=torch.complex64)
        >>> one = torch.ones(1, 1, 1, dtype=torch.complex64)
        >>> diagonal_response(a, one, one, 2).flatten()
        tensor([1.0000, 0.5000])
    """
    weight = (C * exponent.exp()[:, None])[:, None] * x.transpose(0, 1)[:, :, None]
    y = vandermonde(exponent, weight.flatten(1, 2), length)
    return y.reshape(len(y), x.shape[0], -1, length).permute(1, 2, 0, 3)


def diagonal_final_state(exponent: Tensor, B: Tensor, newest_first: Tensor, x: Tensor, lengths: Tensor) -> Tensor:
    """State after each series' last sample, `exp(n a) x + sum_j exp(j a) B u_(n-1-j)`.

    Args:
        exponent: Exponent a per sample, (H, N/2), complex.
        B: Discrete input maps, (H, N/2), complex.
        newest_first: Samples of each series in reversed order, 0 past the oldest, (B, H, L).
        x: States before the first sample, (B, H, N/2), complex.
        lengths: Number of samples n of each series, (B,).

    Returns:
        States, (B, H, N/2), complex.

    Example:
        >>> a = torch.tensor([[math.log(0.5) + 0j]], dtype=torch.complex64)
        >>> one = torch.ones(1, 1, dtype=torch.complex64)
        >>> diagonal_final_state(a, one, torch.ones(1, 1, 2), 0 * one[None], torch.tensor([2])).real.item()
        1.5
    """
    length = newest_first.shape[-1]
    m = max(1, math.isqrt(length))
    padded = torch.nn.functional.pad(newest_first, (0, -length % m))
    blocks = padded.reshape(*padded.shape[:2], -1, m)
    near = _powers(exponent, m, 1)
    far = _powers(exponent, blocks.shape[2], m)
    # One real matrix product for both parts: blocks are real.
    parts = torch.einsum("bhij,hjk->bhik", blocks, torch.cat([near.real, near.imag], dim=-1))
    total = (far * real_to_pairs(parts)).sum(dim=2)
    carried = (exponent * lengths[:, None, None]).exp() * x
    return carried + B * total


def _powers(exponent: Tensor, count: int, stride: int) -> Tensor:
    """`exp(stride * i * a)` for i = 0 .. count-1, (H, count, N/2)."""
    steps = torch.arange(count, device=exponent.device, dtype=exponent.real.dtype) * stride
    return (exponent[:, None] * steps[:, None]).exp()
