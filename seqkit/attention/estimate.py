"""Attention matrices estimated at a given memory, by Scatterbrain or one of its halves, with an error to ask for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.attention.features import RandomFeatures, draw_features, log_features
from seqkit.attention.hashing import draw_hash, hash_support
from seqkit.attention.inputs import Heads, prepare, rows_at_once
from seqkit.attention.lsh import counted
from seqkit.attention.parts import pair_logits
from seqkit.attention.reference import dense_support
from seqkit.attention.support import Support, join_supports, local_support
from seqkit.checks import check_choice, check_positive_int, check_unit_interval

__all__ = ["AttentionEstimate", "estimate_attention", "split_budget"]

METHODS = ("scatterbrain", "performer", "lsh")


class Split(NamedTuple):
    """What a budget is spent on; see `split_budget`.

    Args:
        n_features: Random features M.
        n_keys: Keys W per query.
    """

    n_features: int
    n_keys: int


def split_budget(budget: int, *, method: str = "scatterbrain", share: float = 0.5) -> Split:
    """Splits a budget of numbers per position into random features and keys per query.

    Performer spends all of it on features, LSH all of it on keys, and Scatterbrain `share` of it on keys. The number of
    features is even, since they are hyperbolic; an odd place goes to the keys.

    Args:
        budget: Features and keys per query together, at least 2, and even for "performer".
        method: "scatterbrain", "performer" or "lsh".
        share: Part of the budget for keys, above 0 and below 1; Scatterbrain's alone.

    Raises:
        ValueError: a budget that cannot be split so, an unknown method, or a share outside of (0, 1).

    Source:
        Chen et al., Scatterbrain (arXiv:2110.15343): methods are compared at equal features plus keys, and halves.

    Example:
        >>> split_budget(64), split_budget(64, method="lsh")
        (Split(n_features=32, n_keys=32), Split(n_features=0, n_keys=64))
    """
    check_positive_int("budget", budget)
    check_choice("method", method, METHODS)
    if method == "lsh":
        return Split(0, budget)
    if method == "performer":
        if budget % 2:
            raise ValueError(f"`budget` must be even for hyperbolic features, got {budget}; take {budget + 1}")
        return Split(budget, 0)
    if check_unit_interval("share", share) == 0:
        raise ValueError('`share` must lie above 0 and below 1, got 0; take method="performer" for features alone')
    if budget < 3:
        raise ValueError(f"`budget` must be at least 3 for two features and a key, got {budget}")
    n_features = min(max(2, 2 * round(budget * (1 - share) / 2)), budget - 1 - (budget - 1) % 2)
    return Split(n_features, budget - n_features)


class AttentionEstimate(NamedTuple):
    """An estimate of a softmax attention matrix that holds no matrix; see `estimate_attention`.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> q, k = torch.randn(2, 1, 20, 1, 8, generator=generator)
        >>> estimate_attention(q, k, 20, method="lsh", rounds=1, generator=generator).matrix().shape
        torch.Size([1, 1, 20, 20])

    Args:
        heads: Queries and keys, scaled, with heads before positions.
        features: Random features, or None.
        support: Keys of each query, or None.
        causal: Whether each position sees itself and earlier ones only.
    """

    heads: Heads
    features: RandomFeatures | None
    support: Support | None
    causal: bool

    def matrix(self) -> Tensor:
        """The whole estimate (B, H, L, L), its rows divided by their sums; zero past the end of a series."""
        return torch.cat([estimate for estimate, _ in self.rows(exact=False)], dim=2)

    def error(self, *, relative: bool = True) -> Tensor:
        """Distance to exact attention in the Frobenius norm (B, H), row by row in memory linear in the length.

        Args:
            relative: Divided by the norm of exact attention.
        """
        q = self.heads.q
        off, norm = q.new_zeros(2, *q.shape[:2])
        for estimate, exact in self.rows(exact=True):
            off += (estimate - exact).square().sum((-1, -2))
            norm += exact.square().sum((-1, -2))
        squared: Tensor = off / norm if relative else off
        return squared.sqrt()

    def rows(self, *, exact: bool = True, chunk: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Blocks of rows of the estimate and of exact attention, each (B, H, C, L); without `exact` the first twice.

        Args:
            exact: Compute the exact rows too.
            chunk: Rows in a block; chosen by size if None.
        """
        batch, heads, length, _ = self.heads.q.shape
        size = rows_at_once(chunk, length, 8 * batch * heads * length)
        for start in range(0, length, size):
            yield self._block(torch.arange(start, min(start + size, length), device=self.heads.q.device), exact)

    def _block(self, at: Tensor, exact: bool = True) -> tuple[Tensor, Tensor]:
        """Rows at positions `at`: (B, H, C, L) estimated and exact."""
        q, k, _, live = self.heads
        own = q[:, :, at]
        true = own @ k.mT
        logits = torch.full_like(true, -torch.inf)
        if self.features is not None:
            logits = pair_logits(log_features(own, self.features), log_features(k, self.features))
        if self.support is not None:
            listed = dense_support(Support(self.support.keys[:, :, at], self.support.valid[:, :, at]), k.shape[2])
            logits = torch.where(listed, true, logits)
        hidden = torch.zeros(1, 1, len(at), k.shape[2], dtype=torch.bool, device=q.device)
        if self.causal:
            hidden = hidden | (torch.arange(k.shape[2], device=q.device) > at[:, None])
        if live is not None:
            hidden = hidden | ~live[..., None, :] | ~live[..., at, None]
        estimate = _softmax(logits.masked_fill(hidden, -torch.inf))
        return estimate, _softmax(true.masked_fill(hidden, -torch.inf)) if exact else estimate


def _softmax(logits: Tensor) -> Tensor:
    """Softmax that is zero where nothing is to be seen."""
    return logits.softmax(-1).nan_to_num(0.0)


@torch.no_grad()
def estimate_attention(
    q: Tensor,
    k: Tensor,
    budget: int,
    *,
    generator: torch.Generator,
    method: str = "scatterbrain",
    share: float = 0.5,
    rounds: int = 2,
    scale: float | None = None,
    causal: bool = False,
    lengths: Tensor | None = None,
) -> AttentionEstimate:
    """Estimates softmax attention at a budget of memory: random features plus keys per query.

    Exact attention holds L numbers per query; an estimate `budget`. Keys come from angular hashing, whose buckets hold
    about as many keys as there are places in a round. Causally, one round gives way to the last keys, so that each
    query has itself.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, L, H, D).
        budget: Features and keys per query together.
        generator: Where features and hashes come from, one after the other.
        method: "scatterbrain", or one of its halves alone: "performer", "lsh".
        share: Part of the budget for keys; Scatterbrain's alone.
        rounds: Independent hashes that share the keys.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        causal: Each position sees itself and earlier ones only.
        lengths: Samples of each series (B,).

    Returns:
        The estimate, with `matrix()` for all of it and `error()` for its distance to exact attention.

    Raises:
        ValueError: shapes, dtypes, lengths, the method or the budget do not fit.

    Source:
        Chen et al., Scatterbrain (arXiv:2110.15343).

    Cost: O(L (M + W)) memory; `error()` takes O(L^2 (D + M)) time and no more memory.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> q, k = 0.5 * torch.randn(2, 1, 100, 2, 16, generator=generator)
        >>> estimate = estimate_attention(q, k, 32, generator=generator)
        >>> estimate.error().shape, bool((estimate.error() < 1).all())
        (torch.Size([1, 2]), True)
    """
    split = split_budget(budget, method=method, share=share)
    check_positive_int("rounds", rounds)
    heads = prepare(q, k, k[..., :0], scale, lengths)
    dtype, device = heads.q.dtype, q.device
    features = None
    if split.n_features:
        features = draw_features(split.n_features, q.shape[3], generator=generator, dtype=dtype, device=device)
    if not split.n_keys:
        return AttentionEstimate(heads, features, None, causal)
    length, n_keys = q.shape[1], min(split.n_keys, q.shape[1])
    found, rounds = [], min(rounds, n_keys)
    for turn in range(rounds):
        width = n_keys // rounds + (turn < n_keys % rounds)
        if causal and turn == 0:
            found.append(local_support(length, width, causal=True, device=q.device))
            continue
        n_buckets = max(2, 2 * math.ceil(length / width / 2))
        hashed = draw_hash(n_buckets, q.shape[3], generator=generator, dtype=dtype, device=device)
        found.append(hash_support(q, k, hashed, width, causal=causal, lengths=lengths))
    support = counted(join_supports(*found), heads.q, heads.live, causal)
    return AttentionEstimate(heads, features, support, causal)
