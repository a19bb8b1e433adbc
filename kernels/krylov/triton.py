"""Triton kernels that join the blocks of a Krylov function: rows times columns, written as the series they are.

A joined row r = i M + o holds K[o, i m : (i + 1) m]. The kernels read and write the series (M, L) in place, so neither
the padded product nor a padded copy of the gradient exists. The powers themselves are batched products of torch's.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqkit.kernels.krylov.blocks import build, through_blocks

__all__ = ["krylov_backward", "krylov_forward"]


@triton.jit
def series_offsets(rows, columns, n_rows, n_baby, n_outputs, length):
    """Where row r = i M + o, column j lies in a series (M, L), and whether it does."""
    steps = (rows // n_outputs)[:, None] * n_baby + columns[None, :]
    inside = (rows < n_rows)[:, None] & (columns < n_baby)[None, :] & (steps < length)
    return (rows % n_outputs).to(tl.int64)[:, None] * length + steps, inside


@triton.jit
def krylov_fwd_kernel(
    giant, baby, out, n_rows, n_baby, order, n_outputs, length, R: tl.constexpr, J: tl.constexpr, N: tl.constexpr
):
    """One tile of K = giant baby^T for one system."""
    system = tl.program_id(2).to(tl.int64)
    rows = tl.program_id(1) * R + tl.arange(0, R)
    columns = tl.program_id(0) * J + tl.arange(0, J)
    giant += system * n_rows * order
    baby += system * n_baby * order
    total = tl.zeros((R, J), dtype=tl.float32)
    for start in range(0, order, N):
        n = start + tl.arange(0, N)
        left = tl.load(giant + rows[:, None] * order + n[None, :], (rows < n_rows)[:, None] & (n < order)[None, :], 0.0)
        right = tl.load(
            baby + columns[None, :] * order + n[:, None], (columns < n_baby)[None, :] & (n < order)[:, None], 0.0
        )
        total = tl.dot(left, right, total, input_precision="tf32x3")
    offsets, inside = series_offsets(rows, columns, n_rows, n_baby, n_outputs, length)
    tl.store(out + system * n_outputs * length + offsets, total, inside)


@triton.jit
def krylov_bwd_giant_kernel(
    grad, baby, d_giant, n_rows, n_baby, order, n_outputs, length, R: tl.constexpr, J: tl.constexpr, N: tl.constexpr
):
    """One tile of d_giant = dK baby."""
    system = tl.program_id(2).to(tl.int64)
    rows = tl.program_id(1) * R + tl.arange(0, R)
    n = tl.program_id(0) * N + tl.arange(0, N)
    grad += system * n_outputs * length
    baby += system * n_baby * order
    total = tl.zeros((R, N), dtype=tl.float32)
    for start in range(0, n_baby, J):
        columns = start + tl.arange(0, J)
        offsets, inside = series_offsets(rows, columns, n_rows, n_baby, n_outputs, length)
        left = tl.load(grad + offsets, inside, 0.0)
        right = tl.load(
            baby + columns[:, None] * order + n[None, :], (columns < n_baby)[:, None] & (n < order)[None, :], 0.0
        )
        total = tl.dot(left, right, total, input_precision="tf32x3")
    place = d_giant + system * n_rows * order + rows[:, None] * order + n[None, :]
    tl.store(place, total, (rows < n_rows)[:, None] & (n < order)[None, :])


@triton.jit
def krylov_bwd_baby_kernel(
    grad, giant, d_baby, n_rows, n_baby, order, n_outputs, length, R: tl.constexpr, J: tl.constexpr, N: tl.constexpr
):
    """One tile of d_baby = dK^T giant; dK is read column by column, so no operand is turned in registers."""
    system = tl.program_id(2).to(tl.int64)
    columns = tl.program_id(1) * J + tl.arange(0, J)
    n = tl.program_id(0) * N + tl.arange(0, N)
    grad += system * n_outputs * length
    giant += system * n_rows * order
    total = tl.zeros((J, N), dtype=tl.float32)
    for start in range(0, n_rows, R):
        rows = start + tl.arange(0, R)
        steps = (rows // n_outputs)[None, :] * n_baby + columns[:, None]
        offsets = (rows % n_outputs).to(tl.int64)[None, :] * length + steps
        inside = (rows < n_rows)[None, :] & (columns < n_baby)[:, None] & (steps < length)
        left = tl.load(grad + offsets, inside, 0.0)
        right = tl.load(
            giant + rows[:, None] * order + n[None, :], (rows < n_rows)[:, None] & (n < order)[None, :], 0.0
        )
        total = tl.dot(left, right, total, input_precision="tf32x3")
    place = d_baby + system * n_baby * order + columns[:, None] * order + n[None, :]
    tl.store(place, total, (columns < n_baby)[:, None] & (n < order)[None, :])


def tile(size: int, largest: int) -> int:
    """The edge of a tile for a dimension: a power of two from 16 to `largest`, so that few kernels are compiled."""
    return int(min(largest, max(16, triton.next_power_of_2(size))))


def krylov_forward(A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
    """Returns K (H, M, length) for A (H or 1, N, N), B (H, N), C (H, M, N)."""
    _, baby, giant = build(A, B, C, length)
    n_systems, n_giant, n_outputs, order = giant.shape
    out = C.new_empty(n_systems, n_outputs, length)
    if out.numel():
        n_rows, n_baby = n_giant * n_outputs, baby.shape[1]
        R, J, N = tile(n_rows, 64), tile(n_baby, 64), tile(order, 32)
        grid = (triton.cdiv(n_baby, J), triton.cdiv(n_rows, R), n_systems)
        krylov_fwd_kernel[grid](giant, baby, out, n_rows, n_baby, order, n_outputs, length, R, J, N)
    return out


def krylov_backward(grad: Tensor, A: Tensor, B: Tensor, C: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of A, B and C; the blocks are computed again."""
    blocks = build(A, B, C, length)
    _, baby, giant = blocks
    n_systems, n_giant, n_outputs, order = giant.shape
    d_baby, d_giant = torch.empty_like(baby), torch.empty_like(giant)
    if grad.numel():
        n_rows, n_baby = n_giant * n_outputs, baby.shape[1]
        R, J, N = tile(n_rows, 32), tile(n_baby, 32), tile(order, 64)
        sizes = (n_rows, n_baby, order, n_outputs, length, R, J, N)
        grid = (triton.cdiv(order, N), triton.cdiv(n_rows, R), n_systems)
        krylov_bwd_giant_kernel[grid](grad, baby, d_giant, *sizes)
        grid = (triton.cdiv(order, N), triton.cdiv(n_baby, J), n_systems)
        krylov_bwd_baby_kernel[grid](grad, giant, d_baby, *sizes)
    return through_blocks(blocks, d_baby, d_giant, A)
