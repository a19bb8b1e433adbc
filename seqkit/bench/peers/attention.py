"""The usual form of attention under a window."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.bench.case import Inputs, Setting
from seqkit.bench.peers import plain_form

__all__ = ["MASKED", "masked_attention", "width"]


def width(setting: Setting) -> int:
    """Keys before its own that a sample sees: an eighth of the series."""
    return setting["L"] // 8


def masked_attention(q: Tensor, k: Tensor, v: Tensor, before: int) -> Tensor:
    """The attention of torch itself with the window as a matrix, for q, k, v (B, L, H, D).

    Example:
        >>> one = torch.ones(1, 2, 1, 1)
        >>> masked_attention(one, one, one, 1).flatten()
        tensor([1., 1.])
    """
    at = torch.arange(q.shape[1], device=q.device)
    ahead = at - at.unsqueeze(1)
    visible = (ahead <= 0) & (ahead >= -before)
    heads, keys, values = (value.transpose(1, 2) for value in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(heads, keys, values, attn_mask=visible)
    return out.transpose(1, 2)


def masked(inputs: Inputs, setting: Setting) -> Tensor:
    """The same from a benchmark's inputs."""
    return masked_attention(**inputs, before=width(setting))


MASKED = plain_form("torch sdpa, mask", "scaled_dot_product_attention with a boolean matrix", masked)
