"""A Krylov function read in strides: the first m states are given, and the matrix that takes m samples at once.

    K[i m + j] = C S^i X_j,   S = A^m,   X_j = A^j B

The strides S^i are made in the dtype of S, float64; the product that makes K, and all of the gradient, is in the dtype
of X and C. Rounding S itself to float32 would let K drift by 6e-8 a sample.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.kernels.krylov.blocks import fill_giant, giant_levels, squares, through_giant, through_squares
from seqkit.kernels.krylov.cpu import as_rows, join
from seqkit.kernels.operator import Path, define_operator

__all__ = ["strides_op"]


def strides_reference(S: Tensor, X: Tensor, C: Tensor, length: int) -> Tensor:
    """Runs C, C S, C S^2, ... for S (H, N, N), X (H, m, N), C (H, M, N)."""
    rows, blocks = C.to(S.dtype), []
    for _ in range(-(-length // X.shape[1])):
        blocks.append(rows @ X.to(S.dtype).mT)
        rows = rows @ S
    return torch.cat(blocks, dim=-1)[..., :length].to(C.dtype)


def giant_block(S: Tensor, C: Tensor, n_giant: int) -> tuple[list[Tensor], Tensor]:
    """Returns S, S^2, S^4, ... and the rows C S^i, (H, n, M, N)."""
    powers = squares(S, max(1, giant_levels(n_giant)))
    return powers, fill_giant(powers, C.to(S.dtype), n_giant)


def strides_forward(S: Tensor, X: Tensor, C: Tensor, length: int) -> Tensor:
    """Returns K (H, M, length) for S (H, N, N), X (H, m, N), C (H, M, N)."""
    _, giant = giant_block(S, C, -(-length // X.shape[1]))
    return join(X, giant.to(C.dtype), length)


def strides_backward(grad: Tensor, S: Tensor, X: Tensor, C: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of S, X and C; the strides are computed again."""
    wide_powers, wide_giant = giant_block(S, C, -(-length // X.shape[1]))
    powers, giant = [power.to(C.dtype) for power in wide_powers], wide_giant.to(C.dtype)
    rows = as_rows(grad, giant.shape[1], X.shape[1])
    d_giant = (rows @ X).view_as(giant)
    d_powers = through_giant(powers, giant, d_giant, S)
    d_S = through_squares(d_powers, powers).to(S.dtype)
    return d_S, rows.mT @ giant.flatten(1, 2), d_giant[:, 0].clone()


def output(S: Tensor, X: Tensor, C: Tensor, length: int) -> Tensor:
    """An empty kernel (H, M, length)."""
    return C.new_empty(C.shape[0], C.shape[1], length)


strides_op = define_operator(
    "cauchy_strides",
    "Tensor S, Tensor X, Tensor C, int length",
    paths={"cpu": lambda: Path(strides_forward, strides_backward)},
    outputs=output,
    reference=strides_reference,
)
