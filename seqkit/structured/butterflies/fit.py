"""The butterfly near a dense matrix: closed form level by level, then every level improved in turns."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_choice, check_not_negative
from seqkit.kernels.butterfly import butterfly
from seqkit.structured.butterflies.factors import padded_size

__all__ = ["level_by_level", "nearest_butterfly"]

ENOUGH = 1e-10  # relative decrease of the squared error in a sweep below which it has settled


def level_by_level(matrices: Tensor) -> Tensor:
    """Factors of butterflies near dense matrices, in closed form.

    An entry of a butterfly is the product of one number of each level. With i = 2a + r and j = 2c + s, the entries of
    given r and c are x[a] y[s]: y is a row of the lowest level's matrix c, and x column c of what the higher levels
    make of the places with i mod 2 = r, a butterfly of half the size. So the best approximation of rank one of each
    (a, s) takes the lowest level off, exactly where the matrix is a butterfly, and the rest follows in the same way.

    Args:
        matrices: (S, n, n), n a power of two of at least 2.

    Returns:
        Factors (S, m, n/2, 2, 2) for increasing strides.

    Source: Zheng, Riccietti, Gribonval 2023, Efficient identification of butterfly sparse matrix factorizations
        (arXiv:2110.01230). Differs: one level at a time instead of a balanced tree.

    Example:
        >>> hadamard = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
        >>> level_by_level(torch.kron(hadamard, hadamard)[None]).shape
        torch.Size([1, 2, 2, 2, 2])
    """
    n_stacks, n = matrices.shape[:2]
    rest, levels = matrices.unsqueeze(1), []  # (S, R, size, size): one matrix for each place i mod R
    while rest.shape[-1] > 1:
        size, n_rests = rest.shape[-1], rest.shape[1]
        # (S, R, r, c, a, s)
        parts = rest.reshape(n_stacks, n_rests, size // 2, 2, size // 2, 2).permute(0, 1, 3, 4, 2, 5)
        u, s, vh = torch.linalg.svd(parts, full_matrices=False)
        root = s[..., :1].sqrt()
        lowest = root * vh[..., 0, :]  # (S, R, r, c, s)
        levels.append(lowest.permute(0, 3, 1, 2, 4).reshape(n_stacks, n // 2, 2, 2))
        # What is left for the place R r + (i mod R): rows a, columns c.
        rest = (root * u[..., 0]).permute(0, 2, 1, 4, 3).reshape(n_stacks, 2 * n_rests, size // 2, size // 2)
    levels[-1] = levels[-1] * rest.reshape(n_stacks, 2, n // 2).mT.unsqueeze(-1)
    return torch.stack(levels, 1)


def improve(factors: Tensor, matrices: Tensor, sweeps: int) -> Tensor:
    """Sets each level in turns to the best one for the others.

    No two numbers of a level meet in an entry of the product, so that each has its own least-squares problem: what the
    matrix gives in its direction, by the square of that direction. Both are gradients of products with unit vectors.
    """
    n_levels, n = factors.shape[1], matrices.shape[1]
    eye, norm = torch.eye(n, dtype=matrices.dtype, device=matrices.device), float(matrices.abs().square().sum())
    error = distance(factors, matrices, eye)
    for _ in range(sweeps):
        before = error
        for index in range(n_levels):
            with torch.enable_grad():
                leaf = factors.detach().unsqueeze(1).requires_grad_()
                size = (leaf.detach().abs() ** 2).requires_grad_()
                # Row j of the product is column j of a matrix.
                gives = (butterfly(eye, leaf, "increasing").permute(1, 2, 0) * matrices.conj()).real.sum()
                takes = butterfly(eye.real, size, "increasing").sum()
                given, taken = torch.autograd.grad(gives, leaf)[0], torch.autograd.grad(takes, size)[0]
            given, taken = given[:, 0, index], taken[:, 0, index]
            factors = factors.clone()
            factors[:, index] = torch.where(taken > 0, given / taken.clamp(min=torch.finfo(taken.dtype).tiny), 0)
        error = distance(factors, matrices, eye)
        if before - error <= ENOUGH * norm:
            break
    return factors


def distance(factors: Tensor, matrices: Tensor, eye: Tensor) -> float:
    """Squared distance between the butterflies and the matrices."""
    return float((butterfly(eye, factors.unsqueeze(1), "increasing").permute(1, 2, 0) - matrices).abs().square().sum())


@torch.no_grad()
def nearest_butterfly(matrix: Tensor, first: str = "increasing", sweeps: int = 20, n: int | None = None) -> Tensor:
    """Factors of stacked butterflies near a dense matrix.

    The matrix is padded with zeros: the rows and columns beyond it cost nothing, because a butterfly with rows and
    columns set to 0 is one.

    Args:
        matrix: Dense matrix (out, in) in float64 or complex128.
        first: Direction of the strides, "increasing" or "decreasing".
        sweeps: How often at most every level is improved in turns; 0 for the closed form alone.
        n: Size of the butterflies; the power of two that the columns are padded to if None.

    Returns:
        Factors (S, m, n/2, 2, 2) of ceil(out / n) butterflies. Members are found exactly, up to
        rounding; others near the best butterfly, which no method is known to find.

    Raises:
        ValueError: an unknown direction or a negative number of sweeps.

    Cost: 2 n^2 log n for the closed form, 8 n^2 (log n)^2 for each sweep.

    Example:
        >>> hadamard = torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double()
        >>> factors = nearest_butterfly(torch.kron(hadamard, hadamard))
        >>> butterfly(torch.eye(4).double(), factors).squeeze(1)[3].round().tolist()
        [1.0, -1.0, -1.0, 1.0]
    """
    check_choice("first", first, ("increasing", "decreasing"))
    check_not_negative("sweeps", sweeps)
    n = padded_size(matrix.shape[1]) if n is None else n
    n_stacks = -(-matrix.shape[0] // n)
    padded = matrix.new_zeros(n_stacks * n, n)
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    targets = padded.view(n_stacks, n, n)
    targets = targets.mT if first == "decreasing" else targets
    factors = improve(level_by_level(targets), targets.contiguous(), sweeps)
    return factors.mT if first == "decreasing" else factors
