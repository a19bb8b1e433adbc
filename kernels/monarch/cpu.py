"""Two batched products per few rows: features before rows, so that nothing is copied between them.

With y as (k, r, l, B) the second product reads, for each of its blocks, the matrix (k r, B) in place; its columns lie
together and its rows l B apart, which BLAS takes. The only transposition is that of the result. Rows go in groups that
the second-level cache holds: at n = 4096 that saves a sixth of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import HALF

__all__ = ["monarch_backward", "monarch_forward"]

GROUP = 1 << 18
"""Numbers of a group of rows: a megabyte of float32."""


def rows_at_once(x: Tensor, w1: Tensor, w2: Tensor) -> int:
    """Rows of one group; all of them on other devices, whose products want to be large."""
    widest = max(x.shape[1], w1.shape[0] * w1.shape[1], w2.shape[0] * w2.shape[1])
    return max(32, GROUP // widest) if x.device.type == "cpu" else max(1, len(x))


def first_product(x: Tensor, w1: Tensor, n_blocks: int) -> Tensor:
    """Returns y (l, k r, B), a view, of rows x (B, k, p)."""
    y = torch.bmm(w1, x.permute(1, 2, 0))  # k, r l, B
    return y.view(-1, n_blocks, len(x)).transpose(0, 1)


def monarch_forward(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """Returns z (B, s l) of rows x (B, k p)."""
    (k, _, p), (n_blocks, s, _) = w1.shape, w2.shape
    w1, w2 = w1.contiguous(), w2.contiguous()
    z = x.new_empty(len(x), s, n_blocks)
    step = rows_at_once(x, w1, w2)
    for start in range(0, len(x), step):
        rows = x[start : start + step].view(-1, k, p)
        z[start : start + step] = torch.bmm(w2, first_product(rows, w1, n_blocks)).permute(2, 1, 0)
    return z.view(len(x), s * n_blocks)


def monarch_backward(grad: Tensor, x: Tensor, w1: Tensor, w2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of x, w1 and w2; y is computed again.

    dw2 = sum g y^H,   dy = w2^H g,   dw1 = sum dy x^H,   dx = w1^H dy
    """
    (k, q, p), (n_blocks, s, _) = w1.shape, w2.shape
    wide = torch.float32 if x.dtype in HALF else x.dtype  # half precision would lose the sums over groups of rows
    w1, w2 = w1.contiguous(), w2.contiguous()
    back1, back2 = w1.conj().resolve_conj(), w2.mH.resolve_conj()
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    dw1, dw2 = w1.new_zeros(w1.shape, dtype=wide), w2.new_zeros(w2.shape, dtype=wide)
    step = rows_at_once(x, w1, w2)
    for start in range(0, len(x), step):
        rows = x[start : start + step].view(-1, k, p)
        g = grad[start : start + step].view(-1, s, n_blocks).permute(2, 1, 0).contiguous()  # l, s, B
        add_product(dw2, g, first_product(rows, w1, n_blocks).mH)
        dy = torch.bmm(back2, g).view(n_blocks, k, -1, len(rows))  # l, k, r, B
        dy = dy.permute(1, 2, 0, 3).reshape(k, q, len(rows))  # a view where r is 1
        add_product(dw1, dy, rows.transpose(0, 1).conj())
        dx[start : start + step].view(-1, k, p).transpose(0, 1).copy_(torch.bmm(dy.mT, back1))
    return dx, dw1.to(w1.dtype), dw2.to(w2.dtype)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Adds left @ right to `total`, which may be of a wider type."""
    left, right = left.resolve_conj(), right.resolve_conj()
    if total.dtype == left.dtype:
        total.baddbmm_(left, right)
    else:
        total += torch.bmm(left, right)
