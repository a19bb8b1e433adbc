"""Scatterbrain as a mixer: the last samples and those of a query's buckets exactly, all others by random features."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from seqkit.attention.hashing import hash_support
from seqkit.attention.mixers.base import AttentionMixer
from seqkit.attention.mixers.cached import dropped
from seqkit.attention.mixers.drawn import DrawnFeatures, DrawnHash, UnitHeads
from seqkit.attention.online.buckets import Buckets
from seqkit.attention.online.cache import KeyCache
from seqkit.attention.online.scatterbrain import (
    ScatterbrainState,
    scatterbrain_block,
    scatterbrain_state,
    scatterbrain_step,
)
from seqkit.attention.parts import FeatureState
from seqkit.attention.scatterbrain import scatterbrain_attention
from seqkit.checks import check_positive_int
from seqkit.nn.mixer import State, register_mixer

__all__ = ["Scatterbrain", "ScatterbrainHashedState", "ScatterbrainLocalState"]


class ScatterbrainLocalState(NamedTuple):
    """What Scatterbrain without hashing remembers of each stream.

    Args:
        turns: Rotary turns of the newest sample, (B, F) float64; 0 with other positions.
        keys: The last W keys, turned, (B, G, W, D); see `KeyCache`.
        values: Their values, (B, G, W, D).
        n_seen: Samples so far, (B,) float64, below 2 W.
        peak: Largest logarithm of each feature among the keys before those, (B, G, M).
        total: Sums of features relative to it, (B, G, M).
        summed: Sums of features times values, (B, G, M, D).
    """

    turns: Tensor
    keys: Tensor
    values: Tensor
    n_seen: Tensor
    peak: Tensor
    total: Tensor
    summed: Tensor


class ScatterbrainHashedState(NamedTuple):
    """What Scatterbrain with hashing remembers of each stream: as without, and the last keys of each bucket.

    Args:
        turns: As in `ScatterbrainLocalState`, and so on to `summed`.
        keys: See there.
        values: See there.
        n_seen: See there.
        peak: See there.
        total: See there.
        summed: See there.
        found_keys: Keys of each bucket, (B, G, R, N, W, D); see `LSHState`.
        found_values: Their values, (B, G, R, N, W, D).
        found_ages: Samples since then, (B, G, R, N, W) float64.
    """

    turns: Tensor
    keys: Tensor
    values: Tensor
    n_seen: Tensor
    peak: Tensor
    total: Tensor
    summed: Tensor
    found_keys: Tensor
    found_values: Tensor
    found_ages: Tensor


@register_mixer("scatterbrain")
class Scatterbrain(AttentionMixer):
    """Attention that is exact where it matters most and estimated by random features elsewhere, in linear time.

        y_i = sum_j A_ij v_j / sum_j A_ij,   A_ij = exp(q_i . k_j) on S_i, phi(q_i) . phi(k_j) elsewhere

    S_i holds the last `n_local` samples up to i (or those around it, two-sided) and, with `n_hashes`, those that hash
    as the query of i does; all others up to i count by random features. Queries and keys have one length, with a
    trained sharpness for each head of keys, as the variance of the features grows exponentially with that length.

    Args:
        d_model: Channels D of input and output.
        n_heads: Heads H, which divide D; None for heads of nearly 32 channels.
        n_kv_heads: Heads of keys and values, which divide H; None for H.
        positions: "rotary", "learned" or "none"; see `AttentionMixer`.
        max_length: Longest series with learned positions.
        causal: Whether a sample reads none after it. What is not causal cannot stream.
        n_features: Random features M, even. Drawn where the layer is made, by torch's own generator, and saved with it.
        n_local: Samples that are read exactly: its own and those before it, or around it where not causal. It counts
            samples, not time.
        n_hashes: Rounds R of hashing, or 0 for none.
        n_buckets: Buckets N of each round, even.
        bucket_size: Keys that a query reads exactly in each round, and that a stream keeps of each bucket.
        redraw: Calls in training after which other features are drawn; None for never. `drawn.renew()` draws at once.
        sharpness: Largest q . k to begin with, trained.
        attention_dropout: Share of the exact weights set to zero in training, in [0, 1).
        bias: Whether the linear maps have a bias.

    Raises:
        ValueError: sizes or choices that do not fit; see `AttentionMixer`.

    Source:
        Chen et al. 2021, Scatterbrain (arXiv:2110.15343). Differs: causal, with a window, in constant memory; queries
        and keys of one length.

    Cost: O(L (M + n_local + R W) D) time; a stream keeps M (D + 2 H) + 2 n_local D numbers, and 2 R N W D with hashing.
    Rounding can move a query or key that lies on the border of two buckets; nothing is learned through the choice.

    Example:
        >>> import torch
        >>> mixer = Scatterbrain(8, n_features=16, n_local=12)
        >>> mixer(torch.zeros(1, 100, 8)).shape
        torch.Size([1, 100, 8])
        >>> mixer.initial_state(3).keys.shape
        torch.Size([3, 1, 12, 8])
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
        n_features: int = 64,
        n_local: int = 64,
        n_hashes: int = 2,
        n_buckets: int = 16,
        bucket_size: int = 16,
        redraw: int | None = None,
        sharpness: float = 2.0,
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
        self.drawn = DrawnFeatures(n_features, self.head_size, redraw=redraw)
        self.unit = UnitHeads(self.n_kv_heads, sharpness)
        self.n_local = check_positive_int("n_local", n_local)
        self.bucket_size = check_positive_int("bucket_size", bucket_size)
        self.hash = DrawnHash(n_hashes, n_buckets, self.head_size) if n_hashes != 0 else None

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None) -> Tensor:
        if self.training:
            self.drawn.count()
        q, k = self.unit(q, k)
        options: dict[str, Any] = {"causal": self.causal, "lengths": lengths}
        support = None if self.hash is None else hash_support(q, k, self.hash(), self.bucket_size, **options)
        options |= {"window": self.n_local, "scale": 1.0, **dropped(self)}
        return scatterbrain_attention(q, k, v.to(q.dtype), self.drawn(), support, **options)

    def _state(self, turns: Tensor, batch_size: int) -> State:
        sizes = self.n_kv_heads, self.drawn(), self.n_local, self.head_size
        hashed = None if self.hash is None else self.hash()
        return _flat(
            turns, scatterbrain_state(self.out.weight, batch_size, *sizes, hashed=hashed, width=self.bucket_size)
        )

    def _attend_step(self, q: Tensor, k: Tensor, v: Tensor, state: State) -> tuple[Tensor, State]:
        q, k = self.unit(q, k)
        y, new = scatterbrain_step(q, k, v.to(q.dtype), self.drawn(), _nested(state), **self._options())
        return y, _flat(state[0], new)[1:]

    def _attend_block(
        self, q: Tensor, k: Tensor, v: Tensor, state: State, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        q, k = self.unit(q, k)
        options = {"lengths": lengths, **self._options()}
        y, new = scatterbrain_block(q, k, v.to(q.dtype), self.drawn(), _nested(state), **options)
        return y, _flat(state[0], new)[1:]

    def _options(self) -> dict[str, Any]:
        return {"scale": 1.0, "hashed": None if self.hash is None else self.hash(), **dropped(self)}

    def extra_repr(self) -> str:
        """Sizes and choices."""
        parts = [super().extra_repr(), f"n_local={self.n_local}"]
        return ", ".join(parts if self.hash is None else [*parts, f"bucket_size={self.bucket_size}"])


def _flat(turns: Tensor, state: ScatterbrainState) -> State:
    last, rest, found = state
    if found is None:
        return ScatterbrainLocalState(turns, *last, *rest)
    return ScatterbrainHashedState(turns, *last, *rest, *found)


def _nested(state: State) -> ScatterbrainState:
    found = Buckets(*state[7:]) if len(state) > 7 else None
    return ScatterbrainState(KeyCache(*state[1:4]), FeatureState(*state[4:7]), found)
