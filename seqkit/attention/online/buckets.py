"""The last keys of each bucket of a hash: what a stream of hashed attention remembers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.attention.hashing import in_bucket

__all__ = ["Buckets", "Known", "empty_buckets", "known_keys", "one_more_key", "read_buckets", "some_more_keys"]


class Buckets(NamedTuple):
    """The last W keys of each of N buckets in each of R rounds, the newest last.

    Args:
        keys: (B, G, R, N, W, D), 0 in an empty place.
        values: (B, G, R, N, W, V), likewise.
        ages: Samples since then, (B, G, R, N, W) float64; 0 for the newest sample and -1 in an empty place.
    """

    keys: Tensor
    values: Tensor
    ages: Tensor


class Known(NamedTuple):
    """Keys in the order of time, each once, those that do not count first.

    Args:
        keys: (B, G, T, D).
        values: (B, G, T, V).
        ages: (B, G, T) float64; -1 where there is none.
    """

    keys: Tensor
    values: Tensor
    ages: Tensor


def empty_buckets(like: Tensor, sizes: tuple[int, int, int, int, int], key_size: int, value_size: int) -> Buckets:
    """Buckets without a key, with the dtype and device of `like`; `sizes` are B, G, R, N and W.

    Example:
        >>> empty_buckets(torch.zeros(1), (2, 1, 2, 4, 8), 3, 5).values.shape
        torch.Size([2, 1, 2, 4, 8, 5])
    """
    ages = torch.full(sizes, -1.0, dtype=torch.float64, device=like.device)
    return Buckets(like.new_zeros(*sizes, key_size), like.new_zeros(*sizes, value_size), ages)


def one_more_key(found: Buckets, k: Tensor, v: Tensor, bucket: Tensor) -> Buckets:
    """Puts one key into its bucket of each round, whose oldest leaves; the buckets that were given stay as they were.

    Args:
        found: The buckets.
        k: Keys (B, G, D).
        v: Values (B, G, V).
        bucket: Bucket of each key in each round (B, R, G).
    """
    n_buckets = found.ages.shape[3]
    place = torch.arange(n_buckets, device=bucket.device)
    here = (bucket.transpose(1, 2)[..., None] == place)[..., None]
    older = torch.where(found.ages < 0, found.ages, found.ages + 1)

    def moved(old: Tensor, new: Tensor) -> Tensor:
        pushed = torch.cat((old[..., 1:, :], new.expand(*old.shape[:4], 1, -1)), -2)
        return torch.where(here[..., None], pushed, old)

    ages = torch.where(here, torch.cat((older[..., 1:], torch.zeros_like(older[..., :1])), -1), older)
    spread = (x.to(found.keys.dtype)[:, :, None, None, None] for x in (k, v))
    return Buckets(moved(found.keys, next(spread)), moved(found.values, next(spread)), ages)


def read_buckets(found: Buckets, bucket: Tensor, least: int) -> Known:
    """The keys of the buckets that queries fall into, each key once, of all rounds.

    Args:
        found: The buckets.
        bucket: Bucket of each query in each round (B, R, H).
        least: Smallest age that counts.

    Returns:
        Keys of each query (B, H, R W, D), values (B, H, R W, V) and ages (B, H, R W), -1 where a place does not count.
    """
    batch, groups, rounds, n_buckets, _ = found.ages.shape
    heads = bucket.shape[2]
    group = torch.arange(batch * heads, device=bucket.device).view(batch, 1, heads) // (heads // groups)
    turn = torch.arange(rounds, device=bucket.device)[:, None]
    index = ((group * rounds + turn) * n_buckets + bucket).transpose(1, 2).flatten()

    def taken(x: Tensor) -> Tensor:
        return x.flatten(0, 3).index_select(0, index).view(batch, heads, -1, *x.shape[5:])

    ages = taken(found.ages)
    again = (ages[..., :, None] == ages[..., None, :]).tril(-1).any(-1)
    return Known(taken(found.keys), taken(found.values), ages.masked_fill(again | (ages < least), -1))


def known_keys(found: Buckets, least: int) -> Known:
    """All keys of the buckets whose age is at least `least`, in the order of time, each once."""
    keys, values, ages = (x.flatten(2, 4) for x in found)
    ages, order = ages.masked_fill(ages < least, -1).sort(dim=-1, descending=True)
    again = torch.zeros_like(ages, dtype=torch.bool)
    again[..., 1:] = ages[..., 1:] == ages[..., :-1]
    # What counts comes after what does not: sorted once more, as if the others were the oldest.
    ages, again = ages.masked_fill(again, -1), ages.masked_fill(again | (ages < 0), torch.inf)
    moved = again.sort(dim=-1, descending=True, stable=True).indices
    order = order.gather(-1, moved)
    return Known(_rows(keys, order), _rows(values, order), ages.gather(-1, moved))


def some_more_keys(found: Buckets, known: Known, of_keys: Tensor, end: Tensor) -> Buckets:
    """The buckets after a block.

    Args:
        found: The buckets before, for their sizes.
        known: All keys, those of the buckets before among them, with their ages at each series' end.
        of_keys: Bucket of each key in each round (B, R, G, T), the number of buckets for what does not count.
        end: Place of each series' last key (B,).
    """
    batch, groups, rounds, n_buckets, width = found.ages.shape
    every = torch.arange(n_buckets, device=end.device).expand(batch, rounds, groups, n_buckets)
    index, valid = in_bucket(every, of_keys, end[:, None, None, None], width)
    index, valid = (x.transpose(1, 2) for x in (index, valid))
    flat = index.flatten(2)

    def taken(x: Tensor) -> Tensor:
        return _rows(x, flat).view(*index.shape, -1).masked_fill(~valid[..., None], 0)

    ages = known.ages.gather(-1, flat).view_as(valid).masked_fill(~valid, -1)
    return Buckets(taken(known.keys), taken(known.values), ages)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    return x.gather(2, index[..., None].expand(-1, -1, -1, x.shape[-1]))
