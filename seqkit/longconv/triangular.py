"""The learned causal Monarch form: a convolution of polynomials in a trained basis."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.checks import check_shape
from seqkit.longconv.convolve import monarch_conv

__all__ = ["polynomial_conv"]


def polynomial_conv(u: Tensor, k: Tensor, basis: Tensor, *, form: str = "auto") -> Tensor:
    """Multiplies two series as polynomials in a basis and reads the product in that basis.

        y = Q^-1 [F^-1 ((F Q u) * (F Q k))]_(< L)

    Column j of Q holds the coefficients of the polynomial q_j, which sample j weights. Q is lower triangular: q_j has
    no degree below j and none above L - 1, so with F of at least 2 L points nothing wraps around, and y[l] depends on
    u[0] .. u[l] alone. With Q = 1 it is the causal convolution.

    Args:
        u: Input, (B, H, L).
        k: Kernel of each channel, (H, L).
        basis: Q, (L, L); what lies above its diagonal is not read, and its diagonal must have no zero.
        form: As for `monarch_conv`.

    Returns:
        y, (B, H, L).

    Raises:
        ValueError: shapes that do not fit, or a zero on the diagonal.

    Source: Fu et al. 2023, Monarch Mixer (arXiv:2310.12109), section 4 (causality of order-p Monarch products).

    Cost: O(B H L^2) for the products with a dense Q and the solution by substitution. It is below that only where Q has
        structure of its own.

    Example:
        >>> u, k = torch.tensor([[[1.0, 2.0, 0.0]]]), torch.tensor([[1.0, 1.0, 0.0]])
        >>> polynomial_conv(u, k, torch.eye(3)).round(decimals=4)
        tensor([[[1., 3., 2.]]])
    """
    check_shape("u", u, ("B", "H", "L"), "put channels before time")
    length = u.shape[-1]
    check_shape("k", k, (u.shape[1], length), "give each channel its kernel")
    check_shape("basis", basis, (length, length), "give each sample its polynomial")
    lower = basis.tril()
    if bool((lower.detach().diagonal() == 0).any()):
        raise ValueError("`basis` must have no zero on its diagonal, or the product cannot be read; start from eye(L)")
    product = monarch_conv(u @ lower.mT, k @ lower.mT, form=form)
    read: Tensor = torch.linalg.solve_triangular(lower, product.mT, upper=False)
    return read.mT
