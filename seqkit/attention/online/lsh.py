"""Hashed attention a sample or a block at a time: its state is the last keys of each bucket."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.attention.dropping import Drop, drop_of, factors
from seqkit.attention.hashing import AngularHash, buckets, same_bucket
from seqkit.attention.inputs import Heads, finish, prepare, shared
from seqkit.attention.lsh import listed_rows
from seqkit.attention.online.buckets import (
    Buckets,
    Known,
    empty_buckets,
    known_keys,
    one_more_key,
    read_buckets,
    some_more_keys,
)
from seqkit.attention.parts import Part, divide, pair_part
from seqkit.attention.support import Support, join_supports
from seqkit.checks import check_positive_int, check_shape
from seqkit.kernels.backend import without_autocast

__all__ = ["joined", "lsh_block", "lsh_state", "lsh_step", "read_part", "written"]


def lsh_state(like: Tensor, batch_size: int, n_heads: int, hashed: AngularHash, width: int, size: int) -> Buckets:
    """The state before the first sample.

    Args:
        like: A tensor of the dtype and device of the series; half precision is kept in float32.
        batch_size: Series B.
        n_heads: Heads G of keys and values.
        hashed: Hash of R rounds and N buckets.
        width: Keys W of each bucket.
        size: Size V of values.

    Returns:
        G R N W (D + V) numbers a series, however long it gets, and G R N W ages in float64.

    Raises:
        ValueError: `width` is no whole number of at least 1.

    Example:
        >>> from seqkit.attention import draw_hash
        >>> hashed = draw_hash(4, 8, rounds=2, generator=torch.Generator().manual_seed(0))
        >>> lsh_state(torch.zeros(1), 3, 1, hashed, 5, 8).keys.shape
        torch.Size([3, 1, 2, 4, 5, 8])
    """
    wide = like.new_zeros((), dtype=torch.promote_types(like.dtype, torch.float32))
    rounds, key_size, _ = hashed.directions.shape
    sizes = (batch_size, n_heads, rounds, hashed.n_buckets, check_positive_int("width", width))
    return empty_buckets(wide, sizes, key_size, size)


@without_autocast
def lsh_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    hashed: AngularHash,
    state: Buckets,
    *,
    scale: float | None = None,
    dropout: float = 0.0,
    seed: int | Tensor | None = None,
) -> tuple[Tensor, Buckets]:
    """One sample of hashed attention: its query reads its own key and, in each round, the last W keys of its bucket.

    That is the row of `lsh_attention` with causal=True and the support
    `join_supports(hash_support(q, k, hashed, W, causal=True), local_support(L, 1, causal=True))`.

    Args:
        q: Queries (B, H, D).
        k: Keys (B, G, D).
        v: Values (B, G, V).
        hashed: The hash that the state was made for.
        state: As `lsh_state` or the previous step gave it.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        dropout: Share of the weights above the fraction bar that are set to 0, the rest divided by 1 - dropout.
        seed: Whole number that says which, needed with dropout.

    Returns:
        (B, H, V) and the new state.

    Raises:
        ValueError: shapes or dtypes do not fit, or dropout comes without a seed.

    Cost: O(R (H W (D + V) + H D N)) time, and a copy of the state.

    Example:
        >>> from seqkit.attention import draw_hash
        >>> hashed = draw_hash(4, 8, rounds=2, generator=torch.Generator().manual_seed(0))
        >>> q, k, v = torch.randn(3, 2, 1, 8)
        >>> y, state = lsh_step(q, k, v, hashed, lsh_state(q, 2, 1, hashed, 5, 8))
        >>> torch.allclose(y, v)  # there is one key
        True
    """
    heads, drop = prepare(q[:, None], k[:, None], v[:, None], scale, None), drop_of(dropout, seed, q)
    state, of_queries = written(heads, hashed, state)
    far = read_buckets(state, of_queries, 1)
    own = Known(shared(heads.k, q.shape[1]), shared(heads.v, q.shape[1]), far.ages.new_zeros(*q.shape[:2], 1))
    both = Known(*(torch.cat(x, 2) for x in zip(own, far, strict=True)))
    return finish(divide(read_part(heads.q, both, drop)), q, None)[:, 0], state


@without_autocast
def lsh_block(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    hashed: AngularHash,
    state: Buckets,
    *,
    scale: float | None = None,
    lengths: Tensor | None = None,
    dropout: float = 0.0,
    seed: int | Tensor | None = None,
) -> tuple[Tensor, Buckets]:
    """A block of samples of hashed attention, after those of a state; see `lsh_step`.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, L, G, D).
        v: Values (B, L, G, V).
        hashed: The hash that the state was made for.
        state: As `lsh_state`, a step or a block gave it.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        lengths: Samples of each series (B,); the state of each is that after its own last sample.
        dropout: Share of the weights above the fraction bar that are set to 0, the rest divided by 1 - dropout.
        seed: Whole number that says which, needed with dropout.

    Returns:
        (B, L, H, V) and the new state.

    Raises:
        ValueError: shapes, dtypes or lengths do not fit, or dropout comes without a seed.

    Cost: as `hash_support` and `lsh_attention` for L samples and those of the state.

    Example:
        >>> from seqkit.attention import draw_hash
        >>> hashed = draw_hash(4, 8, rounds=2, generator=torch.Generator().manual_seed(0))
        >>> q, k, v = torch.randn(3, 2, 50, 1, 8)
        >>> lsh_block(q, k, v, hashed, lsh_state(q, 2, 1, hashed, 5, 8))[0].shape
        torch.Size([2, 50, 1, 8])
    """
    heads, drop = prepare(q, k, v, scale, lengths, causal=True), drop_of(dropout, seed, q)
    check_shape("hashed.directions", hashed.directions, ("R", q.shape[3], "N"), "draw the hash for this `head_dim`")
    before = known_keys(state, 0)
    whole, support, state = joined(heads, hashed, state, before, before.ages.shape[2], lengths)
    place = torch.arange(before.ages.shape[2], whole.k.shape[2], device=q.device)[None, None, :, None]
    support = join_supports(support, Support(place, torch.ones_like(place, dtype=torch.bool)))
    return finish(listed_rows(whole, support, drop), q, heads.live), state


def written(heads: Heads, hashed: AngularHash, state: Buckets) -> tuple[Buckets, Tensor]:
    """The state with the key of one sample, and the bucket of its query in each round (B, R, H)."""
    check_shape("hashed.directions", hashed.directions, ("R", heads.q.shape[3], "N"), "draw the hash for this size")
    of_queries, of_keys = (buckets(x, hashed)[..., 0] for x in (heads.q, heads.k))
    return one_more_key(state, heads.k[:, :, 0], heads.v[:, :, 0], of_keys), of_queries


def read_part(q: Tensor, known: Known, drop: Drop | None) -> Part:
    """What one query of each head (B, H, 1, D) reads of its keys."""
    logits = (q @ known.keys.mT).masked_fill(known.ages[:, :, None] < 0, -torch.inf)
    factor = None
    if drop is not None:
        place = torch.arange(logits.shape[-1], device=q.device)
        factor = factors(drop, 0, place, q)
    return pair_part(logits, known.values, factor)


def joined(
    heads: Heads, hashed: AngularHash, state: Buckets, before: Known, offset: int, lengths: Tensor | None
) -> tuple[Heads, Support, Buckets]:
    """Keys before a block and its own, the keys that its queries find by hashing, and the buckets after it.

    Args:
        heads: The block.
        hashed: The hash.
        state: The buckets before.
        before: Keys before the block, in the order of time.
        offset: Number of keys before the block.
        lengths: Samples of each series (B,), or None.
    """
    batch, _, length, _ = heads.q.shape
    place = torch.arange(length, device=heads.q.device)
    ends = torch.full((batch,), length, device=place.device) if lengths is None else lengths.to(place.device)
    since = before.ages + ends[:, None, None]
    own = (ends[:, None, None] - 1.0 - place).expand(-1, heads.k.shape[1], -1).to(since)
    ages = torch.cat((since.masked_fill(before.ages < 0, -1), own.clamp(min=-1)), -1)
    known = Known(torch.cat((before.keys, heads.k), 2), torch.cat((before.values, heads.v), 2), ages)
    of_keys = buckets(known.keys, hashed).masked_fill(ages[:, None] < 0, hashed.n_buckets)
    width = state.ages.shape[4]
    found = same_bucket(buckets(heads.q, hashed), of_keys, offset + place, width, hashed.n_buckets, True)
    after = some_more_keys(state, known, of_keys, offset + ends - 1)
    return heads._replace(k=known.keys, v=known.values), found, after
