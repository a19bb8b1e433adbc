"""Exact attention within a pattern of tiles as a mixer."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from seqkit.attention.mixers.block_pattern import block_pattern
from seqkit.attention.mixers.cached import CachedAttention, Slots, dropped
from seqkit.kernels.attention import attention
from seqkit.nn.mixer import register_mixer

__all__ = ["BlockSparseAttention"]


@register_mixer("block_sparse")
class BlockSparseAttention(CachedAttention):
    """Softmax attention over the tiles of a pattern, exact there; time goes with the tiles that exist.

    Tiles lie on a grid that begins with the series. A butterfly and a local pattern reach a bounded number of tiles
    back, so they stream, a butterfly as one whose tiles depend on the place; a strided pattern reaches all of the past.

    Args:
        d_model: Channels D of input and output.
        n_heads: Heads H, which divide D; None for heads of nearly 32 channels.
        n_kv_heads: Heads of keys and values, which divide H; None for H.
        positions: "rotary", "learned" or "none"; see `AttentionMixer`.
        max_length: Longest series with learned positions.
        causal: Whether a sample reads none after it. What is not causal cannot stream.
        pattern: "butterfly", tiles i and j with i = j or i xor j one of 1, 2, 4, ...; "local", neighbours of the
            diagonal; or "strided", those and every `stride`-th tile.
        block_size: Samples of a tile; its grid counts samples, whatever the rate.
        n_factors: Factors of a butterfly, each of which doubles how far it reaches; 4 if None.
        width: Tiles on each side of the diagonal, local and strided; 1 if None.
        stride: Tiles from one to the next, strided; 8 if None.
        n_global: Tiles, from the first, that read all and that all read, butterfly and local; 0 if None.
        attention_dropout: Share of weights set to zero in training, in [0, 1).
        bias: Whether the linear maps have a bias.

    Raises:
        ValueError: sizes or choices that do not fit, see `AttentionMixer`, or an option that the pattern does not have.

    Source:
        Dao et al. 2022, FlashAttention (arXiv:2205.14135), section 3.3; patterns as in Chen et al. 2022, Pixelated
        Butterfly (arXiv:2112.00029), Beltagy et al. 2020 (arXiv:2004.05150) and Child et al. 2019 (arXiv:1904.10509).

    Cost: O(L N D) time for N samples read by each, N at most `block_size` times the tiles of a row. Streams keep the
    reach of the pattern, (2^(n_factors - 1) + 1) or (width + 1) tiles, and the global ones.

    Example:
        >>> import torch
        >>> mixer = BlockSparseAttention(8, block_size=16, n_factors=3)
        >>> mixer(torch.zeros(1, 100, 8)).shape
        torch.Size([1, 100, 8])
        >>> mixer.initial_state(1).keys.shape
        torch.Size([1, 1, 80, 8])
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
        pattern: str = "butterfly",
        block_size: int = 64,
        n_factors: int | None = None,
        width: int | None = None,
        stride: int | None = None,
        n_global: int | None = None,
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
        self.pattern = block_pattern(
            pattern, block_size, n_factors=n_factors, width=width, stride=stride, n_global=n_global
        )

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None) -> Tensor:
        mask = self.pattern.mask(q.shape[1]).to(q.device)
        # Causality already hides the padding, which lies after all that counts.
        y = attention(q, k, v, causal=self.causal, lengths=None if self.causal else lengths, mask=mask, **dropped(self))
        return cast("Tensor", y)

    def _slots(self) -> Slots:
        return Slots(self.pattern.first, cast("int", self.pattern.reach), self.pattern.cycle)

    def _sees(self, queries: Tensor, keys: Tensor) -> Tensor:
        return self.pattern.sees(queries, keys)

    def _refusal(self) -> str | None:
        why = super()._refusal()
        if why is None and self.pattern.reach is None:
            return f"its {self.pattern.name} pattern reads all of the past, which has no bound; take butterfly or local"
        return why

    def extra_repr(self) -> str:
        """Sizes and choices."""
        return f"{super().extra_repr()}, {self.pattern}"
