"""Attention matrices estimated at a given memory, by Scatterbrain or one of its halves, with an error to ask for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from seqkit.attention.features import RandomFeatures, draw_features, log_features
from seqkit.attention.hashing import draw_hash, hash_support
from seqkit.attention.inputs import Heads, prepare, rows_at_once, shared
from seqkit.attention.parts import pair_logits
from seqkit.attention.reference import dense_support
from seqkit.attention.strongest import strongest_keys
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
        budget: Features and keys per query together, even for features alone.
        method: "scatterbrain", "performer" or "lsh".
        share: Part of the budget for keys; 0 is Performer and 1 LSH. Scatterbrain's alone.

    Raises:
        ValueError: a budget that cannot be split so, an unknown method, or a share outside of [0, 1].

    Source:
        Chen et al., Scatterbrain (arXiv:2110.15343): methods are compared at equal features plus keys, and halves.

    Example:
        >>> split_budget(64), split_budget(64, method="lsh")
        (Split(n_features=32, n_keys=32), Split(n_features=0, n_keys=64))
    """
    check_positive_int("budget", budget)
    check_choice("method", method, METHODS)
    check_unit_interval("share", share, open_end=False)
    share = {"performer": 0.0, "lsh": 1.0}.get(method, share)
    if share == 1:
        return Split(0, budget)
    if share == 0:
        if budget % 2:
            raise ValueError(f"`budget` must be even for hyperbolic features, got {budget}; take {budget + 1}")
        return Split(budget, 0)
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

    def error(self, *, relative: bool = True, positions: Tensor | None = None) -> Tensor:
        """Distance to exact attention in the Frobenius norm (B, H), row by row in memory linear in the length.

        Args:
            relative: Divided by the norm of exact attention.
            positions: Rows to compare (R,); all if None. Of few rows the error costs little.
        """
        q = self.heads.q
        off, norm = q.new_zeros(2, *q.shape[:2])
        blocks = self.rows(exact=True) if positions is None else [self._block(positions)]
        for estimate, exact in blocks:
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
        q, k, _, live, _ = self.heads
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
    rounds: int = 8,
    scale: float | None = None,
    causal: bool = False,
    lengths: Tensor | None = None,
) -> AttentionEstimate:
    """Estimates softmax attention at a budget of memory: random features plus keys per query.

    Exact attention holds L numbers per query; an estimate `budget`. Keys come from angular hashing, whose buckets hold
    about `budget` keys; after each round those of largest q . k are kept (`strongest_keys`), so rounds take time, and
    memory for one round more while they last. Causally the search starts from the last keys.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, L, H, D).
        budget: Features and keys per query together.
        generator: Where hashes and features come from, one after the other.
        method: "scatterbrain", or one of its halves alone: "performer", "lsh".
        share: Part of the budget for keys; Scatterbrain's alone. `choose_share` finds one for the data.
        rounds: Independent hashes that keys are chosen from.
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
    heads = prepare(q, k, k[..., :0], scale, lengths, causal=causal)
    heads = heads._replace(k=shared(heads.k, q.shape[2]))
    dtype, device, size, length = heads.q.dtype, q.device, q.shape[3], k.shape[1]
    support, features = None, None
    if split.n_keys:
        # Found before features are drawn, and as widely for any split: one seed gives one search.
        n_keys, width = min(split.n_keys, length), min(budget, length)
        support = local_support(length, n_keys, causal=True, device=device) if causal else None
        n_buckets = max(2, 2 * math.ceil(length / width / 2))
        for _ in range(rounds):
            hashed = draw_hash(n_buckets, size, generator=generator, dtype=dtype, device=device)
            found = hash_support(q, k, hashed, width, causal=causal, lengths=lengths)
            candidates = found if support is None else join_supports(support, found)
            support = strongest_keys(q, k, candidates, n_keys, causal=causal, lengths=lengths)
    if split.n_features:
        features = draw_features(split.n_features, size, generator=generator, dtype=dtype, device=device)
    return AttentionEstimate(heads, features, support, causal)
