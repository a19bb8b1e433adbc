"""The keys that each query of whole series meets exactly, found in one of several ways at a given number of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqkit.attention.hashing import draw_hash, hash_support
from seqkit.attention.inputs import inside, rows_at_once
from seqkit.attention.strongest import strongest_keys
from seqkit.attention.support import Support, join_supports, local_support

__all__ = ["KEYS", "find_keys"]

KEYS = ("hashed", "local", "both", "strongest")


@torch.no_grad()
def find_keys(
    q: Tensor,
    k: Tensor,
    n_keys: int,
    how: str,
    *,
    generator: torch.Generator,
    rounds: int = 8,
    causal: bool = False,
    lengths: Tensor | None = None,
) -> Support:
    """For each query `n_keys` keys.

    "local" are those next to it. "hashed" are those of largest q . k that `rounds` of hashing meet, "both" those of
    largest q . k that hashing meets or that are next to the query, and "strongest" those of largest q . k of all.
    Causally the search by hashing always starts from the last keys.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, L, H, D).
        n_keys: Keys W per query, at most L.
        how: "hashed", "local", "both" or "strongest".
        generator: Where hashes come from.
        rounds: Independent hashes.
        causal: Only keys up to the query's own position.
        lengths: Samples of each series (B,).

    Returns:
        A support of at most W places a query.

    Cost: memory O(L W) but for "strongest", where a few rows of all scores come on top. Time O(L W) for "local",
    O(L (D + log L + W D) R) with hashes, O(L^2 D) for "strongest".

    Example:
        >>> q, k = torch.randn(2, 1, 40, 2, 8)
        >>> find_keys(q, k, 4, "both", generator=torch.Generator().manual_seed(0)).keys.shape
        torch.Size([1, 2, 40, 4])
    """
    length = q.shape[1]
    if how == "strongest":
        return _strongest(q, k, n_keys, causal, lengths)
    local = local_support(length, n_keys, causal=causal, device=q.device)
    if how == "local":
        return local
    support = local if causal or how == "both" else None
    n_buckets = max(2, 2 * math.ceil(length / n_keys / 2))
    for _ in range(rounds):
        hashed = draw_hash(n_buckets, q.shape[3], generator=generator, device=q.device)
        found = hash_support(q, k, hashed, n_keys, causal=causal, lengths=lengths)
        candidates = found if support is None else join_supports(support, found)
        support = strongest_keys(q, k, candidates, n_keys, causal=causal, lengths=lengths)
    assert support is not None
    return support


def _strongest(q: Tensor, k: Tensor, n_keys: int, causal: bool, lengths: Tensor | None) -> Support:
    """Of all keys, row by row."""
    length, live = q.shape[1], inside(lengths, q.shape[1], q)
    q, k = (x.nan_to_num().transpose(1, 2).to(torch.promote_types(x.dtype, torch.float32)) for x in (q, k))
    rows = rows_at_once(None, length, q.shape[0] * q.shape[1] * length)
    position, found = torch.arange(length, device=q.device), []
    for start in range(0, length, rows):
        logits = q[:, :, start : start + rows] @ k.mT
        if live is not None:
            logits = logits.masked_fill(~live[:, :, None], -torch.inf)
        if causal:
            logits = logits.masked_fill(position > position[start : start + rows, None], -torch.inf)
        best = logits.topk(n_keys, dim=-1, sorted=False)
        found.append((best.indices, best.values > -torch.inf))
    return Support(*(torch.cat(one, dim=2) for one in zip(*found, strict=True)))
