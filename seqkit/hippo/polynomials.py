"""Orthogonal functions by their three-term recurrences, which stay accurate at orders where monomials fail."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["fourier_functions", "laguerre_functions", "legendre_polynomials", "legendre_table"]


def legendre_polynomials(order: int, x: Tensor) -> Tensor:
    """Evaluates the Legendre polynomials P_0 .. P_{order-1} on [-1, 1].

        (n + 1) P_{n+1}(x) = (2n + 1) x P_n(x) - n P_{n-1}(x)

    Args:
        order: Number of polynomials N.
        x: Points, any shape (...).

    Returns:
        Values, (..., N).

    Example:
        >>> legendre_polynomials(3, torch.tensor(1.0))
        tensor([1., 1., 1.])
    """
    values = [torch.ones_like(x), x]
    for n in range(1, order - 1):
        values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
    return torch.stack(values[:order], dim=-1)


def legendre_table(order: int, x: Tensor) -> Tensor:
    """Evaluates the same polynomials at many points, without a graph, each into a row of one table.

    Args:
        order: Number of polynomials N.
        x: Points, (...).

    Returns:
        Values, (N, ...).

    Example:
        >>> legendre_table(3, torch.tensor([0.0, 1.0]))
        tensor([[ 1.0000,  1.0000],
                [ 0.0000,  1.0000],
                [-0.5000,  1.0000]])
    """
    table = x.new_empty(order, *x.shape)
    table[0] = 1.0
    if order > 1:
        table[1] = x
    for n in range(1, order - 1):
        torch.mul(table[n - 1], -n / (n + 1), out=table[n + 1])
        table[n + 1].addcmul_(x, table[n], value=(2 * n + 1) / (n + 1))
    return table


def laguerre_functions(order: int, x: Tensor, alpha: float, decay: float) -> Tensor:
    """Evaluates generalised Laguerre polynomials times an exponential, L_n^(alpha)(x) exp(-decay x).

        (n + 1) L_{n+1}(x) = (2n + 1 + alpha - x) L_n(x) - (n + alpha) L_{n-1}(x)

    The exponential multiplies the two starting values, because the bare polynomials overflow far from zero. It is
    itself zero in float64 beyond x = 700 / decay, and so is the result.

    Args:
        order: Number of functions N.
        x: Points, at least 0, any shape (...).
        alpha: Parameter of the polynomials, above -1.
        decay: Rate of the exponential.

    Returns:
        Values, (..., N).

    Example:
        >>> laguerre_functions(3, torch.tensor(0.0), alpha=0.0, decay=0.5)
        tensor([1., 1., 1.])
    """
    envelope = torch.exp(-decay * x)
    values = [envelope, (1 + alpha - x) * envelope]
    for n in range(1, order - 1):
        values.append(((2 * n + 1 + alpha - x) * values[n] - (n + alpha) * values[n - 1]) / (n + 1))
    return torch.stack(values[:order], dim=-1)


def fourier_functions(order: int, x: Tensor) -> Tensor:
    """Evaluates the orthonormal Fourier basis of [0, 1]: 1, 0, √2 cos 2πx, √2 sin 2πx, √2 cos 4πx, ...

    Args:
        order: Number of functions N, even; the sine of frequency 0 holds a place and is zero.
        x: Points, any shape (...).

    Returns:
        Values, (..., N).

    Example:
        >>> fourier_functions(2, torch.tensor(0.25))
        tensor([1., 0.])
    """
    frequency = torch.arange(order // 2, dtype=x.dtype, device=x.device)
    angle = 2 * math.pi * frequency * x[..., None]
    scale = torch.full_like(frequency, math.sqrt(2))
    scale[0] = 1.0
    return torch.stack([scale * torch.cos(angle), scale * torch.sin(angle)], dim=-1).flatten(-2)
