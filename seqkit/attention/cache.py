"""A ring of the last keys and values of each stream: bounded, a value, and canonical for a number of samples."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["KeyCache", "empty_cache", "in_order", "one_more", "seen_slots", "some_more"]


class KeyCache(NamedTuple):
    """The last W keys and values of each stream.

    Sample n of a stream (from 0) lies in slot n mod W, so that samples taken one by one or in blocks leave the same
    state.

    Args:
        keys: (B, G, W, D).
        values: (B, G, W, E).
        count: Samples so far, (B,) float64, kept below 2 W by taking off W, which changes no slot.
    """

    keys: Tensor
    values: Tensor
    count: Tensor

    @property
    def width(self) -> int:
        """Slots W of a stream."""
        return self.keys.shape[2]


def empty_cache(like: Tensor, batch_size: int, n_heads: int, width: int, key_size: int, value_size: int) -> KeyCache:
    """A cache before the first sample, with the dtype and device of `like`.

    Example:
        >>> empty_cache(torch.zeros(1), 2, 4, 16, 8, 8).keys.shape
        torch.Size([2, 4, 16, 8])
    """
    return KeyCache(
        like.new_zeros(batch_size, n_heads, width, key_size),
        like.new_zeros(batch_size, n_heads, width, value_size),
        like.new_zeros(batch_size, dtype=torch.float64),
    )


def one_more(cache: KeyCache, k: Tensor, v: Tensor) -> KeyCache:
    """Writes one sample of each stream over its oldest; the cache that was given stays as it was.

    Args:
        cache: The cache.
        k: Keys, (B, G, D).
        v: Values, (B, G, E).

    Cost: a copy of the cache, which is what a state that is a value costs.

    Example:
        >>> cache = empty_cache(torch.zeros(1), 1, 1, 2, 1, 1)
        >>> for n in range(3):
        ...     cache = one_more(cache, torch.full((1, 1, 1), n), torch.zeros(1, 1, 1))
        >>> cache.keys.flatten().tolist()
        [2.0, 1.0]
    """
    slot = (cache.count % cache.width).long().view(-1, 1, 1, 1)

    def written(old: Tensor, new: Tensor) -> Tensor:
        new = new.to(old.dtype).unsqueeze(2)
        return old.scatter(2, slot.expand_as(new), new)

    return KeyCache(written(cache.keys, k), written(cache.values, v), _counted(cache.count + 1, cache.width))


def seen_slots(cache: KeyCache) -> Tensor:
    """Which slots hold a sample, (B, W).

    Example:
        >>> seen_slots(empty_cache(torch.zeros(1), 1, 1, 2, 1, 1)._replace(count=torch.ones(1)))
        tensor([[ True, False]])
    """
    return torch.arange(cache.width, device=cache.count.device) < cache.count[:, None]


def in_order(cache: KeyCache, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The samples of a cache, oldest first, and those of a block after them.

    Args:
        cache: The cache.
        k: Keys of the block, (B, L, G, D).
        v: Values of the block, (B, L, G, E).

    Returns:
        Keys (B, T, G, D) and values (B, T, G, E), and how many of the cache come before the block, (B,) whole numbers.
        T is L and as many as the fullest cache holds; rows with fewer have what is not used at their end.
    """
    width, length = cache.width, k.shape[1]
    held = cache.count.clamp(max=width).long()
    most = int(held.max())
    place = torch.arange(most + length, device=k.device)
    slot = (cache.count.long()[:, None] - held[:, None] + place) % width
    index = torch.where(place < held[:, None], slot, width + (place - held[:, None]).clamp(max=length - 1))

    def joined(old: Tensor, new: Tensor) -> Tensor:
        both = torch.cat([old.transpose(1, 2), new.to(old.dtype)], 1)
        return both.gather(1, index[:, :, None, None].expand(-1, -1, *both.shape[2:]))

    return joined(cache.keys, k), joined(cache.values, v), held


def some_more(cache: KeyCache, k: Tensor, v: Tensor, lengths: Tensor | None = None) -> KeyCache:
    """Writes a block, of which the last W samples stay.

    Args:
        cache: The cache.
        k: Keys, (B, L, G, D).
        v: Values, (B, L, G, E).
        lengths: Samples of each series, (B,); None for L.

    Example:
        >>> block = torch.arange(3.0).view(1, 3, 1, 1)
        >>> some_more(empty_cache(torch.zeros(1), 1, 1, 2, 1, 1), block, block).keys.flatten().tolist()
        [2.0, 1.0]
    """
    width = cache.width
    added = torch.full_like(cache.count, k.shape[1]) if lengths is None else lengths.to(cache.count)
    total = cache.count + added
    # Of the last W samples, how many are newer than the one in each slot.
    newer = (total[:, None] - 1 - torch.arange(width, device=k.device)) % width
    place = (added[:, None] - 1 - newer).long()
    index = place.clamp(min=0)[:, None, :, None]

    def written(old: Tensor, new: Tensor) -> Tensor:
        new = new.to(old.dtype).transpose(1, 2)
        taken = new.gather(2, index.expand(-1, new.shape[1], -1, new.shape[3]))
        return torch.where(place[:, None, :, None] >= 0, taken, old)

    return KeyCache(written(cache.keys, k), written(cache.values, v), _counted(total, width))


def _counted(count: Tensor, width: int) -> Tensor:
    return torch.where(count < width, count, width + count % width)
