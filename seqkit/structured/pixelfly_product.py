"""Product of rows and a flat block butterfly: blocks of the input are gathered, then multiplied in one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seqkit.kernels.backend import transformed
from seqkit.kernels.block_product import block_product
from seqkit.kernels.block_product.cpu import GROUP, gather, rows_of, transposed

__all__ = ["flat_product"]


class FlatProduct(torch.autograd.Function):
    """y = x W^T with W of kept blocks, as a function that autograd differentiates as often as asked.

    dW = g gather(x)^H for the kept blocks only,   dx = W^H g: the same product with the transposed blocks
    """

    @staticmethod
    def forward(x: Tensor, blocks: Tensor, columns: Tensor) -> Tensor:
        return rows_of(torch.bmm(blocks, gather(x, columns)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, blocks, columns = ctx.saved_tensors
        grad = grad.contiguous()
        dx = dw = None
        if ctx.needs_input_grad[0]:  # each column of the table is its own inverse
            dx = rows_of(torch.bmm(transposed(blocks, columns, columns), gather(grad, columns)))
        if ctx.needs_input_grad[1]:
            features = grad.view(grad.shape[0], *blocks.shape[:2]).permute(1, 2, 0)  # nb, p, B
            dw = torch.bmm(features, gather(x, columns).mH.resolve_conj())
        return dx, dw, None


def flat_product(x: Tensor, blocks: Tensor, columns: Tensor) -> Tensor:
    """Returns x Wᵀ for the flat block butterfly W of the given blocks.

    Args:
        x: Rows, (B, nb q), contiguous.
        blocks: (nb, p, K q): row of blocks i has its K blocks of p by q side by side, in the order of `columns`.
        columns: Whole numbers, (nb, K), as `neighbours` gives them.

    Returns:
        Rows, (B, nb p).

    Cost: 2 B nb K p q operations; on a CPU x is copied K times for the batched product. Other devices take the operator
        `seqkit.kernels.block_product`. No scattered sums, so gradients are the same to the last bit in each run.

    Example:
        >>> from seqkit.structured.pixelfly_mask import neighbours
        >>> flat_product(torch.ones(1, 8), torch.ones(4, 3, 4), neighbours(4, 1)).shape
        torch.Size([1, 12])
    """
    if torch.compiler.is_compiling() or transformed():
        # Plain operations, rows first: any number of rows, and derived by the compiler or torch.func.
        n_rows, (n_blocks, height, kept) = x.shape[0], blocks.shape
        parts = x.view(n_rows, n_blocks, x.shape[1] // n_blocks).index_select(1, columns.flatten())
        y = torch.bmm(parts.view(n_rows, n_blocks, kept).transpose(0, 1), blocks.mT)
        return y.transpose(0, 1).reshape(n_rows, n_blocks * height)
    if x.device.type == "cuda":
        return block_product(x, blocks, columns)
    apply: Callable[..., Tensor] = FlatProduct.apply
    if x.device.type == "cpu" and x.shape[0] > GROUP:
        return torch.cat([apply(rows, blocks, columns) for rows in torch.chunk(x, -(-x.shape[0] // GROUP))])
    return apply(x, blocks, columns)
