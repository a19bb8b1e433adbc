"""The definition: rows in blocks, a matrix a block, a transposition of the blocks, and a matrix a block again."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import HALF, without_autocast

__all__ = ["monarch_reference"]


@without_autocast
def monarch_reference(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """Returns the product of rows x (B, k p) with a Monarch matrix of factors w1 (k, r l, p) and w2 (l, s, k r)."""
    (k, _, p), (n_blocks, s, _) = w1.shape, w2.shape
    dtype = x.dtype
    if dtype in HALF:
        x, w1, w2 = x.float(), w1.float(), w2.float()
    y = torch.einsum("kqp,bkp->bkq", w1, x.reshape(-1, k, p))
    y = y.reshape(len(x), k * (w1.shape[1] // n_blocks), n_blocks)
    z = torch.einsum("lsc,bcl->bsl", w2, y)
    return z.reshape(len(x), s * n_blocks).to(dtype)
