"""Locality-sensitive hashing: queries meet the keys that point their way."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.attention.inputs import check_heads, inside, rows_at_once
from seqkit.attention.support import Support, unique
from seqkit.checks import check_positive_int, check_shape

__all__ = ["AngularHash", "draw_hash", "hash_support"]


class AngularHash(NamedTuple):
    """Directions of an angular hash; see `draw_hash`.

    Args:
        directions: (R, D, N / 2) for R rounds and N buckets.
    """

    directions: Tensor

    @property
    def n_buckets(self) -> int:
        """Number of buckets N of each round."""
        return 2 * self.directions.shape[2]


def draw_hash(
    n_buckets: int,
    head_dim: int,
    *,
    generator: torch.Generator,
    rounds: int = 1,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> AngularHash:
    """Draws a hash by direction: the bucket of x is the largest entry of [x R, -x R] for a random matrix R.

    Args:
        n_buckets: Buckets N of each round, even.
        head_dim: Size D of a query or key.
        generator: Where the numbers come from; draw the features of an estimate from others.
        rounds: Independent hashes R; more of them find more of the near keys.
        dtype: Of the directions; torch's default if None. They are drawn in float64 on the generator's device.
        device: Of the directions; the generator's if None.

    Raises:
        ValueError: a size is no whole number of at least 1, or `n_buckets` is odd.

    Source:
        Andoni et al. 2015, Practical and Optimal LSH for Angular Distance; Kitaev et al., Reformer (arXiv:2001.04451).

    Example:
        >>> draw_hash(8, 4, rounds=2, generator=torch.Generator().manual_seed(0)).directions.shape
        torch.Size([2, 4, 4])
    """
    check_positive_int("n_buckets", n_buckets)
    check_positive_int("head_dim", head_dim)
    check_positive_int("rounds", rounds)
    if n_buckets % 2:
        raise ValueError(f"`n_buckets` must be even, a direction and its opposite, got {n_buckets}")
    drawn = torch.randn(
        rounds, head_dim, n_buckets // 2, generator=generator, dtype=torch.float64, device=generator.device
    )
    return AngularHash(drawn.to(device=device, dtype=dtype or torch.get_default_dtype()))


@torch.no_grad()
def hash_support(
    q: Tensor,
    k: Tensor,
    hashed: AngularHash,
    width: int,
    *,
    causal: bool = False,
    lengths: Tensor | None = None,
) -> Support:
    """For each query and round, `width` keys of its bucket; keys of several rounds count once.

    Two-sided: keys are sorted by bucket and position. A bucket of more than `width` keys gives those nearest to the
    query's position; one of fewer is filled up by the keys sorted next to it, so that no place is wasted. Causal: the
    last `width` keys of the bucket up to the query's own position and no others, so that later keys change nothing.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, L, H, D).
        hashed: As `draw_hash` gives it.
        width: Keys per query and round.
        causal: Only keys up to the query's own position.
        lengths: Samples of each series (B,); keys past the end are in no bucket.

    Returns:
        A support with `width` times the rounds places, shape (B, H, L, R * width).

    Raises:
        ValueError: shapes do not fit, or `width` is no whole number of at least 1.

    Cost: O(L (D N + log L) R) time, O(L R width) memory. Nothing is differentiated.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> q, k = torch.randn(2, 1, 64, 2, 8, generator=generator)
        >>> support = hash_support(q, k, draw_hash(8, 8, rounds=2, generator=generator), 8)
        >>> support.keys.shape
        torch.Size([1, 2, 64, 16])
    """
    check_positive_int("width", width)
    check_heads(q, k)
    check_shape("hashed.directions", hashed.directions, ("R", q.shape[3], "N"), "draw the hash for this `head_dim`")
    length, last = q.shape[1], hashed.n_buckets
    width = min(width, length)
    live = inside(lengths, length, q)
    found = []
    for directions in hashed.directions:
        of_queries, of_keys = (_buckets(x, directions) for x in (q, k))
        if live is not None:
            of_keys = of_keys.masked_fill(~live, last)
        found.append(_window(of_queries, of_keys, width, last, causal))
    support = unique(torch.cat([one.keys for one in found], -1), torch.cat([one.valid for one in found], -1))
    return support if live is None else Support(support.keys, support.valid & live[..., None])


def _buckets(x: Tensor, directions: Tensor) -> Tensor:
    """Bucket of each vector (B, H, L)."""
    x = x.nan_to_num().transpose(1, 2).to(torch.promote_types(x.dtype, torch.float32))
    rows = rows_at_once(None, x.shape[2], len(x) * x.shape[1] * 2 * directions.shape[1])
    along = (x[:, :, start : start + rows] @ directions.to(x) for start in range(0, x.shape[2], rows))
    return torch.cat([torch.cat((one, -one), dim=-1).argmax(-1) for one in along], dim=2)


def _window(of_queries: Tensor, of_keys: Tensor, width: int, last: int, causal: bool) -> Support:
    """Keys of one round, from one list of keys sorted by bucket and position; bucket `last` holds what is no key."""
    length = of_queries.shape[-1]
    position = torch.arange(length, device=of_queries.device)
    keys = (of_keys * length + position).sort(dim=-1).values
    places = torch.arange(width, device=of_queries.device)
    begin = torch.searchsorted(keys, of_queries * length)
    here = torch.searchsorted(keys, of_queries * length + position, right=True)
    if causal:
        rank = here[..., None] - width + places
        valid = rank >= begin[..., None]
    else:
        end = torch.searchsorted(keys, (of_queries + 1) * length)
        count = (of_keys < last).sum(-1, keepdim=True)
        start = torch.maximum(
            torch.minimum(here - width // 2, torch.maximum(begin, end - width)), torch.minimum(begin, end - width)
        )
        start = torch.minimum(start, count - width).clamp(min=0)
        rank = start[..., None] + places
        valid = rank < count[..., None]
    rank = rank.clamp(0, length - 1)
    index = keys.gather(-1, rank.flatten(-2)).view_as(rank) % length
    return Support(index, valid)
