"""Hashed attention as a mixer: a sample reads the last ones that point the way it asks for."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from seqkit.attention.hashing import hash_support
from seqkit.attention.lsh import lsh_attention
from seqkit.attention.mixers.base import AttentionMixer
from seqkit.attention.mixers.cached import dropped
from seqkit.attention.mixers.drawn import DrawnHash
from seqkit.attention.online.buckets import Buckets
from seqkit.attention.online.lsh import lsh_block, lsh_state, lsh_step
from seqkit.attention.support import join_supports, local_support
from seqkit.checks import check_positive_int
from seqkit.nn.mixer import State, register_mixer

__all__ = ["LSH", "LSHState"]


class LSHState(NamedTuple):
    """What hashed attention remembers of each stream: the last W keys of each of N buckets in each of R rounds.

    Args:
        turns: Rotary turns of the newest sample, (B, F) float64; 0 with other positions.
        keys: Keys, turned, the newest last, (B, G, R, N, W, D).
        values: Their values, (B, G, R, N, W, D).
        ages: Samples since then, (B, G, R, N, W) float64; -1 in an empty place.
    """

    turns: Tensor
    keys: Tensor
    values: Tensor
    ages: Tensor


@register_mixer("lsh")
class LSH(AttentionMixer):
    """Softmax attention over the keys of a query's bucket, exact there: what points elsewhere is not read.

    A sample reads itself and, in each of R rounds, the last W keys whose direction hashes to the bucket of its query,
    however long ago they came. Two-sided it reads the W keys of the bucket that are nearest in time, and those of the
    next buckets where there are fewer.

    Args:
        d_model: Channels D of input and output.
        n_heads: Heads H, which divide D; None for heads of nearly 32 channels.
        n_kv_heads: Heads of keys and values, which divide H; None for H.
        positions: "rotary", "learned" or "none"; see `AttentionMixer`.
        max_length: Longest series with learned positions.
        causal: Whether a sample reads none after it. What is not causal cannot stream.
        n_hashes: Rounds R; more of them find more of the near keys. Drawn where the layer is made, by torch's own
            generator, and saved with it; `drawn.renew()` draws others.
        n_buckets: Buckets N of each round, even.
        bucket_size: Keys W that a query reads in each round, and that a stream keeps of each bucket.
        attention_dropout: Share of weights set to zero in training, in [0, 1).
        bias: Whether the linear maps have a bias.

    Raises:
        ValueError: sizes or choices that do not fit; see `AttentionMixer`.

    Source:
        Kitaev et al. 2020, Reformer (arXiv:2001.04451). Differs: queries and keys are not shared; buckets have no
        chunks, so that a later sample changes nothing before it.

    Cost: O(L R (W + N) D + R L log L) time; a stream keeps 2 R N W D numbers. Rounding can move a query or key that
    lies on the border of two buckets, the more rarely the more exact the numbers are; nothing is learned through the
    choice of keys.

    Example:
        >>> import torch
        >>> mixer = LSH(8, n_buckets=4, bucket_size=5)
        >>> mixer(torch.zeros(1, 100, 8)).shape
        torch.Size([1, 100, 8])
        >>> mixer.initial_state(3).keys.shape
        torch.Size([3, 1, 2, 4, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int | None = None,
        n_kv_heads: int | None = None,
        positions: str = "rotary",
        max_length: int = 1024,
        causal: bool = True,
        n_hashes: int = 2,
        n_buckets: int = 16,
        bucket_size: int = 16,
        attention_dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__(
            d_model,
            n_heads=n_heads,
            n_kv_heads=n_kv_heads,
            positions=positions,
            max_length=max_length,
            causal=causal,
            attention_dropout=attention_dropout,
            bias=bias,
        )
        self.drawn = DrawnHash(check_positive_int("n_hashes", n_hashes), n_buckets, self.head_size)
        self.bucket_size = check_positive_int("bucket_size", bucket_size)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None) -> Tensor:
        found = hash_support(q, k, self.drawn(), self.bucket_size, causal=self.causal, lengths=lengths)
        support = join_supports(found, local_support(q.shape[1], 1, device=q.device))
        return lsh_attention(q, k, v, support, causal=self.causal, lengths=lengths, **dropped(self))

    def _state(self, turns: Tensor, batch_size: int) -> LSHState:
        sizes = self.drawn(), self.bucket_size, self.head_size
        return LSHState(turns, *lsh_state(self.out.weight, batch_size, self.n_kv_heads, *sizes))

    def _attend_step(self, q: Tensor, k: Tensor, v: Tensor, state: State) -> tuple[Tensor, State]:
        return lsh_step(q, k, v, self.drawn(), Buckets(*state[1:]), **dropped(self))

    def _attend_block(
        self, q: Tensor, k: Tensor, v: Tensor, state: State, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        return lsh_block(q, k, v, self.drawn(), Buckets(*state[1:]), lengths=lengths, **dropped(self))

    def extra_repr(self) -> str:
        """Sizes and choices."""
        return f"{super().extra_repr()}, bucket_size={self.bucket_size}"
