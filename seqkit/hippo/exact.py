"""LegS without a step rule: the projection of a held signal, and memories of adjoining segments joined exactly.

On [0, 1] the basis is g_n(x) = sqrt(2n + 1) P_n(2x - 1). Restricted to a part of the interval it is a polynomial of
degree n there, so the coefficients of a whole follow linearly from those of its parts, without any error.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from seqkit.checks import check_positive_int
from seqkit.hippo.polynomials import legendre_polynomials

__all__ = ["held_weights", "join_matrices", "quadrature"]


def held_weights(edges: Tensor, order: int) -> Tensor:
    """Weights that project a piecewise constant signal on LegS's basis.

        W_jn = ∫ g_n(x) dx over piece j,  x from edge j to edge j + 1 in units of the last edge

    The coefficients of values u_j held on the pieces are u W.

    Args:
        edges: Ends of the pieces, (..., L + 1), increasing; the first is the start of the segment, the last its end.
        order: Number of coefficients N.

    Returns:
        Weights, (..., L, N), in the type of `edges`.

    Source: arXiv 2008.07669, appendix D; ∫ P_n = (P_{n+1} - P_{n-1}) / (2n + 1).
    Cost: L N.

    Example:
        >>> held_weights(torch.tensor([0.0, 1.0, 2.0]), 2)
        tensor([[ 0.5000, -0.4330],
                [ 0.5000,  0.4330]])
    """
    check_positive_int("order", order)
    wide = edges.double()
    start, end = wide[..., :1], wide[..., -1:]
    y = 2 * (wide - start) / (end - start) - 1
    values = legendre_polynomials(order + 1, y)
    n = torch.arange(1, order, dtype=torch.float64, device=edges.device)
    higher = (values[..., 2:] - values[..., : order - 1]) / (2 * torch.sqrt(2 * n + 1))
    antiderivative = torch.cat([(y.unsqueeze(-1) + 1) / 2, higher], dim=-1)
    return antiderivative.diff(dim=-2).to(edges.dtype)


def join_matrices(ratio: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Matrices that join the memories of two adjoining segments into the memory of both.

        c = E(r) c_1 + F(r) c_2,  r = t_1 / t_2
        E_nm = r ∫ g_m(x) g_n(r x) dx,  F_nm = (1 - r) ∫ g_m(x) g_n(r + (1 - r) x) dx  over [0, 1]

    c_1 remembers [0, t_1], c_2 remembers [t_1, t_2] as a series of its own. E alone is the dilation exp(A log(1/r)) of
    LegS: |E|₂ <= √r and E(r) E(s) = E(r s); together |[E F]|₂ <= √max(r, 1 - r), so nothing grows in any precision.
    Both are reached but for orders too low to tell a part that short.

    Args:
        ratio: Share r of the first segment, (...), between 0 and 1.
        order: Number of coefficients N.

    Returns:
        E and F, each (..., N, N), lower triangular, in the type of `ratio`.

    Source: ours; Gauss-Legendre quadrature with N nodes, which is exact for these degrees.
    Cost: N³ for each ratio, a matrix product.

    Example:
        >>> E, F = join_matrices(torch.tensor(0.5), 2)
        >>> E @ torch.tensor([1.0, 0.0]) + F @ torch.tensor([1.0, 0.0])  # a constant stays one
        tensor([1., 0.])
    """
    check_positive_int("order", order)
    r = ratio.double().unsqueeze(-1)
    nodes, weighted = (value.to(ratio.device) for value in quadrature(order))
    norms = torch.sqrt(2 * torch.arange(order, dtype=torch.float64, device=ratio.device) + 1)

    def against(x: Tensor, share: Tensor) -> Tensor:
        values = legendre_polynomials(order, 2 * x - 1) * norms
        return torch.tril(share.unsqueeze(-1) * (values.mT @ weighted)).to(ratio.dtype)

    return against(r * nodes, r), against(r + (1 - r) * nodes, 1 - r)


@functools.lru_cache(maxsize=8)  # nodes are constants of the order: an eigenvalue problem, N³
def quadrature(order: int) -> tuple[Tensor, Tensor]:
    """Nodes of the Gauss-Legendre rule on [0, 1], (N,), and the basis there times the rule's weights, (N, N).

    Example:
        >>> quadrature(1)
        (tensor([0.5000], dtype=torch.float64), tensor([[1.]], dtype=torch.float64))
    """
    x, w = np.polynomial.legendre.leggauss(order)
    nodes, weights = torch.from_numpy((x + 1) / 2), torch.from_numpy(w / 2)
    norms = torch.sqrt(2 * torch.arange(order, dtype=torch.float64) + 1)
    return nodes, legendre_polynomials(order, torch.from_numpy(x)) * norms * weights[:, None]
