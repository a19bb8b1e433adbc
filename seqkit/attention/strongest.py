"""Of the keys that hashing proposes, those that matter most."""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.attention.inputs import prepare, rows_at_once
from seqkit.attention.lsh import counted, gather
from seqkit.attention.support import Support
from seqkit.checks import check_positive_int

__all__ = ["strongest_keys"]


@torch.no_grad()
def strongest_keys(
    q: Tensor,
    k: Tensor,
    support: Support,
    n_keys: int,
    *,
    causal: bool = False,
    lengths: Tensor | None = None,
    key_lengths: Tensor | None = None,
) -> Support:
    """Keeps the keys of each query that have the largest q . k among those of a support.

    Several rounds of hashing find many keys and keep few: memory is that of the keys kept. What is kept depends on
    queries and keys alone, so an estimate with random features stays unbiased.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, T, G, D); G divides H.
        support: Keys to choose from.
        n_keys: Keys W to keep per query.
        causal: Only keys up to the query's own position.
        lengths: Samples of each series (B,); keys past the end are not kept.
        key_lengths: Keys of each series (B,), where they differ from `lengths`.

    Returns:
        A support of at most W places, shape (B, H, L, W).

    Raises:
        ValueError: shapes or lengths do not fit, or `n_keys` is no whole number of at least 1.

    Cost: O(L W' D) time for W' keys to choose from. Nothing is differentiated.

    Example:
        >>> from seqkit.attention import local_support
        >>> q, k = torch.ones(1, 3, 1, 1), torch.tensor([1.0, 9.0, 5.0]).view(1, 3, 1, 1)
        >>> strongest_keys(q, k, local_support(3, 6), 2).keys[0, 0].tolist()
        [[1, 2], [1, 2], [1, 2]]
    """
    check_positive_int("n_keys", n_keys)
    heads = prepare(q, k, k[..., :0], None, lengths, key_lengths, causal)
    support = counted(support, heads, causal)
    if support.width <= n_keys:
        return support
    rows = rows_at_once(None, q.shape[1], len(q) * q.shape[2] * support.width * q.shape[3])
    kept = []
    for start in range(0, q.shape[1], rows):
        part = slice(start, start + rows)
        keys, valid = support.keys[:, :, part], support.valid[:, :, part]
        logits = (heads.q[:, :, part, None] @ gather(heads.k, keys).mT).squeeze(-2)
        best = logits.masked_fill(~valid, -torch.inf).topk(n_keys, dim=-1, sorted=False).indices
        kept.append((keys.gather(-1, best), valid.gather(-1, best)))
    return Support(*(torch.cat(one, dim=2) for one in zip(*kept, strict=True)))
