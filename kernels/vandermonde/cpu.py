"""The kernel of a diagonal system from two short tables of exponentials and one real matrix product.

With l = i m + j, exp(l a) = exp(i m a) exp(j a): the tables hold about 2 N sqrt(L) exponentials instead of N L.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["vandermonde_backward", "vandermonde_forward"]


def split(length: int, n_outputs: int) -> tuple[int, int]:
    """Returns the numbers of fine steps m and of coarse steps; a coarse row is paid per output, a fine one once."""
    fine = 1 << max(0, round(math.log2(max(1.0, math.sqrt(length * n_outputs)))))
    return fine, -(-length // fine)


def exponentials(a: Tensor, count: int, stride: int) -> Tensor:
    """Returns exp(stride l a), l = 0 .. count-1, (..., N, count) complex128.

    All in float64: l Im(a) reaches 1e5 radians, of which float32 keeps 2 digits. The table is itself a product of two
    short ones, because a multiplication is several times cheaper than an exponential with its sine and cosine.
    """
    inner = 1 << ((count - 1).bit_length() // 2)
    outer = -(-count // inner)
    wide = a.to(torch.complex128)
    steps = torch.arange(inner, dtype=torch.float64, device=a.device)
    jumps = torch.arange(outer, dtype=torch.float64, device=a.device) * inner
    phases = wide.unsqueeze(-1) * (stride * torch.cat([steps, jumps]))
    table = torch.polar(phases.real.exp(), phases.imag)
    product = table[..., inner:].unsqueeze(-1) * table[..., :inner].unsqueeze(-2)
    return product.flatten(-2)[..., :count]


def pair(table: Tensor, like: Tensor) -> Tensor:
    """Stacks real over imaginary parts, (..., N, n) complex128 -> (..., 2N, n) in the real dtype of `like`."""
    return torch.cat([table.real, table.imag], dim=-2).to(like.real.dtype)


def vandermonde_forward(a: Tensor, weight: Tensor, length: int) -> Tensor:
    """Returns K (H, M, length) for a (H, N), weight (H, M, N): 2 Re(Y X) as one real product."""
    n_channels, n_outputs, _ = weight.shape
    fine, n_coarse = split(length, n_outputs)
    near = pair(exponentials(a, fine, 1), a)
    far = exponentials(a, n_coarse, fine).to(weight.dtype).mT.unsqueeze(1) * (2 * weight).unsqueeze(2)
    rows = torch.cat([far.real, -far.imag], dim=-1).flatten(1, 2)
    return (rows @ near).view(n_channels, n_outputs, -1)[..., :length].contiguous()


def vandermonde_backward(grad: Tensor, a: Tensor, weight: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Returns the gradients of a and weight.

    Both follow from T0 = sum_l g_l exp(l a) and T1 = sum_l g_l l exp(l a):  2 conj(T0) and 2 conj(sum_M weight T1).
    """
    n_channels, n_outputs, _ = grad.shape
    fine, n_coarse = split(length, n_outputs)
    padded = grad.new_zeros(n_channels, n_outputs, n_coarse * fine)
    padded[..., :length] = grad
    near = pair(exponentials(a, fine, 1), a)
    steps = torch.arange(fine, dtype=near.dtype, device=a.device)
    sums = padded.view(n_channels, -1, fine) @ torch.cat([near, near * steps], dim=1).mT
    parts = sums.view(n_channels, n_outputs, n_coarse, 4, -1).unbind(-2)
    inner, inner_steps = torch.complex(parts[0], parts[1]), torch.complex(parts[2], parts[3])
    far = exponentials(a, n_coarse, fine).to(weight.dtype).mT.unsqueeze(1)
    jumps = fine * torch.arange(n_coarse, dtype=near.dtype, device=a.device).unsqueeze(-1)
    total = (far * inner).sum(2)
    total_steps = (far * (inner_steps + jumps * inner)).sum(2)
    d_a = 2 * (weight * total_steps).sum(1).conj()
    return d_a.resolve_conj().contiguous(), (2 * total.conj()).resolve_conj().contiguous()
