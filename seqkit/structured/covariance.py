"""Covariances of what a layer reads, which say how much each direction of a matrix's error counts."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_finite, check_shape

__all__ = ["nearest_rank", "roots", "steadied"]

RIDGE = 1e-4
"""Variance that every direction gets beside its own, by the mean variance: what no input showed must not run away."""


def steadied(covariance: Tensor, matrix: Tensor) -> Tensor:
    """Checks a covariance and adds a little to its diagonal, so that it has an inverse.

    The squared error of M for W is then tr (W - M) C (W - M)^H, the mean of |(W - M) x|^2 over inputs x with that
    covariance, and a ten-thousandth of their mean variance times the Frobenius error.

    Args:
        covariance: E[x x^H], or that of x without its mean, (in, in), of any floating or complex dtype.
        matrix: The dense matrix that is fitted, (out, in), float64 or complex128.

    Returns:
        C, (in, in), of the dtype of `matrix`, positive definite; the identity where the covariance is zero.

    Raises:
        ValueError: another shape, NaN, complex entries for a real matrix, or no covariance: not its own adjoint, or
            with a negative variance in some direction.

    Example:
        >>> steadied(torch.zeros(2, 2), torch.ones(3, 2, dtype=torch.float64))
        tensor([[1., 0.],
                [0., 1.]], dtype=torch.float64)
    """
    n = matrix.shape[1]
    check_shape("covariance", covariance, (n, n), "one row and column for each column of the matrix")
    check_finite("covariance", covariance, "compute it from finite inputs")
    if covariance.is_complex() and not matrix.is_complex():
        raise ValueError("`covariance` must be real for a real matrix, got complex numbers; take its real part")
    covariance = covariance.detach().to(matrix)
    if float(torch.linalg.norm(covariance - covariance.mH)) > 1e-5 * float(torch.linalg.norm(covariance)):
        raise ValueError("`covariance` must equal its adjoint, got one that does not; compute X.mT @ X.conj() / len(X)")
    covariance = (covariance + covariance.mH) / 2
    mean = float(covariance.diagonal().real.mean())
    if mean == 0 and not bool(covariance.any()):
        return torch.eye(n, dtype=matrix.dtype, device=matrix.device)
    smallest = float(torch.linalg.eigvalsh(covariance)[0])
    if smallest < -1e-5 * mean or mean <= 0:
        raise ValueError(
            f"`covariance` must have no negative eigenvalue, got {smallest:.3g}; compute X.mT @ X.conj() / len(X)"
        )
    return covariance + RIDGE * mean * torch.eye(n, dtype=matrix.dtype, device=matrix.device)


def roots(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """The positive square root of a positive definite matrix, and its inverse.

    Example:
        >>> root, inverse = roots(torch.tensor([[4.0]]))
        >>> root.item(), inverse.item()
        (2.0, 0.5)
    """
    values, vectors = torch.linalg.eigh(covariance)
    values = values.clamp_min(torch.finfo(values.dtype).tiny).sqrt().unsqueeze(-2)
    return (vectors * values) @ vectors.mH, (vectors / values) @ vectors.mH


def nearest_rank(matrix: Tensor, rank: int, root: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices of at most this rank nearest to given ones, errors weighed by root^2; leading dimensions are many such.

    Args:
        matrix: (..., out, in).
        rank: At least 1.
        root: Square root of the covariance, (..., in, in).
        inverse: Its inverse.

    Returns:
        The matrices, (..., out, in), and factors (..., rank, in) that span their rows; fewer where sizes are smaller.

    Source: Eckart and Young (1936), for W C^(1/2).

    Example:
        >>> eye = torch.eye(2)
        >>> nearest_rank(torch.diag(torch.tensor([1.0, 2.0])), 1, eye, eye)[0]
        tensor([[0., 0.],
                [0., 2.]])
    """
    u, s, vh = torch.linalg.svd(matrix @ root, full_matrices=False)
    right = vh[..., :rank, :] @ inverse
    return (u[..., :rank] * s[..., None, :rank]) @ right, right
