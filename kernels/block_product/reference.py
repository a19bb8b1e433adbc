"""The definition: each row of blocks reads its blocks of the input, wherever they lie."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.backend import HALF, without_autocast

__all__ = ["block_product_reference"]


@without_autocast
def block_product_reference(x: Tensor, blocks: Tensor, columns: Tensor) -> Tensor:
    """Returns y (B, n p) of rows x (B, n q), kept blocks (n, p, K q) and their columns (n, K)."""
    (n_blocks, p, _), kept, dtype = blocks.shape, columns.shape[1], x.dtype
    if dtype in HALF:
        x, blocks = x.float(), blocks.float()
    read = x.reshape(len(x), n_blocks, -1)[:, columns.long()]  # B, n, K, q
    y = torch.einsum("namc,bnmc->bna", blocks.reshape(n_blocks, p, kept, -1), read)
    return y.reshape(len(x), n_blocks * p).to(dtype)
