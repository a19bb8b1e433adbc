"""Triton kernels that sum decaying exponentials: tables made and joined in registers, a tile of samples a program.

A tile holds the samples l = first + i J + j, i < R, j < J, and exp(l a) = exp((first + i J) a) exp(j a): R + J
exponentials and one complex product instead of R J exponentials for each mode. Nothing but K itself is written.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["vandermonde_backward", "vandermonde_forward"]

QUARTER = tl.constexpr(math.pi / 2)


@triton.jit
def exponential(a_real, a_imag, steps):
    """exp(steps a) as real and imaginary part; phases of up to 1e6 turns are brought below 1/8 turn in float64.

    Sine and cosine are Taylor polynomials there, right to 3e-9: the general functions keep a table for the reduction.
    """
    quarters = a_imag.to(tl.float64) * steps.to(tl.float64) * (1 / QUARTER)
    whole = tl.floor(quarters + 0.5)
    x = ((quarters - whole) * QUARTER).to(tl.float32)
    turn = (whole - 4 * tl.floor(whole * 0.25)).to(tl.int32)  # 0 .. 3
    y = x * x
    sine = x * (1 + y * (-1 / 6 + y * (1 / 120 + y * (-1 / 5040 + y * (1 / 362880)))))
    cosine = 1 + y * (-1 / 2 + y * (1 / 24 + y * (-1 / 720 + y * (1 / 40320 - y * (1 / 3628800)))))
    size = tl.exp((a_real.to(tl.float64) * steps.to(tl.float64)).to(tl.float32))
    swapped = (turn & 1) == 1
    real = tl.where(swapped, sine, cosine) * tl.where((turn == 1) | (turn == 2), -size, size)
    imag = tl.where(swapped, cosine, sine) * tl.where(turn >= 2, -size, size)
    return real, imag


@triton.jit
def vandermonde_fwd_kernel(
    a, weight, out, n_pairs, n_outputs, length, R: tl.constexpr, J: tl.constexpr, N: tl.constexpr
):
    """One tile of K for one channel and output; a and weight are real parts beside imaginary ones."""
    series = tl.program_id(0).to(tl.int64)
    a += (series // n_outputs) * n_pairs * 2
    weight += series * n_pairs * 2
    first = tl.program_id(1).to(tl.int64) * (R * J)
    rows = first + tl.arange(0, R) * J
    columns = tl.arange(0, J)
    total = tl.zeros((R, J), dtype=tl.float32)
    for start in range(0, n_pairs, N):
        n = start + tl.arange(0, N)
        here = n < n_pairs
        a_real, a_imag = tl.load(a + 2 * n, here, 0.0), tl.load(a + 2 * n + 1, here, 0.0)
        w_real, w_imag = tl.load(weight + 2 * n, here, 0.0), tl.load(weight + 2 * n + 1, here, 0.0)
        far_real, far_imag = exponential(a_real[None, :], a_imag[None, :], rows[:, None])
        near_real, near_imag = exponential(a_real[:, None], a_imag[:, None], columns[None, :])
        left = 2 * (far_real * w_real[None, :] - far_imag * w_imag[None, :])
        total = tl.dot(left, near_real, total, input_precision="tf32x3")
        left = -2 * (far_real * w_imag[None, :] + far_imag * w_real[None, :])
        total = tl.dot(left, near_imag, total, input_precision="tf32x3")
    steps = rows[:, None] + columns[None, :]
    tl.store(out + series * length + steps, total, steps < length)


@triton.jit
def vandermonde_bwd_kernel(
    grad, a, sums, n_pairs, n_outputs, n_tiles, length, R: tl.constexpr, J: tl.constexpr, N: tl.constexpr
):
    """One tile's part of T0 = sum_l g_l exp(l a) and T1 = sum_l l g_l exp(l a), for N modes of one output.

    Counting l from the tile's first sample keeps it small; the launcher adds what the earlier tiles are worth.
    """
    series = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1)
    first = tile.to(tl.int64) * (R * J)
    n = tl.program_id(2) * N + tl.arange(0, N)
    here = n < n_pairs
    a += (series // n_outputs) * n_pairs * 2
    a_real, a_imag = tl.load(a + 2 * n, here, 0.0), tl.load(a + 2 * n + 1, here, 0.0)
    rows, columns = tl.arange(0, R) * J, tl.arange(0, J)
    steps = first + rows[:, None] + columns[None, :]
    values = tl.load(grad + series * length + steps, steps < length, 0.0)
    near_real, near_imag = exponential(a_real[None, :], a_imag[None, :], columns[:, None])
    zero = tl.zeros((R, N), dtype=tl.float32)
    in_real = tl.dot(values, near_real, zero, input_precision="tf32x3")
    in_imag = tl.dot(values, near_imag, zero, input_precision="tf32x3")
    lag = columns.to(tl.float32)[:, None]
    by_lag_real = tl.dot(values, near_real * lag, zero, input_precision="tf32x3")
    by_lag_imag = tl.dot(values, near_imag * lag, zero, input_precision="tf32x3")
    jump = rows.to(tl.float32)[:, None]
    by_lag_real += jump * in_real
    by_lag_imag += jump * in_imag
    far_real, far_imag = exponential(a_real[None, :], a_imag[None, :], first + rows[:, None])
    place = sums + (series * n_tiles + tile) * 4 * n_pairs + n
    tl.store(place, tl.sum(far_real * in_real - far_imag * in_imag, 0), here)
    tl.store(place + n_pairs, tl.sum(far_real * in_imag + far_imag * in_real, 0), here)
    tl.store(place + 2 * n_pairs, tl.sum(far_real * by_lag_real - far_imag * by_lag_imag, 0), here)
    tl.store(place + 3 * n_pairs, tl.sum(far_real * by_lag_imag + far_imag * by_lag_real, 0), here)


def edge(size: float, largest: int) -> int:
    """The edge of a tile: a power of two from 16 to `largest`, so that few kernels are compiled."""
    return int(min(largest, max(16, triton.next_power_of_2(math.ceil(size)))))


def vandermonde_forward(a: Tensor, weight: Tensor, length: int) -> Tensor:
    """Returns K (H, M, length) for a (H, N), weight (H, M, N), complex64."""
    n_channels, n_outputs, n_pairs = weight.shape
    out = weight.new_empty(n_channels, n_outputs, length, dtype=torch.float32)
    if not out.numel():
        return out
    if not n_pairs:
        return out.zero_()
    R = J = edge(math.sqrt(length), 64)
    grid = (n_channels * n_outputs, triton.cdiv(length, R * J))
    vandermonde_fwd_kernel[grid](
        parts(a), parts(weight), out, n_pairs, n_outputs, length, R, J, edge(n_pairs, 32), num_warps=8
    )
    return out


def vandermonde_backward(grad: Tensor, a: Tensor, weight: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Returns the gradients of a and weight:  2 conj(sum_M weight T1) and 2 conj(T0)."""
    n_channels, n_outputs, n_pairs = weight.shape
    if not grad.numel() or not n_pairs:
        return torch.zeros_like(a), torch.zeros_like(weight)
    R, J = edge(math.sqrt(length), 64), edge(math.sqrt(length), 32)  # twice as many columns spill registers
    n_tiles, N = triton.cdiv(length, R * J), edge(n_pairs, 16)
    sums = grad.new_empty(n_channels, n_outputs, n_tiles, 4, n_pairs)
    grid = (n_channels * n_outputs, n_tiles, triton.cdiv(n_pairs, N))
    vandermonde_bwd_kernel[grid](grad, parts(a), sums, n_pairs, n_outputs, n_tiles, length, R, J, N, num_warps=8)
    first = torch.arange(n_tiles, dtype=torch.float32, device=grad.device).view(-1, 1) * (R * J)
    plain = torch.complex(sums[..., 0, :], sums[..., 1, :])
    by_lag = torch.complex(sums[..., 2, :], sums[..., 3, :]) + first * plain
    return 2 * (weight * by_lag.sum(2)).sum(1).conj_physical(), 2 * plain.sum(2).conj_physical()


def parts(value: Tensor) -> Tensor:
    """Real parts beside imaginary ones, as a kernel reads them."""
    return torch.view_as_real(value.resolve_conj().contiguous())
