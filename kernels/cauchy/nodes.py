"""The normal-plus-low-rank kernel by Cauchy sums over frequencies, as published, on a circle inside the unit circle.

The first L samples have the generating function, for nodes w_j = r exp(-2 pi i j / L) and z = 2 (1 - w) / (1 + w),

    sum_{l < L} K[l] w^l = (1 + z/2) [k_CB - k_CP (I + k_PP)^{-1} k_PB],
    k_ab(z) = dt sum_n a_n b_n / (z - dt Lambda_n)  over both halves of every pair,

with C replaced by C (I - r^L Abar^L). On the unit circle a zero eigenvalue would be 0/0 at the first node, and z
infinite at the middle one; with r^L = 1/2 every z has a positive real part, no pole has, and K loses one binary digit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqkit.kernels.cauchy.dense import as_complex, as_real, discretise, stride
from seqkit.kernels.cauchy.op import cauchy_sums_op

__all__ = ["nodes", "nodes_kernel"]

FOLDED = 0.5  # r^L


def nodes(length: int, device: torch.device) -> Tensor:
    """Returns z at the nodes j = 0 .. L/2, complex128, each part from a form without cancellation.

    Example:
        >>> nodes(2, torch.device("cpu")).real
        tensor([ 0.3431, 11.6569], dtype=torch.float64)
    """
    j = torch.arange(length // 2 + 1, dtype=torch.float64, device=device)
    radius = FOLDED ** (1 / length)
    lost = -math.expm1(math.log(FOLDED) / length)  # 1 - r
    half_sine, half_cosine = (torch.pi / length * j).sin(), (torch.pi / length * (length / 2 - j)).sin()
    scale = 2 / (lost**2 + 4 * radius * half_cosine**2)
    return torch.complex(scale * lost * (1 + radius), scale * 4 * radius * half_sine * half_cosine)


def truncating(Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor, length: int) -> Tensor:
    """Returns C (I - r^L Abar^L), (H, M, N): what subtracts the samples from L on."""
    _, power = stride(discretise(Lambda, P, B, dt), 0)
    rows = as_real(C.conj())
    late, remaining = rows, length
    while remaining:
        late = late @ power if remaining % 2 else late
        remaining //= 2
        power = power @ power if remaining else power
    return as_complex(rows - FOLDED * late).conj()


def nodes_kernel(Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor, length: int, path: str) -> Tensor:
    """Returns K (H, M, length); arguments as in `cauchy` with one leading dimension H, P (H, R, N), in float64."""
    rank, n_outputs = P.shape[-2], C.shape[-2]
    z = nodes(length, dt.device)
    inputs = torch.cat([P, B.unsqueeze(-2)], dim=-2)
    outputs = torch.cat([P.conj(), truncating(Lambda, P, B, C, dt, length)], dim=-2)
    v = (outputs.unsqueeze(-2) * inputs.unsqueeze(-3) * dt[:, None, None, None]).flatten(-3, -2)
    paths = cauchy_sums_op(v.resolve_conj(), dt.unsqueeze(-1) * Lambda, z, path)
    paths = paths.view(len(dt), rank + n_outputs, rank + 1, len(z))
    for _ in range(rank):  # one step of elimination closes one loop
        row = paths[:, :1] / (1 + paths[:, :1, :1])
        paths = paths[:, 1:, 1:] - paths[:, 1:, :1] * row[:, :, 1:]
    folded: Tensor = torch.fft.irfft(paths.squeeze(2) * (1 + z / 2), n=length)
    steps = torch.arange(length, dtype=dt.dtype, device=dt.device)
    return folded * torch.exp2(steps * (-math.log2(FOLDED) / length))
