"""The online form of attention that reads its last keys exactly: a ring of them, and a rule which are seen."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor

from seqkit.attention.mixers.base import AttentionMixer
from seqkit.attention.online.cache import KeyCache, empty_cache, held_samples, one_more, read_cache, some_more
from seqkit.nn.mixer import State

__all__ = ["AttentionState", "CachedAttention", "Dropped", "Slots", "dropped"]

ROWS, SCORES = 128, 2**22  # samples of a block that are taken at once, and scores


class AttentionState(NamedTuple):
    """What attention remembers of each stream: as many of its last keys and values as are read, and the first ones.

    Args:
        turns: Rotary turns of the newest sample, (B, F) float64; 0 with other positions.
        keys: Keys, turned, (B, G, P + W, D); see `KeyCache`.
        values: Their values, (B, G, P + W, D).
        n_seen: Samples so far, (B,) float64, bounded.
    """

    turns: Tensor
    keys: Tensor
    values: Tensor
    n_seen: Tensor


class Slots(NamedTuple):
    """Room for samples that can be read.

    Args:
        first: Samples P, from the first, that stay.
        last: Samples W, up to the newest.
        cycle: Samples after which the rule repeats, a multiple of W.
    """

    first: int
    last: int
    cycle: int


class Dropped(TypedDict):
    """Options of the kernel that say which weights are dropped."""

    dropout: float
    seed: Tensor | None


class CachedAttention(AttentionMixer):
    """Abstract attention whose online form keeps keys and values and reads them by the whole matrix of scores.

    Example:
        >>> from seqkit.attention import Attention
        >>> isinstance(Attention(8), CachedAttention)
        True
    """

    @abstractmethod
    def _slots(self) -> Slots:
        """What a stream keeps; asked only where the layer can stream."""

    @abstractmethod
    def _sees(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Whether queries read keys, by their numbers (those below 0 are none), which broadcast; without causality."""

    def _state(self, turns: Tensor, batch_size: int) -> AttentionState:
        slots = self._slots()
        sizes = self.n_kv_heads, slots.first + slots.last, self.head_size, self.head_size
        return AttentionState(turns, *empty_cache(self.out.weight, batch_size, *sizes))

    def _attend_step(self, q: Tensor, k: Tensor, v: Tensor, state: State) -> tuple[Tensor, KeyCache]:
        slots = self._slots()
        cache = one_more(KeyCache(*state[1:]), k, v, first=slots.first, cycle=slots.cycle)
        held = held_samples(cache.n_seen, cache.keys.shape[2], slots.first)
        seen = self._sees(cache.n_seen.long()[:, None] - 1, held)
        share = self.attention_dropout if self.training else 0.0
        return read_cache(q[:, None], cache.keys, cache.values, seen[:, None], share)[:, 0], cache

    def _attend_block(
        self, q: Tensor, k: Tensor, v: Tensor, state: State, lengths: Tensor | None
    ) -> tuple[Tensor, KeyCache]:
        slots, cache, out = self._slots(), KeyCache(*state[1:]), []
        share = self.attention_dropout if self.training else 0.0
        rows = max(1, min(ROWS, SCORES // (len(q) * self.n_heads * cache.keys.shape[2])))
        for start in range(0, q.shape[1], rows):
            queries, *block = (x[:, start : start + rows] for x in (q, k, v))
            numbers = cache.n_seen.long()[:, None] + torch.arange(queries.shape[1], device=q.device)
            held = torch.cat([held_samples(cache.n_seen, cache.keys.shape[2], slots.first), numbers], 1)[:, None]
            seen = self._sees(numbers[:, :, None], held) & (held <= numbers[:, :, None])
            keys, values = (
                torch.cat([old, new.transpose(1, 2).to(old.dtype)], 2)
                for old, new in zip((cache.keys, cache.values), block, strict=True)
            )
            out.append(read_cache(queries, keys, values, seen, share))
            ends = None if lengths is None else (lengths.to(q.device) - start).clamp(0, queries.shape[1])
            cache = some_more(cache, block[0], block[1], ends, first=slots.first, cycle=slots.cycle)
        return torch.cat(out, 1), cache


def dropped(mixer: AttentionMixer) -> Dropped:
    """What the kernel should drop: in training the mixer's share, with a seed of torch's own generator."""
    if not mixer.training or mixer.attention_dropout == 0:
        return {"dropout": 0.0, "seed": None}
    return {"dropout": mixer.attention_dropout, "seed": torch.randint(2**62, ())}
