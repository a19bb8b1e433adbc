"""Blocks of the input are gathered, features before rows, and multiplied by the kept blocks in one batch.

The gathered input is not stored: the backward gathers again. Nothing is added at scattered places, so that gradients
are the same to the last bit in each run. Many rows go in groups, whose copied blocks the caches hold: that takes up to
half of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import HALF

__all__ = ["block_product_backward", "block_product_forward", "gather", "rows_of", "transposed"]

GROUP = 256
"""Rows at once on a CPU."""


def gather(x: Tensor, columns: Tensor) -> Tensor:
    """Returns (n, K q, B), the K blocks of q numbers that each row of blocks reads, of rows x (B, n q)."""
    n_blocks, kept = columns.shape
    n_rows = x.shape[0]  # not len(x), which would tie an exported program to one number of rows
    width = x.shape[1] // n_blocks
    features = x.view(n_rows, n_blocks, width).permute(1, 2, 0).contiguous()
    return features.index_select(0, columns.flatten()).view(n_blocks, kept * width, n_rows)


def transposed(blocks: Tensor, columns: Tensor, inverse: Tensor) -> Tensor:
    """Returns the blocks (n, q, K p) of W^H for those (n, p, K q) of W; `inverse` is the table that fits them.

    Block (j, i) of the transpose stands in the same column of its table as block (i, j) does in this one.
    """
    n_blocks, height, _ = blocks.shape
    kept = columns.shape[1]
    parts = blocks.view(n_blocks, height, kept, -1)
    level = torch.arange(kept, device=blocks.device)
    moved = parts.permute(0, 2, 3, 1)[inverse, level]  # n, K, q, p
    return moved.transpose(1, 2).reshape(n_blocks, -1, kept * height).conj().resolve_conj()


def rows_of(y: Tensor) -> Tensor:
    """Rows (B, n p) of features (n, p, B)."""
    return y.permute(2, 0, 1).contiguous().view(y.shape[2], y.shape[0] * y.shape[1])


def groups(n_rows: int, device: str) -> list[slice]:
    """Rows that are taken together; all of them on other devices, whose products want to be large."""
    step = GROUP if device == "cpu" else max(1, n_rows)
    return [slice(start, start + step) for start in range(0, n_rows, step)]


def block_product_forward(x: Tensor, blocks: Tensor, columns: Tensor) -> Tensor:
    """Returns y (B, n p) of rows x (B, n q)."""
    y = x.new_empty(len(x), blocks.shape[0] * blocks.shape[1])
    for rows in groups(len(x), x.device.type):
        y[rows] = rows_of(torch.bmm(blocks, gather(x[rows], columns)))
    return y


def block_product_backward(grad: Tensor, x: Tensor, blocks: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x and of the blocks.

    dW = g gather(x)^H for the kept blocks only,   dx = W^H g: the same product with the transposed blocks
    """
    inverse = columns.argsort(0)
    back = transposed(blocks, columns, inverse)
    wide = torch.float32 if x.dtype in HALF else x.dtype  # half precision would lose the sums over groups of rows
    dx, dw = torch.empty_like(x), torch.zeros_like(blocks, dtype=wide)
    for rows in groups(len(x), x.device.type):
        g = grad[rows]
        dx[rows] = rows_of(torch.bmm(back, gather(g, inverse)))
        features = g.view(len(g), blocks.shape[0], -1).permute(1, 2, 0)  # n, p, B
        dw += torch.bmm(features, gather(x[rows], columns).mH.resolve_conj())
    return dx, dw.to(blocks.dtype)
