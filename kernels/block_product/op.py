"""`seqkit::block_product` for torch's dispatcher: paths, output shape, gradient."""

from __future__ import annotations

from torch import Tensor

from seqkit.kernels.block_product import cpu
from seqkit.kernels.block_product.reference import block_product_reference
from seqkit.kernels.operator import Path, define_operator

__all__ = ["block_product_op"]


def output(x: Tensor, blocks: Tensor, columns: Tensor) -> Tensor:
    """Empty rows (B, n p)."""
    return x.new_empty(x.shape[0], blocks.shape[0] * blocks.shape[1])


def triton_path() -> Path:
    """Imports Triton when it is first needed."""
    from seqkit.kernels.block_product import triton

    return Path(triton.block_product_forward, triton.block_product_backward)


block_product_op = define_operator(
    "block_product",
    "Tensor x, Tensor blocks, Tensor columns",
    paths={"cpu": lambda: Path(cpu.block_product_forward, cpu.block_product_backward), "triton": triton_path},
    outputs=output,
    reference=block_product_reference,
    constant=("columns",),
)
