"""Performer as a mixer: a stream remembers all of its past, in a state of fixed size."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.attention.mixers.base import AttentionMixer
from seqkit.attention.mixers.drawn import DrawnFeatures, UnitHeads
from seqkit.attention.online.performer import performer_block, performer_state, performer_step
from seqkit.attention.parts import FeatureState
from seqkit.attention.performer import performer_attention
from seqkit.nn.mixer import State, register_mixer

__all__ = ["Performer", "PerformerState"]


class PerformerState(NamedTuple):
    """What Performer remembers of each stream.

    Args:
        turns: Rotary turns of the newest sample, (B, F) float64; 0 with other positions.
        peak: Largest logarithm of each feature among the keys so far, (B, G, M).
        total: Sums of features relative to it, (B, G, M).
        values: Sums of features times values, (B, G, M, D).
    """

    turns: Tensor
    peak: Tensor
    total: Tensor
    values: Tensor


@register_mixer("performer")
class Performer(AttentionMixer):
    """Attention whose weights are estimated by positive random features, in linear time, over all of the past.

        y_i = sum_j phi(q_i) . phi(k_j) v_j / sum_j phi(q_i) . phi(k_j),   E[phi(q) . phi(k)] = exp(q . k)

    Queries and keys have one length, with a trained sharpness for each head of keys: the variance of the features grows
    exponentially with that length.

    Args:
        d_model: Channels D of input and output.
        n_heads: Heads H, which divide D; None for heads of nearly 32 channels.
        n_kv_heads: Heads of keys and values, which divide H; None for H.
        positions: "rotary", "learned" or "none"; see `AttentionMixer`.
        max_length: Longest series with learned positions.
        causal: Whether a sample reads none after it. What is not causal cannot stream.
        n_features: Random features M, even. Drawn where the layer is made, by torch's own generator, and saved with it.
        redraw: Calls in training after which other features are drawn; None for never. `drawn.renew()` draws at once.
        sharpness: Largest q . k to begin with, trained.
        attention_dropout: Share of the keys' values set to zero in training, in [0, 1): no weight stands for itself.
        bias: Whether the linear maps have a bias.

    Raises:
        ValueError: sizes or choices that do not fit; see `AttentionMixer`.

    Source:
        Choromanski et al. 2021, Performers (arXiv:2009.14794). Differs: hyperbolic features, queries and keys of one
        length, no small number added.

    Cost: O(L M D) time, and O(L M) memory with gradients; a stream keeps M (D + 2 H) numbers.

    Example:
        >>> mixer = Performer(8, n_features=16)
        >>> mixer(torch.zeros(1, 100, 8)).shape
        torch.Size([1, 100, 8])
        >>> mixer.initial_state(3).values.shape
        torch.Size([3, 1, 16, 8])
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

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None) -> Tensor:
        if self.training:
            self.drawn.count()
        q, k = self.unit(q, k)
        v, features = self._some(v.to(q.dtype)), self.drawn()
        return performer_attention(q, k, v, features, scale=1.0, causal=self.causal, lengths=lengths)

    def _state(self, turns: Tensor, batch_size: int) -> PerformerState:
        state = performer_state(self.out.weight, batch_size, self.n_kv_heads, self.drawn(), self.head_size)
        return PerformerState(turns, *state)

    def _attend_step(self, q: Tensor, k: Tensor, v: Tensor, state: State) -> tuple[Tensor, State]:
        q, k = self.unit(q, k)
        return performer_step(q, k, self._some(v.to(q.dtype)), self.drawn(), FeatureState(*state[1:]), scale=1.0)

    def _attend_block(
        self, q: Tensor, k: Tensor, v: Tensor, state: State, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        q, k = self.unit(q, k)
        v, features, before = self._some(v.to(q.dtype)), self.drawn(), FeatureState(*state[1:])
        return performer_block(q, k, v, features, before, scale=1.0, lengths=lengths)

    def _some(self, v: Tensor) -> Tensor:
        """Values (..., G, D), in training without those of some keys."""
        if not self.training or self.attention_dropout == 0:
            return v
        return v * F.dropout(torch.ones_like(v[..., :1]), self.attention_dropout)
