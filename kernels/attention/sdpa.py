"""torch's own fused attention, where it serves a request."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqkit.kernels.backend import without_autocast

__all__ = ["attention_sdpa", "sdpa_refusal"]


def sdpa_refusal(
    q: Tensor, k: Tensor, v: Tensor, at_end: bool, options: Sequence[str], deterministic: bool
) -> str | None:
    """Says why torch's fused kernels cannot serve a request, or None when they can.

    Args:
        q: Queries, (B, R, H, D).
        k: Keys, (B, T, G, D).
        v: Values, (B, T, G, E).
        at_end: Whether the request is causal from the end.
        options: Names of options in use that torch's function does not have, or not without the whole matrix.
        deterministic: Whether gradients must be the same in every run.

    Example:
        >>> one = torch.ones(1, 2, 1, 4)
        >>> sdpa_refusal(one, one, one, False, ["`softcap`"], False)
        'it does not serve `softcap`'
    """
    if options:
        return f"it does not serve {', '.join(options)}"
    if at_end and q.shape[1] not in (1, k.shape[1]):
        return 'its causality starts at both starts, and `alignment` is "end" with other lengths of `q` and `k`'
    if q.shape[3] != v.shape[3]:
        return f"its fused kernels take values as wide as keys, and the sizes are {v.shape[3]} and {q.shape[3]}"
    if q.numel() == 0 or k.numel() == 0:
        return "there is nothing to attend to"
    if deterministic and q.device.type != "cpu":
        return f"its gradients may differ from run to run on {q.device.type}, and `deterministic` is set"
    return None


@without_autocast
def attention_sdpa(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> Tensor:
    """Returns softmax(scale q k) v by `scaled_dot_product_attention`, (B, R, H, E); causality starts at both starts.

    q (B, R, H, D), k (B, T, G, D), v (B, T, G, D).

    Example:
        >>> one = torch.ones(1, 2, 1, 4)
        >>> attention_sdpa(one, one, one, True, 0.5).flatten()
        tensor([1., 1., 1., 1., 1., 1., 1., 1.])
    """
    heads, keys, values = (value.transpose(1, 2) for value in (q, k, v))
    sharing = q.shape[2] // k.shape[2]
    if sharing > 1:  # its fused kernels for CPUs take equal numbers of heads alone
        keys, values = (value.repeat_interleave(sharing, 1) for value in (keys, values))
    out = torch.nn.functional.scaled_dot_product_attention(heads, keys, values, is_causal=causal, scale=scale)
    return out.transpose(1, 2)
