"""Random features and hashes as parts of a layer: drawn where it is made, saved with it, redrawn only when asked."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.attention.features import RandomFeatures, draw_features
from seqkit.attention.hashing import AngularHash, draw_hash
from seqkit.checks import check_positive, check_positive_int

__all__ = ["DrawnFeatures", "DrawnHash", "UnitHeads", "own_generator"]


class DrawnFeatures(nn.Module):
    """Hyperbolic, orthogonal random features of a layer.

    Args:
        n_features: Number of features M, even.
        head_dim: Size D of a query or key.
        redraw: Calls in training after which new ones are drawn; None for never. In evaluation they stay.

    Raises:
        ValueError: a size below 1, or an odd number of features.

    Example:
        >>> drawn = DrawnFeatures(16, 8)
        >>> drawn().directions.shape
        torch.Size([8, 8])
    """

    directions: Tensor
    calls: Tensor

    def __init__(self, n_features: int, head_dim: int, *, redraw: int | None = None) -> None:
        super().__init__()
        self.every = None if redraw is None else check_positive_int("redraw", redraw)
        self.register_buffer("directions", draw_features(n_features, head_dim, generator=own_generator()).directions)
        if self.every is not None:
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self) -> RandomFeatures:
        """The features as they are."""
        return RandomFeatures(self.directions, True)

    def renew(self, generator: torch.Generator | None = None) -> None:
        """Draws new features; states of streams of the old ones are of no use with them.

        Args:
            generator: Where the numbers come from; torch's own if None.
        """
        rows, size = self.directions.shape
        drawn = draw_features(2 * rows, size, generator=own_generator() if generator is None else generator)
        # A new tensor: gradients of calls before may still need the old one.
        self.directions = drawn.directions.to(self.directions)

    def count(self) -> None:
        """Counts a call in training, and draws new features where it is time."""
        if self.every is None:
            return
        self.calls = self.calls + 1
        if int(self.calls) % self.every == 0:
            self.renew()

    def extra_repr(self) -> str:
        """Sizes and choices."""
        rows, size = self.directions.shape
        return f"n_features={2 * rows}, head_dim={size}, redraw={self.every}"


class DrawnHash(nn.Module):
    """An angular hash of a layer.

    Args:
        n_hashes: Rounds R.
        n_buckets: Buckets N of each round, even.
        head_dim: Size D of a query or key.

    Raises:
        ValueError: a size below 1, or an odd number of buckets.

    Example:
        >>> DrawnHash(2, 8, 4)().n_buckets
        8
    """

    directions: Tensor

    def __init__(self, n_hashes: int, n_buckets: int, head_dim: int) -> None:
        super().__init__()
        hashed = draw_hash(n_buckets, head_dim, rounds=n_hashes, generator=own_generator())
        self.sizes = hashed.sizes
        self.register_buffer("directions", hashed.directions)

    def forward(self) -> AngularHash:
        """The hash as it is."""
        return AngularHash(self.directions, self.sizes)

    def renew(self, generator: torch.Generator | None = None) -> None:
        """Draws a new hash; states of streams of the old one are of no use with it.

        Args:
            generator: Where the numbers come from; torch's own if None.
        """
        rounds, size, _ = self.directions.shape
        generator = own_generator() if generator is None else generator
        drawn = draw_hash(self.forward().n_buckets, size, rounds=rounds, generator=generator)
        self.directions = drawn.directions.to(self.directions)

    def extra_repr(self) -> str:
        """Sizes."""
        rounds, size, _ = self.directions.shape
        return f"n_hashes={rounds}, n_buckets={self.forward().n_buckets}, head_dim={size}"


class UnitHeads(nn.Module):
    """Queries and keys of one length, whose products are at most a trained sharpness.

        q' = sqrt(s) q / |q|,   k' = sqrt(s) k / |k|

    The variance of random features grows as exp(|q' + k'|^2), which is at most exp(4 s).

    Args:
        n_heads: Heads G of keys, each with its sharpness s.
        sharpness: Sharpness to begin with.

    Raises:
        ValueError: `sharpness` is not above 0.

    Source:
        Henry et al. 2020, Query-key normalization for transformers (arXiv:2010.04245).

    Example:
        >>> q, k = UnitHeads(1, 4.0)(torch.ones(1, 1, 2, 3), torch.ones(1, 1, 1, 3))
        >>> round(float((q[0, 0, 0] * k[0, 0, 0]).detach().sum()), 4)
        4.0
    """

    def __init__(self, n_heads: int, sharpness: float) -> None:
        super().__init__()
        check_positive("sharpness", sharpness)
        self.log_sharpness = nn.Parameter(torch.full((n_heads,), float(sharpness)).log())

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Maps q (..., H, D) and k (..., G, D)."""
        wide = torch.promote_types(q.dtype, torch.float32)
        size = (self.log_sharpness.to(wide) / 2).exp()
        of_queries = size.repeat_interleave(q.shape[-2] // len(size))
        return F.normalize(q.to(wide), dim=-1) * of_queries[:, None], F.normalize(k.to(wide), dim=-1) * size[:, None]


def own_generator() -> torch.Generator:
    """A generator that torch's own one has begun."""
    return torch.Generator().manual_seed(int(torch.randint(2**62, ())))
