"""How to split a budget between features and keys, found by trying on a few rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqkit.attention.estimate import estimate_attention
from seqkit.checks import check_positive_int

__all__ = ["choose_share"]


@torch.no_grad()
def choose_share(
    q: Tensor,
    k: Tensor,
    budget: int,
    *,
    generator: torch.Generator,
    shares: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    n_rows: int = 32,
    rounds: int = 8,
    scale: float | None = None,
    causal: bool = False,
    lengths: Tensor | None = None,
) -> float:
    """The share of a budget for keys whose estimate is nearest to exact attention on sampled rows.

    Flat attention wants features and sharp attention keys; between them no rule holds for all data. Each share is tried
    once, and compared on the same `n_rows` rows, mean over series and heads.

    Args:
        q: Queries (B, L, H, D).
        k: Keys (B, L, H, D).
        budget: Features and keys per query together.
        generator: Where the rows and the trials come from.
        shares: Candidates, from 0 (features alone) to 1 (keys alone).
        n_rows: Rows that are computed exactly.
        rounds: Independent hashes that keys are chosen from.
        scale: Factor of q . k; 1 / sqrt(D) if None.
        causal: Each position sees itself and earlier ones only.
        lengths: Samples of each series (B,).

    Returns:
        One of `shares`, for `estimate_attention`.

    Raises:
        ValueError: no shares, or one that does not fit the budget; shapes or sizes that do not fit.

    Cost: as the estimates of all shares, and O(n_rows L D).

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> q, k = 0.1 * torch.randn(2, 1, 100, 2, 16, generator=generator)
        >>> choose_share(q, k, 32, generator=generator)  # nearly flat
        0.0
    """
    check_positive_int("n_rows", n_rows)
    if not shares:
        raise ValueError("`shares` must hold at least one share, got none")
    count = min(n_rows, q.shape[1])
    rows = torch.randperm(q.shape[1], generator=generator, device=generator.device)[:count].to(q.device)
    errors = []
    for share in shares:
        estimate = estimate_attention(
            q,
            k,
            budget,
            generator=generator,
            share=share,
            rounds=rounds,
            scale=scale,
            causal=causal,
            lengths=lengths,
        )
        errors.append(float(estimate.error(positions=rows).nanmean()))
    return float(shares[errors.index(min(errors))])
