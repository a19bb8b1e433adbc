"""Triton kernels: both products of a tile of rows in one program, which reads what it has written between them.

A product with a block-diagonal matrix reads numbers `start + block * a + place * b` and writes to such places too; the
transposition is in the strides. So one kernel serves forward (w1, then w2) and the gradient of the rows (w2 transpo,
then w1 transpo). What lies between the products is a tile of rows that stays in the cache, and the gradients of the
factors, which are sums over all rows, read it too.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["monarch_backward", "monarch_forward"]


@triton.jit
def block_product(
    source,
    weight,
    target,
    rows,
    n_rows,
    width_in,
    width_out,
    n_blocks,
    n_in,
    n_out,
    in_block,
    in_place,
    out_block,
    out_place,
    w_block,
    w_out,
    w_in,
    ROWS: tl.constexpr,
    OUT: tl.constexpr,
    IN: tl.constexpr,
):
    """For a tile of rows and each block j: target[b, (j, o)] = sum_i weight[j, o, i] source[b, (j, i)]."""
    here = (rows < n_rows)[:, None]
    source += rows.to(tl.int64)[:, None] * width_in
    target += rows.to(tl.int64)[:, None] * width_out
    for block in range(n_blocks):
        for first_out in range(0, n_out, OUT):
            o = first_out + tl.arange(0, OUT)
            total = tl.zeros((ROWS, OUT), dtype=tl.float32)
            for first_in in range(0, n_in, IN):
                i = first_in + tl.arange(0, IN)
                values = tl.load(source + block * in_block + i[None, :] * in_place, here & (i < n_in)[None, :], 0.0)
                factor = tl.load(
                    weight + block * w_block + o[None, :] * w_out + i[:, None] * w_in,
                    (i < n_in)[:, None] & (o < n_out)[None, :],
                    0.0,
                )
                total = tl.dot(values, factor, total, input_precision="tf32x3")
            tl.store(
                target + block * out_block + o[None, :] * out_place,
                total.to(target.dtype.element_ty),
                here & (o < n_out)[None, :],
            )


@triton.jit
def two_products_kernel(
    x,
    w1,
    between,
    w2,
    z,
    n_rows,
    width_x,
    width_y,
    width_z,
    n_blocks1,
    n_in1,
    n_out1,
    in_block1,
    in_place1,
    out_block1,
    out_place1,
    w_block1,
    w_out1,
    w_in1,
    n_blocks2,
    n_in2,
    n_out2,
    in_block2,
    in_place2,
    out_block2,
    out_place2,
    w_block2,
    w_out2,
    w_in2,
    ROWS: tl.constexpr,
    OUT: tl.constexpr,
    IN: tl.constexpr,
):
    """Both products of ROWS rows; the barrier makes what one thread wrote visible to the program's others."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    block_product(
        *(x, w1, between, rows, n_rows, width_x, width_y, n_blocks1, n_in1, n_out1),
        *(in_block1, in_place1, out_block1, out_place1, w_block1, w_out1, w_in1, ROWS, OUT, IN),
    )
    tl.debug_barrier()
    block_product(
        *(between, w2, z, rows, n_rows, width_y, width_z, n_blocks2, n_in2, n_out2),
        *(in_block2, in_place2, out_block2, out_place2, w_block2, w_out2, w_in2, ROWS, OUT, IN),
    )


class Product(NamedTuple):
    """One block-diagonal product: its sizes and where its numbers lie."""

    n_blocks: int
    n_in: int
    n_out: int
    in_block: int
    in_place: int
    out_block: int
    out_place: int
    w_block: int
    w_out: int
    w_in: int


def edge(size: int, largest: int) -> int:
    """The edge of a tile: a power of two from 16 to `largest`, so that few kernels are compiled."""
    return int(min(largest, max(16, triton.next_power_of_2(size))))


def two_products(
    x: Tensor, w1: Tensor, first: Product, w2: Tensor, second: Product, width_y: int, width_z: int
) -> tuple[Tensor, Tensor]:
    """Returns what lies between the products, (B, width_y), and the result, (B, width_z)."""
    between, z = x.new_empty(len(x), width_y), x.new_empty(len(x), width_z)
    if len(x):
        ROWS = edge(len(x), 64)
        OUT = edge(max(first.n_out, second.n_out), 64)
        IN = edge(max(first.n_in, second.n_in), 32)
        grid = (triton.cdiv(len(x), ROWS),)
        two_products_kernel[grid](
            x, w1, between, w2, z, len(x), x.shape[1], width_y, width_z, *first, *second, ROWS, OUT, IN, num_warps=8
        )
    return between, z


def monarch_forward(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """Returns z (B, s l) of rows x (B, k p)."""
    w1, w2 = w1.contiguous(), w2.contiguous()
    (k, q, p), (n_blocks, s, inner) = w1.shape, w2.shape
    first = Product(k, p, q, p, 1, q, 1, q * p, p, 1)
    second = Product(n_blocks, inner, s, 1, n_blocks, 1, n_blocks, s * inner, inner, 1)
    return two_products(x, w1, first, w2, second, k * q, s * n_blocks)[1]


def monarch_backward(grad: Tensor, x: Tensor, w1: Tensor, w2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of x, w1 and w2: the rows' by the kernel, the factors' by torch's batched products."""
    w1, w2 = w1.contiguous(), w2.contiguous()
    (k, q, p), (n_blocks, s, inner) = w1.shape, w2.shape
    first = Product(n_blocks, s, inner, 1, n_blocks, 1, n_blocks, s * inner, 1, inner)
    second = Product(k, q, p, q, 1, p, 1, q * p, 1, p)
    dy, dx = two_products(grad, w2, first, w1, second, k * q, k * p)
    rows = x.view(-1, k, p)
    y = torch.bmm(rows.transpose(0, 1), w1.mT)  # k, B, r l
    by_block = y.view(k, len(x), -1, n_blocks).permute(3, 1, 0, 2).reshape(n_blocks, len(x), inner)
    dw2 = torch.bmm(grad.view(-1, s, n_blocks).permute(2, 1, 0), by_block)
    dw1 = torch.bmm(dy.view(-1, k, q).permute(1, 2, 0), rows.transpose(0, 1))
    return dx, dw1, dw2
