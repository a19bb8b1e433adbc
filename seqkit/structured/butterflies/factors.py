"""The 2x2 factors of butterflies: drawn at random, from angles, padded sizes, and the product with rows."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from seqkit.kernels.butterfly import butterfly

__all__ = ["multiply", "padded_size", "random_factors", "rotations", "shape_of_factors"]


def padded_size(size: int) -> int:
    """The power of two, at least 2, that vectors of this size are padded to with zeros.

    Example:
        >>> [padded_size(n) for n in (1, 2, 100, 128)]
        [2, 2, 128, 128]
    """
    return 1 << max(1, (size - 1).bit_length())


def shape_of_factors(n: int, out_features: int, n_blocks: int) -> tuple[int, ...]:
    """Shape (S, K, m, n/2, 2, 2) of K blocks of size n, stacked until they give `out_features` numbers.

    Example:
        >>> shape_of_factors(8, 20, 2)
        (3, 2, 3, 4, 2, 2)
    """
    return (-(-out_features // n), n_blocks, n.bit_length() - 1, n // 2, 2, 2)


def rotations(angles: Tensor) -> Tensor:
    """2x2 rotations [[cos, -sin], [sin, cos]], (..., 2, 2), of angles (...) in radians.

    Example:
        >>> rotations(torch.tensor(math.pi / 2)).round().abs()
        tensor([[0., 1.],
                [1., 0.]])
    """
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


@torch.no_grad()
def random_factors(factors: Tensor, gain: float, generator: torch.Generator | None = None) -> None:
    """Fills factors (S, K, m, n/2, 2, 2) so that each stack is `gain` times a random orthogonal matrix.

    Each 2x2 is a random rotation, or where the factors are complex a random unitary matrix; the gain is spread evenly
    over the levels. Entries drawn at random instead would keep the norm only on average: at n = 256 that of the output
    of two blocks varies by a factor of 60.

    Example:
        >>> factors = torch.empty(1, 2, 3, 4, 2, 2)
        >>> random_factors(factors, 1.0)
        >>> bool(torch.allclose(multiply(torch.ones(1, 8), factors, 8).norm(), torch.tensor(8.0).sqrt()))
        True
    """
    n_levels = factors.shape[1] * factors.shape[2]
    real = torch.float64 if factors.dtype in (torch.float64, torch.complex128) else torch.float32
    draw = partial(torch.rand, dtype=real, device=factors.device, generator=generator)
    shape = factors.shape[:-2]
    if not factors.is_complex():
        found = rotations(draw(shape) * (2 * math.pi))
    else:
        # U(2) by Euler angles; sin^2 of phi uniform makes it Haar's measure.
        alpha, psi, chi = draw((3, *shape)) * (2 * math.pi)
        phi = draw(shape).sqrt().asin()
        cos, sin = phi.cos(), phi.sin()
        rows = (
            torch.stack([torch.polar(cos, alpha + psi), torch.polar(sin, alpha + chi)], -1),
            torch.stack([-torch.polar(sin, alpha - chi), torch.polar(cos, alpha - psi)], -1),
        )
        found = torch.stack(rows, -2)
    factors.copy_(found * gain ** (1 / n_levels))


def multiply(x: Tensor, factors: Tensor, out_features: int, first: str = "decreasing") -> Tensor:
    """Pads rows x (B, in), multiplies them by every stack of factors and crops the result to (B, out).

    Half precision is computed in float32.

    Example:
        >>> identity = torch.eye(2).expand(1, 2, 3, 4, 2, 2)
        >>> multiply(torch.arange(1.0, 7.0)[None], identity, 5)
        tensor([[1., 2., 3., 4., 5.]])
    """
    n, dtype = 2 * factors.shape[3], factors.dtype
    wide = torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype
    rows = torch.nn.functional.pad(x.to(wide), (0, n - x.shape[1]))
    return butterfly(rows, factors.to(wide), first).flatten(1)[:, :out_features].to(dtype)
