"""Positive random features of the exponential kernel, kept as logarithms."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor

from seqkit.checks import check_positive_int, check_shape

__all__ = ["RandomFeatures", "draw_features", "log_features", "pair_variance"]


class RandomFeatures(NamedTuple):
    """Directions of a random feature map; see `draw_features`.

    Args:
        directions: w, of shape (M, D), or (M / 2, D) for hyperbolic features, which use each direction both ways.
        hyperbolic: Whether each direction is used both ways.
    """

    directions: Tensor
    hyperbolic: bool

    @property
    def n_features(self) -> int:
        """Number of features M."""
        return len(self.directions) * (2 if self.hyperbolic else 1)

    @property
    def head_dim(self) -> int:
        """Size D of the vectors that the features are made for."""
        return self.directions.shape[1]


def draw_features(
    n_features: int,
    head_dim: int,
    *,
    generator: torch.Generator,
    orthogonal: bool = True,
    hyperbolic: bool = True,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> RandomFeatures:
    """Draws positive random features phi with E[phi(q) . phi(k)] = exp(q . k).

        phi_r(x) = M^-1/2 exp(w_r . x - |x|^2 / 2),   w_r ~ N(0, I_D)

    Orthogonal directions come in blocks of D that are at right angles to each other, each still normally distributed,
    which lowers the variance. Hyperbolic features use w and -w, so that a pair adds cosh(w . (q + k)); that lowers the
    variance too, most where |q + k| is small.

    Args:
        n_features: Number of features M; even for hyperbolic ones.
        head_dim: Size D of a query or key.
        generator: Where the numbers come from. Draw the hash of a support separately: the estimate is unbiased because
            features and support are independent.
        orthogonal: Directions at right angles within each block of D.
        hyperbolic: Use each direction both ways.
        dtype: Of the directions; torch's default if None. They are drawn in float64 on the generator's device.
        device: Of the directions; the generator's if None.

    Raises:
        ValueError: a size is no whole number of at least 1, or `n_features` is odd for hyperbolic features.

    Source:
        Choromanski et al., Rethinking Attention with Performers (arXiv:2009.14794), FAVOR+. Differs: logarithms are
        kept until a row is known, and no small number is added to the features.

    Example:
        >>> features = draw_features(64, 16, generator=torch.Generator().manual_seed(0))
        >>> features.n_features, tuple(features.directions.shape)
        (64, (32, 16))
    """
    check_positive_int("n_features", n_features)
    check_positive_int("head_dim", head_dim)
    if hyperbolic and n_features % 2:
        raise ValueError(
            f"`n_features` must be even for hyperbolic features, got {n_features}; take {n_features + 1} or "
            "hyperbolic=False"
        )
    rows = n_features // 2 if hyperbolic else n_features
    drawn = _normal(rows, head_dim, generator)
    if orthogonal:
        blocks = [_rotation(head_dim, generator) for _ in range(-(-rows // head_dim))]
        drawn = torch.cat(blocks)[:rows] * drawn.norm(dim=1, keepdim=True)
    return RandomFeatures(drawn.to(device=device, dtype=dtype or torch.get_default_dtype()), hyperbolic)


def log_features(x: Tensor, features: RandomFeatures) -> Tensor:
    """Logarithms of the features of vectors x.

        log phi_r(x) = w_r . x - |x|^2 / 2 - log(M) / 2

    Args:
        x: Queries or keys (..., D), already multiplied by the square root of the attention's scale.
        features: As `draw_features` gives them.

    Returns:
        (..., M).

    Raises:
        ValueError: D differs from the features' `head_dim`.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> features = draw_features(4096, 4, generator=generator)
        >>> q, k = 0.5 * torch.ones(4), 0.25 * torch.ones(4)
        >>> estimate = log_features(q, features).exp() @ log_features(k, features).exp()
        >>> bool((estimate - (q @ k).exp()).abs() < 0.1)
        True
    """
    if x.dim() < 1 or x.shape[-1] != features.head_dim:
        raise ValueError(
            f"`x` must have vectors of size {features.head_dim} in its last dimension, got {tuple(x.shape)}; draw "
            "features with this `head_dim`"
        )
    along = x @ features.directions.to(x).mT
    if features.hyperbolic:
        along = torch.cat((along, -along), dim=-1)
    return along - (x.square().sum(-1, keepdim=True) + math.log(features.n_features)) / 2


def pair_variance(q: Tensor, k: Tensor, n_features: int, *, hyperbolic: bool = True) -> Tensor:
    """Variance of phi(q) . phi(k) for independent directions; orthogonal ones have less.

        (1 / M) exp(2 q . k) (exp(|q + k|^2) - 1),   times 1 - exp(-|q + k|^2) for hyperbolic features

    It grows as exp(|q + k|^2): with vectors of a norm far above 1 a few features estimate nothing.

    Args:
        q: Queries (..., D), already scaled.
        k: Keys (..., D), already scaled.
        n_features: Number of features M.
        hyperbolic: Whether each direction is used both ways.

    Returns:
        (...).

    Raises:
        ValueError: `n_features` is no whole number of at least 1.

    Source:
        Choromanski et al. (arXiv:2009.14794), for positive and hyperbolic features.

    Example:
        >>> pair_variance(torch.zeros(4), torch.zeros(4), 8)
        tensor(0.)
    """
    check_positive_int("n_features", n_features)
    together = (q + k).square().sum(-1)
    variance = (2 * (q * k).sum(-1)).exp() * together.expm1() / n_features
    return variance * -(-together).expm1() if hyperbolic else variance


def check_features(features: RandomFeatures, head_dim: int) -> None:
    """Refuses features that were drawn for vectors of another size."""
    check_shape("features.directions", features.directions, ("M", head_dim), f"draw features with head_dim={head_dim}")


def _normal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64, device=generator.device)


def _rotation(size: int, generator: torch.Generator) -> Tensor:
    """A rotation or reflection drawn evenly from all of them: without the signs, QR prefers some."""
    q, r = torch.linalg.qr(_normal(size, size, generator))
    signs: Tensor = r.diagonal().sign()
    return cast(Tensor, q) * signs
