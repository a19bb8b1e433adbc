"""torch's MultiheadAttention with its own weights and another way to attend."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.attention.replacing.recipe import Attends

__all__ = ["PaddedEncoder", "ReplacedMultihead", "multihead_refusal"]


def multihead_refusal(module: nn.MultiheadAttention) -> str | None:
    """Why this attention cannot be replaced, or None where it can."""
    if module.bias_k is not None or module.add_zero_attn:
        return "it adds keys of its own (add_bias_kv or add_zero_attn), which no support lists"
    return None


class ReplacedMultihead(nn.MultiheadAttention):
    """`torch.nn.MultiheadAttention` that attends as its `recipe` says; `seqkit.attention.replace` makes it.

    Attention within one series: keys and values may be other tensors, with their own sizes, but of the queries' length.
    Of `attn_mask` it takes the causal one, of `key_padding_mask` what follows the end of each series. Outputs past
    the end are those of nothing, the bias of the output map. It has no weights to return.
    """

    recipe: Attends

    @property
    def _qkv_same_embed_dim(self) -> bool:
        """Always false for those who ask from outside: torch's encoder layers would go round this module."""
        return False

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool | None = None,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, None]:
        """As `torch.nn.MultiheadAttention`, with None for the weights.

        Raises:
            ValueError: weights are asked for, a mask that is none of those above, keys of another length, or attention
                dropout in training.
        """
        if need_weights:
            raise ValueError(
                "`need_weights` must be False or left out for replaced attention, which never makes its matrix; call "
                "seqkit.attention.restore(model) to see it"
            )
        if self.training and self.dropout:
            raise ValueError(
                f"`dropout` must be 0 to train through replaced attention, got {self.dropout}; set it, or call eval()"
            )
        if query.is_nested:
            raise ValueError(
                "`query` must be padded for replaced attention, got a nested tensor; build the encoder with "
                "enable_nested_tensor=False"
            )
        batched = query.dim() == 3
        if not batched:
            query, key, value = (x.unsqueeze(0 if self.batch_first else 1) for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        if not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        if key.shape[1] != query.shape[1]:
            raise ValueError(
                f"`key` must be as long as `query` for replaced attention, got {key.shape[1]} and {query.shape[1]}; "
                "leave this module out by `names`"
            )
        q, k, v = (x.view(*x.shape[:2], self.num_heads, -1) for x in self._projected(query, key, value))
        causal = is_causal or _is_causal(attn_mask, query.shape[1])
        out = self.recipe.attend(q, k, v, causal=causal, lengths=_lengths(key_padding_mask, k))
        joined: Tensor = self.out_proj(out.flatten(2))
        if not self.batch_first:
            joined = joined.transpose(0, 1)
        return (joined if batched else joined.squeeze(0 if self.batch_first else 1)), None

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """Queries, keys and values (B, L, D), by one map or by three."""
        whole = cast("Tensor | None", self.in_proj_weight)
        if whole is None:
            weights = [cast("Tensor", x) for x in (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)]
        else:
            weights = list(whole.chunk(3))
        bias: Any = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return [F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, bias, strict=True)]


class PaddedEncoder(nn.TransformerEncoder):
    """`torch.nn.TransformerEncoder` that keeps its series padded, as replaced attention takes them."""

    @property
    def use_nested_tensor(self) -> bool:  # type: ignore[override]
        """Always false."""
        return False


def _is_causal(mask: Tensor | None, length: int) -> bool:
    """Whether a mask hides what comes later; nothing else may be hidden."""
    if mask is None:
        return False
    hidden = mask if mask.dtype == torch.bool else mask == -torch.inf
    if tuple(mask.shape) == (length, length):
        later = torch.ones_like(hidden).triu(1)
        clean = mask.dtype == torch.bool or not bool(mask.masked_fill(hidden, 0).any())
        if clean and torch.equal(hidden, later):
            return True
        if clean and not bool(hidden.any()):
            return False
    raise ValueError(
        f"`attn_mask` must be the causal mask ({length}, {length}) or None for replaced attention, got another of "
        f"shape {tuple(mask.shape)}; leave this module out by `names`"
    )


def _lengths(mask: Tensor | None, k: Tensor) -> Tensor | None:
    """Samples of each series (B,) from a mask that is true, or minus infinity, after the end."""
    if mask is None:
        return None
    hidden = mask if mask.dtype == torch.bool else mask == -torch.inf
    if tuple(mask.shape) != tuple(k.shape[:2]):
        raise ValueError(f"`key_padding_mask` must have shape {tuple(k.shape[:2])}, got {tuple(mask.shape)}")
    lengths = (~hidden).sum(1)
    after = torch.arange(k.shape[1], device=mask.device) >= lengths[:, None]
    clean = mask.dtype == torch.bool or not bool(mask.masked_fill(hidden, 0).any())
    if not clean or not torch.equal(hidden, after) or not bool((lengths > 0).all()):
        raise ValueError(
            "`key_padding_mask` must hide what follows the end of each series, and never a whole one, for replaced "
            "attention; put the padding after the series"
        )
    return lengths
