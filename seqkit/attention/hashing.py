"""Locality-sensitive hashing: queries meet the keys that point their way."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.attention.inputs import both_inside, check_heads, rows_at_once
from seqkit.attention.support import Support, unique
from seqkit.checks import check_positive_int, check_shape

__all__ = ["AngularHash", "buckets", "draw_hash", "hash_support", "in_bucket", "same_bucket"]


class AngularHash(NamedTuple):
    """Directions of an angular hash; see `draw_hash`.

    Args:
        directions: (R, D, N / 2) for R rounds and N buckets, or those of several smaller hashes beside each other.
        sizes: Buckets of each of these hashes, whose product is N; one hash if empty.
    """

    directions: Tensor
    sizes: tuple[int, ...] = ()

    @property
    def parts(self) -> tuple[int, ...]:
        """Buckets of each of the hashes that make up one round."""
        return self.sizes or (2 * self.directions.shape[2],)

    @property
    def n_buckets(self) -> int:
        """Number of buckets N of each round."""
        return math.prod(self.parts)


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

    More than 2 D buckets come from several such hashes at once, of about equally many buckets, at most 2 D each: in D
    dimensions there are no more directions that are far apart, and the time per vector would grow with the buckets, so
    with the length for buckets of one size.

    Args:
        n_buckets: Buckets N of each round, even; beyond 2 D the next larger product of even numbers.
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
        >>> draw_hash(1024, 64, generator=torch.Generator().manual_seed(0)).parts
        (32, 32)
    """
    check_positive_int("n_buckets", n_buckets)
    check_positive_int("head_dim", head_dim)
    check_positive_int("rounds", rounds)
    if n_buckets % 2:
        raise ValueError(f"`n_buckets` must be even, a direction and its opposite, got {n_buckets}")
    sizes = _sizes(n_buckets, 2 * head_dim)
    drawn = torch.randn(
        rounds, head_dim, sum(sizes) // 2, generator=generator, dtype=torch.float64, device=generator.device
    )
    return AngularHash(drawn.to(device=device, dtype=dtype or torch.get_default_dtype()), sizes)


def _sizes(n_buckets: int, most: int) -> tuple[int, ...]:
    """Even numbers, none above `most`, as few and as even as can be, whose product is at least `n_buckets`."""
    count = next(count for count in itertools.count(1) if most**count >= n_buckets)
    sizes = []
    for left in range(count, 0, -1):
        # Rounded before it is rounded up: a root of a power must be whole.
        sizes.append(2 * math.ceil(round(n_buckets ** (1 / left), 9) / 2))
        n_buckets = -(-n_buckets // sizes[-1])
    return tuple(sizes)


@torch.no_grad()
def hash_support(
    q: Tensor,
    k: Tensor,
    hashed: AngularHash,
    width: int,
    *,
    causal: bool = False,
    lengths: Tensor | None = None,
    key_lengths: Tensor | None = None,
) -> Support:
    """For each query and round, `width` keys of its bucket; keys of several rounds count once.

    Two-sided: keys are sorted by bucket and position. A bucket of more than `width` keys gives those nearest to the
    query's position (its share of the way, where keys are more or fewer than queries); one of fewer is filled up by the
    keys sorted next to it, so that no place is wasted. Causal: the last `width` keys of the bucket up to the query's
    own position and no others, so that later keys change nothing.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, T, G, D); T is L where causal, and G divides H.
        hashed: As `draw_hash` gives it.
        width: Keys per query and round.
        causal: Only keys up to the query's own position.
        lengths: Samples of each series (B,); keys past the end are in no bucket.
        key_lengths: Keys of each series (B,), where they differ from `lengths`.

    Returns:
        A support with `width` times the rounds places, shape (B, H, L, R * width).

    Raises:
        ValueError: shapes do not fit, or `width` is no whole number of at least 1.

    Cost: O(L (D S + log L) R) time, where S is the sum of the hash's `parts`; O(L R width) memory. Nothing is
    differentiated.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> q, k = torch.randn(2, 1, 64, 2, 8, generator=generator)
        >>> support = hash_support(q, k, draw_hash(8, 8, rounds=2, generator=generator), 8)
        >>> support.keys.shape
        torch.Size([1, 2, 64, 16])
    """
    check_positive_int("width", width)
    check_heads(q, k, causal=causal)
    check_shape("hashed.directions", hashed.directions, ("R", q.shape[3], "N"), "draw the hash for this `head_dim`")
    live, key_live = both_inside(q, k, lengths, key_lengths)
    moved = (x.nan_to_num().transpose(1, 2) for x in (q, k))
    of_queries, of_keys = (buckets(x, hashed) for x in moved)
    if key_live is not None:
        of_keys = of_keys.masked_fill(~key_live[:, None], hashed.n_buckets)
    place = torch.arange(q.shape[1], device=q.device) * k.shape[1] // q.shape[1]
    support = same_bucket(of_queries, of_keys, place, width, hashed.n_buckets, causal)
    return support if live is None else Support(support.keys, support.valid & live[..., None])


def buckets(x: Tensor, hashed: AngularHash) -> Tensor:
    """Bucket of each vector x (B, H, L, D) in each round (B, R, H, L)."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    halves = [size // 2 for size in hashed.parts]
    rows = rows_at_once(None, x.shape[2], len(x) * x.shape[1] * 2 * sum(halves))
    rounds = []
    for directions in hashed.directions.to(x):
        found = []
        for start in range(0, x.shape[2], rows):
            number = x.new_zeros((), dtype=torch.int64)
            for along in (x[:, :, start : start + rows] @ directions).split(halves, -1):
                number = number * 2 * along.shape[-1] + torch.cat((along, -along), dim=-1).argmax(-1)
            found.append(number)
        rounds.append(torch.cat(found, dim=2))
    return torch.stack(rounds, 1)


def same_bucket(of_queries: Tensor, of_keys: Tensor, place: Tensor, width: int, last: int, causal: bool) -> Support:
    """For each query, `width` keys of its bucket in each round, each once.

    Args:
        of_queries: Buckets of the queries (B, R, H, L).
        of_keys: Buckets of the keys (B, R, G, T); `last` for what is no key.
        place: Place of each query among the keys (L,), or (B, 1, 1, L).
        width: Keys per query and round.
        last: Number of buckets.
        causal: Only keys up to the query's place.
    """
    of_keys, width = of_keys.repeat_interleave(of_queries.shape[2] // of_keys.shape[2], 2), min(width, of_keys.shape[3])
    where = (of_queries, of_keys, place, width)
    found = in_bucket(*where) if causal else _around(*where, last)
    return unique(*(x.permute(0, 2, 3, 1, 4).flatten(-2) for x in found))


def in_bucket(of_queries: Tensor, of_keys: Tensor, place: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The last `width` keys of each query's bucket up to its place, in each round.

    Args:
        of_queries: Buckets of the queries (B, R, H, L).
        of_keys: Buckets of the keys (B, R, H, T).
        place: Place of each query among the keys, that can be broadcast to (B, R, H, L).
        width: Keys per query.

    Returns:
        Places of keys (B, R, H, L, W), in order, and which of them count.
    """
    keys, length = _in_order(of_keys), of_keys.shape[-1]
    begin = torch.searchsorted(keys, of_queries * length)
    here = torch.searchsorted(keys, of_queries * length + place, right=True)
    rank = here[..., None] - width + torch.arange(width, device=keys.device)
    return _at(keys, rank), rank >= begin[..., None]


def _around(of_queries: Tensor, of_keys: Tensor, place: Tensor, width: int, last: int) -> tuple[Tensor, Tensor]:
    """The `width` keys of each query's bucket nearest to its place, filled up by the keys sorted next to the bucket."""
    keys, length = _in_order(of_keys), of_keys.shape[-1]
    begin, end = (torch.searchsorted(keys, (of_queries + x) * length) for x in (0, 1))
    here = torch.searchsorted(keys, of_queries * length + place, right=True)
    count = (of_keys < last).sum(-1, keepdim=True)
    start = torch.maximum(
        torch.minimum(here - width // 2, torch.maximum(begin, end - width)), torch.minimum(begin, end - width)
    )
    rank = torch.minimum(start, count - width).clamp(min=0)[..., None] + torch.arange(width, device=keys.device)
    return _at(keys, rank), rank < count[..., None]


def _in_order(of_keys: Tensor) -> Tensor:
    """Buckets and places as one number each, sorted."""
    length = of_keys.shape[-1]
    return (of_keys * length + torch.arange(length, device=of_keys.device)).sort(dim=-1).values


def _at(keys: Tensor, rank: Tensor) -> Tensor:
    """Places of the keys of some ranks."""
    length = keys.shape[-1]
    return keys.gather(-1, rank.clamp(0, length - 1).flatten(-2)).view_as(rank) % length
