"""The flat block butterfly plus low rank near a dense matrix, by projections in turns."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["fit_low_rank_outside"]


def fit_low_rank_outside(matrix: Tensor, kept: Tensor, rank: int, sweeps: int) -> tuple[Tensor, Tensor, list[float]]:
    """Low rank U V near to `matrix` where the mask keeps nothing; what it keeps absorbs the rest there exactly.

    With S = mask (A - U V) the error is that of U V outside the mask. The start is the truncated singular value
    decomposition of A without the kept entries. Then S, U and V are each set to the best for the two others, in turns:
    projections of which none can raise the error. Solving for U V outside the mask alone would take fewer turns, but
    lets U V grow where S hides it.

    Args:
        matrix: Dense A, (out, in), float64 or complex128.
        kept: Entries of the mask, bool, (out, in).
        rank: Rank, from 1 to the smaller size.
        sweeps: Largest number of turns; fewer where they gain nothing more.

    Returns:
        U (out, rank), V (rank, in), and the error after each turn, the start first.

    Example:
        >>> ones = torch.ones(4, 4, dtype=torch.float64)
        >>> u, v, errors = fit_low_rank_outside(ones + torch.eye(4), torch.eye(4, dtype=torch.bool), 1, 200)
        >>> bool(torch.allclose(u @ v, ones)), len(errors) < 200
        (True, True)
    """
    size = torch.linalg.norm(matrix)
    left, right = start(matrix, ~kept, rank)
    errors: list[float] = []
    for _ in range(sweeps + 1):
        product = left @ right
        errors.append(float(torch.linalg.norm((matrix - product).masked_fill(kept, 0))))
        if errors[-1] <= 1e-15 * size or (len(errors) > 1 and errors[-2] - errors[-1] < 1e-5 * errors[-2]):
            break
        best = left, right
        left = torch.where(kept, product, matrix) @ torch.linalg.pinv(right)
        right = torch.linalg.pinv(left) @ torch.where(kept, left @ right, matrix)
    if len(errors) > 1 and errors[-1] > errors[-2]:  # rounding, once nothing more is gained
        (left, right), errors = best, errors[:-1]
    return *balance(left, right), errors


def start(matrix: Tensor, free: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors to begin with; where what is left out are rectangles without common rows or columns, the nearest."""
    patterns = torch.unique(free, dim=0)
    left, right = matrix.new_zeros(len(matrix), rank), matrix.new_zeros(rank, matrix.shape[1])
    if bool((patterns.sum(0) > 1).any()):
        patterns = torch.ones_like(patterns[:1])
    for columns in patterns:
        rows = (free == columns).all(1) if len(patterns) > 1 else torch.ones_like(free[:, 0])
        part = matrix.masked_fill(~free, 0)[rows][:, columns]
        u, s, vh = torch.linalg.svd(part, full_matrices=False)
        root = s[:rank].sqrt()
        padding = (0, rank - len(root))
        left[rows] = torch.nn.functional.pad(u[:, :rank] * root, padding)
        right[:, columns] = torch.nn.functional.pad(root[:, None] * vh[:rank], (0, 0, *padding))
    return left, right


def balance(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The same product of factors of equal size with orthogonal columns and rows."""
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.mH)
    u, s, vh = torch.linalg.svd(r_left @ r_right.mH)
    return (q_left @ u) * s.sqrt(), s.sqrt()[:, None] * (vh @ q_right.mH)
