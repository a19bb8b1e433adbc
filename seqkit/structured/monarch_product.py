"""Taking a product M1 M2^H of two Monarch matrices apart again."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqkit.checks import check_positive
from seqkit.structured.matrix import check_matrix
from seqkit.structured.monarch import Monarch

__all__ = ["factor_monarch_product"]


@torch.no_grad()
def factor_monarch_product(matrix: Tensor, tolerance: float = 1e-6) -> tuple[Monarch, Monarch]:
    """Finds Monarch matrices M1 and M2 with M1 M2^H equal to a matrix that is such a product.

    With the transposition P of places (i, j) -> (j, i), blocks of P M P are M_ij = A_i D_ij C_j with D_ij diagonal, and
    M_i1^-1 M_ij M_1j^-1 M_11 = C_1^-1 (diagonal) C_1 for all i, j: they share their eigenvectors, which are those of a
    random combination of them.

    Args:
        matrix: Square matrix of n = m^2 rows, invertible, (n, n). Convolutions are such products.
        tolerance: Largest relative error (root mean square) of the product that passes.

    Returns:
        M1 and M2, complex128, with m blocks. M2 has only one factor that is not the identity. Factors are not unique.

    Raises:
        ValueError: n is no square number, values are not finite, or no such product with invertible blocks is found.

    Source:
        Dao et al. 2022, Monarch (arXiv:2204.00595), theorem 2 and algorithm 2. Differs: any combination of the blocks
        is diagonalised at once, and the result is held against the matrix.

    Cost: O(n^2.5). Inverses and eigenvectors cost digits: 4 to 6 of 16 at n = 64.

    Example:
        >>> from seqkit.structured import Monarch
        >>> one, other = Monarch(16, 16, dtype=torch.complex128), Monarch(16, 16, dtype=torch.complex128)
        >>> product = one.dense() @ other.dense().mH
        >>> left, right = factor_monarch_product(product)
        >>> bool(torch.allclose(left.dense() @ right.dense().mH, product))
        True
    """
    check_matrix(matrix)
    check_positive("tolerance", tolerance)
    m = math.isqrt(len(matrix))
    if matrix.shape != (m * m, m * m):
        raise ValueError(
            f"`matrix` must have m^2 rows and columns, got {tuple(matrix.shape)}; pad it to the next square"
        )
    wide = matrix.detach().to(torch.complex128)
    blocks = wide.view(m, m, m, m).permute(1, 3, 0, 2)  # (i, j, a, b) of P M P
    A, D, C = shared_eigenvectors(blocks)
    left, right = (Monarch(m * m, m * m, n_blocks=m, dtype=wide.dtype, device=wide.device) for _ in range(2))
    left.factors[0].copy_(D.permute(2, 0, 1))  # k; l, p
    left.factors[1].copy_(A)  # l; s, k
    right.factors[0].copy_(torch.eye(m, device=wide.device).expand(m, m, m))
    right.factors[1].copy_(C.mH)
    difference = torch.linalg.norm(left.dense() @ right.dense().mH - wide) / torch.linalg.norm(wide)
    if not difference <= tolerance:  # NaN as well
        raise ValueError(
            "`matrix` must be a product of two Monarch matrices with invertible blocks, and the best factors found "
            f"have a relative error of {float(difference):.2g}; raise `tolerance`, or use `project`"
        )
    return left, right


def shared_eigenvectors(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns A (m, m, m), the diagonals D (m, m, m) of D_ij, and C (m, m, m), with D_i1 = D_1j = 1."""
    m = len(blocks)
    column, row, first = blocks[:, :1], blocks[:1], blocks[0, 0]
    try:
        similar = torch.linalg.solve(column, blocks)
        similar = torch.linalg.solve(row.expand(m, -1, -1, -1), similar, left=False) @ first
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(m, m, dtype=torch.float64, generator=generator).to(blocks)
        _, vectors = torch.linalg.eig(torch.einsum("ij,ijab->ab", weights, similar))
        A = column[:, 0] @ vectors
        C = torch.linalg.solve(A[0].expand(m, -1, -1), row[0])
        inner = torch.linalg.solve(A.unsqueeze(1), blocks)
        D = torch.linalg.solve(C.unsqueeze(0), inner, left=False).diagonal(dim1=-2, dim2=-1)
    except RuntimeError as error:  # torch says singular so
        raise ValueError(
            "`matrix` must have invertible blocks in its first block row and column after the transposition, "
            "and one of them is singular; multiply by a known invertible Monarch matrix first"
        ) from error
    return A, D, C
