"""Flow through a porous square: the elliptic equation by finite volumes."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from seqkit.datasets.rows import Array

__all__ = ["solve_darcy"]


def solve_darcy(coefficient: Array, source: Array | float = 1.0) -> Array:
    """Solves `-div(a grad u) = f` on the unit square with u = 0 on its edges.

    Five-point finite volumes on n x n cells of width h = 1/n. The flow from a cell to its neighbour is
    `2 a b / (a + b) (u_here - u_there)`, the harmonic mean, exact for a jump at the face; through the edge of the
    square, half a cell away, it is `2 a u`. What leaves a cell is h^2 f.

    Args:
        coefficient: a at the centres of the cells, (n, n), above 0, float64 inside.
        source: f there, (n, n), or one number.

    Returns:
        u at the centres, (n, n), float64. Errors shrink with h^2 where a is smooth, with h where its jumps cut cells.

    Raises:
        ValueError: a coefficient that is not a square or not above 0 everywhere, or a source that does not fit.

    Source:
        Patankar 1980, Numerical heat transfer and fluid flow, section 4.2, for the harmonic mean.

    Cost:
        A sparse factorisation, O(n^3): some 20 ms for n = 64.

    Example:
        >>> u = solve_darcy(np.ones((64, 64)))
        >>> round(float(u.max()), 3)
        0.074
    """
    a = np.asarray(coefficient, dtype=np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or a.size == 0:
        raise ValueError(f"`coefficient` must be (n, n), got {a.shape}; give one square at a time")
    if not (np.isfinite(a) & (a > 0)).all():
        raise ValueError(
            f"`coefficient` must be finite and above 0 everywhere, got {a.min()} to {a.max()} in {a.shape}"
        )
    f = np.asarray(source, dtype=np.float64)
    if f.shape not in ((), a.shape) or not np.isfinite(f).all():
        raise ValueError(f"`source` must be finite numbers {a.shape} or one number, got {f.shape}; give f at each cell")
    n = len(a)
    right = np.broadcast_to(f, a.shape).ravel() / n**2
    return np.asarray(splu(_flows(a), permc_spec="MMD_AT_PLUS_A").solve(right)).reshape(n, n)


def _flows(a: Array) -> sparse.csc_matrix:
    """What leaves each cell, as a matrix that acts on u, (n^2, n^2)."""
    n = len(a)
    out = np.zeros_like(a)
    places = np.arange(n * n).reshape(n, n)
    ends, weights = [], []
    for turn in (np.asarray, np.transpose):  # views: down the columns, then along the rows
        here, there, total = turn(a)[:-1], turn(a)[1:], turn(out)
        face = 2 * here * there / (here + there)
        total[:-1] += face
        total[1:] += face
        total[0] += 2 * turn(a)[0]
        total[-1] += 2 * turn(a)[-1]
        ends.append((turn(places)[:-1].ravel(), turn(places)[1:].ravel()))
        weights.append(-face.ravel())
    rows, columns = (np.concatenate(each) for each in zip(*ends, strict=True))
    sides = sparse.coo_matrix((np.concatenate(weights), (rows, columns)), shape=(n * n, n * n))
    return sparse.csc_matrix(sides + sides.T + sparse.diags(out.ravel()))
