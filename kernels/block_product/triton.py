"""Triton kernels: a program reads the kept blocks where they lie, so that nothing is gathered or scattered.

The gradient of the rows is the same product with the transposed blocks and the inverse table. That of the blocks is a
sum over all rows, which one program takes for a tile of one kept block, in a fixed order.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqkit.kernels.block_product.cpu import transposed

__all__ = ["block_product_backward", "block_product_forward"]


@triton.jit
def product_kernel(
    x, blocks, columns, y, n_rows, n_blocks, n_kept, p, q, ROWS: tl.constexpr, OUT: tl.constexpr, IN: tl.constexpr
):
    """A tile of one block's result: y[b, i p + a] = sum_m sum_c blocks[i, a, m q + c] x[b, column q + c]."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    block = tl.program_id(1)
    out = tl.program_id(2) * OUT + tl.arange(0, OUT)
    here, in_block = (rows < n_rows)[:, None], (out < p)[None, :]
    x += rows.to(tl.int64)[:, None] * (n_blocks * q)
    blocks += (block.to(tl.int64) * p + out[None, :]) * (n_kept * q)
    total = tl.zeros((ROWS, OUT), dtype=tl.float32)
    for kept in range(n_kept):
        column = tl.load(columns + block * n_kept + kept).to(tl.int32)
        for first in range(0, q, IN):
            place = first + tl.arange(0, IN)
            values = tl.load(x + (column * q + place)[None, :], here & (place < q)[None, :], 0.0)
            factor = tl.load(blocks + (kept * q + place)[:, None], (place < q)[:, None] & in_block, 0.0)
            total = tl.dot(values, factor, total, input_precision="tf32x3")
    y += rows.to(tl.int64)[:, None] * (n_blocks * p) + (block * p + out)[None, :]
    tl.store(y, total.to(y.dtype.element_ty), here & in_block)


@triton.jit
def weight_kernel(
    grad, x, columns, dw, n_rows, n_blocks, n_kept, p, q, ROWS: tl.constexpr, OUT: tl.constexpr, IN: tl.constexpr
):
    """A tile of one kept block: dw[i, a, m q + c] = sum_b grad[b, i p + a] x[b, column q + c]."""
    block, kept = tl.program_id(0) // n_kept, tl.program_id(0) % n_kept
    out = tl.program_id(1) * OUT + tl.arange(0, OUT)
    place = tl.program_id(2) * IN + tl.arange(0, IN)
    column = tl.load(columns + block * n_kept + kept).to(tl.int32)
    grad += (block * p + out)[:, None]
    x += (column * q + place)[None, :]
    total = tl.zeros((OUT, IN), dtype=tl.float32)
    for first in range(0, n_rows, ROWS):
        rows = first + tl.arange(0, ROWS)
        far = rows.to(tl.int64)
        left = tl.load(grad + far[None, :] * (n_blocks * p), (rows < n_rows)[None, :] & (out < p)[:, None], 0.0)
        right = tl.load(x + far[:, None] * (n_blocks * q), (rows < n_rows)[:, None] & (place < q)[None, :], 0.0)
        total = tl.dot(left, right, total, input_precision="tf32x3")
    dw += (block.to(tl.int64) * p + out[:, None]) * (n_kept * q) + (kept * q + place)[None, :]
    tl.store(dw, total.to(dw.dtype.element_ty), (out < p)[:, None] & (place < q)[None, :])


def edge(size: int, largest: int) -> int:
    """The edge of a tile: a power of two from 16 to `largest`, so that few kernels are compiled."""
    return int(min(largest, max(16, triton.next_power_of_2(size))))


def block_product_forward(x: Tensor, blocks: Tensor, columns: Tensor) -> Tensor:
    """Returns y (B, n p) of rows x (B, n q)."""
    (n_blocks, p, wide), n_kept = blocks.shape, columns.shape[1]
    q = wide // n_kept
    y = x.new_empty(len(x), n_blocks * p)
    if len(x):
        ROWS, OUT, IN = edge(len(x), 64), edge(p, 64), edge(q, 32)
        grid = (triton.cdiv(len(x), ROWS), n_blocks, triton.cdiv(p, OUT))
        product_kernel[grid](x, blocks, columns, y, len(x), n_blocks, n_kept, p, q, ROWS, OUT, IN, num_warps=4)
    return y


def block_product_backward(grad: Tensor, x: Tensor, blocks: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x and of the blocks."""
    (n_blocks, p, wide), n_kept = blocks.shape, columns.shape[1]
    q = wide // n_kept
    inverse = columns.argsort(0).contiguous()
    dx = block_product_forward(grad, transposed(blocks, columns, inverse).contiguous(), inverse)
    dw = torch.zeros_like(blocks) if len(x) == 0 else torch.empty_like(blocks)
    if len(x):
        ROWS, OUT, IN = edge(len(x), 32), edge(p, 64), edge(q, 64)
        grid = (n_blocks * n_kept, triton.cdiv(p, OUT), triton.cdiv(q, IN))
        weight_kernel[grid](grad, x, columns, dw, len(x), n_blocks, n_kept, p, q, ROWS, OUT, IN, num_warps=4)
    return dx, dw
