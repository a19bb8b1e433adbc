"""The Krylov function in plain torch: baby and giant block joined by one matrix product."""

from __future__ import annotations

from torch import Tensor

from seqkit.kernels.krylov.blocks import build, rounded, through_blocks

__all__ = ["krylov_backward", "krylov_forward"]


def krylov_forward(A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
    """Returns K (H, M, length) for A (H or 1, N, N), B (H, N), C (H, M, N).

    A may be of a wider dtype than B and C: the blocks are then filled in it, joined in theirs.
    """
    _, baby, giant = build(A, B, C, length)
    n_giant, n_outputs = giant.shape[1:3]
    out = (giant.to(C.dtype).flatten(1, 2) @ baby.to(C.dtype).mT).view(len(C), n_giant, n_outputs, baby.shape[1])
    return out.transpose(1, 2).flatten(2)[..., :length].contiguous()


def krylov_backward(grad: Tensor, A: Tensor, B: Tensor, C: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of A, B and C; the blocks are computed again."""
    blocks = rounded(build(A, B, C, length), C.dtype)
    _, baby, giant = blocks
    rows = as_rows(grad, giant.shape[1], baby.shape[1])
    d_giant = (rows @ baby.conj()).view_as(giant)
    d_baby = rows.mT @ giant.flatten(1, 2).conj()
    return through_blocks(blocks, d_baby, d_giant, A)


def as_rows(grad: Tensor, n_giant: int, n_baby: int) -> Tensor:
    """Lays out (H, M, L) as the giant block's rows, (H, n M, m), filled up with zeros where L ends within a row."""
    missing = n_giant * n_baby - grad.shape[-1]
    if missing:
        padded = grad.new_zeros(*grad.shape[:2], n_giant * n_baby)
        padded[..., : grad.shape[-1]] = grad
        grad = padded
    return grad.view(*grad.shape[:2], n_giant, n_baby).transpose(1, 2).flatten(1, 2)
