"""The normal-plus-low-rank kernel in strides of m samples: m states, and one dense real matrix that takes m steps.

Complex halves of conjugate pairs are held as real vectors, real beside imaginary parts, where the inner product is
Re sum conj(f) x. There a step is a rotation and a low-rank term, and so is a power of it:

    Abar x = delta x + sum_r g_r (f_r . x),
    Abar^m x = delta^m x + sum_{r, i < m} (Abar^i g_r) (f_r conj(delta)^{m-1-i} . x).

So Abar^m costs one product of the states Abar^i g_r with a table, instead of log2 m squarings.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.kernels.cauchy.strides import strides_op

__all__ = ["as_complex", "as_real", "dense_kernel", "discretise", "stride"]


class Discrete(NamedTuple):
    """One step of the bilinear rule, all complex128.

    Args:
        ratio: delta, (H, N).
        feeds: g, (H, R, N).
        reads: f, (H, R, N).
        input: Bbar, (H, N).
    """

    ratio: Tensor
    feeds: Tensor
    reads: Tensor
    input: Tensor


def as_real(half: Tensor) -> Tensor:
    """Reads complex (..., N) as real (..., 2N)."""
    return torch.view_as_real(half.resolve_conj().contiguous()).flatten(-2)


def as_complex(vector: Tensor) -> Tensor:
    """Reads real (..., 2N) as complex (..., N)."""
    return torch.view_as_complex(vector.contiguous().view(*vector.shape[:-1], vector.shape[-1] // 2, 2))


def discretise(Lambda: Tensor, P: Tensor, B: Tensor, dt: Tensor) -> Discrete:
    """Returns the bilinear step of x' = Lambda x - 2 sum_r P_r (P_r . x) + B u.

    By Woodbury, with d = 1 / (1 - dt Lambda / 2),

        (I - dt A / 2)^{-1} x = d x - dt sum_r d P_r (f_r . x),   f = (I + dt P . (d P))^{-1} conj(d) P.
    """
    inverse = (1 / (1 - dt[:, None] * Lambda / 2)).unsqueeze(1)
    scaled = dt[:, None, None] * inverse * P
    loop = torch.eye(P.shape[1], dtype=dt.dtype, device=dt.device) + as_real(P) @ as_real(scaled).mT
    reads = as_complex(torch.linalg.solve(loop, as_real(inverse.conj() * P)))
    fed = as_real(reads) @ as_real(B).unsqueeze(-1)
    B_bar = dt[:, None] * (inverse * B.unsqueeze(1) - (scaled * fed).sum(1, keepdim=True)).squeeze(1)
    return Discrete(2 * inverse.squeeze(1) - 1, -2 * scaled, reads, B_bar)


def stride(step: Discrete, doublings: int) -> tuple[Tensor, Tensor]:
    """Returns the states Abar^j Bbar, j < m, (H, m, 2N), and Abar^m, (H, 2N, 2N), for m = 2^doublings."""
    ratio, feeds, reads, start = step
    states = torch.cat([start.unsqueeze(1), feeds], dim=1).unsqueeze(1)  # (H, time, 1 + R, N)
    table = reads.unsqueeze(1)  # f conj(delta)^k, (H, k, R, N)
    power = ratio
    for _ in range(doublings):
        low_rank = as_real(states.flatten(1, 2)) @ low_rank_reads(table).mT @ low_rank_feeds(states)
        later = states * power[:, None, None] + as_complex(low_rank).view_as(states)
        states = torch.cat([states, later], dim=1)
        table = torch.cat([table, table * power.conj()[:, None, None]], dim=1)
        power = power * power
    matrix = torch.baddbmm(rotation(power), low_rank_feeds(states).mT, low_rank_reads(table))
    return as_real(states[:, :, 0]), matrix


def low_rank_feeds(states: Tensor) -> Tensor:
    """The rows Abar^i g_r, (H, m R, 2N), earliest first."""
    return as_real(states[:, :, 1:].flatten(1, 2))


def low_rank_reads(table: Tensor) -> Tensor:
    """The rows f_r conj(delta)^{m-1-i} that belong to them."""
    return as_real(table.flip(1).flatten(1, 2))


def rotation(values: Tensor) -> Tensor:
    """Returns the real matrix (H, 2N, 2N) that multiplies complex vectors by `values` (H, N)."""
    real, imag = values.real, values.imag
    blocks = torch.stack([torch.stack([real, -imag], dim=1), torch.stack([imag, real], dim=1)], dim=1)
    return torch.diag_embed(blocks, dim1=1, dim2=3).flatten(3, 4).flatten(1, 2)


def dense_kernel(
    Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor, length: int, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Returns K (H, M, length); arguments as in `cauchy` with one leading dimension H, P (H, R, N), in float64.

    With `dtype` float32, the last product and the way back of the gradient through the strides are in float32.
    """
    doublings = max(0, round(math.log2(max(1.0, math.sqrt(length * C.shape[1])))) - 1)
    states, matrix = stride(discretise(Lambda, P, B, dt), doublings)
    kernel: Tensor = strides_op(matrix, states.to(dtype), 2 * as_real(C.conj()).to(dtype), length, "cpu")
    return kernel
