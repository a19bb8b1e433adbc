"""The Krylov function in plain torch: baby and giant block joined by one matrix product."""

from __future__ import annotations

from torch import Tensor

from seqkit.kernels.krylov.blocks import build, through_blocks

__all__ = ["as_rows", "join", "krylov_backward", "krylov_forward"]


def krylov_forward(A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
    """Returns K (H, M, length) for A (H or 1, N, N), B (H, N), C (H, M, N)."""
    _, baby, giant = build(A, B, C, length)
    return join(baby, giant, length)


def krylov_backward(grad: Tensor, A: Tensor, B: Tensor, C: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of A, B and C; the blocks are computed again."""
    blocks = build(A, B, C, length)
    _, baby, giant = blocks
    rows = as_rows(grad, giant.shape[1], baby.shape[1])
    d_giant = (rows @ baby.conj()).view_as(giant)
    d_baby = rows.mT @ giant.flatten(1, 2).conj()
    return through_blocks(blocks, d_baby, d_giant, A)


def join(baby: Tensor, giant: Tensor, length: int) -> Tensor:
    """Multiplies the baby block (H, m, N) with the giant block (H, n, M, N) and lays the result out as (H, M, L)."""
    n_systems, n_giant, n_outputs, _ = giant.shape
    out = (giant.flatten(1, 2) @ baby.mT).view(n_systems, n_giant, n_outputs, baby.shape[1])
    return out.transpose(1, 2).flatten(2)[..., :length].contiguous()


def as_rows(grad: Tensor, n_giant: int, n_baby: int) -> Tensor:
    """Lays out (H, M, L) as the giant block's rows, (H, n M, m), filled up with zeros where L ends within a row."""
    missing = n_giant * n_baby - grad.shape[-1]
    if missing:
        padded = grad.new_zeros(*grad.shape[:2], n_giant * n_baby)
        padded[..., : grad.shape[-1]] = grad
        grad = padded
    return grad.view(*grad.shape[:2], n_giant, n_baby).transpose(1, 2).flatten(1, 2)
