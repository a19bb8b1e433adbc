"""Exact attention over a sliding window as a mixer."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from seqkit.attention.mixers.cached import CachedAttention, Slots, dropped
from seqkit.checks import check_positive_int
from seqkit.kernels.attention import attention
from seqkit.nn.mixer import register_mixer

__all__ = ["Attention"]


@register_mixer("attention")
class Attention(CachedAttention):
    """Softmax attention over the last `window` samples, exact, by the kernel that never makes the whole matrix.

        y_i = sum_j p_ij v_j,   p_ij = softmax over i - window < j <= i of q_i . k_j / sqrt(size of a head)

    Args:
        d_model: Channels D of input and output.
        n_heads: Heads H, which divide D; None for heads of nearly 32 channels.
        n_kv_heads: Heads of keys and values, which divide H; None for H.
        positions: "rotary", "learned" or "none"; see `AttentionMixer`.
        max_length: Longest series with learned positions.
        causal: Whether a sample reads none after it. What is not causal cannot stream.
        window: Samples that one reads: its own and those before it (and as many after it where not causal). It counts
            samples, not time, whatever the rate: a stream's memory is that of `window` samples. None for all, which
            cannot stream.
        attention_dropout: Share of weights set to zero in training, in [0, 1).
        bias: Whether the linear maps have a bias.

    Raises:
        ValueError: sizes or choices that do not fit; see `AttentionMixer`.

    Source:
        Dao et al. 2022, FlashAttention (arXiv:2205.14135), for the kernel; the window is Beltagy et al. 2020
        (arXiv:2004.05150), section 3.1.

    Cost: O(L min(L, window) D) time and O(L D) memory; a step reads and copies its cache, O(window D).

    Example:
        >>> mixer = Attention(8, n_heads=2, window=16)
        >>> mixer(torch.zeros(1, 100, 8)).shape
        torch.Size([1, 100, 8])
        >>> mixer.initial_state(3).keys.shape
        torch.Size([3, 2, 16, 4])
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
        window: int | None = 1024,
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
        self.window = None if window is None else check_positive_int("window", window)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None) -> Tensor:
        # Causality already hides the padding, which lies after all that counts; so the shortest form serves.
        y = attention(
            q,
            k,
            v,
            causal=self.causal,
            lengths=None if self.causal else lengths,
            window=None if self.window is None or self.window >= q.shape[1] else self.window - 1,
            **dropped(self),
        )
        return cast("Tensor", y)

    def _slots(self) -> Slots:
        window = cast("int", self.window)
        return Slots(0, window, window)

    def _sees(self, queries: Tensor, keys: Tensor) -> Tensor:
        return torch.logical_and(queries - keys < cast("int", self.window), keys >= 0)

    def _refusal(self) -> str | None:
        why = super()._refusal()
        if why is None and self.window is None:
            return "it reads all of the past, which has no bound; set `window`"
        return why

    def extra_repr(self) -> str:
        """Sizes and choices."""
        return f"{super().extra_repr()}, window={self.window}"
