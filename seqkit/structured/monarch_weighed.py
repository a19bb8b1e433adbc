"""A Monarch matrix near a dense one where inputs are: blocks of columns in turns, each to its best."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.structured.covariance import nearest_rank, roots, steadied

__all__ = ["weighed_corner", "weighed_monarch"]


def weighed_monarch(
    matrix: Tensor, blocks: tuple[int, int], rank: int, covariance: Tensor, sweeps: int
) -> tuple[Tensor, list[float]]:
    """Monarch matrix of order 2 near to W where errors count by the covariance of the inputs.

    The slices over (s, p) of a block of columns k are free of each other, and those of other blocks enter through the
    covariance only. With all others fixed, E being the error without block k, the block wants

        G = E C[:, k] C[k, k]^(-1)

    and its best members are those of rank r nearest to the slices of G, weighed by C[k, k]: singular value
    decompositions again. After all blocks the second stage is fitted to what the first gives, a regression for each l.
    No step raises the error. The start is the unweighed nearest member, so a member stays what it is.

    Args:
        matrix: W, (s l, k p), double precision; sizes that blocks do not divide are padded by the caller.
        blocks: k and l.
        rank: Rank r of the slices.
        covariance: C, (k p, k p), positive definite.
        sweeps: Largest number of turns over all blocks; fewer where one gains less than a thousandth.

    Returns:
        The member, dense, and the error (tr E C E^H)^(1/2) before each turn and after the last.

    Cost: each turn O(out in^2) and k l small singular value decompositions.

    Example:
        >>> W, C = torch.randn(6, 4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
        >>> member, errors = weighed_monarch(W, (2, 3), 1, C, 5)
        >>> member.shape, len(errors)  # nothing to gain where all directions count alike
        (torch.Size([6, 4]), 2)
    """
    (k, n_blocks), (n_out, n_in) = blocks, matrix.shape
    p, s = n_in // k, n_out // n_blocks
    own = torch.stack([covariance[i * p : (i + 1) * p, i * p : (i + 1) * p] for i in range(k)])
    root, inverse = roots(own)
    eye = torch.eye(p, dtype=matrix.dtype, device=matrix.device)
    slices, _ = nearest_rank(matrix.view(s, n_blocks, k, p).permute(2, 1, 0, 3), rank, eye, eye)  # k, l, s, p
    right = slices.new_zeros(k, n_blocks, min(rank, p, s), p)
    rest = matrix - slices.permute(2, 1, 0, 3).reshape(n_out, n_in)
    errors = [size(rest, covariance)]
    for _ in range(sweeps):
        for i in range(k):
            columns = slice(i * p, (i + 1) * p)
            wanted = torch.linalg.solve(own[i], rest @ covariance[:, columns], left=False)
            wanted = slices[i] + wanted.view(s, n_blocks, p).transpose(0, 1)
            new, right[i] = nearest_rank(wanted, rank, root[i], inverse[i])
            rest[:, columns] -= (new - slices[i]).transpose(0, 1).reshape(n_out, p)
            slices[i] = new
        slices = second_stage(matrix.view(s, n_blocks, n_in).transpose(0, 1), right, covariance)
        rest = matrix - slices.permute(2, 1, 0, 3).reshape(n_out, n_in)
        errors.append(size(rest, covariance))
        if errors[-2] - errors[-1] <= 1e-3 * errors[-2]:
            break
    return matrix - rest, errors


def second_stage(matrices: Tensor, right: Tensor, covariance: Tensor) -> Tensor:
    """Slices (k, l, s, p) with the given right factors (k, l, r, p) nearest to the rows (l, s, k p) of W."""
    k, n_blocks, rank, p = right.shape
    moved = torch.einsum("nkp,klrp->lnkr", covariance.view(-1, k, p), right.conj()).reshape(n_blocks, -1, k * rank)
    gram = torch.einsum("klrp,lkpc->lkrc", right, moved.view(n_blocks, k, p, -1)).reshape(n_blocks, k * rank, -1)
    left = matrices @ moved @ torch.linalg.pinv(gram, hermitian=True)
    return torch.einsum("lskr,klrp->klsp", left.view(n_blocks, -1, k, rank), right)


def size(rest: Tensor, covariance: Tensor) -> float:
    """(tr E C E^H)^(1/2)."""
    return float((rest @ covariance * rest.conj()).sum().real.clamp_min(0).sqrt())


def weighed_corner(
    matrix: Tensor, padded: tuple[int, int], blocks: tuple[int, int], rank: int, covariance: Tensor, sweeps: int
) -> Tensor:
    """The same for sizes that blocks do not divide: W is the corner of a larger matrix, and padding counts for nothing.

    Args:
        matrix: W, (out, in).
        padded: Sizes s l and k p.
        blocks: k and l.
        rank: Rank of the slices.
        covariance: As given, (in, in); it is checked here.
        sweeps: Largest number of turns.

    Returns:
        A member of the padded sizes.

    Example:
        >>> W = torch.randn(5, 3, dtype=torch.float64)
        >>> weighed_corner(W, (6, 4), (2, 3), 1, torch.eye(3), 5).shape
        torch.Size([6, 4])
    """
    n_out, n_in = matrix.shape
    whole = matrix.new_zeros(padded)
    whole[:n_out, :n_in] = matrix
    steady = torch.eye(padded[1], dtype=matrix.dtype, device=matrix.device)
    steady[:n_in, :n_in] = steadied(covariance, matrix)
    return weighed_monarch(whole, blocks, rank, steady, sweeps)[0]
