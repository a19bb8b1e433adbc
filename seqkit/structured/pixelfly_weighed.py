"""A flat block butterfly and a low rank near a dense matrix where inputs are, by projections in turns."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.structured.covariance import roots
from seqkit.structured.pixelfly_fit import balance, fit_low_rank_outside

__all__ = ["weighed_pixelfly"]


def weighed_pixelfly(
    matrix: Tensor, kept: Tensor, rank: int, covariance: Tensor, sweeps: int
) -> tuple[Tensor, Tensor, Tensor, list[float]]:
    """Mask S and low rank U V near to W where errors count by the covariance of the inputs.

    For given U V, each row of S is a regression on the inputs that it reads, with K the columns kept in it:

        S[:, K] = (W - U V) C[:, K] C[K, K]^(-1)

    For given S, U and then V C^(1/2) are the best for each other in (W - S) C^(1/2). No step raises the error. Of two
    starts the better is kept: U V of the unweighed fit, and the nearest U V to what S alone leaves.

    Args:
        matrix: W, (out, in), double precision.
        kept: Entries that S may have, bool, (out, in).
        rank: Rank of U V, 0 for none.
        covariance: C, (in, in), positive definite.
        sweeps: Largest number of turns; fewer where one gains less than a thousandth.

    Returns:
        S (out, in), U (out, rank), V (rank, in), and the error (tr E C E^H)^(1/2) after each turn.

    Cost: two singular value decompositions of W, and O(out in^2) for each turn.

    Example:
        >>> W, kept = torch.ones(4, 4, dtype=torch.float64), torch.eye(4, dtype=torch.bool)
        >>> S, U, V, errors = weighed_pixelfly(W, kept, 1, torch.eye(4, dtype=torch.float64), 200)
        >>> bool(torch.allclose(S + U @ V, W, atol=1e-4))
        True
    """
    root, inverse = roots(covariance)
    patterns, places = torch.unique(kept, dim=0, return_inverse=True)
    groups = [
        (torch.nonzero(places == i).squeeze(1), torch.nonzero(pattern).squeeze(1)) for i, pattern in enumerate(patterns)
    ]

    def regression(rest: Tensor) -> Tensor:
        found, moments = torch.zeros_like(rest), rest @ covariance
        for rows, columns in groups:
            own = covariance[columns][:, columns]
            found[rows[:, None], columns] = torch.linalg.solve(own, moments[rows][:, columns], left=False)
        return found

    def turns(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor, list[float]]:
        errors: list[float] = []
        for _ in range(sweeps):
            flat = regression(matrix - left @ (right @ inverse))
            wanted = (matrix - flat) @ root
            left = wanted @ torch.linalg.pinv(right)
            right = torch.linalg.pinv(left) @ wanted
            errors.append(float(torch.linalg.norm(wanted - left @ right)))
            if len(errors) > 1 and errors[-2] - errors[-1] <= 1e-3 * errors[-2]:
                break
        return flat, left, right @ inverse, errors

    flat = regression(matrix)
    rest = (matrix - flat) @ root
    if not rank:
        none = matrix.new_zeros(len(matrix), 0), matrix.new_zeros(0, matrix.shape[1])
        return flat, *none, [float(torch.linalg.norm(rest))]
    u, s, vh = torch.linalg.svd(rest, full_matrices=False)
    left, right, _ = fit_low_rank_outside(matrix, kept, rank, sweeps)
    found = [turns(u[:, :rank] * s[:rank], vh[:rank]), turns(left, right @ root)]  # right is V C^(1/2)
    flat, left, right, errors = min(found, key=lambda one: one[3][-1])
    return flat, *balance(left, right), errors
